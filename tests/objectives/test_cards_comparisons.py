"""Cards of other comparison functions on DPO's score. Names carry the objective's key."""

import math

import numpy as np
import pytest
import torch
from bandit import optimum, tilted
from batches import F64, pair, random_batch, ranking, tensor
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from pluralign.objectives import (
    PolicyBatch,
    apo_down,
    apo_zero,
    cal_dpo,
    discopop,
    dpo,
    dpo_shift,
    dpop,
    exo,
    f_dpo,
    flex_dpo,
    gpo,
    hinge_norm,
    ipo,
    kto,
    mappo,
    nca,
    sppo_hard,
)  # fmt: skip

REWARD = np.array([1.0, 0.2, -0.5, 0.0])
REFERENCE = np.array([0.1, 0.2, 0.3, 0.4])
H = [(0.0, 0.0), (1.5, -2.0), (-3.0, 4.0), (7.0, 11.0)]


def value(objective, batch, **options) -> float:
    return float(objective(batch, **options)[0])


def gradient(objective, chosen: float, rejected: float, row=None, **options) -> tuple[float, float]:
    h_w, h_l = tensor(chosen, grad=True), tensor(rejected, grad=True)
    one = tensor(1.0)
    batch = PolicyBatch.from_pairs(h_w, h_l, 0 * one, 0 * one, one, one, **(row or {}))
    return tuple(g.item() for g in torch.autograd.grad(objective(batch, **options).sum(), (h_w, h_l)))


def best(objective, **options) -> np.ndarray:
    """(h_w, h_l) of least loss."""

    def loss(h: np.ndarray) -> tuple[float, np.ndarray]:
        slope = np.array(gradient(objective, *h, **options))
        return value(objective, pair(*h), **options), slope

    return minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-12}).x


# gpo


@pytest.mark.parametrize(
    ("loss", "at_zero"),
    [("logistic", 0.6931), ("hinge", 1), ("squared", 1), ("exponential", 1), ("squared_hinge", 1), ("savage", 0.25)],
)
def test_gpo_members_fall_at_zero(loss: str, at_zero: float) -> None:
    assert_allclose(value(gpo, pair(0.0, 0.0), loss=loss), at_zero, atol=5e-5)
    up, down = gradient(gpo, 0.0, 0.0, loss=loss)
    assert up < 0 < down


@pytest.mark.parametrize(("h_w", "h_l"), H)
def test_gpo_members_are_dpo_hinge_and_ipo(h_w: float, h_l: float) -> None:
    batch = pair(h_w, h_l)
    assert_allclose(value(gpo, batch, loss="logistic", beta=0.3), value(dpo, batch, beta=0.3))
    assert_allclose(value(gpo, batch, loss="hinge", beta=0.3), value(hinge_norm, batch, beta=0.3))
    scaled = 0.6**2 / 4 * 4 * value(ipo, batch, beta=0.3, per="sequence")
    assert_allclose(value(gpo, batch, loss="squared", beta=0.6), scaled, rtol=1e-12)


# f_dpo


@pytest.mark.parametrize(("h_w", "h_l"), H)
def test_f_dpo_limits(h_w: float, h_l: float) -> None:
    batch = pair(h_w, h_l)
    assert_allclose(value(f_dpo, batch, divergence="reverse_kl"), value(dpo, batch), rtol=1e-14)
    assert_allclose(value(f_dpo, batch, divergence="alpha", alpha=1e-7), value(dpo, batch), rtol=1e-5)
    near_one = value(f_dpo, batch, divergence="alpha", alpha=1 - 1e-9)
    assert_allclose(near_one, value(f_dpo, batch, divergence="forward_kl"), rtol=1e-6)


@pytest.mark.parametrize(
    ("divergence", "derivative"),
    [
        ("jensen_shannon", lambda u: np.log(2 * u / (1 + u))),
        ("forward_kl", lambda u: -1 / u),
        ("alpha", lambda u: (1 - u**-0.5) / 0.5),
    ],
)
def test_f_dpo_bandit_recovers_the_reward(divergence: str, derivative) -> None:
    """At the optimum, beta * f'(pi / pi_ref) is the reward up to a constant."""
    fitted = optimum(f_dpo, REWARD, REFERENCE, beta=1.0, divergence=divergence)
    found = derivative(fitted / REFERENCE)
    assert_allclose(found - found.mean(), REWARD - REWARD.mean(), atol=1e-6)


