"""Learners of a reward in the bandit of the cards: which optimum each estimator, placement and scale leads to."""

import numpy as np
import pytest
import torch

from pluralign.errors import MissingInput
from pluralign.lab import bandit, play, sequences
from pluralign.lab.self_play import pull, rest
from pluralign.lab.solve import NoOptimum
from pluralign.online import SampleBatch, SampleTokens, adapted, direct, estimate, find
from pluralign.online.learners.policy_gradient import clipped
from pluralign.online.learners.ppo import advantages, shaped

REF, REWARD, BETA = np.array([0.5, 0.3, 0.15, 0.05]), np.arange(4.0), 0.5
WORLD = bandit(REWARD, reference=REF)
REVERSE = np.array([0.0160886140, 0.0713278029, 0.2635225687, 0.6490610144])
FORWARD = np.array([0.0824423832, 0.0738036128, 0.0726447955, 0.7711092085])
UNIFORM = np.full(4, 0.25)


def test_the_two_optima_are_those_of_the_card() -> None:
    assert np.abs(WORLD.tilted(BETA) - REVERSE).max() < 1e-10
    z = (REF * np.exp(REWARD / BETA)).sum()
    assert BETA * np.log(z) == pytest.approx(1.7182481401, abs=1e-10)
    assert np.abs(BETA * REF / (3.0324208293 - REWARD) - FORWARD).max() < 1e-8


@pytest.mark.parametrize(
    ("kl", "kl_in", "optimum"),
    [("k1", "reward", REVERSE), ("k2", "loss", REVERSE), ("exact", "loss", REVERSE), ("k3", "loss", FORWARD)],
)
@pytest.mark.parametrize("name", ["reinforce", "rloo"])
def test_estimator_and_placement_decide_the_optimum(name: str, kl: str, kl_in: str, optimum: np.ndarray) -> None:
    assert np.abs(rest(name, WORLD, beta=BETA, kl=kl, kl_in=kl_in) - optimum).max() < 1e-9


def test_k1_in_the_loss_is_no_regularisation() -> None:
    run = play("reinforce", WORLD, rounds=20, learning_rate=0.5, natural=True, beta=BETA, kl="k1", kl_in="loss")
    free = play("reinforce", WORLD, rounds=20, learning_rate=0.5, natural=True, beta=0.0)
    assert np.abs(run - free).max() < 1e-9
    assert run[-1, 0, 3] > 0.999
    with pytest.raises(NoOptimum):
        rest("reinforce", WORLD, beta=BETA, kl="k1", kl_in="loss")


def test_k2_and_k3_are_not_below_zero_and_k1_and_k3_are_unbiased() -> None:
    ratio = np.log(REVERSE / REF)
    kl = (REVERSE * ratio).sum()
    assert (estimate(ratio, "k2") >= 0).all()
    assert (estimate(ratio, "k3") >= 0).all()
    assert [(REVERSE * estimate(ratio, k)).sum() for k in ("k1", "k3")] == pytest.approx([kl, kl])
    assert (REVERSE * estimate(ratio, "k2")).sum() != pytest.approx(kl, rel=0.05)
    with pytest.raises(ValueError, match="whole distributions"):
        estimate(ratio, "exact")


def test_the_adaptive_coefficient_moves_a_fifth_a_horizon_at_most() -> None:
    assert adapted(1.0, 12.0, target=6.0, samples=1000, horizon=10_000) == pytest.approx(1.02)
    assert adapted(1.0, 6.0, target=6.0, samples=1000) == 1.0
    assert adapted(1.0, 0.0, target=6.0, samples=10_000, horizon=10_000) == pytest.approx(0.8)


