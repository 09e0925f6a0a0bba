"""What holds for every objective: right gradients, one answer in numpy and torch, micro-batches that add up."""

import re
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pytest
import torch
from batches import as_torch, columns, coupled, leaves, micro_batch, random_batch, random_batches_for, with_leaves
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from pluralign.objectives import (
    Need,
    Objective,
    PolicyBatch,
    alpha_dpo,
    alphapo,
    catalogue,
    cpo,
    f_dpo,
    find,
    simper,
    simpo,
    slic,
)
from pluralign.objectives.objective import Rows
from pluralign.objectives.step import two_pass

EVERY = pytest.mark.parametrize("objective", catalogue().values(), ids=list(catalogue()))
PAIRED = [o for o in catalogue().values() if Rows.PAIRS in o.rows]
RELATIVE = [o for o in catalogue().values() if o.relative]
LOGISTIC = [o for o in catalogue().values() if o.logistic]
REFERENCED = [o for o in catalogue().values() if Need.REFERENCE in o.needs()]
seeds = st.integers(0, 2**31)


def options_of(objective: Objective) -> list[dict[str, object]]:
    """The defaults, and every choice that changes the equation."""
    found: list[dict[str, object]] = [{}]
    for name, about in objective.options.model_json_schema().get("properties", {}).items():
        found += [{name: value} for value in about.get("enum", ()) if value != about.get("default")]
    return found


def fixed_at(batch: PolicyBatch) -> property:
    """A `detached` that stays at these numbers, however far the batch is moved from them."""
    there = [plain(batch), plain(batch.flipped())]

    def nearest(moved: PolicyBatch) -> PolicyBatch:
        return min(there, key=lambda b: (b.logp - moved.logp.detach()).abs().max().item())

    return property(nearest)


def plain(batch: PolicyBatch) -> PolicyBatch:
    return with_leaves(batch, {name: value.detach() for name, value in leaves(batch).items()})


@EVERY
@settings(max_examples=3, deadline=None)
@given(seed=seeds)
def test_gradients_are_those_of_finite_differences(objective: Objective, seed: int) -> None:
    """Weights and statistics taken from `detached` are held still: the gradient must not know that they move."""
    for options in options_of(objective):
        for numbers in random_batches_for(objective, seed):
            batch = as_torch(numbers, grad=True)
            names, values = zip(*leaves(batch).items(), strict=True)
            total = objective(batch, **options).sum()
            slopes = torch.autograd.grad(total, values, allow_unused=True, materialize_grads=True)
            direction = [torch.randn_like(value) for value in values]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(PolicyBatch, "detached", fixed_at(batch))
                eps, ends = 1e-6, []
                for step in (eps, -eps):
                    moved = {n: v.detach() + step * d for n, v, d in zip(names, values, direction, strict=True)}
                    ends.append(objective(with_leaves(batch, moved), **options).sum().item())
            expected = (ends[0] - ends[1]) / (2 * eps)
            found = sum((s * d).sum().item() for s, d in zip(slopes, direction, strict=True))
            assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, abs(total.item())))


@EVERY
@settings(max_examples=3, deadline=None)
@given(seed=seeds)
def test_weights_and_statistics_pass_no_gradient(objective: Objective, seed: int) -> None:
    for options in options_of(objective):
        for numbers in random_batches_for(objective, seed):
            batch = as_torch(numbers, grad=True)
            inputs = tuple(leaves(batch).values())

            def gradient(batch: PolicyBatch = batch, options=options, inputs=inputs) -> tuple[torch.Tensor, ...]:
                total = objective(batch, **options).sum()
                return torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)

            ours = gradient()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(PolicyBatch, "detached", fixed_at(batch))
                for mine, without in zip(ours, gradient(), strict=True):
                    assert_allclose(mine, without, rtol=1e-9, atol=1e-12)


@EVERY
@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_numpy_and_torch_agree(objective: Objective, seed: int) -> None:
    for options in options_of(objective):
        for numbers in random_batches_for(objective, seed):
            tensors = as_torch(numbers)
            assert_allclose(objective(numbers, **options), objective(tensors, **options), rtol=1e-10, atol=1e-12)
            mine, theirs = objective.score(numbers, **options), objective.score(tensors, **options)
            there = numbers.presence > 0
            assert_allclose(mine.values[there], theirs.values[torch.tensor(there)], rtol=1e-12)
            assert np.isfinite(mine.values[there]).all()


@EVERY
@settings(max_examples=5, deadline=None)
@given(seed=seeds, cuts=st.sets(st.integers(1, 5), min_size=1))
def test_micro_batches_add_up_to_the_step(objective: Objective, seed: int, cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), 6]
    slices = [slice(*edge) for edge in pairwise(edges)]
    for options in options_of(objective):
        for numbers in random_batches_for(objective, seed):
            whole = as_torch(numbers, grad=True)
            loss = whole.mean(objective(whole, **options))
            inputs = tuple(leaves(whole).values())
            gradient = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)

            split = as_torch(numbers, grad=True)
            totals = reduce(add, (micro_batch(split, rows, None).own_totals for rows in slices))
            parts = [micro_batch(split, rows, totals) for rows in slices]
            if coupled(objective, **options):
                split_loss, surrogates = two_pass(objective, parts, **options)
                scalar = sum(surrogate(part) for surrogate, part in zip(surrogates, parts, strict=True))
            else:
                scalar = split_loss = sum(part.mean(objective(part, **options)) for part in parts)
            inputs = tuple(leaves(split).values())
            split_gradient = torch.autograd.grad(scalar, inputs, allow_unused=True, materialize_grads=True)
            assert_allclose(split_loss.item(), loss.item(), rtol=1e-11, atol=1e-14)
            for mine, theirs in zip(split_gradient, gradient, strict=True):
                assert_allclose(mine, theirs, rtol=1e-9, atol=1e-13)