def test_f_dpo_is_finite_where_the_exponent_is_not() -> None:
    for divergence in ("forward_kl", "alpha"):
        batch = PolicyBatch.from_pairs(*(torch.tensor([v], requires_grad=v == -500.0) for v in (-500.0, 0.0, 0.0, 0.0)))
        assert torch.isfinite(f_dpo(batch, divergence=divergence)).all()


# exo, nca (pairs)


def test_exo_golden_numbers() -> None:
    assert_allclose(value(exo, pair(0.0, 0.0)), 2.76123, atol=5e-6)
    margin = math.log(0.999 / 0.001)
    assert_allclose(margin, 6.9068, atol=5e-5)
    assert_allclose(value(exo, pair(margin, 0.0), beta=1.0), 0.0, atol=1e-12)
    assert_allclose(gradient(exo, margin, 0.0, beta=1.0), (0, 0), atol=1e-12)


def test_nca_pair_optimum_keeps_the_chosen_above_the_reference() -> None:
    def loss(h: np.ndarray) -> float:
        return value(nca, pair(h[0], -50.0), beta=1.0)

    assert_allclose(minimize(loss, [0.0], tol=1e-12).x, math.log(2), atol=1e-6)
    expected = math.log1p(math.exp(-1.2)) + 0.5 * math.log1p(math.exp(1.2)) + 0.5 * math.log1p(math.exp(-0.4))
    assert_allclose(value(nca, pair(1.2, -0.4), beta=1.0), expected, rtol=1e-12)


# apo


@pytest.mark.parametrize(("h_w", "h_l"), H)
def test_apo_zero_is_kto_without_a_reference_point(h_w: float, h_l: float) -> None:
    batch = pair(h_w, h_l, mismatched_log_ratio=tensor(0.0))
    assert_allclose(value(apo_zero, batch), 2 * value(kto, batch), rtol=1e-12)
    assert 0 <= value(apo_zero, batch) <= 2
    singles = PolicyBatch.from_unpaired(tensor(h_w, h_l), torch.tensor([True, False]), tensor(0, 0))
    assert_allclose(apo_zero(singles).sum(), value(apo_zero, batch), rtol=1e-12)


def test_apo_down_slopes() -> None:
    beta = 0.1
    assert_allclose(gradient(apo_down, 0.0, 0.0, beta=beta), (0, 0.25 * beta), atol=1e-15)
    assert_allclose(gradient(apo_down, 0.0, -1 / beta, beta=beta)[0], 0.0534 * beta, atol=5e-6)


# discopop


def test_discopop_golden_numbers() -> None:
    for z, expected in ((0.0, 0.846574), (-0.1, 0.7874), (0.05, 0.8752)):
        assert_allclose(value(discopop, pair(z, 0.0), beta=1.0), expected, atol=5e-5 if z else 5e-7)


@pytest.mark.parametrize(("h_w", "h_l"), H)
def test_discopop_limits(h_w: float, h_l: float) -> None:
    z = 0.05 * (h_w - h_l)
    mean = (math.log1p(math.exp(-z)) + math.exp(-z)) / 2
    assert_allclose(value(discopop, pair(h_w, h_l), discopop_tau=1e9), mean, rtol=1e-9)
    assert_allclose(value(discopop, pair(-200.0, 0.0)), math.log1p(math.exp(10)), rtol=1e-6)


# sppo_hard, cal_dpo


def test_sppo_hard_optimum() -> None:
    assert_allclose(best(sppo_hard, beta=0.1), (5, -5), atol=1e-8)
    soft = pair(0.0, 0.0, probability=tensor(0.5))
    assert_allclose(torch.autograd.grad(sppo_hard(grad_pair(soft), beta=0.1).sum(), [SOFT[0]])[0], 0, atol=1e-12)


SOFT: list[torch.Tensor] = []


def grad_pair(batch: PolicyBatch) -> PolicyBatch:
    SOFT[:] = [batch.logp.clone().requires_grad_()]
    return PolicyBatch(**{**vars(batch), "logp": SOFT[0]})


