"""What holds for every objective: right gradients, one answer in numpy and torch, micro-batches that add up."""

from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pytest
import torch
from batches import as_torch, micro_batch, random_batch, random_batches_for
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from pluralign.objectives import Need, Objective, catalogue, cpo, ipo, nll_augmented, orpo, simpo, slic
from pluralign.objectives.objective import Rows

EVERY = pytest.mark.parametrize("objective", catalogue().values(), ids=list(catalogue()))
PAIRED = [o for o in catalogue().values() if Rows.PAIRS in o.rows]
REFERENCED = [o for o in catalogue().values() if Need.REFERENCE in o.needs()]
seeds = st.integers(0, 2**31)


def options_of(objective: Objective) -> list[dict[str, object]]:
    """The defaults, and every choice that changes the equation."""
    return {ipo: [{}, {"per": "sequence"}], orpo: [{}, {"nll_over": "prompt and response"}]}.get(objective, [{}])


@EVERY
@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_gradients_are_those_of_finite_differences(objective: Objective, seed: int) -> None:
    for options in options_of(objective):
        for numbers in random_batches_for(objective, seed):
            batch = as_torch(numbers, grad=True)

            def losses(logp: torch.Tensor, prompt_logp: torch.Tensor) -> torch.Tensor:
                return objective(replace(batch, logp=logp, prompt_logp=prompt_logp), **options)  # noqa: B023

            assert torch.autograd.gradcheck(losses, (batch.logp, batch.prompt_logp), eps=1e-7, atol=1e-5)


@EVERY
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_numpy_and_torch_agree(objective: Objective, seed: int) -> None:
    for options in options_of(objective):
        for numbers in random_batches_for(objective, seed):
            tensors = as_torch(numbers)
            assert_allclose(objective(numbers, **options), objective(tensors, **options), rtol=1e-12, atol=1e-14)
            mine, theirs = objective.score(numbers, **options), objective.score(tensors, **options)
            assert_allclose(mine.values, theirs.values, rtol=1e-12)
            assert_allclose(numbers.mean(objective(numbers)), tensors.mean(objective(tensors)), rtol=1e-12)


@EVERY
@settings(max_examples=25, deadline=None)
@given(seed=seeds, cuts=st.sets(st.integers(1, 5)))
def test_micro_batches_add_up_to_the_step(objective: Objective, seed: int, cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), 6]
    slices = [slice(*edge) for edge in pairwise(edges)]
    for options in options_of(objective):
        for numbers in random_batches_for(objective, seed):
            whole = as_torch(numbers, grad=True)
            loss = whole.mean(objective(whole, **options))
            (gradient,) = torch.autograd.grad(loss, whole.logp)

            split = as_torch(numbers, grad=True)
            totals = reduce(add, (micro_batch(split, rows, None).own_totals for rows in slices))
            parts = [micro_batch(split, rows, totals) for rows in slices]
            split_loss = sum(part.mean(objective(part, **options)) for part in parts)
            (split_gradient,) = torch.autograd.grad(split_loss, split.logp)
            assert_allclose(split_loss.item(), loss.item(), rtol=1e-11)
            assert_allclose(split_gradient, gradient, rtol=1e-10, atol=1e-14)


@EVERY
def test_only_the_policy_carries_a_gradient(objective: Objective) -> None:
    numbers = random_batches_for(objective, 0)[-1]
    leaves = as_torch(replace(numbers, reward_shift=np.array(0.1)))
    given_values = {
        name: getattr(leaves, name).clone().requires_grad_()
        for name, value in vars(leaves).items()
        if isinstance(value, torch.Tensor) and name not in {"logp", "prompt_logp"}
    }
    logp = leaves.logp.clone().requires_grad_()
    batch = replace(leaves, **given_values, logp=logp)
    loss = batch.mean(objective(batch))
    slopes = torch.autograd.grad(loss, [logp, *given_values.values()], allow_unused=True)
    assert slopes[0].abs().sum() > 0
    assert all(slope is None for slope in slopes[1:])


@pytest.mark.parametrize("objective", REFERENCED, ids=[o.name for o in REFERENCED])
@settings(max_examples=25, deadline=None)
@given(seed=seeds, shift=st.floats(-50, 50))
def test_a_constant_in_policy_and_reference_alike_cancels(objective: Objective, seed: int, shift: float) -> None:
    options = {"alpha": 0.0} if objective is nll_augmented else {}
    for numbers in random_batches_for(objective, seed):
        moved = replace(numbers, logp=numbers.logp + shift, ref_logp=numbers.ref_logp + shift)
        assert_allclose(objective(moved, **options), objective(numbers, **options), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("objective", "options", "per_token"),
    [(cpo, {"alpha": 0.0}, False), (slic, {"sft_weight": 0.0}, False), (simpo, {}, True)],
    ids=["cpo", "slic", "simpo"],
)
@settings(max_examples=25, deadline=None)
@given(seed=seeds, shift=st.floats(-50, 50))
def test_a_constant_in_both_responses_cancels(
    objective: Objective, options: dict[str, float], per_token: bool, seed: int, shift: float
) -> None:
    batch = random_batch(seed)
    moved = replace(batch, logp=batch.logp + shift * (batch.length if per_token else 1))
    assert_allclose(objective(moved, **options), objective(batch, **options), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("objective", PAIRED, ids=[o.name for o in PAIRED])
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_swapping_a_pair_negates_its_margin(objective: Objective, seed: int) -> None:
    batch = random_batch(seed)
    score, swapped = objective.score(batch), objective.score(batch.flipped())
    assert_allclose(score.chosen - score.rejected, -(swapped.chosen - swapped.rejected), rtol=1e-12)


@pytest.mark.parametrize("name", ["dpo", "cpo", "nll_augmented"])
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_the_logistic_loss_of_a_pair_and_of_its_swap_differ_by_the_margin(name: str, seed: int) -> None:
    objective, batch = catalogue()[name], random_batch(seed, margin=np.linspace(-1, 1, 6))
    options = {} if name == "dpo" else {"alpha": 0.0}
    score = objective.score(batch)
    margin = score.chosen - score.rejected - batch.margin
    difference = objective(batch.flipped(), **options) - objective(batch, **options)
    assert_allclose(difference, margin, rtol=1e-9, atol=1e-12)


@EVERY
def test_it_says_what_it_is(objective: Objective) -> None:
    assert objective.equation
    assert objective.paper
    defaults = {name: field.default for name, field in objective.options.model_fields.items()}
    assert objective.checked({}) == defaults
