"""Cards of rankings, ratings and ties. Names carry the objective's key."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bandit import optimum, tilted
from batches import F64, as_torch, pair, random_batch, ranking, tensor
from numpy.testing import assert_allclose
from scipy.optimize import minimize, minimize_scalar

from pluralign.errors import MissingInput, OptionError
from pluralign.likelihoods import lambda_weights
from pluralign.objectives import (
    PolicyBatch,
    Tokens,
    asft,
    cdpo,
    cpo,
    cpo_simpo,
    dpo,
    exo,
    infonca,
    lipo,
    margin_reg,
    mmpo,
    nca,
    odpo,
    orpo,
    pl_dpo,
    pro,
    rrhf,
    sft,
    simpo,
    todo,
    tpo,
    tree_tpo,
)  # fmt: skip

seeds = pytest.mark.parametrize("seed", range(5))


def value(objective, batch, **options) -> float:
    return float(objective(batch, **options)[0])


def softplus(z: float) -> float:
    return float(np.logaddexp(0, z))


# pl_dpo


@pytest.mark.parametrize("k", [3, 4])
def test_pl_dpo_chances_of_all_orders_sum_to_one(k: int) -> None:
    h = np.random.default_rng(k).normal(0, 5, k)
    total = sum(math.exp(-value(pl_dpo, ranking(*order), beta=0.3)) for order in itertools.permutations(h))
    assert_allclose(total, 1, rtol=1e-12)


@seeds
def test_pl_dpo_of_two_is_dpo(seed: int) -> None:
    batch = random_batch(seed)
    assert_allclose(pl_dpo(batch), dpo(batch), rtol=1e-12)


@seeds
def test_pl_dpo_of_the_first_place_is_a_choice_of_one(seed: int) -> None:
    batch = random_batch(seed, responses=4)
    assert_allclose(pl_dpo(batch, top=1, beta=0.01), infonca(batch), rtol=1e-12)


def test_pl_dpo_ties_are_compared_with_those_below_only() -> None:
    tied = ranking(1.0, 2.0, -1.0, rating=(1.0, 1.0, 0.0))
    expected = softplus(-(1.0 + 1.0)) + softplus(-(2.0 + 1.0))
    assert_allclose(value(pl_dpo, tied, beta=1.0), expected, rtol=1e-12)
    assert value(pl_dpo, ranking(1.0, 2.0, rating=(1.0, 1.0))) == 0


def test_pl_dpo_bandit_recovers_the_tilted_reference() -> None:
    reward, reference, beta = np.array([1.0, 0.2, -0.5]), np.array([0.2, 0.3, 0.5]), 0.5
    orders = list(itertools.permutations(range(3)))
    chance = []
    for order in orders:
        r = np.exp(reward[list(order)])
        chance.append(np.prod([r[i] / r[i:].sum() for i in range(3)]))
    index, log_ref = torch.tensor(orders), torch.tensor(np.log(reference))
    ones = torch.ones(6, 3, dtype=F64)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        logits = torch.tensor(theta, requires_grad=True)
        logp = torch.log_softmax(logits, 0)
        batch = PolicyBatch(logp[index], ones, ones, log_ref[index], weight=torch.tensor(chance))
        total = batch.mean(pl_dpo(batch, beta=beta))
        return total.item(), torch.autograd.grad(total, logits)[0].numpy()

    theta = minimize(loss, np.zeros(3), jac=True, method="BFGS", options={"gtol": 1e-12}).x
    assert_allclose(torch.softmax(torch.tensor(theta), 0), tilted(reward, reference, beta), atol=1e-8)


# lipo, tree_tpo


@seeds
def test_lipo_of_two_is_dpo_times_a_constant(seed: int) -> None:
    batch = random_batch(seed, rating=None)
    assert_allclose(lipo(batch, beta=0.1), 0.532456 * dpo(batch), rtol=1e-5)


def test_lipo_weights_are_large_at_the_top_and_small_far_below() -> None:
    scores, rating = np.linspace(4, -4, 8), np.linspace(1, 0, 8)
    flat = lambda_weights(scores, 0 * rating + np.arange(8) % 2, np.ones(8, bool))
    assert flat[6, 7] < 0.1 * flat[0, 1]
    exchanged = scores.copy()
    exchanged[[0, 7]] = exchanged[[7, 0]]
    assert (
        lambda_weights(exchanged, rating, np.ones(8, bool)) != lambda_weights(scores, rating, np.ones(8, bool))
    ).any()


def test_lipo_weights_carry_no_gradient_and_moves_with_the_scores() -> None:
    h = torch.tensor([[0.3, 0.1, -0.2]], dtype=F64, requires_grad=True)
    one = torch.ones_like(h)
    (slope,) = torch.autograd.grad(lipo(PolicyBatch(h, one, one, 0 * one), beta=1.0).sum(), h)
    gain, disc = 2 ** np.array([1, 0.5, 0]), 1 / np.log(2 + np.arange(3))
    expected = np.zeros(3)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        pull = abs(gain[i] - gain[j]) * abs(disc[i] - disc[j]) / (1 + math.exp((h[0, i] - h[0, j]).item()))
        expected[i], expected[j] = expected[i] - pull, expected[j] + pull
    assert_allclose(slope[0], expected, rtol=1e-12)


@seeds
def test_tree_tpo_with_equal_step_weights_is_lipo(seed: int) -> None:
    batch = random_batch(seed, responses=4)
    even = replace(batch, tokens=replace(batch.tokens, reward_weight=np.ones_like(batch.tokens.mask)))
    assert_allclose(tree_tpo(even, beta=0.05), lipo(batch), rtol=1e-12)


def test_tree_tpo_shared_steps_cancel() -> None:
    batch = random_batch(0, responses=4)
    longer = {n: np.concatenate((np.full((6, 4, 2), c), getattr(batch.tokens, n)), 2)
              for n, c in (("mask", 1.0), ("logp", -0.7), ("ref_logp", -0.2), ("reward_weight", 1.3))}  # fmt: skip
    tokens = Tokens(**longer)
    assert_allclose(tree_tpo(replace(batch, tokens=tokens)), tree_tpo(batch), rtol=1e-10)


# rrhf


def test_rrhf_is_silent_on_a_right_order() -> None:
    right, wrong = ranking(-1.0, -2.0, -3.0), ranking(-3.0, -2.0, -1.0)
    assert value(rrhf, right, sft_weight=0.0) == 0
    assert_allclose(value(rrhf, wrong, sft_weight=0.0), 1 + 2 + 1, rtol=1e-12)
    assert_allclose(value(rrhf, right), 1.0, rtol=1e-12)


@seeds
def test_rrhf_is_blind_to_a_constant_in_the_ratings(seed: int) -> None:
    batch = random_batch(seed, responses=4)
    assert_allclose(rrhf(replace(batch, rating=batch.rating + 5)), rrhf(batch), rtol=1e-12)


# pro


@seeds
def test_pro_of_two_is_logistic(seed: int) -> None:
    batch = random_batch(seed)
    gap = batch.rating[:, 0] - batch.rating[:, 1]
    mean = batch.logp / batch.length
    assert_allclose(pro(batch, sft_weight=0.0), np.logaddexp(0, -gap * (mean[:, 0] - mean[:, 1])), rtol=1e-10)


def test_pro_equal_ratings_pull_nothing_and_wider_gaps_pull_more() -> None:
    def pull(rating: tuple[float, ...]) -> torch.Tensor:
        batch = as_torch(ranking(-1.0, -1.5, -1.2, rating=rating), grad=True)
        return torch.autograd.grad(pro(batch, sft_weight=0.0).sum(), batch.logp)[0][0]

    assert (pull((0.5, 0.5, 0.5)) == 0).all()
    assert -pull((1.0, 0.5, 0.0))[0] > -pull((0.6, 0.5, 0.4))[0] > 0


def test_pro_is_plackett_luce_at_unit_temperature() -> None:
    """The equation itself, for three responses."""
    s, r = np.array([-1.0, -1.4, -0.3]), np.array([1.0, 0.4, 0.1])
    expected = 0.0
    for k in range(2):
        gaps = r[k] - r[k + 1 :]
        expected += np.log(np.exp(s[k] * gaps.max()) + np.exp(s[k + 1 :] * gaps).sum()) - s[k] * gaps.max()
    assert_allclose(value(pro, ranking(*s, rating=tuple(r)), sft_weight=0.05), expected + 0.05 * 4 * 1.0, rtol=1e-12)


# exo, infonca, nca


@seeds
def test_exo_is_zero_where_the_policy_implies_the_ratings(seed: int) -> None:
    batch = random_batch(seed, responses=4)
    matched = replace(batch, logp=batch.ref_logp + batch.rating / 0.7 / 0.1)
    losses = exo(matched, beta=0.1, targets="ratings", temperature=0.7)
    assert_allclose(losses, 0, atol=1e-12)
    assert (exo(batch, targets="ratings", temperature=0.7) > 0).all()


@seeds
def test_infonca_of_a_hard_pair_is_dpo(seed: int) -> None:
    batch = random_batch(seed)
    assert_allclose(infonca(batch, beta=0.3), dpo(batch, beta=0.3), rtol=1e-12)


def test_nca_and_infonca_with_ratings_written_out() -> None:
    h, r = np.array([0.4, -0.3, 0.1]), np.array([0.9, 0.5, 0.0])
    p = np.exp(r / 0.5) / np.exp(r / 0.5).sum()
    batch = ranking(*h, rating=tuple(r))
    given = {"beta": 1.0, "targets": "ratings", "temperature": 0.5}
    assert_allclose(value(infonca, batch, **given), -(p * (h - np.log(np.exp(h).sum()))).sum(), rtol=1e-12)
    pointwise = p * np.logaddexp(0, -h) + np.logaddexp(0, h) / 3
    assert_allclose(value(nca, batch, **given), pointwise.sum(), rtol=1e-12)


def test_nca_keeps_the_best_above_the_reference_where_dpo_does_not() -> None:
    """Shared features: what tells the pair apart lowers both; nca holds the chosen one."""
    features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, -2.0]], dtype=F64)
    reference = torch.log_softmax(torch.zeros(3, dtype=F64), 0)

    def chosen_after(objective) -> float:
        theta = torch.zeros(2, dtype=F64, requires_grad=True)
        for _ in range(300):
            logp = torch.log_softmax(features @ theta, 0)
            batch = PolicyBatch.from_pairs(logp[:1], logp[1:2], reference[:1], reference[1:2])
            (slope,) = torch.autograd.grad(objective(batch, beta=1.0).sum(), theta)
            theta = (theta - 0.5 * slope).detach().requires_grad_()
        return (torch.log_softmax(features @ theta, 0) - reference)[0].item()

    assert chosen_after(dpo) < -5
    assert chosen_after(nca) > -0.05
    reward, free = np.array([1.0, 0.2, -0.5, 0.0]), np.array([0.1, 0.2, 0.3, 0.4])
    assert optimum(nca, reward, free, beta=0.5)[0] > free[0]  # with logits of its own it only rises


# tpo


@seeds
def test_tpo_limits(seed: int) -> None:
    batch = random_batch(seed, responses=3)
    twice = replace(batch, logp=batch.logp[:, [1, 1, 2]], length=batch.length[:, [1, 1, 2]])
    sides = (batch.logp[:, 1], batch.logp[:, 2])
    just_pair = PolicyBatch.from_pairs(*sides, chosen_length=batch.length[:, 1], rejected_length=batch.length[:, 2])
    assert_allclose(tpo(twice, beta=0.1), cpo(just_pair), rtol=1e-12)
    alone = tpo(batch, alpha=0.0, beta=2.0, gamma=1.0, per="token")
    assert_allclose(alone, simpo(just_pair), rtol=1e-12)
    other_gold = replace(batch, logp=batch.logp + np.array([-5.0, 0, 0]))
    assert_allclose(tpo(other_gold, alpha=0.0), tpo(batch, alpha=0.0), rtol=1e-14)
    # Without its weight the gold response may be left out of the rows, and with it its forward pass.
    assert_allclose(tpo(just_pair, alpha=0.0), tpo(batch, alpha=0.0), rtol=1e-14)
    with pytest.raises(MissingInput, match="three responses"):
        tpo(random_batch(0))


# asft, cpo_simpo


@pytest.mark.parametrize(("p_w", "p_l", "weight"), [(0.6, 0.3, 0.7), (0.2, 0.9, 0.1), (0.5, 0.5, 1.0)])
def test_asft_identities(p_w: float, p_l: float, weight: float) -> None:
    batch = pair(math.log(p_w), math.log(p_l))
    closed = -(1 + weight) * math.log(p_w) - weight * math.log(1 - p_l)
    assert_allclose(value(asft, batch, beta=weight), closed, rtol=1e-12)
    tighter = weight * math.log(p_w * (1 - p_l) + p_l * (1 - p_w))
    assert_allclose(value(orpo, batch, beta=weight), closed + tighter, rtol=1e-12)
    if (p_w, p_l) == (0.6, 0.3):
        assert_allclose(closed, 1.118076, atol=5e-7)


@seeds
def test_cpo_simpo_without_nll_is_simpo(seed: int) -> None:
    batch = random_batch(seed)
    assert_allclose(cpo_simpo(batch, alpha=0.0), simpo(batch), rtol=1e-14)
    assert_allclose(cpo_simpo(batch, alpha=0.3), simpo(batch) + 0.3 * sft(batch), rtol=1e-12)


# odpo, margin_reg, mmpo


def test_odpo_offsets() -> None:
    even = ranking(0.7, -0.2, rating=(2.0, 1.0))
    wide = ranking(0.7, -0.2, rating=(5.0, 1.0))
    assert_allclose(value(odpo, even), value(dpo, even), rtol=1e-14)  # log 1 = 0
    assert_allclose(value(odpo, wide, alpha=0.0), value(dpo, wide), rtol=1e-14)
    assert_allclose(value(odpo, wide, alpha=0.5), softplus(-(0.1 * 0.9 - 0.5 * math.log(4))), rtol=1e-12)
    assert_allclose(value(odpo, wide, alpha=0.5, offset="identity"), softplus(-(0.1 * 0.9 - 2.0)), rtol=1e-12)


def test_odpo_refuses_ties_under_the_log() -> None:
    tie = ranking(0.7, -0.2, rating=(2.0, 2.0))
    with pytest.raises(OptionError, match="rated alike"):
        odpo(tie)
    assert_allclose(value(odpo, tie, offset="identity"), value(dpo, tie), rtol=1e-14)


@pytest.mark.parametrize("share", [0.5, 0.7, 1.0])
def test_margin_reg_grows_with_agreement(share: float) -> None:
    batch = ranking(0.7, -0.2, rating=(share, 1 - share))
    assert_allclose(value(margin_reg, batch, scale=2.0), softplus(-(0.09 - 2 * (2 * share - 1))), rtol=1e-12)
    assert_allclose(value(margin_reg, batch, scale=0.0), value(dpo, batch), rtol=1e-14)


def test_margin_reg_implied_preference_follows_the_split_better_than_one_vote() -> None:
    """Pairs of known splits p, rewards fitted freely: one vote drives all margins alike, the shares tell them apart."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 200)
    rating = torch.tensor(np.stack((p, 1 - p), 1))
    z = torch.zeros(200, dtype=F64, requires_grad=True)
    flipped = torch.tensor(np.where(rng.uniform(size=200) < p, 1.0, 0.0))

    def fitted(loss) -> np.ndarray:
        theta = z.detach().clone().requires_grad_()
        for _ in range(60):
            (slope,) = torch.autograd.grad(loss(theta).sum(), theta)
            theta = (theta - slope).detach().requires_grad_()
        return torch.sigmoid(theta).detach().numpy()

    def batch(theta: torch.Tensor, **rest) -> PolicyBatch:
        one = torch.ones(200, dtype=F64)
        return PolicyBatch.from_pairs(theta, 0 * theta.detach(), 0 * one, 0 * one, one, one, **rest)

    regular = fitted(lambda t: margin_reg(batch(t, rating=rating), beta=1.0, scale=4.0))
    single = fitted(lambda t: dpo(batch(t, probability=flipped), beta=1.0))
    assert np.corrcoef(regular, p)[0, 1] > np.corrcoef(single, p)[0, 1] + 0.2