def test_cal_dpo_optimum_and_limits() -> None:
    assert_allclose(best(cal_dpo, beta=0.1, calibration=1.0), (5.00001, -5.00001), atol=6e-5)
    batch = pair(1.0, -2.0)
    assert_allclose(value(cal_dpo, batch, calibration=0.0), value(dpo, batch, beta=1.0), rtol=1e-14)
    extra = value(cal_dpo, batch, beta=0.1) - value(dpo, batch, beta=1.0)
    assert_allclose(extra, value(sppo_hard, batch, beta=0.1), rtol=1e-12)


# dpop


@pytest.mark.parametrize(("h_w", "h_l"), H)
def test_dpop_is_dpo_while_the_chosen_is_likely(h_w: float, h_l: float) -> None:
    batch = pair(h_w, h_l)
    assert_allclose(value(dpop, batch, beta=0.1, penalty=0.0), value(dpo, batch))
    same = math.isclose(value(dpop, batch, beta=0.1), value(dpo, batch))
    assert same is (h_w >= 0)


def test_dpop_pulls_back_harder_than_it_pushes_away() -> None:
    up, down = gradient(dpop, -0.3, 0.1, penalty=4.0)
    assert_allclose(up / down, -(1 + 4.0), rtol=1e-12)


def test_dpop_keeps_later_shared_tokens_likely_where_dpo_does_not() -> None:
    """Two responses that differ in one early token; a logit shared by the rest is what dpo sacrifices."""

    def shared_logp_after(objective) -> float:
        theta = torch.zeros(2, dtype=F64, requires_grad=True)
        start = torch.zeros(1, dtype=F64)
        for _ in range(200):
            # The rest of the text is more likely after the rejected token, and both move together.
            rest = 3 * torch.nn.functional.logsigmoid(theta[:1]) - 3 * math.log(0.5)
            early = torch.nn.functional.logsigmoid(theta[1:]) - math.log(0.5)
            other = torch.nn.functional.logsigmoid(-theta[1:]) - math.log(0.5)
            batch = PolicyBatch.from_pairs(early + rest, other + 1.5 * rest, start, start)
            (slope,) = torch.autograd.grad(objective(batch, beta=0.3).sum(), theta)
            theta = (theta - 0.2 * slope).detach().requires_grad_()
        return theta[0].item()

    assert shared_logp_after(dpo) < -0.2
    assert shared_logp_after(dpop) > -0.05


# dpo_shift, flex_dpo, mappo


@pytest.mark.parametrize("share", [0.3, 0.75, 1.0])
def test_dpo_shift_slopes(share: float) -> None:
    up, down = gradient(dpo_shift, 0.4, -0.2, rejected_share=share)
    assert_allclose(down / -up, share, rtol=1e-12)
    batch = random_batch(0)
    assert_allclose(dpo_shift(batch, rejected_share=share), flex_dpo(batch, rejected_beta=share * 0.1), rtol=1e-12)
    if share == 1:
        assert_allclose(dpo_shift(batch, rejected_share=share), dpo(batch), rtol=1e-12)


def test_dpo_shift_schedule() -> None:
    for progress, share in ((0.0, 0.5), (0.5, 0.75), (1.0, 1.0)):
        moving = dpo_shift(random_batch(0, progress=progress), rejected_share=0.5, final_share=1.0)
        assert_allclose(moving, dpo_shift(random_batch(0), rejected_share=share), rtol=1e-12)


FEATURES = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, -2.0]], dtype=F64)
"""Two near-duplicates and a stranger: the direction that tells the two apart feeds the stranger."""


def trained(objective, **options) -> torch.Tensor:
    """Log-probs of chosen, rejected and a response nobody judged, after training on the one pair."""
    theta, reference = torch.zeros(2, dtype=F64, requires_grad=True), torch.log_softmax(torch.zeros(3, dtype=F64), 0)
    for _ in range(300):
        logp = torch.log_softmax(FEATURES @ theta, 0)
        batch = PolicyBatch.from_pairs(logp[:1], logp[1:2], reference[:1], reference[1:2])
        (slope,) = torch.autograd.grad(objective(batch, **options).sum(), theta)
        theta = (theta - 0.5 * slope).detach().requires_grad_()
    return torch.log_softmax(FEATURES @ theta, 0).detach()


