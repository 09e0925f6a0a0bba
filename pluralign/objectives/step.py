"""Exact gradients of a loss over a whole step whose rows never stand in memory together.

A loss over the step depends on the parameters only through the numbers of its batch. So its gradient with respect to
those numbers, taken once over all rows, is all that a second forward pass, micro-batch by micro-batch, needs: there
each number times its slope has the gradient of the loss (gradient caching, Gao et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch

from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import Objective
from pluralign.objectives.values import Tokens, mapped

Surrogate = Callable[[PolicyBatch], torch.Tensor]
"""Of the same rows scored again with a gradient: a number whose gradient is this part's share of the step's."""


def two_pass(
    objective: Objective, parts: Sequence[PolicyBatch], **options: Any
) -> tuple[torch.Tensor, list[Surrogate]]:
    """The loss of a step cut into parts, and for each part the function to differentiate in the second pass.

    The parts may carry no gradient; rows without weight take no part. The scores of the second pass must be those of
    the first: no dropout between.

    >>> from pluralign.objectives import aot
    >>> def part(shift, scale):
    ...     logp = scale * (torch.tensor([[-3.0, -1.0], [-2.0, -4.0]]) + shift)
    ...     return PolicyBatch.from_pairs(logp[:, 0], logp[:, 1], -torch.ones(2), -torch.ones(2))
    >>> scale = torch.tensor(1.0, requires_grad=True)
    >>> with torch.no_grad():
    ...     first = [part(s, scale) for s in (0.0, 0.5)]
    >>> loss, surrogates = two_pass(aot, first, beta=1.0)
    >>> for s, surrogate in zip((0.0, 0.5), surrogates):
    ...     surrogate(part(s, scale)).backward()
    >>> whole = joined([part(0.0, other := torch.tensor(1.0, requires_grad=True)), part(0.5, other)])
    >>> whole.mean(aot(whole, beta=1.0)).backward()
    >>> bool(torch.isclose(scale.grad, other.grad))
    True
    """
    leaves = [_leaves(part) for part in parts]
    with torch.enable_grad():
        whole = joined(leaves)
        inputs = [_numbers(part) for part in leaves]
        flat = [value for numbers in inputs for value in numbers.values()]
        loss = whole.mean(objective(whole, **options)) if whole.logp.shape[0] else 0 * flat[0].sum()
        slopes = iter(torch.autograd.grad(loss, flat, allow_unused=True))
    each = [{name: next(slopes) for name in numbers} for numbers in inputs]

    def surrogate(slope: Mapping[str, torch.Tensor | None]) -> Surrogate:
        def value(part: PolicyBatch) -> torch.Tensor:
            numbers = _numbers(part)
            each = ((s * numbers[name]).sum() for name, s in slope.items() if s is not None)
            return sum(each, start=0 * part.logp.sum())

        return value

    return loss.detach(), [surrogate(slope) for slope in each]


def joined(parts: Sequence[PolicyBatch]) -> PolicyBatch:
    """The rows of several batches that have weight, as one that is its own step. Tokens are padded to the longest."""
    first = parts[0]

    def together(rows: Sequence[Any], shape: str) -> torch.Tensor:
        if shape.startswith("BKT"):
            width = max(value.shape[2] for value in rows)
            rows = [torch.nn.functional.pad(value, (0, width - value.shape[2])) for value in rows]
        return torch.cat(list(rows))

    def change(holders: Sequence[Any]) -> dict[str, Any]:
        return {
            each.name: together([getattr(holder, each.name) for holder in holders], each.metadata["shape"])
            for each in fields(holders[0])
            if each.metadata["shape"].startswith("B") and hasattr(getattr(holders[0], each.name), "dtype")
        }

    tokens = first.tokens and replace(first.tokens, **change([part.tokens for part in parts]))
    whole = replace(first, **{**change(parts), "tokens": tokens, "totals": None})
    return whole if whole.weight is None else whole.rows(whole.weight != 0)


def moved(part: PolicyBatch, device: Any) -> PolicyBatch:
    """The same numbers, without gradient, on another device."""

    def change(value: torch.Tensor, _: Any) -> torch.Tensor:
        return value.detach().to(device)

    tokens = part.tokens and replace(part.tokens, **mapped(part.tokens, change))
    return replace(part, tokens=tokens, totals=None, **mapped(part, change))


def _leaves(part: PolicyBatch) -> PolicyBatch:
    def change(value: torch.Tensor, each: Any) -> torch.Tensor:
        return value.detach().requires_grad_(bool(each.metadata["gradient"])) if value.is_floating_point() else value

    tokens = part.tokens and replace(part.tokens, **mapped(part.tokens, change))
    return replace(part, tokens=tokens, **mapped(part, change))


def _numbers(part: PolicyBatch) -> dict[str, torch.Tensor]:
    """What the policy said, by name."""
    found = {each.name: getattr(part, each.name) for each in fields(part) if each.metadata["gradient"]}
    if part.tokens is not None:
        names = [each.name for each in fields(Tokens) if each.metadata["gradient"]]
        found |= {f"tokens.{name}": getattr(part.tokens, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}