def test_grpo_goes_to_neither_optimum_where_it_divides_by_the_spread() -> None:
    assert np.abs(rest("grpo", WORLD, beta=BETA, scale="none") - FORWARD).max() < 1e-9
    found = rest("grpo", WORLD, beta=BETA, epsilon=0.0)
    assert found[0] == pytest.approx([0.0752378, 0.0673935, 0.0664498, 0.7909189], abs=1e-7)
    spread = np.sqrt((found[0] * REWARD**2).sum() - (found[0] * REWARD).sum() ** 2)
    inverse = BETA * REF / found[0] + REWARD / spread
    assert np.ptp(inverse) < 1e-6  # lam of pi = beta ref / (lam - r / s)
    assert np.abs(found - REVERSE).max() > 0.1
    collapsed = play("grpo", WORLD, rounds=60, learning_rate=0.3, natural=True, beta=BETA, kl="k2")
    assert collapsed[-1, 0, 3] > 0.99


def test_the_variants_are_grpo_with_other_options() -> None:
    for name, same in [
        ("dr_grpo", {"scale": "none", "per": "constant", "max_length": 7}),
        ("dapo", {"clip_high": 0.28, "per": "batch"}),
        ("gspo", {"ratio": "sequence", "clip": 3e-4, "clip_high": 4e-4}),
    ]:
        world = sequences(lambda text: float(sum(text)), vocabulary=2, most=2)
        options = {"max_length": 7} if name == "dr_grpo" else {}
        assert np.allclose(pull(name, world, group=2, **options), pull("grpo", world, group=2, **same))


def group(lengths: list[int], reward: list[float], shift: float = 0.0, value: float | None = None) -> SampleBatch:
    """One prompt, a response of each length, all tokens alike; the policy has moved by `shift` a token."""
    mask = torch.tensor([[[float(t < n) for t in range(max(lengths))] for n in lengths]], dtype=torch.float64)
    logp = (-torch.ones_like(mask)).requires_grad_()
    values = {} if value is None else {"value": mask * value, "sampled_value": mask * value}
    tokens = SampleTokens(
        mask, logp=logp, sampled_logp=logp.detach() - shift, snapshots={"reference": -torch.ones_like(mask)}, **values
    )
    return SampleBatch(
        tokens.total(logp), reward=torch.tensor([reward]).double(), tokens=tokens, length=tokens.total(0 * mask + 1)
    )


def weights(name: str, batch: SampleBatch, **options: object) -> np.ndarray:
    """How much each token's log-prob is pulled, [K, T]."""
    (slope,) = torch.autograd.grad(batch.mean(find(name)(batch, **options)), batch.tokens.logp)
    return -slope[0].numpy()


def test_a_long_response_counts_little_a_token_in_grpo_and_alike_in_its_variants() -> None:
    # Rewards 1, 1, 0: the first two have the same advantage.
    batch = group([1, 10, 4], [1.0, 1.0, 0.0])
    assert weights("grpo", batch)[0, 0] == pytest.approx(10 * weights("grpo", batch)[1, 0])
    for name in ("dapo", "dr_grpo"):
        assert weights(name, batch)[0, 0] == pytest.approx(weights(name, batch)[1, 0])
    assert weights("dr_grpo", batch, max_length=10)[0, 0] == pytest.approx((1 / 3) / 3 / 10)
    assert weights("dapo", batch)[2, 0] == pytest.approx(-2 * weights("dapo", batch)[0, 0])


def test_clips_stop_what_went_far_enough_and_only_that() -> None:
    far = group([2, 2], [1.0, 0.0], shift=0.3)  # ratios of 1.35
    assert weights("grpo", far)[0].tolist() == [0, 0]  # the better one has risen enough
    assert (weights("grpo", far)[1] < 0).all()  # the worse one must come down
    assert (weights("grpo", far, clip_high=0.5)[0] > 0).all()
    assert (weights("rloo", group([2, 2], [1.0, 0.0]), beta=0.0)[0] > 0).all()
    mean = group([2, 4], [1.0, 0.0], shift=1e-4)
    assert (weights("gspo", mean)[0, :2] > 0).all()
    assert (weights("gspo", group([2, 4], [1.0, 0.0], shift=5e-4))[0] == 0).all()
    assert clipped(np.array([0.5]), np.array([-1.0]), 0.2, 0.2).tolist() == [0.8]