def test_dpo_shift_trades_margin_for_likelihood() -> None:
    """Where responses share features. (With free logits, smaller lambda costs margin and gains no likelihood.)"""
    found = [trained(dpo_shift, beta=1.0, rejected_share=share) for share in (0.3, 0.6, 0.8, 1.0)]
    chosen, margin = [p[0].item() for p in found], [(p[0] - p[1]).item() for p in found]
    assert chosen == sorted(chosen, reverse=True)
    assert margin == sorted(margin)


def test_flex_dpo_with_equal_betas_is_dpo() -> None:
    batch = random_batch(1)
    assert_allclose(flex_dpo(batch, beta=0.2, rejected_beta=0.2), dpo(batch, beta=0.2), rtol=1e-12)


def test_flex_dpo_probability_slopes() -> None:
    pi = tensor(0.3, 0.05, grad=True)
    loss = flex_dpo(PolicyBatch.from_pairs(pi[:1].log(), pi[1:].log(), tensor(-1), tensor(-2)), rejected_beta=0.1)
    (slope,) = torch.autograd.grad(loss.sum(), pi)
    assert_allclose(slope[1] / slope[0], -6.0, rtol=1e-12)


def test_flex_dpo_spreads_less_mass_over_the_unseen() -> None:
    unseen = [trained(flex_dpo, beta=1.0, rejected_beta=beta)[2].exp().item() for beta in (0.1, 0.3, 0.6, 1.0)]
    assert unseen == sorted(unseen)
    assert unseen[-1] > 1 / 3 > unseen[0]  # dpo adds to what nobody judged


@pytest.mark.parametrize(("h_w", "h_l"), H)
def test_mappo_gaps(h_w: float, h_l: float) -> None:
    full, none = ranking(h_w, h_l, rating=(1.0, 0.0)), ranking(h_w, h_l, rating=(0.5, 0.5))
    assert_allclose(value(mappo, full), value(dpo, full), rtol=1e-12)
    assert_allclose(value(mappo, none), math.log1p(math.exp(-0.1 * h_w)), rtol=1e-12)
    some = ranking(h_w, h_l, rating=(0.9, 0.2))
    assert_allclose(value(mappo, some), value(dpo_shift, some, rejected_share=0.7), rtol=1e-12)


def test_mappo_hardly_moves_the_rejected_of_a_near_tie() -> None:
    rating = {"rating": torch.tensor([[0.52, 0.5]], dtype=F64)}
    up, down = gradient(mappo, 0.0, 0.0, row=rating)
    assert abs(down) < 0.03 * abs(up)


def test_every_reference_bandit_keeps_dpo_where_it_should() -> None:
    """gpo logistic, f_dpo reverse KL, flex and shift at their neutral settings all give dpo's optimum."""
    expected = tilted(REWARD, REFERENCE, 0.5)
    for objective, options in (
        (gpo, {"loss": "logistic"}),
        (f_dpo, {"divergence": "reverse_kl"}),
        (flex_dpo, {"rejected_beta": 0.5}),
        (dpo_shift, {"rejected_share": 1.0}),
    ):
        assert_allclose(optimum(objective, REWARD, REFERENCE, beta=0.5, **options), expected, atol=1e-8)


def test_f_dpo_calibration_differs_by_divergence() -> None:
    """At reverse KL's optimum every other divergence says other chances than the true ones."""
    reward, reference = np.array([1.0, 0.0, -1.0]), np.array([0.2, 0.3, 0.5])
    policy = tilted(reward, reference, 0.5)
    u = policy / reference
    truth = 1 / (1 + np.exp(reward[None, :] - reward[:, None]))
    errors = {}
    for name, g in {
        "reverse_kl": np.log(u),
        "forward_kl": -1 / u,
        "jensen_shannon": np.log(2 * u / (1 + u)),
        "alpha": (1 - u**-0.5) / 0.5,
    }.items():
        said = 1 / (1 + np.exp(-0.5 * (g[:, None] - g[None, :])))
        errors[name] = float(np.abs(said - truth).mean())
    assert errors["reverse_kl"] < 1e-12
    assert len({round(e, 3) for e in errors.values()}) == 4