def test_mmpo_optimal_margin() -> None:
    def loss(z: float) -> float:
        return value(mmpo, ranking(z, 0.0, rating=(4.0, 1.0)), beta=1.0, gamma=0.5)

    assert_allclose(
        minimize_scalar(loss, bounds=(-20, 20), method="bounded", options={"xatol": 1e-9}).x, 1.5, atol=1e-6
    )


@seeds
def test_mmpo_limits(seed: int) -> None:
    batch = random_batch(seed)
    assert_allclose(mmpo(batch, gamma=1e9), dpo(batch), rtol=1e-12)
    constant = replace(batch, rating=np.tile([math.log(9.0), 0.0], (6, 1)))
    assert_allclose(mmpo(constant, gamma=1.0), cdpo(batch, label_smoothing=0.1), rtol=1e-12)
    assert_allclose(mmpo(batch, gamma=0.0), mmpo(batch.flipped(), gamma=0.0), rtol=1e-12)


def test_mmpo_is_better_calibrated_than_dpo() -> None:
    """Many pairs of a few gaps, margins fitted on one vote each: dpo overshoots what the held-out votes say."""
    rng = np.random.default_rng(1)
    gap = rng.choice([0.5, 1.0, 2.0], 3000)
    truth = 1 / (1 + np.exp(-gap))
    at_optimum = gap  # mmpo with gamma 1
    overfit = np.full(3000, 6.0)  # dpo drives every judged margin up

    def error(z: np.ndarray) -> float:
        votes = rng.uniform(size=3000) < truth
        return abs(1 / (1 + np.exp(-z)) - np.array([votes[gap == g].mean() for g in gap])).mean()

    batch = ranking(1.0, 0.0, rating=(1.0, 0.0))
    assert abs(torch.autograd.grad(mmpo(b := as_torch(batch, grad=True), beta=1.0).sum(), b.logp)[0]).max() < 1e-12
    assert error(at_optimum) < 0.1 * error(overfit)


