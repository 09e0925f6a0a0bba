"""What a baseline does for learners of a reward that contrast draws: where each ends without it."""

import numpy as np
import pytest
import torch

from pluralign.lab import bandit, play
from pluralign.lab.self_play import pull
from pluralign.likelihoods.numerics import stop_gradient
from pluralign.online import Judge, SampleBatch, find, learner
from pluralign.online.learners.games import total
from pluralign.online.selection import spread

REF, REWARD, BETA = np.array([0.5, 0.3, 0.15, 0.05]), np.arange(4.0), 0.5
WORLD = bandit(REWARD, reference=REF)
REVERSE = WORLD.tilted(BETA)[0]
LAWS = {"uniform": np.full(4, 0.25), "reference": REF, "on its worst": np.array([0.97, 0.01, 0.01, 0.01])}


def regularised(batch: SampleBatch) -> torch.Tensor:
    return batch.known("reward") - BETA * batch.log_ratio({"reference": 1.0})


@learner(paper="ours", judge=Judge.REWARD)
def one_sided(batch: SampleBatch) -> torch.Tensor:
    """copg whose gradient moves the first of two draws only."""
    mine = regularised(batch)
    return total(batch.pairs * (mine[:, :, None] - stop_gradient(mine)[:, None, :]) ** 2)


@learner(paper="a common mistake", judge=Judge.REWARD)
def without_price_in_the_baseline(batch: SampleBatch) -> torch.Tensor:
    """copg whose baseline is the other draw's reward as it is, its price left out."""
    mine = regularised(batch)
    return total(batch.pairs * (mine[:, :, None] - batch.known("reward")[:, None, :]) ** 2)


@learner(paper="a common mistake", judge=Judge.REWARD)
def without_the_other(batch: SampleBatch) -> torch.Tensor:
    """copg with one draw and no baseline at all."""
    return batch.expect(regularised(batch) ** 2)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_the_other_draw_s_regularised_reward_is_what_makes_contrast_right_off_policy(law: np.ndarray) -> None:
    """Its gradient is not: draws of one law stand in both places, and so the half of the gradient is all of it."""
    draws = {"laws": {"draws": law}}
    for policy in (REF, np.array([0.1, 0.2, 0.3, 0.4])):
        assert np.allclose(2 * pull(one_sided, WORLD, policy, **draws), pull("copg", WORLD, policy, beta=BETA, **draws))
    assert np.abs(play("copg", WORLD, rounds=1, beta=BETA, **draws)[-1, 0] - REVERSE).max() < 1e-8
    for wrong in (without_price_in_the_baseline, without_the_other):
        assert np.abs(play(wrong, WORLD, rounds=1, **draws)[-1, 0] - REVERSE).max() > 0.03


@learner(paper="a common mistake", judge=Judge.REWARD, needs={"sampled_logp"})
def without_v(batch: SampleBatch, *, gamma: float = BETA) -> torch.Tensor:
    """brain that imitates its weights and takes no baseline off."""
    wanted = batch.anchor({"reference": 1.0}) + batch.known("reward") / gamma - batch.written
    return -(torch.softmax(wanted, 1) * batch.logp).sum(1)


def test_brain_without_its_baseline_stops_at_the_soft_best_of_two() -> None:
    found = play(without_v, WORLD, rounds=1, group=2)[-1, 0]
    assert found == pytest.approx([0.28858, 0.36551, 0.25086, 0.09505], abs=5e-6)
    assert np.abs(play("brain", WORLD, rounds=1, gamma=BETA, group=2)[-1, 0] - REVERSE).max() < 1e-8


def test_brain_on_many_draws_is_forward_kl_to_the_tilted_reference() -> None:
    """Its pull on every response is what the target has more of it than the policy."""
    for policy in (REF, np.array([0.1, 0.2, 0.3, 0.4])):
        pulled = pull("brain", WORLD, policy, gamma=BETA)[0, 0]
        assert pulled == pytest.approx(REVERSE - policy, abs=1e-12)


def test_draws_of_one_reward_teach_a_group_nothing_and_dynamic_sampling_finds_them() -> None:
    reward = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]).double()
    logp = torch.log(torch.full((2, 3), 0.2)).double().requires_grad_()
    batch = SampleBatch(logp, reward=reward)
    (slope,) = torch.autograd.grad(find("rloo")(batch, beta=0.0).sum(), logp)
    assert slope[0].abs().max() == 0
    assert slope[1].abs().min() > 0.1
    assert spread(batch).tolist() == [0.0, 1.0]
