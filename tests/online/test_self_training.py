"""Learners without a judge of pairs: selection, imitation, self-labelling and what becomes of them."""

import numpy as np
import pytest
import torch

from pluralign.lab import bandit, confounded, play
from pluralign.lab.self_play import pull
from pluralign.online import SampleBatch, direct, find
from pluralign.online.learners import own_labels, preferences
from pluralign.online.selection import best_and_worst, ranked_pairs

BON = bandit(np.arange(4.0), reference=[0.4, 0.3, 0.2, 0.1])
DATA = np.array([0.1, 0.2, 0.7])


def test_two_rounds_of_the_best_of_two_are_the_best_of_four() -> None:
    run = play("raft", BON, rounds=2, group=2)
    assert np.abs(run[1] - BON.best_of(2)).max() < 1e-10
    assert run[2, 0] == pytest.approx([0.0256, 0.2145, 0.4160, 0.3439], abs=1e-10)
    # Diversity falls in the end; at first it may rise, as what was rare and good catches up with what was common.
    entropy = [-(law * np.log(law)).sum() for law in (BON.best_of(2**t) for t in range(7))]
    assert entropy[1] > entropy[0]
    assert (np.diff(entropy[1:]) < 0).all()


def test_expert_iteration_keeps_what_passes() -> None:
    right = bandit([0.0, 1.0, 0.0, 1.0], reference=[0.4, 0.3, 0.2, 0.1])
    # A threshold above every reward of half of them leaves pi_t r / Z; a fit gets as near as logits go.
    theta = torch.log(torch.tensor(right.reference)).requires_grad_()
    batch = SampleBatch(
        torch.log_softmax(theta, 1),
        law=torch.tensor(right.reference),
        exact=True,
        reward=torch.tensor(right.reward),
    )
    (slope,) = torch.autograd.grad(find("raft")(batch, threshold=0.5).sum(), theta)
    assert -slope[0].numpy() == pytest.approx(np.array([0, 0.75, 0, 0.25]) - right.reference[0])
    assert find("raft").plan(begin="reference").stages[0].begin == "reference"


def test_spin_closes_in_on_the_data_and_rests_there() -> None:
    world = bandit(np.zeros(3), reference=[0.6, 0.3, 0.1])
    assert np.abs(play("spin", world, rounds=1, beta=1.0, laws={"data": DATA})[1] - DATA).max() < 1e-9
    run = play("spin", world, rounds=3, beta=2.0, laws={"data": DATA})
    gap = np.log(run[:, 0] / DATA)
    gap -= gap[:, -1:]
    for t in range(3):
        assert gap[t + 1] == pytest.approx(gap[t] / 2, abs=1e-8)  # half the log-ratio a round
    at = play("spin", world, rounds=1, beta=0.5, start=DATA, laws={"data": DATA})
    assert np.abs(at[1] - DATA).max() < 1e-10


@pytest.mark.parametrize(
    ("group", "golden"),
    [
        (2, (0.3082344, 0.3008316, 0.2467661, 0.1441678)),
        (4, (0.2584281, 0.2875178, 0.2716909, 0.1823632)),
        (None, (0.2120394, 0.2621954, 0.2881915, 0.2375737)),
        (1, (0.4, 0.3, 0.2, 0.1)),
    ],
)
def test_picks_of_users_move_the_next_model_as_the_card_says(group: int | None, golden: tuple[float, ...]) -> None:
    world = bandit([0.0, 0.5, 1.0, 1.5], reference=[0.4, 0.3, 0.2, 0.1])
    assert play("curated", world, rounds=1, group=group)[1, 0] == pytest.approx(golden, abs=1e-7)


def test_curation_raises_the_reward_every_step_and_collapses_without_real_data() -> None:
    world = bandit([0.0, 0.5, 1.0, 1.5], reference=[0.4, 0.3, 0.2, 0.1])
    worth = np.exp(world.reward[0])

    def spread(p: np.ndarray) -> float:
        return float(p @ worth**2 - (p @ worth) ** 2)

    run = play("curated", world, rounds=25, group=2)[:, 0]
    gain = np.diff(run @ worth)
    assert (gain >= [0.5 * spread(p) / worth.max() for p in run[:-1]]).all()
    assert spread(run[-1]) < spread(run[0]) / 4
    mixed = play("curated", world, rounds=8, group=2, real=1.0, laws={"data": world.reference})[:, 0]
    h = play("curated", world, rounds=1, group=2)[1, 0]
    assert mixed[1] == pytest.approx((world.reference[0] + h) / 2, abs=1e-9)
    assert spread(mixed[-1]) > 0.9 * spread(mixed[0])