@EVERY
def test_only_the_policy_carries_a_gradient(objective: Objective) -> None:
    batch = as_torch(random_batches_for(objective, 0)[-1], grad=True)
    outside = {
        name: value.clone().requires_grad_()
        for name, value in vars(batch).items()
        if isinstance(value, torch.Tensor) and name not in leaves(batch) and value.is_floating_point()
    }
    tried = replace(batch, **outside)
    loss = tried.mean(objective(tried))
    slopes = torch.autograd.grad(loss, [*leaves(batch).values(), *outside.values()], allow_unused=True)
    inside = len(leaves(batch))
    assert sum(s.abs().sum() for s in slopes[:inside] if s is not None) > 0
    assert all(slope is None for slope in slopes[inside:])


@pytest.mark.parametrize("objective", RELATIVE, ids=[o.name for o in RELATIVE])
@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_relative_means_blind_to_a_constant(objective: Objective, seed: int) -> None:
    """All rewards of a row up by one, be they sums or means over tokens."""
    if objective in (alphapo, simper, f_dpo):  # their rewards are no linear functions of log-probs
        return
    for k in columns(objective):
        batch = random_batch(seed, responses=k)
        before = objective(batch)
        moved = [replace(batch, logp=batch.logp + shift) for shift in (1.0, batch.length)]
        assert any(np.allclose(objective(m), before, rtol=1e-9, atol=1e-9) for m in moved)


@pytest.mark.parametrize("objective", LOGISTIC, ids=[o.name for o in LOGISTIC])
@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_logistic_means_logistic_of_the_score(objective: Objective, seed: int) -> None:
    """The losses of a pair and of its swap recover z and z': their odd part is the margin of the scores."""
    for options in options_of(objective):
        batch = random_batch(seed, uniform=None)
        there, back = objective(batch, **options), objective(batch.flipped(), **options)
        z, z_back = -np.log(np.expm1(there)), -np.log(np.expm1(back))
        margin = objective.score(batch, **options).margin
        if objective.name in ("r_dpo", "odpo", "margin_reg"):  # a known covariate beside the score
            return
        assert_allclose((z - z_back) / 2, margin, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("objective", REFERENCED, ids=[o.name for o in REFERENCED])
@settings(max_examples=10, deadline=None)
@given(seed=seeds, shift=st.floats(-50, 50))
def test_a_constant_in_policy_and_reference_alike_cancels(objective: Objective, seed: int, shift: float) -> None:
    if objective is alpha_dpo:  # compares likelihoods, not log-ratios
        return
    imitation = {"nll_augmented": "alpha", "mpo_mixed": "generation_weight", "c3po": "sft_weight"}
    options = {imitation[objective.name]: 0.0} if objective.name in imitation else {}
    for numbers in random_batches_for(objective, seed):
        moved = replace(numbers, logp=numbers.logp + shift, ref_logp=numbers.ref_logp + shift)
        assert_allclose(objective(moved, **options), objective(numbers, **options), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("objective", "options", "per_token"),
    [(cpo, {"alpha": 0.0}, False), (slic, {"sft_weight": 0.0}, False), (simpo, {}, True)],
    ids=["cpo", "slic", "simpo"],
)
@settings(max_examples=10, deadline=None)
@given(seed=seeds, shift=st.floats(-50, 50))
def test_a_constant_in_both_responses_cancels(
    objective: Objective, options: dict[str, float], per_token: bool, seed: int, shift: float
) -> None:
    batch = random_batch(seed)
    moved = replace(batch, logp=batch.logp + shift * (batch.length if per_token else 1))
    assert_allclose(objective(moved, **options), objective(batch, **options), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("objective", PAIRED, ids=[o.name for o in PAIRED])
@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_swapping_a_pair_negates_its_margin(objective: Objective, seed: int) -> None:
    batch = random_batch(seed)
    score, swapped = objective.score(batch), objective.score(batch.flipped())
    assert_allclose(score.chosen - score.rejected, -(swapped.chosen - swapped.rejected), rtol=1e-12)


@pytest.mark.parametrize("name", ["dpo", "cpo", "nll_augmented"])
@settings(max_examples=10, deadline=None)
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


REDUCTIONS = [
    pytest.param(o, condition, other, id=f"{o.name}: {condition}")
    for o in catalogue().values()
    for condition, other in o.reduces.items()
    if re.fullmatch(r"(\w+=[\w.']+(, )?)+", condition) and (other in catalogue() or other.endswith(")"))
]


@pytest.mark.parametrize(("objective", "condition", "other"), REDUCTIONS)
@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_what_it_says_it_reduces_to(objective: Objective, condition: str, other: str, seed: int) -> None:
    special, plain = find(f"{objective.name}({condition})"), find(other)
    columns_of = [k for k in columns(objective) if k in columns(plain)]
    assert columns_of
    for k in columns_of:
        batch = random_batch(seed, responses=k)
        assert_allclose(special(batch), plain(batch), rtol=1e-9, atol=1e-9)