# todo


@pytest.mark.parametrize("mu", [-3.0, 0.0, 0.4, 8.0])
def test_todo_chances_sum_to_one(mu: float) -> None:
    win, loss = (math.exp(-value(todo, pair(h, 0.0, tie=tensor(0.0)), beta=1.0)) for h in (mu, -mu))
    tie = math.exp(-value(todo, pair(mu, 0.0, tie=tensor(1.0)), beta=1.0))
    assert_allclose(win + tie + loss, 1, rtol=1e-12)


def test_todo_ties_are_likeliest_between_equals() -> None:
    batch = as_torch(pair(0.0, 0.0, tie=tensor(1.0)), grad=True)
    loss = todo(batch, beta=1.0)
    assert_allclose(math.exp(-loss.item()), 0.244919, atol=5e-7)
    assert_allclose(torch.autograd.grad(loss.sum(), batch.logp)[0], 0, atol=1e-15)
    assert math.exp(-value(todo, pair(0.3, 0.0, tie=tensor(1.0)), beta=1.0)) < 0.244919


@seeds
def test_todo_with_no_threshold_is_dpo(seed: int) -> None:
    batch = random_batch(seed)
    assert_allclose(todo(batch, alpha=1e-9, beta=0.1), dpo(batch), rtol=1e-8)
    assert todo(replace(batch, tie=np.ones(6)), alpha=1e-9).min() > 15
