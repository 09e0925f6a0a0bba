"""What the methods' papers say must hold: golden numbers, identities, optima. Names carry the objective's key."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bandit import optimum, tilted
from batches import F64, as_torch, columns, pair, random_batch, tensor
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

from pluralign.objectives import (
    Objective,
    PolicyBatch,
    bco,
    catalogue,
    cdpo,
    cpo,
    dpo,
    hinge_norm,
    ipo,
    kto,
    nll_augmented,
    orpo,
    rdpo,
    sft,
    simpo,
    slic,
)

REWARD = np.array([1.0, 0.2, -0.5, 0.0])
REFERENCE = np.array([0.1, 0.2, 0.3, 0.4])
H = [(0.0, 0.0), (1.5, -2.0), (-30.0, 4.0), (7.0, 11.0)]


def value(objective: Objective, batch: PolicyBatch, **options: object) -> float:
    return float(objective(batch, **options)[0])


def gradient(objective: Objective, chosen: float, rejected: float, **options: object) -> tuple[float, float]:
    h_w, h_l = tensor(chosen, grad=True), tensor(rejected, grad=True)
    one = tensor(1.0)
    loss = objective(PolicyBatch.from_pairs(h_w, h_l, 0 * one, 0 * one, one, one), **options).sum()
    return tuple(g.item() for g in torch.autograd.grad(loss, (h_w, h_l)))


def best_margin(loss) -> float:
    return minimize_scalar(loss, bounds=(-40, 40), method="bounded", options={"xatol": 1e-9}).x


def softplus(z: float) -> float:
    return math.log1p(math.exp(-abs(z))) + max(z, 0.0)


# sft


@pytest.mark.parametrize("reference", [REFERENCE, REFERENCE[::-1].copy()], ids=["one", "another"])
def test_sft_optimum_is_the_chosen_distribution_whatever_the_reference(reference: np.ndarray) -> None:
    beats = 1 / (1 + np.exp(REWARD[None, :] - REWARD[:, None]))
    np.fill_diagonal(beats, 0)
    assert_allclose(optimum(sft, REWARD, reference), beats.sum(1) / beats.sum(), atol=1e-8)


def test_sft_is_the_mean_over_tokens_of_the_batch() -> None:
    batch = PolicyBatch.from_unpaired(tensor(-6.0, -1.0), torch.tensor([True, True]), length=tensor(4, 1))
    assert_allclose(batch.mean(sft(batch)), 7 / 5)


# dpo


def test_dpo_at_the_reference_is_log_two_with_no_margin() -> None:
    batch = pair(0.0, 0.0)
    score = dpo.score(batch)
    assert value(dpo, batch) == math.log(2)
    assert (score.chosen - score.rejected).item() == 0


@pytest.mark.parametrize(("h_w", "h_l"), H)
def test_dpo_gradient_weight(h_w: float, h_l: float) -> None:
    beta = 0.3
    expected = beta / (1 + math.exp(beta * (h_w - h_l)))
    assert_allclose(gradient(dpo, h_w, h_l, beta=beta), (-expected, expected), rtol=1e-12)


def test_dpo_bandit_optimum_is_the_tilted_reference() -> None:
    assert_allclose(optimum(dpo, REWARD, REFERENCE, beta=0.5), tilted(REWARD, REFERENCE, 0.5), atol=1e-8)


def test_dpo_pushes_the_rejected_down_harder_in_probability() -> None:
    pi = tensor(0.05, 0.2, grad=True)
    loss = dpo(PolicyBatch.from_pairs(pi[:1].log(), pi[1:].log(), tensor(-1), tensor(-2)))
    (slope,) = torch.autograd.grad(loss.sum(), pi)
    assert_allclose(slope[1] / slope[0], -0.05 / 0.2, rtol=1e-12)


# cdpo, rdpo


@pytest.mark.parametrize("objective", [cdpo, rdpo], ids=["cdpo", "rdpo"])
@pytest.mark.parametrize(("h_w", "h_l"), H)
def test_without_noise_it_is_dpo(objective: Objective, h_w: float, h_l: float) -> None:
    batch = pair(h_w, h_l)
    assert_allclose(value(objective, batch, label_smoothing=0.0), value(dpo, batch), rtol=1e-14)


def test_cdpo_optimal_margin_and_its_loss() -> None:
    def loss(z: float) -> float:
        return value(cdpo, pair(z, 0.0), beta=1.0, label_smoothing=0.1)

    best = best_margin(loss)
    assert_allclose(best, 2.19722, atol=5e-6)
    assert_allclose(loss(best), 0.32508, atol=5e-6)


@pytest.mark.parametrize(("h_w", "h_l"), H)
@pytest.mark.parametrize("eps", [0.05, 0.3, 0.49])
def test_rdpo_over_flips_is_dpo_on_clean_labels(h_w: float, h_l: float, eps: float) -> None:
    right, wrong = (value(rdpo, pair(*h), label_smoothing=eps) for h in [(h_w, h_l), (h_l, h_w)])
    assert_allclose((1 - eps) * right + eps * wrong, value(dpo, pair(h_w, h_l)), rtol=1e-10, atol=1e-12)


def test_rdpo_has_no_lower_bound() -> None:
    assert_allclose(value(rdpo, pair(50.0, 0.0), beta=1.0, label_smoothing=0.1), -6.25, atol=1e-12)
    slope, _ = gradient(rdpo, 500.0, 0.0, beta=0.2, label_smoothing=0.1)
    assert_allclose(slope, -0.1 * 0.2 / (1 - 0.2), rtol=1e-12)


def test_rdpo_finds_the_clean_optimum_that_dpo_and_cdpo_shrink() -> None:
    clean = tilted(REWARD, REFERENCE, 0.5)
    noisy = {
        objective.name: optimum(objective, REWARD, REFERENCE, flip_rate=0.3, beta=0.5, **options)
        for objective, options in [(rdpo, {"label_smoothing": 0.3}), (dpo, {}), (cdpo, {"label_smoothing": 0.3})]
    }
    assert_allclose(noisy["rdpo"], clean, atol=1e-7)
    # How far the best response is lifted over the reference, relative to the worst.
    lift = {name: math.log(p[0] / p[2] / (REFERENCE[0] / REFERENCE[2])) for name, p in noisy.items()}
    assert lift["cdpo"] < lift["dpo"] < 0.5 * lift["rdpo"]


# ipo


def test_ipo_optimal_margin() -> None:
    assert_allclose(best_margin(lambda z: value(ipo, pair(z, 0.0), beta=0.1)), 5.0, atol=1e-6)
    said = tensor(0.8)
    assert_allclose(
        best_margin(lambda z: value(ipo, pair(z, 0.0, probability=said), beta=0.1)), (2 * 0.8 - 1) / 0.2, atol=1e-6
    )


def test_ipo_per_sequence_is_the_squared_loss_of_the_scaled_margin() -> None:
    tau, margin = 0.3, 2.5
    expected = (2 * tau * margin - 1) ** 2 / (2 * tau) ** 2
    assert_allclose(value(ipo, pair(4.0, 1.5), beta=tau, per="sequence"), expected, rtol=1e-12)


@pytest.mark.parametrize(("per", "changes"), [("token", False), ("sequence", True)])
def test_ipo_on_a_response_said_twice(per: str, changes: bool) -> None:
    once, twice = pair(-3.0, -4.0, length=(3, 2)), pair(-6.0, -4.0, length=(6, 2))
    assert (value(ipo, once, per=per) != pytest.approx(value(ipo, twice, per=per), abs=1e-12)) is changes


# slic, hinge_norm


@pytest.mark.parametrize("margin", [10.0, 10.5, 400.0])
def test_slic_hinge_norm_is_silent_once_the_margin_is_reached(margin: float) -> None:
    assert value(hinge_norm, pair(margin, 0.0), beta=0.1) == 0
    assert gradient(hinge_norm, margin, 0.0, beta=0.1) == (0, 0)


@pytest.mark.parametrize("margin", [9.9, 0.0, -50.0])
def test_slic_hinge_norm_has_a_constant_gradient_below(margin: float) -> None:
    assert_allclose(value(hinge_norm, pair(margin, 0.0), beta=0.1), 1 - 0.1 * margin, rtol=1e-12)
    assert_allclose(gradient(hinge_norm, margin, 0.0, beta=0.1), (-0.1, 0.1))


def test_slic_is_a_hinge_on_likelihoods_with_an_anchor() -> None:
    assert_allclose(value(slic, pair(-3.0, -2.5), delta=1.0, sft_weight=0.1), 1.5 + 0.3)
    assert gradient(slic, -2.0, -3.0, delta=1.0, sft_weight=0.0) == (0, 0)
    assert_allclose(gradient(slic, -3.0, -2.5, delta=1.0, sft_weight=0.1), (-1.1, 1.0))


# kto


def kto_batch(h: list[float], good: list[bool], z0: float = 0.0, **rest: object) -> PolicyBatch:
    return PolicyBatch.from_unpaired(
        tensor(*h), torch.tensor(good), ref_logp=tensor(*[0] * len(h)), mismatched_log_ratio=tensor(z0), **rest
    )


@pytest.mark.parametrize("good", [True, False])
def test_kto_with_one_class_only(good: bool) -> None:
    losses = kto(kto_batch([1.0, -2.0], [good, good], z0=0.5))
    assert torch.isfinite(losses).all()


def test_kto_equation() -> None:
    losses = kto(kto_batch([2.0, -1.0], [True, False], z0=0.5), beta=0.4, desirable_weight=1.3, undesirable_weight=0.7)
    expected = [1.3 * (1 - 1 / (1 + math.exp(-0.4 * 1.5))), 0.7 * (1 - 1 / (1 + math.exp(-0.4 * 1.5)))]
    assert_allclose(losses, expected, rtol=1e-12)


def test_kto_reference_point_is_never_negative() -> None:
    assert_allclose(kto(kto_batch([2.0], [True], z0=-3.0)), kto(kto_batch([2.0], [True], z0=0.0)))


@pytest.mark.parametrize(("h_w", "h_l"), H)
def test_kto_without_a_reference_point_is_apo_zero(h_w: float, h_l: float) -> None:
    loss = value(kto, pair(h_w, h_l, mismatched_log_ratio=tensor(0.0)), beta=0.1)
    good, bad = 1 - 1 / (1 + math.exp(-0.1 * h_w)), 1 / (1 + math.exp(-0.1 * h_l))
    assert_allclose(2 * loss, good + bad, rtol=1e-12)  # a pair is two rows, each half of its mean


@pytest.mark.parametrize("h", [-1e4, -3.0, 0.0, 3.0, 1e4])
@pytest.mark.parametrize("good", [True, False])
def test_kto_loss_is_between_zero_and_its_weight(h: float, good: bool) -> None:
    assert 0 <= kto(kto_batch([h], [good]), desirable_weight=2.0, undesirable_weight=2.0).item() <= 2


def test_kto_three_times_the_bad_rows_at_a_third_of_the_weight() -> None:
    def total_gradient(copies: int, weight: float) -> list[float]:
        h = tensor(0.4, -1.1, grad=True)
        rows = torch.tensor([0] + [1] * copies)
        batch = PolicyBatch.from_unpaired(h[rows], rows == 0, 0 * h.detach()[rows], mismatched_log_ratio=tensor(0.2))
        return torch.autograd.grad(kto(batch, undesirable_weight=weight).sum(), h)[0].tolist()

    assert_allclose(total_gradient(3, 1 / 3), total_gradient(1, 1.0), rtol=1e-12)


# bco


@pytest.mark.parametrize("seed", range(20))
def test_bco_pair_form_bounds_dpo_from_above(seed: int) -> None:
    batch = random_batch(seed, reward_shift=0.0)
    assert (bco(batch, beta=0.7) >= dpo(batch, beta=0.7)).all()


def test_bco_pair_form_equation() -> None:
    expected = softplus(-(0.5 * 3.0 - 0.2)) + softplus(0.5 * -1.0 - 0.2)
    assert_allclose(value(bco, pair(3.0, -1.0, reward_shift=0.2), beta=0.5), expected, rtol=1e-12)


def test_bco_each_class_has_weight_one() -> None:
    batch = PolicyBatch.from_unpaired(
        tensor(1.0, 2.0, -1.0), torch.tensor([True, True, False]), tensor(0, 0, 0), reward_shift=tensor(0.3)[0]
    )
    expected = (softplus(0.3 - 1.0) + softplus(0.3 - 2.0)) / 2 + softplus(-1.0 - 0.3)
    assert_allclose(batch.mean(bco(batch, beta=1.0)), expected, rtol=1e-12)


def test_bco_bandit_optimum_orders_responses_by_reward() -> None:
    lift = optimum(bco, REWARD, REFERENCE, beta=1.0) / REFERENCE
    assert (np.argsort(lift) == np.argsort(REWARD)).all()


# cpo, simpo


def test_cpo_without_nll_is_dpo_with_a_uniform_reference() -> None:
    for h_w, h_l in H:
        assert_allclose(gradient(cpo, h_w, h_l, alpha=0.0), gradient(dpo, h_w, h_l), rtol=1e-12)
    uniform = np.full(4, 0.25)
    assert_allclose(optimum(cpo, REWARD, REFERENCE, beta=0.5, alpha=0.0), tilted(REWARD, uniform, 0.5), atol=1e-8)


def test_cpo_adds_the_nll_of_the_chosen() -> None:
    batch = pair(-3.0, -4.0, length=(3, 2))
    assert_allclose(value(cpo, batch, beta=0.1, alpha=0.5), softplus(-0.1) + 0.5 * 1.0, rtol=1e-12)


def test_simpo_on_responses_said_twice() -> None:
    once, twice = pair(-3.0, -4.0, length=(3, 2)), pair(-6.0, -8.0, length=(6, 4))
    assert_allclose(value(simpo, once), value(simpo, twice), rtol=1e-14)


def test_simpo_looks_at_no_reference() -> None:
    batch = random_batch(0)
    other = random_batch(0, ref_logp=random_batch(1).ref_logp)
    assert (simpo(batch) == simpo(other)).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.6])
def test_simpo_loss_of_equals(gamma: float) -> None:
    assert_allclose(value(simpo, pair(-2.0, -3.0, length=(2, 3)), gamma=gamma), softplus(gamma), rtol=1e-14)


# orpo


def test_orpo_golden_number() -> None:
    batch = pair(math.log(0.6), math.log(0.3))
    assert_allclose(value(orpo, batch, beta=0.7), 0.686746, atol=5e-7)


def test_orpo_without_preference_is_sft() -> None:
    batch = random_batch(3)
    assert_allclose(orpo(batch, beta=0.0), sft(batch))


def test_orpo_nll_over_prompt_and_response() -> None:
    batch = pair(-3.0, -4.0, length=(3, 2), prompt_logp=tensor(-5.0), prompt_length=tensor(2))
    assert_allclose(value(orpo, batch, beta=0.0, nll_over="prompt and response"), 8 / 5)


@pytest.mark.parametrize("mean_logp", [-1e-6, -50.0, 0.0])
def test_orpo_score_is_finite_at_the_ends(mean_logp: float) -> None:
    logp = torch.full((1,), mean_logp, dtype=F64, requires_grad=True)
    one = torch.ones(1, dtype=F64)
    loss = orpo(PolicyBatch.from_pairs(logp, logp - 1, chosen_length=one, rejected_length=one)).sum()
    assert torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss, logp)[0]).all()


# nll_augmented


def test_nll_augmented_without_nll_is_dpo() -> None:
    batch = random_batch(5)
    assert_allclose(nll_augmented(batch, alpha=0.0), dpo(batch))


def test_nll_augmented_keeps_the_chosen_likely_where_dpo_does_not() -> None:
    """Two near-duplicates and a stranger: the direction that tells the two apart feeds the stranger."""
    features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, -2.0]], dtype=F64)
    reference = torch.log_softmax(torch.zeros(3, dtype=F64), 0)
    one = tensor(1.0)

    def chosen_logp_after(objective: Objective) -> float:
        theta = torch.zeros(2, dtype=F64, requires_grad=True)
        for _ in range(300):
            logp = torch.log_softmax(features @ theta, 0)
            batch = PolicyBatch.from_pairs(logp[:1], logp[1:2], reference[:1], reference[1:2], one, one)
            (slope,) = torch.autograd.grad(objective(batch, beta=1.0).sum(), theta)
            theta = (theta - 0.5 * slope).detach().requires_grad_()
        return torch.log_softmax(features @ theta, 0)[0].item()

    start = reference[0].item()
    assert chosen_logp_after(dpo) < start - 0.1
    assert chosen_logp_after(nll_augmented) > start + 0.1


# all


NOT_AT_ONCE = {
    "apo_down": "pushes the preferred response down once the two are apart",
    "discopop": "is not convex: the slope at the reference points the wrong way",
    "sft": "does not look at the rejected response",
    "sft_fdiv": "does not look at the rejected response",
    "rationale": "learns from another text",
    "rrhf": "is silent on pairs in order",
    "dove": "has its scores in joint_logp",
}


AT_ONCE = [o for o in catalogue().values() if o.name not in NOT_AT_ONCE]


@pytest.mark.parametrize("objective", AT_ONCE, ids=lambda o: o.name)
def test_it_raises_the_best_and_lowers_the_worst(objective: Objective) -> None:
    """Near the reference, along the log-probs of all tokens of a response at once."""
    for k in columns(objective):
        numbers = random_batch(7, responses=k, uniform=None)
        near = replace(numbers, logp=numbers.ref_logp + 0.01 * numbers.sign)
        near = replace(near, tokens=replace(near.tokens, logp=near.tokens.ref_logp))
        if "rejected_share" in objective.options.model_fields or "rejected_beta" in objective.options.model_fields:
            near = replace(near, rating=np.array([[1.0, 0.0]] * 6))
        batch = as_torch(near, grad=True)
        loss = batch.mean(objective(batch))
        whole, each = torch.autograd.grad(
            loss, (batch.logp, batch.tokens.logp), allow_unused=True, materialize_grads=True
        )
        slope = whole + each.sum(-1)
        good, bad = (slope[batch.sign > 0], slope[batch.sign < 0]) if k == 1 else (slope[:, 0], slope[:, -1])
        if objective.name == "tpo":
            good = slope[:, 1]
        if objective.name == "mapl" and k == 4:
            bad = slope[:, 1]
        assert (good < 0).all()
        assert (bad >= 0).all()
        assert (bad > 0).any()
