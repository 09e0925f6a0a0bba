"""Cheap parts of layers, computed again in the backward pass rather than kept for it.

Of what a Llama of the usual shape keeps, half are four tensors as wide as its gated layer: the gate, what the
activation makes of it, the other half, and the product. The second and the last follow from the others in a moment, as
a normalised state follows from the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm


@contextmanager
def recomputing(model: Any) -> Iterator[None]:
    """Within this, layers of `model` that compute what Llama's do keep less; values and gradients are the same.

    Without gradients, and where whole layers are computed again anyway, nothing is changed.
    """
    changed: dict[Any, Callable[..., torch.Tensor]] = {}
    modules = list(model.modules())
    if torch.is_grad_enabled() and not any(getattr(module, "gradient_checkpointing", False) for module in modules):
        changed = {module: instead for module in modules if (instead := _instead(module)) is not None}
    for module, instead in changed.items():
        module.forward = partial(instead, module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _instead(module: Any) -> Callable[..., torch.Tensor] | None:
    """What to call in place of a layer's forward, if nobody has put another there than the one it is known for."""
    if "forward" in vars(module) or (own := _instructions(type(module))) is None:
        return None
    return _KNOWN.get(own)


def _instructions(layer: type) -> tuple[Any, ...] | None:
    """What tells a forward from another; None for one that is compiled, or wrapped: its own are out of sight."""
    forward: Any = getattr(layer, "forward", None)
    code = getattr(forward, "__code__", None)
    if code is None or forward.__closure__ is not None:
        return None
    return code.co_code, code.co_names, tuple(value for value in code.co_consts if value != forward.__doc__)


def _gated(module: Any, x: torch.Tensor) -> torch.Tensor:
    def down(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        return module.down_proj(module.act_fn(gate) * up)  # type: ignore[no-any-return]

    # What is computed again ends with what the last product reads: the matrix is not multiplied twice.
    found: torch.Tensor = checkpoint(down, module.gate_proj(x), module.up_proj(x), use_reentrant=False)
    return found


class _Normalised(torch.autograd.Function):
    """weight * x / rms(x), [..., D], in at least single precision; the state and its length are kept."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        inverse = torch.rsqrt(precise.pow(2).mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, weight, inverse)
        return weight * (precise * inverse).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        unit = x.to(inverse.dtype) * inverse
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = (slope * unit.to(x.dtype)).flatten(0, -2).sum(0).to(weight.dtype)
        of_unit = (slope * weight).to(inverse.dtype)
        of_x = of_unit.sub_(unit * (of_unit * unit).mean(-1, keepdim=True)).mul_(inverse)
        return of_x.to(x.dtype), of_weight, None


_of_unit_length: Callable[..., torch.Tensor] = _Normalised.apply


def _normalised(module: Any, x: torch.Tensor) -> torch.Tensor:
    return _of_unit_length(x, module.weight, module.variance_epsilon)


# Most families copy these layers word for word, so that the instructions are equal.
_KNOWN = {_instructions(LlamaMLP): _gated, _instructions(LlamaRMSNorm): _normalised}