def test_leave_one_out_is_unbiased_and_a_mean_that_counts_oneself_shrinks() -> None:
    """The mean over every group of two that can be drawn is the exact policy gradient; grpo's mean halves it."""
    exact = pull("reinforce", WORLD, beta=0.0)[0, 0]
    by_hand = REF * (REWARD - (REF * REWARD).sum())
    assert exact == pytest.approx(by_hand, abs=1e-12)
    for draws in (2, 3):
        assert pull("rloo", WORLD, group=draws, beta=0.0)[0, 0] == pytest.approx(by_hand, abs=1e-12)
        shrunk = pull("grpo", WORLD, group=draws, beta=0.0, scale="none")[0, 0]
        assert shrunk == pytest.approx((draws - 1) / draws * by_hand, abs=1e-12)


def test_draws_agree_with_the_exact_gradient_within_their_error() -> None:
    rng, groups, draws = np.random.default_rng(0), 100_000, 4
    y = rng.choice(4, (groups, draws), p=REF)
    logp = torch.log_softmax(torch.tensor(np.log(REF)), 0)[torch.tensor(y)].requires_grad_()
    batch = SampleBatch(logp, reward=torch.tensor(REWARD[y]))
    (slope,) = torch.autograd.grad(find("rloo")(batch, beta=0.0).sum(), logp)
    each = -slope.numpy()
    # grad log pi of the last logit: 1 where it was drawn, less its chance.
    found = (each * ((y == 3) - REF[3])).sum(1)
    error = found.std() / np.sqrt(groups)
    assert abs(found.mean() - REF[3] * (3 - (REF * REWARD).sum())) < 3 * error


def test_a_greedy_baseline_leaves_the_gradient_and_lowers_its_variance() -> None:
    def extra(_: np.ndarray) -> dict[str, torch.Tensor]:
        return {"greedy_reward": torch.tensor([10.0], dtype=torch.float64)}

    shifted = bandit(REWARD + 10, reference=REF)
    assert np.allclose(pull("remax", shifted, beta=0.0, extra=extra), pull("reinforce", shifted, beta=0.0))
    score = np.eye(4) - REF

    def variance(advantage: np.ndarray) -> float:
        each = advantage[:, None] * score
        return float((REF[:, None] * (each - REF @ each) ** 2).sum())

    greedy, plain, mean = variance(REWARD + 10 - 10), variance(REWARD + 10), variance(REWARD - REF @ REWARD)
    assert mean < greedy < plain / 20
    with pytest.raises(MissingInput, match="remax needs greedy_reward"):
        pull("remax", shifted)


def test_rebel_steps_along_the_natural_gradient_from_any_pairs() -> None:
    for laws in ({}, {"draws": UNIFORM}):
        run = play("rebel", WORLD, rounds=3, eta=0.4, laws=laws)
        assert np.abs(run[3] - WORLD.tilted(1 / 1.2)).max() < 1e-9


@pytest.mark.parametrize("law", [UNIFORM, REF, np.array([0.97, 0.01, 0.01, 0.01])])
def test_contrast_finds_the_optimum_from_samples_of_any_law_and_policy_gradients_do_not(law: np.ndarray) -> None:
    found = play("copg", WORLD, rounds=1, beta=BETA, laws={"draws": law})[-1]
    assert np.abs(found - REVERSE).max() < 1e-8


def test_an_ordinary_policy_gradient_off_policy_ends_elsewhere() -> None:
    theta = torch.log(torch.tensor(REVERSE))[None].requires_grad_()
    for law, most in [(REVERSE, 1e-8), (UNIFORM, 10.0)]:
        batch = SampleBatch(
            torch.log_softmax(theta, 1),
            law=torch.tensor(law)[None],
            exact=True,
            snapshots={"reference": torch.log(torch.tensor(REF))[None]},
            reward=torch.tensor(REWARD)[None],
        )
        (slope,) = torch.autograd.grad(find("reinforce")(batch, beta=BETA).sum(), theta)
        assert most / 100 < slope.abs().max() + 1e-9 < most


