"""Mistakes seen in public implementations of these losses; each test fails where one is made.

Traps of token masks, data augmentation and caches are tested where those things are.
"""

import numpy as np
import pytest
import torch
from bandit import optimum, tilted
from batches import as_torch, micro_batch, pair, random_batch, tensor
from numpy.testing import assert_allclose

from pluralign.objectives import PolicyBatch, cdpo, cpo, dpo, ipo, nll_augmented, orpo, rdpo, sft


def test_ipo_target_does_not_depend_on_length() -> None:
    """Summed log-ratios reach a target of 5 by ten tokens of 0.5 each; the authors' form takes means."""
    short, long = pair(5.0, 0.0, length=(1, 1)), pair(50.0, 0.0, length=(10, 10))
    assert_allclose(ipo(short, beta=0.1), 0.0, atol=1e-20)
    assert_allclose(ipo(long, beta=0.1), 0.0, atol=1e-20)
    assert ipo(long, beta=0.1, per="sequence") > 1000


@pytest.mark.parametrize(("sign", "bias"), [(+1, 0.0), (-1, 2.0)], ids=["right sign", "wrong sign"])
def test_a_length_penalty_is_added_inside_the_sigmoid(sign: int, bias: float) -> None:
    """People like length by 0.3 a token over quality q. alpha (|w| - |l|) added, so subtracted as a margin, removes
    that from the optimum; the other sign doubles it."""
    quality, reference, beta, alpha = np.array([1.0, 0.2, -0.5]), np.array([0.2, 0.3, 0.5]), 0.5, 0.3
    length = np.array([1.0, 4.0, 2.0])
    penalty = -sign * alpha * (length[:, None] - length[None, :])
    found = optimum(dpo, quality + alpha * length, reference, margin=penalty, beta=beta)
    assert_allclose(found, tilted(quality + bias * alpha * length, reference, beta), atol=1e-8)


def test_robust_is_not_label_smoothing() -> None:
    far = pair(200.0, 0.0)
    assert rdpo(far) < 0 < cdpo(far)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_orpo_keeps_its_digits_near_certainty(dtype: torch.dtype) -> None:
    """In bfloat16, 1 - exp(-2^-10) rounds to 0 and its log to -inf."""
    chosen, rejected = torch.tensor([-(2.0**-10)], dtype=dtype), torch.tensor([-2.0], dtype=dtype)
    one = torch.ones(1, dtype=dtype)
    batch = PolicyBatch.from_pairs(chosen, rejected, chosen_length=one, rejected_length=one)
    exact = np.log(1 / np.expm1(2.0**-10))
    assert_allclose(orpo.score(batch).chosen, exact, rtol=1e-5)
    assert torch.isfinite(orpo(batch)).all()


@pytest.mark.parametrize("objective", [sft, cpo, orpo, nll_augmented], ids=lambda o: o.name)
def test_nll_is_a_mean_over_the_tokens_of_the_step(objective) -> None:
    """One long row, one short row, a micro-batch each: the mean of two means is not the mean over tokens."""
    numbers = random_batch(0, rows=2, length=np.array([[1.0, 3.0], [40.0, 3.0]]))
    batch = as_torch(numbers, grad=True)
    rows = [slice(0, 1), slice(1, 2)]
    parts = [micro_batch(batch, r, batch.own_totals) for r in rows]
    alone = [micro_batch(batch, r, None) for r in rows]
    whole = batch.mean(objective(batch))
    assert_allclose(sum(p.mean(objective(p)) for p in parts).item(), whole.item(), rtol=1e-12)
    assert abs(np.mean([p.mean(objective(p)).item() for p in alone]) - whole.item()) > 1e-3


def test_row_weights_pass_no_gradient() -> None:
    """A weight computed from the policy itself must not be differentiated."""
    logp = tensor(-1.0, -3.0, grad=True)
    zero, fixed = tensor(0, 0), logp.detach().exp()
    slopes = []
    for weight in (logp.exp(), fixed):
        batch = PolicyBatch.from_pairs(logp, logp * 0.5, zero, zero, weight=weight)
        slopes.append(torch.autograd.grad(batch.mean(dpo(batch)), logp)[0])
    assert_allclose(slopes[0], slopes[1])
