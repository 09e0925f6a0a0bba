"""Gated layers that keep their two halves for the backward pass, and make the product of them again.

Of what a Llama of the usual shape keeps for the backward pass, half are four tensors as wide as its gated layer: the
gate, what the activation makes of it, the other half, and the product. Two of them follow from the others in a moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers.models.llama.modeling_llama import LlamaMLP


@contextmanager
def products_made_again(model: Any) -> Iterator[None]:
    """Within this, gated layers of `model` that compute what Llama's do keep less; values and gradients are the same.

    Without gradients, and where whole layers are computed again anyway, nothing is changed.
    """
    spared = []
    modules = list(model.modules())
    if torch.is_grad_enabled() and not any(getattr(module, "gradient_checkpointing", False) for module in modules):
        spared = [module for module in modules if _as_in_llama(module)]
    for module in spared:
        module.forward = partial(_gated, module)
    try:
        yield
    finally:
        for module in spared:
            del module.forward


def _gated(module: Any, x: torch.Tensor) -> torch.Tensor:
    def down(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        return module.down_proj(module.act_fn(gate) * up)  # type: ignore[no-any-return]

    # What is made again ends with what the last product reads: the matrix is not multiplied twice.
    found: torch.Tensor = checkpoint(down, module.gate_proj(x), module.up_proj(x), use_reentrant=False)
    return found


def _as_in_llama(module: Any) -> bool:
    """Most families copy this layer word for word; nobody has put another forward into this one."""
    if "forward" in vars(module) or not hasattr(module, "down_proj"):
        return False
    own, known = type(module).forward.__code__, LlamaMLP.forward.__code__
    return (own.co_code, own.co_names, own.co_varnames) == (known.co_code, known.co_names, known.co_varnames)
