"""Cards of length corrections, single tokens, distributions and hidden states. Names carry the objective's key."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bandit import tilted
from batches import F64, as_torch, pair, random_batch
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from pluralign.objectives import (
    PolicyBatch,
    Tokens,
    dmpo,
    dpo,
    find,
    fpo,
    ld_dpo,
    ln_dpo,
    on_policy,
    r_dpo,
    sampo,
    sparse_po,
    tdpo,
    wpo,
)  # fmt: skip

seeds = pytest.mark.parametrize("seed", range(5))


def equal_lengths(seed: int) -> PolicyBatch:
    """A batch whose pairs have as many tokens on either side."""
    batch = random_batch(seed)
    tokens = replace(batch.tokens, **{n: getattr(batch.tokens, n)[:, :1].repeat(2, 1) for n in ("mask",)})
    rng = np.random.default_rng(seed)
    logp = -rng.uniform(0.1, 2, tokens.mask.shape) * tokens.mask
    ref_logp = -rng.uniform(0.1, 2, tokens.mask.shape) * tokens.mask
    tokens = replace(tokens, logp=logp, ref_logp=ref_logp, kl=0.1 * tokens.mask)
    return replace(batch, tokens=tokens, logp=logp.sum(-1), ref_logp=ref_logp.sum(-1), length=tokens.mask.sum(-1))


# ln_dpo


@seeds
def test_ln_dpo_on_equal_lengths_is_dpo(seed: int) -> None:
    batch = equal_lengths(seed)
    for i in range(6):
        row = batch.rows(slice(i, i + 1))
        assert_allclose(ln_dpo(row, beta=3.0), dpo(row, beta=3.0 / row.length[0, 0]), rtol=1e-12)


def test_ln_dpo_on_a_response_said_twice() -> None:
    once, twice = pair(-3.0, -4.0, length=(3, 2)), pair(-6.0, -8.0, length=(6, 4))
    assert_allclose(ln_dpo(once), ln_dpo(twice), rtol=1e-14)


# r_dpo


def test_r_dpo_bandit_removes_the_length_from_the_reward() -> None:
    """Reward q + a * length, alpha = a: the optimum is that of q alone; without the term it is biased."""
    quality, reference = np.array([1.0, 0.2, -0.5]), np.array([0.2, 0.3, 0.5])
    length, a, beta = np.array([1.0, 4.0, 2.0]), 0.3, 0.5
    reward = quality + a * length
    i, j = np.array([(i, j) for i in range(3) for j in range(3) if i != j]).T
    weight = torch.tensor(1 / (1 + np.exp(reward[j] - reward[i])))
    log_ref, n = torch.tensor(np.log(reference)), torch.tensor(length)

    def loss(theta: np.ndarray, alpha: float) -> tuple[float, np.ndarray]:
        logits = torch.tensor(theta, requires_grad=True)
        logp = torch.log_softmax(logits, 0)
        batch = PolicyBatch.from_pairs(logp[i], logp[j], log_ref[i], log_ref[j], n[i], n[j], weight=weight)
        total = batch.mean(r_dpo(batch, beta=beta, alpha=alpha))
        return total.item(), torch.autograd.grad(total, logits)[0].numpy()

    for alpha, bias in ((a, 0.0), (0.0, a)):
        theta = minimize(loss, np.zeros(3), args=(alpha,), jac=True, method="BFGS", options={"gtol": 1e-12}).x
        found = torch.softmax(torch.tensor(theta), 0).numpy()
        assert_allclose(found, tilted(quality + bias * length, reference, beta), atol=1e-7)


# ld_dpo


@seeds
def test_ld_dpo_limits(seed: int) -> None:
    batch = random_batch(seed)
    assert_allclose(ld_dpo(batch, ld_alpha=1.0), dpo(batch), rtol=1e-12)
    same = equal_lengths(seed)
    assert_allclose(ld_dpo(same, ld_alpha=0.3), dpo(same), rtol=1e-12)
    ratio = batch.tokens.logp - batch.tokens.ref_logp
    for row in range(6):
        shared = int(batch.length[row].min())
        h = [ratio[row, k][batch.tokens.mask[row, k] > 0][:shared].sum() for k in (0, 1)]
        assert_allclose(ld_dpo(batch, ld_alpha=0.0)[row], np.log1p(np.exp(-0.1 * (h[0] - h[1]))), rtol=1e-12)


@seeds
def test_ld_dpo_sampo_dmpo_count_from_the_start_of_the_response(seed: int) -> None:
    """A longer prompt moves all positions; nothing else may change."""
    batch = random_batch(seed)

    def later(values: np.ndarray) -> np.ndarray:
        return np.concatenate((np.zeros((*values.shape[:2], 3)), values), axis=2)

    tokens = Tokens(**{name: later(value) for name, value in vars(batch.tokens).items()})
    for objective in (ld_dpo, sampo, dmpo):
        assert_allclose(objective(replace(batch, tokens=tokens)), objective(batch), rtol=1e-12)


# sampo


@seeds
def test_sampo_on_equal_lengths_is_dpo(seed: int) -> None:
    assert_allclose(sampo(equal_lengths(seed)), dpo(equal_lengths(seed)), rtol=1e-12)


def test_sampo_mean_over_draws() -> None:
    batch = random_batch(1)
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(3000):
        tokens = replace(batch.tokens, uniform=rng.uniform(size=batch.tokens.mask.shape))
        draws.append(sampo.score(replace(batch, tokens=tokens), beta=1.0).values)
    draws = np.array(draws)
    shorter = batch.length.min(1, keepdims=True)
    expected = shorter / batch.length * (batch.logp - batch.ref_logp)
    error = draws.std(0) / math.sqrt(3000) + 1e-9
    assert (np.abs(draws.mean(0) - expected) < 4 * error).all()


@seeds
def test_sampo_at_the_reference_is_log_two_for_every_draw(seed: int) -> None:
    """Fails where policy and reference draw their own tokens."""
    batch = random_batch(seed)
    same = replace(batch, tokens=replace(batch.tokens, logp=batch.tokens.ref_logp))
    assert_allclose(sampo(same), math.log(2), rtol=1e-14)


def test_sampo_draws_nothing_in_evaluation() -> None:
    batch = random_batch(2)
    fixed = replace(batch, tokens=replace(batch.tokens, uniform=None))
    assert_allclose(sampo(fixed), dpo(fixed), rtol=1e-12)


# tdpo


@seeds
def test_tdpo_limits(seed: int) -> None:
    batch = random_batch(seed)
    assert_allclose(tdpo(batch, alpha=0.0), dpo(batch), rtol=1e-12)
    at_reference = replace(batch, logp=batch.ref_logp, tokens=replace(batch.tokens, kl=0 * batch.tokens.kl))
    for variant in ("tdpo1", "tdpo2"):
        assert_allclose(tdpo(at_reference, variant=variant), math.log(2), rtol=1e-14)


@pytest.mark.parametrize(("variant", "passes"), [("tdpo1", True), ("tdpo2", False)])
def test_tdpo_gradient_through_the_chosen_divergence(variant: str, passes: bool) -> None:
    batch = as_torch(random_batch(0), grad=True)
    slope = torch.autograd.grad(tdpo(batch, variant=variant).sum(), batch.tokens.kl)[0]
    assert bool((slope[:, 0] != 0).any()) is passes
    assert (slope[:, 1][batch.tokens.mask[:, 1] > 0] > 0).all()  # minimising lowers K of the rejected


# sparse_po


@seeds
def test_sparse_po_with_constant_masks(seed: int) -> None:
    batch = random_batch(seed)

    def masked(reward: float, kl: float) -> PolicyBatch:
        ones = np.ones_like(batch.tokens.mask)
        return replace(batch, tokens=replace(batch.tokens, reward_weight=reward * ones, kl_weight=kl * ones))

    assert_allclose(sparse_po(masked(1, 1)), tdpo(batch, variant="tdpo1"), rtol=1e-12)
    assert_allclose(sparse_po(masked(1, 0)), dpo(batch), rtol=1e-12)
    l1 = sparse_po(masked(1, 1), reward_l1=0.5, kl_l1=0.25) - sparse_po(masked(1, 1))
    assert_allclose(l1, 0.75 * batch.length.sum(1), rtol=1e-12)


def test_sparse_po_gradients_reach_the_mask_and_stop_at_a_closed_one() -> None:
    numbers = random_batch(0)
    closed = numbers.tokens.reward_weight.copy()
    where = np.argwhere(numbers.tokens.mask[0, 0] > 0)[0, 0]
    closed[0, 0, where] = 0
    batch = as_torch(replace(numbers, tokens=replace(numbers.tokens, reward_weight=closed)), grad=True)
    tokens = batch.tokens
    mask, logp = torch.autograd.grad(sparse_po(batch).sum(), (tokens.reward_weight, tokens.logp))
    assert (mask[tokens.mask > 0] != 0).all()
    assert (mask[tokens.mask == 0] == 0).all()
    assert logp[0, 0, where] == 0
    assert (logp[1:][tokens.mask[1:] > 0] != 0).all()


# fpo


@seeds
def test_fpo_limits(seed: int) -> None:
    batch = random_batch(seed)
    assert_allclose(fpo(batch, alpha=0.0, beta=5.0), ln_dpo(batch), rtol=1e-12)
    same = replace(batch, features=batch.ref_features)
    assert_allclose(fpo(same, beta=5.0, alpha=3.0), ln_dpo(batch), rtol=1e-12)


def test_fpo_looks_at_the_largest_features_only() -> None:
    numbers = random_batch(0)
    batch = as_torch(numbers, grad=True)
    (slope,) = torch.autograd.grad(fpo(batch, top=2).sum(), batch.features)
    assert (slope[:, 0] == 0).all()  # the chosen side is fixed
    largest = batch.features.detach().argsort(-1, descending=True)[:, 1, :2]
    moved = torch.zeros(6, 5).scatter_(1, largest, 1.0) > 0
    assert ((slope[:, 1] != 0) == moved).all()


# dmpo


def phi(turns: int, gamma: float) -> list[float]:
    """Weights of a response with one token a turn."""
    one = torch.ones(1, 2, turns, dtype=F64)
    logp = torch.zeros(1, 2, turns, dtype=F64, requires_grad=True)
    tokens = Tokens(mask=one, logp=logp, ref_logp=0 * one, turn=one.cumsum(-1) - 1)
    zero = torch.zeros(1, 2, dtype=F64)
    batch = PolicyBatch(logp=zero, length=None, sign=zero + 1, ref_logp=zero, tokens=tokens)
    (slope,) = torch.autograd.grad(dmpo.score(batch, beta=1.0, gamma=gamma).chosen.sum(), logp)
    return slope[0, 0].tolist()


@pytest.mark.parametrize(
    ("gamma", "expected"), [(1.0, [1, 2 / 3, 1 / 3]), (0.5, [1, 0.4286, 0.1429]), (1e-9, [1, 0, 0]), (0.0, [1, 0, 0])]
)
def test_dmpo_turn_weights(gamma: float, expected: list[float]) -> None:
    assert_allclose(phi(3, gamma), expected, atol=5e-5)


@seeds
def test_dmpo_of_one_turn_is_dpo(seed: int) -> None:
    batch = random_batch(seed)
    one_turn = replace(batch, tokens=replace(batch.tokens, turn=0 * batch.tokens.turn))
    assert_allclose(dmpo(one_turn), dpo(batch), rtol=1e-12)


def test_dmpo_environment_tokens_get_no_gradient() -> None:
    batch = as_torch(random_batch(0), grad=True)
    (slope,) = torch.autograd.grad(dmpo(batch).sum(), batch.tokens.logp)
    assert (slope[batch.tokens.mask == 0] == 0).all()


# wpo


def test_wpo_of_a_uniform_policy_is_dpo() -> None:
    batch = random_batch(0)
    uniform = replace(
        batch.tokens, logp=-math.log(9) * batch.tokens.mask, log_collision=-math.log(9) * batch.tokens.mask
    )
    flat = replace(batch, tokens=uniform)
    assert_allclose(wpo(flat, beta=0.1), dpo(flat), rtol=1e-12)


def test_wpo_weight_carries_no_gradient_and_can_be_clipped() -> None:
    batch = as_torch(random_batch(0), grad=True)
    whole, each = torch.autograd.grad(wpo(batch).sum(), (batch.logp, batch.tokens.logp), allow_unused=True)
    assert each is None
    assert (whole != 0).all()
    greedy = replace(batch.tokens, logp=0 * batch.tokens.logp)
    greedier = replace(batch, tokens=greedy)
    assert (wpo(greedier) > dpo(greedier, beta=0.01)).all()
    assert_allclose(wpo(greedier, clip=True).detach(), dpo(greedier, beta=0.01).detach(), rtol=1e-12)


def test_wpo_weight_written_out() -> None:
    rng = np.random.default_rng(0)
    p, zero = rng.dirichlet(np.ones(5), size=(1, 2, 3)), np.zeros((1, 2, 3))
    tokens = Tokens(zero + 1, np.log(p[..., 0]), zero, log_collision=np.log((p**2).sum(-1)))
    batch = replace(random_batch(0).rows(slice(0, 1)), tokens=tokens)
    weight = np.exp(np.mean(np.log(p[..., 0] / (p**2).sum(-1)), axis=-1)).prod()
    assert_allclose(wpo(batch) / dpo(batch, beta=0.01), weight, rtol=1e-12)
    assert_allclose(on_policy(find("ipo"))(batch) / find("ipo")(batch), weight, rtol=1e-12)


# rise: hard pairs made by editing differ from their source in one span


def test_rise_common_prefix_cancels_in_the_margin() -> None:
    """Identical tokens before the edit have identical log-ratios, so their policy may be anything."""
    batch = random_batch(0)
    prefix = np.array([[[-1.3, 0.4]]])
    shared = {n: np.concatenate((np.broadcast_to(prefix, (6, 2, 2)), getattr(batch.tokens, n)), 2) for n in ("logp",)}
    rest = {n: np.concatenate((np.zeros((6, 2, 2)), getattr(batch.tokens, n)), 2) for n in ("ref_logp",)}
    logp, ref = shared["logp"].sum(-1), rest["ref_logp"].sum(-1)
    assert_allclose(dpo(replace(batch, logp=logp, ref_logp=ref)), dpo(batch), rtol=1e-12)