def test_strengths_are_kept_where_hard_labels_run_away() -> None:
    world = bandit([0.0, 0.0], preference=[[0.5, 0.7], [0.3, 0.5]])
    run = play("dpo", world, rounds=2, beta=0.5)[:, 0]
    margin = 0.5 * np.log(run[1:, 0] / run[1:, 1])
    assert margin == pytest.approx([np.log(0.7 / 0.3)] * 2, abs=1e-9)
    sure = bandit([0.0, 0.0], preference=[[0.5, 1.0], [0.0, 0.5]])
    assert (pull("dpo", sure, [0.999, 0.001], beta=0.5)[0, 0, 0]) > 0


def test_ranked_pairs_are_never_doubled_nor_contradict() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        upper = np.triu(rng.random((6, 6)), 1)
        strength = upper + np.tril(1 - upper.T, -1) + np.eye(6) / 2
        pairs = [(i, j) for i, j, _ in ranked_pairs(strength)]
        assert len(pairs) == len({frozenset(pair) for pair in pairs}) == 15
        place = strength.mean(1)
        assert all(place[i] >= place[j] for i, j in pairs)
        assert all(s == strength[i, j] for i, j, s in ranked_pairs(strength, apart=3))


def test_own_labels_are_the_implied_reward_and_agree_with_the_seed() -> None:
    """A policy trained on a seed labels as its seed did: self-labelled rounds go further the same way."""
    world = bandit([0.0, 1.0, 2.0, 3.0], reference=[0.5, 0.3, 0.15, 0.05])
    now = torch.tensor(world.tilted(0.5)).log()
    batch = SampleBatch(now, snapshots={"previous": now, "reference": torch.tensor(world.reference).log()})
    assert torch.allclose(own_labels(batch, 0.5), preferences(torch.tensor(world.reward)))
    assert torch.equal(own_labels(batch, 0.5, hard=True), preferences(torch.tensor(world.reward), hard=True))


def test_smoothing_the_least_sure_pairs_is_dpo_where_none_are_and_softens_them_where_some_are() -> None:
    world = bandit([0.0, 1.0, 2.0, 3.0], reference=[0.5, 0.3, 0.15, 0.05])
    now = world.tilted(1.0)
    logp = (torch.tensor(now).log() + torch.tensor([[0.1, -0.2, 0.3, 0.0]])).requires_grad_()
    frozen = {"previous": torch.tensor(now).log(), "reference": torch.tensor(world.reference).log()}
    batch = SampleBatch(logp, snapshots=frozen)
    labels = own_labels(batch, 1.0, hard=True)
    judged = SampleBatch(logp, snapshots=frozen, preference=labels)
    plain = direct("dpo")(judged, beta=1.0, anchor="previous")
    assert torch.allclose(find("spa")(batch, beta=1.0, alpha=0.0), plain)
    assert torch.allclose(find("spa")(batch, beta=1.0, share=0.0), plain)
    every = direct("cdpo")(judged, beta=1.0, label_smoothing=0.1, anchor="previous")
    assert torch.allclose(find("spa")(batch, beta=1.0, alpha=0.1, share=1.0), every)
    # One of the six pairs of four draws: the one whose margin is the least.
    h = (logp - frozen["previous"])[0].detach().numpy()
    margins = sorted(h[i] - h[j] for i in range(4) for j in range(i))
    one = find("spa")(batch, beta=1.0, alpha=0.1, share=1 / 6)
    assert (one - plain).item() == pytest.approx(0.1 * margins[0] / 6, abs=1e-7)


def test_a_judge_who_likes_length_makes_the_loop_longer_every_round_and_a_fair_one_does_not() -> None:
    """Self-rewarding rounds, best against worst: with the biased judge length grows and quality suffers."""
    quality, length = np.array([0.0, 0.6, 0.3, 0.9, 0.2]), np.array([1.0, 2.0, 6.0, 4.0, 9.0])
    fair = bandit(quality, length=length)
    biased = confounded(quality, length, 0.4, length=length)
    runs = {
        name: play("dpo", world, rounds=4, beta=2.0, anchor="previous")[:, 0]
        for name, world in (("fair", fair), ("biased", biased))
    }
    assert (np.diff(runs["biased"] @ length) > 0).all()
    assert (np.diff(runs["fair"] @ quality) > 0).all()
    assert runs["biased"][-1] @ quality < runs["fair"][-1] @ quality - 0.2
    assert runs["biased"][-1] @ length > runs["fair"][-1] @ length + 2


def test_best_and_worst_leave_ties_out() -> None:
    top, bottom, apart = best_and_worst(torch.tensor([[2.0, 0.0, 1.0], [1.0, 1.0, 1.0]]))
    assert (top.tolist(), bottom.tolist(), apart.tolist()) == ([0, 0], [1, 0], [1, 0])