def test_copg_is_rloo_on_two_draws_and_ipo_where_all_gaps_are_a_half() -> None:
    for policy in (REF, REVERSE):
        two = pull("copg", WORLD, policy, group=2, beta=BETA)
        assert np.allclose(two, 4 * BETA * pull("rloo", WORLD, policy, group=2, beta=BETA))
    logp, ref = torch.log(torch.tensor([[0.7, 0.3]])).double(), torch.log(torch.tensor([[0.5, 0.5]])).double()
    halves = SampleBatch(logp, snapshots={"reference": ref}, reward=torch.tensor([[0.5, 0.0]]).double())
    sure = SampleBatch(logp, snapshots={"reference": ref}, preference=torch.tensor([[[0.5, 1.0], [0.0, 0.5]]]).double())
    ipo = direct("ipo")(sure, beta=BETA, per="sequence")
    assert torch.allclose(find("copg")(halves, beta=BETA), BETA**2 * ipo)
    assert np.abs(play("rebel", WORLD, rounds=1, eta=1 / BETA)[-1] - REVERSE).max() < 1e-9  # anchored at the reference


def test_brain_on_two_draws_is_dpo_with_soft_labels_and_rests_at_the_optimum() -> None:
    found = play("brain", WORLD, rounds=1, gamma=BETA, group=2)[-1]
    assert np.abs(found - REVERSE).max() < 1e-8
    soft = play("dpo", bandit(REWARD / BETA, reference=REF), rounds=1, beta=1.0)[-1]
    assert np.abs(soft - found).max() < 1e-8


def test_the_slope_of_brain_is_that_of_kl_and_without_its_baseline_it_stops_at_the_best_of_two() -> None:
    rng = np.random.default_rng(1)
    logp = torch.tensor(rng.normal(size=(3, 5))).requires_grad_()
    ref, drawn, reward = (torch.tensor(rng.normal(size=(3, 5))) for _ in range(3))
    batch = SampleBatch(logp, snapshots={"reference": ref}, sampled_logp=drawn, reward=reward)
    (slope,) = torch.autograd.grad(find("brain")(batch, gamma=0.7).sum(), logp)
    w = torch.softmax(ref + reward / 0.7 - drawn, 1)
    v = torch.softmax(logp - drawn, 1)
    assert torch.allclose(slope, v - w)
    # Imitating w alone ends at the chance that a soft best of two picks: sum over pairs of ref ref w.
    pick = 1 / (1 + np.exp(-(REWARD[:, None] - REWARD[None]) / BETA))
    assert 2 * REF * (pick @ REF) == pytest.approx([0.28858, 0.36551, 0.25086, 0.09505], abs=5e-6)


@pytest.mark.slow
def test_ppo_with_a_value_head_ends_at_the_optimum_and_the_value_at_its_worth() -> None:
    theta, value = torch.log(torch.tensor(REF)).requires_grad_(), torch.zeros(1, dtype=torch.float64).requires_grad_()
    ref, reward = torch.log(torch.tensor(REF)), torch.tensor(REWARD)[None]
    optimizer = torch.optim.Adam([theta, value], lr=0.1)
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=100)
    one = torch.ones(1, 4, 1, dtype=torch.float64)
    for _ in range(100):
        with torch.no_grad():
            old, before = torch.log_softmax(theta, 0), value.clone()
        for _ in range(2):
            logp = torch.log_softmax(theta, 0)
            tokens = SampleTokens(
                one,
                logp=logp[None, :, None],
                sampled_logp=old[None, :, None],
                value=value * one,
                sampled_value=before * one,
                snapshots={"reference": ref[None, :, None]},
            )
            batch = SampleBatch(logp[None], law=old.exp()[None], exact=True, reward=reward, tokens=tokens)
            loss = batch.mean(find("ppo")(batch, beta=BETA, value_weight=1.0, whiten=False))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        slower.step()
    assert np.abs(torch.softmax(theta, 0).detach().numpy() - REVERSE).sum() / 2 < 1e-2
    assert value.item() == pytest.approx(1.7182481401, abs=0.02)


