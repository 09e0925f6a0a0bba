"""Cards of losses over a whole step, several objectives or prompts, mixtures, unpaired and reference-free forms.

Names carry the objective's key.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bandit import tilted
from batches import F64, as_torch, leaves, pair, random_batch, tensor, with_leaves
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from pluralign.errors import OptionError
from pluralign.objectives import (
    PolicyBatch,
    Running,
    Tokens,
    alpha_dpo,
    alphapo,
    aot,
    aot_unpaired,
    bco,
    beta_dpo,
    c3po,
    cdpo,
    dove,
    dpo,
    mapl,
    modpo,
    mpo_mixed,
    napo,
    pmpo,
    rationale,
    rationale_dpo,
    rpo_relative,
    sft,
    sft_fdiv,
    simper,
    simpo,
    spo_selfsup,
    spo_seq,
)  # fmt: skip

seeds = pytest.mark.parametrize("seed", range(5))


def softplus(z: float) -> float:
    return float(np.logaddexp(0, z))


# aot


@seeds
def test_aot_of_one_pair_is_dpo(seed: int) -> None:
    for i in range(6):
        row = random_batch(seed).rows(slice(i, i + 1))
        for objective in (aot, aot_unpaired):
            assert_allclose(objective(row, beta=0.1), dpo(row), rtol=1e-12)
            assert_allclose(objective(row, beta=0.1, label_smoothing=0.2), cdpo(row, label_smoothing=0.2), rtol=1e-12)


@seeds
def test_aot_does_not_care_in_which_order_pairs_come(seed: int) -> None:
    batch, order = random_batch(seed), np.random.default_rng(seed).permutation(6)
    for objective in (aot, aot_unpaired):
        assert_allclose(objective(batch.rows(order)).mean(), objective(batch).mean(), rtol=1e-12)
    mixed = replace(batch, logp=np.stack((batch.logp[:, 0], batch.logp[order, 1]), 1),
                    ref_logp=np.stack((batch.ref_logp[:, 0], batch.ref_logp[order, 1]), 1))  # fmt: skip
    assert_allclose(aot_unpaired(mixed).mean(), aot_unpaired(batch).mean(), rtol=1e-12)


def test_aot_gradient_is_that_of_matched_ranks() -> None:
    batch = as_torch(random_batch(0), grad=True)
    (slope,) = torch.autograd.grad(aot(batch, beta=0.5).sum(), batch.logp)
    ours = (batch.logp[:, 0] - batch.logp[:, 1]).detach()
    theirs = (batch.ref_logp[:, 0] - batch.ref_logp[:, 1]).sort().values
    expected = torch.empty(6, dtype=F64)
    for rank, row in enumerate(ours.argsort()):
        expected[row] = -0.5 * torch.sigmoid(-0.5 * (ours[row] - theirs[rank]))
    assert_allclose(slope[:, 0], expected, rtol=1e-12)
    assert_allclose(slope[:, 1], -expected, rtol=1e-12)


# rpo_relative


@pytest.mark.parametrize("weighting", ["diagonal", "prompt_similarity"])
def test_rpo_relative_of_one_pair_is_dpo(weighting: str) -> None:
    row = random_batch(0).rows(slice(2, 3))
    assert_allclose(rpo_relative(row, weighting=weighting), dpo(row), rtol=1e-12)


@pytest.mark.parametrize("weighting", ["diagonal", "prompt_similarity"])
def test_rpo_relative_moves_with_its_rows(weighting: str) -> None:
    batch, order = random_batch(1), np.random.default_rng(1).permutation(6)
    there = rpo_relative(batch, weighting=weighting)
    assert_allclose(rpo_relative(batch.rows(order), weighting=weighting), there[order], rtol=1e-12)


def test_rpo_relative_with_sharp_similarity_is_dpo_and_a_constant() -> None:
    """Distinct prompts, temperature to 0: only the diagonal is active, the rest is log 2."""
    batch = random_batch(2)
    losses = rpo_relative(batch, weighting="prompt_similarity", temperature=1e-6)
    assert_allclose(losses, (dpo(batch) + 5 * math.log(2)) / 6, rtol=1e-9)


def test_rpo_relative_written_out() -> None:
    batch = random_batch(3)
    h = 0.1 * (batch.logp - batch.ref_logp)
    z = h[:, None, 0] - h[None, :, 1]
    weight = np.where(np.eye(6) > 0, 0.7 / 6, 0.3 / 30)
    assert_allclose(rpo_relative(batch, diagonal=0.7).mean(), (weight * np.logaddexp(0, -z)).sum(), rtol=1e-12)
    e = batch.prompt_embedding / np.linalg.norm(batch.prompt_embedding, axis=1, keepdims=True)
    omega = np.exp((e @ e.T - 1) / 0.5)
    omega /= omega.sum(1, keepdims=True)
    soft = rpo_relative(batch, weighting="prompt_similarity")
    assert_allclose(soft, np.logaddexp(0, -omega * z).mean(1), rtol=1e-12)


def test_rpo_relative_unpaired_meets_every_good_with_every_bad() -> None:
    h = [0.4, -0.2, 1.0]
    batch = PolicyBatch.from_unpaired(tensor(*h), torch.tensor([True, False, True]), tensor(0, 0, 0))
    expected = (softplus(-0.1 * 0.6) + softplus(-0.1 * 1.2)) / 2
    assert_allclose(batch.mean(rpo_relative(batch)), expected, rtol=1e-12)
    good_only = PolicyBatch.from_unpaired(tensor(*h), torch.tensor([True] * 3), tensor(0, 0, 0))
    assert (rpo_relative(good_only) == 0).all()


# napo


@seeds
def test_napo_between_dpo_and_mean_absolute_error(seed: int) -> None:
    batch = random_batch(seed)
    equal = replace(batch, logp=batch.ref_logp)
    assert_allclose(napo(equal), 0.5, rtol=1e-12)  # margin 0: q = 1, loss 1 - p
    far = replace(batch, logp=batch.ref_logp + np.array([40.0, 0.0]))
    assert_allclose(napo(far, beta=0.01), dpo(far, beta=0.01), rtol=1e-3)


def test_napo_gradient_is_dpo_times_p_to_the_q() -> None:
    batch = as_torch(random_batch(0), grad=True)
    (mine,) = torch.autograd.grad(napo(batch).sum(), batch.logp)
    (plain,) = torch.autograd.grad(dpo(batch).sum(), batch.logp)
    h = (batch.logp - batch.ref_logp).detach()
    margin = h[:, 0] - h[:, 1]
    q = (2 * torch.sigmoid(-margin.mean())).clamp(1e-3, 1)
    assert_allclose(mine, plain * torch.sigmoid(0.1 * margin)[:, None] ** q, rtol=1e-10)


# alpha_dpo


@seeds
def test_alpha_dpo_limits(seed: int) -> None:
    batch = random_batch(seed)
    assert_allclose(alpha_dpo(batch, alpha=0.0, beta=2.0, gamma=1.0), simpo(batch), rtol=1e-12)


def test_alpha_dpo_margin_is_standardised_over_the_step() -> None:
    batch = random_batch(0)
    with_z = alpha_dpo(batch, beta=2.0, gamma=1.0, alpha=0.3)
    back = -np.log(np.expm1(with_z)) + np.log(np.expm1(simpo(batch)))  # how much the margin grew, negated
    z = -back / (2.0 * 0.3)
    assert_allclose(z.mean(), 0, atol=1e-7)
    assert_allclose(z.std(), 1, rtol=1e-6)


def test_alpha_dpo_running_statistics() -> None:
    batch = random_batch(0, running=Running(0.5, 2.0))
    moved = ((batch.logp - batch.ref_logp) / batch.length) @ np.array([1.0, -1.0])
    mean, std = 0.9 * 0.5 + 0.1 * moved.mean(), 0.9 * 2.0 + 0.1 * moved.std()
    z = (moved - mean) / (std + 1e-8)
    u = (batch.logp / batch.length) @ np.array([1.0, -1.0])
    expected = np.logaddexp(0, -(2.5 * u - 1.5 - 2.5 * 0.2 * z))
    assert_allclose(alpha_dpo(batch), expected, rtol=1e-12)
    assert_allclose(alpha_dpo.tracked(batch), moved, rtol=1e-12)


# beta_dpo


@seeds
def test_beta_dpo_limits(seed: int) -> None:
    batch = random_batch(seed)
    assert_allclose(beta_dpo(batch, sensitivity=0.0, keep=1.0), dpo(batch), rtol=1e-12)
    still = replace(batch, uniform=None)
    assert_allclose(beta_dpo(still, sensitivity=0.0, keep=0.5), dpo(batch), rtol=1e-12)


def test_beta_dpo_leaves_outliers_out() -> None:
    rng, kept = np.random.default_rng(0), 0
    h = np.append(rng.normal(0, 1, 19), 40.0)
    for _ in range(300):
        zero = np.zeros(20)
        batch = PolicyBatch.from_pairs(h, zero, zero, zero, uniform=rng.uniform(size=20), running=Running(0.0, 1.0))
        losses = beta_dpo(batch, keep=0.8)
        assert (losses > 0).sum() == 16
        kept += losses[-1] > 0
    assert kept <= 3


def test_beta_dpo_temperature_follows_the_step() -> None:
    batch = random_batch(0, uniform=None, running=Running(0.0, 1.0))
    margin = (batch.logp - batch.ref_logp) @ np.array([1.0, -1.0])
    beta = max(0.1 * (1 + 0.6 * (margin.mean() - 0.1 * margin.mean())), 1e-3)
    assert_allclose(beta_dpo(batch), np.logaddexp(0, -beta * margin), rtol=1e-12)


# alphapo, simper


@pytest.mark.parametrize("alpha", [-0.5, -0.1, 0.25, 0.5])
def test_alphapo_reward_slope(alpha: float) -> None:
    mean = tensor(-1.3, grad=True)
    one = tensor(1.0)
    batch = PolicyBatch.from_pairs(mean, mean.detach(), chosen_length=one, rejected_length=one)
    (slope,) = torch.autograd.grad(alphapo.score(batch, alpha=alpha).chosen.sum(), mean)
    assert_allclose(slope, 2.5 * math.exp(1.3) ** alpha, rtol=1e-10)


@seeds
def test_alphapo_limit_is_simpo(seed: int) -> None:
    batch = random_batch(seed)
    for alpha in (1e-6, -1e-6, 0.0):
        assert_allclose(alphapo(batch, beta=2.0, gamma=1.0, alpha=alpha), simpo(batch), rtol=1e-5)


def test_alphapo_does_not_overflow() -> None:
    logp = torch.tensor([-400.0], requires_grad=True)
    one = torch.ones(1)
    batch = PolicyBatch.from_pairs(0 * one - 1, logp, chosen_length=one, rejected_length=one)
    loss = alphapo(batch, alpha=0.5)
    assert torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss.sum(), logp)[0]).all()


@seeds
def test_simper_stays_between_minus_one_and_one(seed: int) -> None:
    losses = simper(random_batch(seed))
    assert (np.abs(losses) <= 1).all()


def test_simper_spares_the_unlikely_where_simpo_does_not() -> None:
    def pull(objective, mean: float) -> float:
        batch = as_torch(pair(-1.0, mean), grad=True)
        return torch.autograd.grad(objective(batch).sum(), batch.logp)[0][0, 1].item()

    assert_allclose(pull(simper, -2.0), math.exp(-2.0), rtol=1e-12)
    assert pull(simper, -30.0) < 1e-12
    wrong = as_torch(pair(-60.0, -30.0), grad=True)
    assert torch.autograd.grad(simpo(wrong).sum(), wrong.logp)[0][0, 1] > 1.9


# pmpo


def test_pmpo_bandit_optimum() -> None:
    """Normalise(alpha d+ - (1 - alpha) d- + beta pi_ref), where all entries are positive."""
    good, bad = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    reference, alpha, beta = np.array([0.3, 0.3, 0.4]), 0.6, 1.5
    ref, weight = torch.tensor(reference), torch.tensor(np.concatenate((good, bad)))
    index, sign = torch.tensor([0, 1, 2] * 2), torch.tensor([1.0, 1, 1, -1, -1, -1])[:, None]

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        logits = torch.tensor(theta, requires_grad=True)
        logp = torch.log_softmax(logits, 0)
        kl = (ref * (ref.log() - logp)).sum().expand(6, 1, 1)
        tokens = Tokens(mask=torch.ones(6, 1, 1), kl=kl)
        batch = PolicyBatch(logp[index][:, None], None, sign, weight=weight, tokens=tokens)
        total = batch.mean(pmpo(batch, alpha=alpha, beta=beta))
        return total.item(), torch.autograd.grad(total, logits)[0].numpy()

    theta = minimize(loss, np.zeros(3), jac=True, method="BFGS", options={"gtol": 1e-12}).x
    expected = alpha * good - (1 - alpha) * bad + beta * reference
    assert_allclose(torch.softmax(torch.tensor(theta), 0), expected / expected.sum(), atol=1e-8)


def test_pmpo_of_good_only_is_imitation_and_bad_only_needs_a_hold() -> None:
    batch = random_batch(0, responses=1, sign=np.ones((6, 1)))
    assert_allclose(pmpo(batch, alpha=1.0, beta=0.0), -batch.logp[:, 0], rtol=1e-12)
    with pytest.raises(OptionError, match="no lower bound"):
        pmpo(batch, alpha=0.0, beta=0.0)


# modpo, spo_seq


def bandit_with_frozen(
    objective, reward: np.ndarray, frozen: list[np.ndarray], reference: np.ndarray, **options
) -> np.ndarray:
    """The policy of least population loss where pairs follow `reward`, beside frozen policies."""
    i, j = torch.tensor([(i, j) for i in range(3) for j in range(3) if i != j]).T
    r, ref = torch.tensor(reward), torch.tensor(reference).log()
    weight, others = torch.sigmoid(r[i] - r[j]), torch.tensor(np.log(np.stack(frozen, -1)))

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        logits = torch.tensor(theta, requires_grad=True)
        logp = torch.log_softmax(logits, 0)
        batch = PolicyBatch.from_pairs(
            logp[i], logp[j], ref[i], ref[j], weight=weight, frozen_logp=torch.stack((others[i], others[j]), 1)
        )
        total = batch.mean(objective(batch, **options))
        return total.item(), torch.autograd.grad(total, logits)[0].numpy()

    theta = minimize(loss, np.zeros(3), jac=True, method="BFGS", options={"gtol": 1e-12}).x
    return torch.softmax(torch.tensor(theta), 0).numpy()


REFERENCE, FIRST, SECOND = np.array([0.2, 0.3, 0.5]), np.array([1.0, 0.0, -0.5]), np.array([-0.4, 0.8, 0.1])


@pytest.mark.parametrize("weight", [0.25, 0.5, 0.9])
def test_modpo_bandit_optimum_is_that_of_the_weighted_rewards(weight: float) -> None:
    other = tilted(SECOND, REFERENCE, 0.5)
    found = bandit_with_frozen(modpo, FIRST, [other], REFERENCE, beta=0.5, own_weight=weight)
    assert_allclose(found, tilted(weight * FIRST + (1 - weight) * SECOND, REFERENCE, 0.5), atol=1e-7)


@seeds
def test_modpo_limits(seed: int) -> None:
    batch = random_batch(seed)
    assert_allclose(modpo(batch, own_weight=1.0), dpo(batch), rtol=1e-12)
    blank = replace(batch, frozen_logp=np.repeat(batch.ref_logp[..., None], 2, -1))
    assert_allclose(modpo(blank, beta=0.1, own_weight=0.4), dpo(batch, beta=0.25), rtol=1e-12)
    margin = np.linspace(-1, 1, 6)
    asked = (0.1 * ((batch.logp - batch.ref_logp) @ [1, -1]) - margin) / 0.4
    assert_allclose(modpo(replace(blank, margin=margin), own_weight=0.4), np.logaddexp(0, -asked), rtol=1e-12)


def test_spo_seq_second_round_keeps_part_of_the_first() -> None:
    first = tilted(FIRST, REFERENCE, 0.5)
    found = bandit_with_frozen(spo_seq, SECOND, [REFERENCE], first, beta=0.5, keep=0.4)
    assert_allclose(found, tilted(SECOND + 0.4 * FIRST, first, 0.5), atol=1e-7)


def test_spo_seq_third_round_follows_its_recursion() -> None:
    keep, beta, third = 0.3, 0.5, np.array([0.2, -0.3, 0.6])
    first = tilted(FIRST, REFERENCE, beta)
    second = tilted(SECOND + keep * FIRST, first, beta)
    found = bandit_with_frozen(spo_seq, third, [REFERENCE, first], second, beta=beta, keep=keep)
    assert_allclose(found, tilted(third + keep * (FIRST + SECOND), second, beta), atol=1e-7)


@seeds
def test_spo_seq_that_keeps_nothing_is_dpo(seed: int) -> None:
    assert_allclose(spo_seq(random_batch(seed), keep=0.0), dpo(random_batch(seed)), rtol=1e-12)


# dove, mapl


@seeds
def test_dove_under_one_prompt_is_dpo(seed: int) -> None:
    batch = random_batch(seed)
    prompt, ref_prompt = -np.arange(1.0, 7)[:, None], -(np.arange(2.0, 8)[:, None] ** 0.5)
    one = replace(batch, joint_logp=batch.logp + prompt, ref_joint_logp=batch.ref_logp + ref_prompt)
    assert_allclose(dove(one), dpo(batch), rtol=1e-9)


def test_dove_prompts_of_their_own_receive_gradient() -> None:
    batch = as_torch(random_batch(0), grad=True)
    joint, alone = torch.autograd.grad(dove(batch).sum(), (batch.joint_logp, batch.logp), allow_unused=True)
    assert (joint != 0).all()
    assert alone is None


def test_mapl_of_two_and_of_four() -> None:
    two, four = random_batch(0), random_batch(1, responses=4)
    assert_allclose(mapl(two), dpo(two), rtol=1e-12)
    s = 0.1 * (four.logp - four.ref_logp)
    assert_allclose(mapl(four), np.logaddexp(0, -((s[:, 0] - s[:, 1]) - (s[:, 2] - s[:, 3]))), rtol=1e-12)


def test_mapl_partition_terms_do_not_cancel_across_prompts() -> None:
    """Adding a constant to both log-ratios of one prompt is free in dpo and not in a comparison of two prompts."""
    batch = random_batch(0)
    shifted = replace(batch, logp=batch.logp + np.array([1.0, 0.0]))
    assert (np.abs(mapl(shifted) - mapl(batch)) > 1e-3).all()


# mpo_mixed, rationale, spo_selfsup, c3po, sft_fdiv


@seeds
def test_mpo_mixed_gives_each_of_its_terms(seed: int) -> None:
    batch = random_batch(seed)

    def only(p: float, q: float, g: float) -> np.ndarray:
        return mpo_mixed(batch, preference_weight=p, quality_weight=q, generation_weight=g)

    assert_allclose(only(1, 0, 0), dpo(batch), rtol=1e-12)
    assert_allclose(only(0, 1, 0), bco(batch, beta=0.1), rtol=1e-12)
    assert_allclose(only(0, 0, 1), sft(batch), rtol=1e-12)
    assert_allclose(only(0.8, 0.2, 1), 0.8 * only(1, 0, 0) + 0.2 * only(0, 1, 0) + only(0, 0, 1), rtol=1e-12)


def test_rationale_dpo_is_dpo_where_there_is_none() -> None:
    batch = random_batch(0)
    batch = replace(batch, rationale_logp=np.where(batch.rationale_length > 0, batch.rationale_logp, 0.0))
    losses = rationale_dpo(batch, gamma=0.5)
    none = batch.rationale_length == 0
    assert none.any()
    assert_allclose(losses[none], dpo(batch)[none], rtol=1e-12)
    assert_allclose(losses, dpo(batch) + 0.5 * rationale(batch), rtol=1e-12)
    assert_allclose(rationale_dpo(batch, gamma=0.0), dpo(batch), rtol=1e-12)


def test_rationale_tokens_get_gradient_from_their_task_only() -> None:
    batch = as_torch(random_batch(0), grad=True)
    said, answers = torch.autograd.grad(rationale_dpo(batch, gamma=2.0).sum(), (batch.rationale_logp, batch.logp))
    assert_allclose(said, -2.0 / batch.rationale_length.clamp(min=1), rtol=1e-12)
    fresh = as_torch(random_batch(0), grad=True)
    assert_allclose(answers, torch.autograd.grad(dpo(fresh).sum(), fresh.logp)[0], rtol=1e-12)


def test_spo_selfsup_without_its_head_is_dpo() -> None:
    batch = random_batch(0)
    assert_allclose(spo_selfsup(batch, gamma=0.0), dpo(batch), rtol=1e-12)
    assert_allclose(spo_selfsup(batch) - dpo(batch), 0.1 * batch.auxiliary, rtol=1e-12)
    tensors = as_torch(batch, grad=True)
    alone = with_leaves(tensors, {n: v.detach() for n, v in leaves(tensors).items() if n == "auxiliary"})
    assert_allclose(spo_selfsup(alone).detach(), spo_selfsup(tensors).detach())


def test_c3po_is_dpo_on_pairs_and_imitation_on_the_rest() -> None:
    batch = random_batch(0, mask=np.array([[True, i % 2 == 0] for i in range(6)]))
    losses, pairs = c3po(batch), dpo(random_batch(0))
    assert_allclose(losses[::2], pairs[::2], rtol=1e-12)
    assert_allclose(losses[1::2], -0.4 * (batch.logp / batch.length)[1::2, 0], rtol=1e-12)


def test_c3po_optimum_is_the_tilted_edit_distribution() -> None:
    """Pairs y+ ~ p+, y- ~ p- = reference: exactly Bradley-Terry with reward log p+/p-."""
    after, before, beta = np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.3, 0.5]), 0.6
    i, j = torch.tensor([(i, j) for i in range(3) for j in range(3) if i != j]).T
    weight, ref = torch.tensor(after)[i] * torch.tensor(before)[j], torch.tensor(before).log()
    one = torch.ones(6, dtype=F64)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        logits = torch.tensor(theta, requires_grad=True)
        logp = torch.log_softmax(logits, 0)
        batch = PolicyBatch.from_pairs(logp[i], logp[j], ref[i], ref[j], one, one, weight=weight)
        total = batch.mean(c3po(batch, beta=beta))
        return total.item(), torch.autograd.grad(total, logits)[0].numpy()

    theta = minimize(loss, np.zeros(3), jac=True, method="BFGS", options={"gtol": 1e-12}).x
    expected = (after / before) ** (1 / beta) * before
    assert_allclose(torch.softmax(torch.tensor(theta), 0), expected / expected.sum(), atol=1e-7)


def slope_of(objective, h: float, **options) -> float:
    batch = as_torch(pair(h, 0.0), grad=True)
    return torch.autograd.grad(objective(batch, **options).sum(), batch.logp)[0][0, 0].item()


def test_sft_fdiv_of_total_variation_is_sft_scaled() -> None:
    for h in (-2.0, 0.0, 5.0):
        assert_allclose(slope_of(sft_fdiv, h, divergence="total_variation", beta=0.3), 0.3 * slope_of(sft, h))


def test_sft_fdiv_pull_fades_where_that_of_sft_does_not() -> None:
    assert_allclose(slope_of(sft_fdiv, 9.0, divergence="hellinger", beta=1.0), -1 / 100, rtol=1e-12)
    assert_allclose(slope_of(sft_fdiv, 8.0, divergence="pearson", beta=1.0), -1 / 3, rtol=1e-12)
    assert slope_of(sft, 9.0) == -1


def test_modpo_sweep_of_weights_traces_a_monotone_front() -> None:
    other = tilted(SECOND, REFERENCE, 0.5)
    weights = [0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
    found = [bandit_with_frozen(modpo, FIRST, [other], REFERENCE, beta=0.5, own_weight=w) for w in weights]
    own, others = ([float(policy @ reward) for policy in found] for reward in (FIRST, SECOND))
    assert (np.diff(own) > 0).all()
    assert (np.diff(others) < 0).all()


def test_spo_seq_forgets_less_of_the_first_dimension_than_rounds_of_dpo() -> None:
    first = tilted(FIRST, REFERENCE, 0.5)
    kept, forgot = (bandit_with_frozen(spo_seq, SECOND, [REFERENCE], first, beta=0.5, keep=keep) for keep in (0.4, 0.0))
    right = np.array([[FIRST[i] > FIRST[j] for j in range(3)] for i in range(3)])

    def accuracy(policy: np.ndarray) -> float:
        return float((policy[:, None] > policy[None, :])[right].mean())

    assert float(kept @ FIRST) > float(forgot @ FIRST)
    assert accuracy(kept) >= accuracy(forgot)
    assert float(kept @ SECOND) > float(first @ SECOND)