def test_ppo_rests_at_the_optimum_of_a_bandit_and_of_a_language() -> None:
    world = sequences(lambda text: float(sum(text)), vocabulary=2, most=2)
    for each in (WORLD, world):
        options = {"beta": BETA, "whiten": False, "lam": 1.0, "value_weight": 0.0}
        assert np.abs(pull("ppo", each, each.tilted(BETA), **options)).max() < 1e-12
        assert np.abs(pull("ppo", each, each.tilted(-BETA), **options)).max() > 0.01
    assert np.abs(rest("ppo", WORLD, beta=BETA, whiten=False) - REVERSE).max() < 1e-8


def test_the_price_of_every_token_is_paid_and_with_the_right_sign() -> None:
    """At the optimum of a little language ppo pulls no more; with KL on the last token only, or added, it does."""
    world = sequences(lambda text: float(sum(text)), vocabulary=2, most=2)
    logits, mask = torch.tensor(world.tree.reference), torch.tensor(world.tree.mask)[None]
    node, token = torch.tensor(world.tree.node), torch.tensor(world.tree.token)
    goal = torch.tensor(world.tilted(BETA))
    # Logits of each node that make the tilted law: the mass of all texts below.
    below = torch.zeros_like(logits)
    for r in range(len(node)):
        for t in range(int(mask[0, r].sum())):
            below[0, node[r, t], token[r, t]] += goal[0, r]
    theta = below.log().requires_grad_()
    log_p, log_ref = torch.log_softmax(theta, -1), torch.log_softmax(logits, -1)

    def at_tokens(values: torch.Tensor) -> torch.Tensor:
        return values[:, node, token] * mask

    tokens = SampleTokens(
        mask,
        logp=at_tokens(log_p),
        snapshots={"reference": at_tokens(log_ref)},
        value=0.3 * mask,
        sampled_value=0.3 * mask,
    )
    batch = SampleBatch(
        at_tokens(log_p).sum(-1), law=goal, exact=True, reward=torch.tensor(world.reward), tokens=tokens
    )

    def pulled(reward: torch.Tensor) -> float:
        gain = advantages(reward, 0.3 * mask, mask, lam=1.0)
        loss = -batch.expect(tokens.total(gain * tokens.logp))
        return float(torch.autograd.grad(loss.sum(), theta, retain_graph=True)[0].abs().max())

    right = shaped(batch, BETA)
    assert pulled(right) < 1e-12
    (slope,) = torch.autograd.grad(
        batch.mean(find("ppo")(batch, beta=BETA, lam=1.0, whiten=False, value_weight=0.0)), theta, retain_graph=True
    )
    assert slope.abs().max() < 1e-12
    last = shaped(batch, 0.0)
    assert pulled(torch.where(last != 0, right, 0 * right)) > 0.01
    assert pulled(2 * last - right) > 0.01


def test_advantages_are_sums_of_surprises() -> None:
    reward, value, mask = np.array([0.1, -0.2, 1.0, 9.0]), np.array([0.5, 0.4, 0.8, 7.0]), np.array([1.0, 1, 1, 0])
    surprise = [0.1 + 0.9 * 0.4 - 0.5, -0.2 + 0.9 * 0.8 - 0.4, 1.0 - 0.8]
    k = 0.9 * 0.95
    by_hand = [surprise[0] + k * surprise[1] + k * k * surprise[2], surprise[1] + k * surprise[2], surprise[2], 0]
    assert advantages(reward, value, mask, gamma=0.9) == pytest.approx(by_hand)


def test_ppo_clips_the_value_and_whitens_over_tokens() -> None:
    batch = group([2, 3], [1.0, 0.0], value=0.5)
    assert weights("ppo", batch, beta=0.0, whiten=False, lam=1.0)[0] == pytest.approx(np.array([0.5, 0.5, 0]) / 5)
    white = weights("ppo", batch, beta=0.0, lam=1.0) * 5
    counted = np.concatenate([white[0, :2], white[1]])
    assert counted.mean() == pytest.approx(0, abs=1e-7)
    assert counted.std() == pytest.approx(1, abs=1e-6)
