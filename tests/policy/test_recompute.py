"""Layers of which cheap parts are computed again: same numbers, less kept."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tiny_models import InDouble, tiny

from pluralign.policy.recompute import _instead, recomputing

X = 11, 32


@pytest.fixture(autouse=True)
def in_double() -> Iterator[None]:
    with InDouble():
        yield


def kept(layer: Any, x: torch.Tensor) -> set[int]:
    """Where the tensors lie that autograd keeps of a call, beside the weights."""
    own = {p.data_ptr() for p in layer.parameters()}
    found: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            found.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = layer(x)
    assert out.requires_grad
    return {tensor.data_ptr() for tensor in found}


@pytest.mark.parametrize("part", ["mlp", "input_layernorm"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3"])
def test_same_values_and_slopes(family: str, part: str) -> None:
    model = tiny(family, dtype=torch.float64, vocabulary=61)
    layer = getattr(model.model.layers[0], part)
    found = []
    for again in (False, True):
        x = torch.randn(*X, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
        if again:
            with recomputing(model):
                # Gemma normalises in a way of its own, and is left alone.
                assert ("forward" in vars(layer)) == (part == "mlp" or "gemma" not in family)
                out = layer(x)
        else:
            out = layer(x)
        slopes = torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])
        found.append([out.detach(), *slopes])
    assert "forward" not in vars(layer)
    for once, twice in zip(*found, strict=True):
        torch.testing.assert_close(twice, once, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("part", "plainly", "again"), [("mlp", 5, 3), ("input_layernorm", 3, 2)])
def test_what_follows_from_the_rest_is_not_kept(part: str, plainly: int, again: int) -> None:
    """Not what the activation makes of the gate, nor the product; not the normalised state."""
    model = tiny("llama", dtype=torch.float64, vocabulary=61)
    layer, x = getattr(model.model.layers[0], part), torch.randn(*X).double().requires_grad_()
    plain = kept(layer, x)
    with recomputing(model):
        spared = kept(layer, x)
    assert (len(plain), len(spared)) == (plainly, again)


def test_the_last_matrix_is_not_multiplied_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama", dtype=torch.float64, vocabulary=61)
    layer, calls = model.model.layers[0].mlp, []
    linear = torch.nn.functional.linear
    ended: list[bool] = []

    def counted(*given: Any) -> torch.Tensor:
        calls.append(given[1].shape)
        out = linear(*given)
        ended.append(True)
        return out

    monkeypatch.setattr(torch.nn.functional, "linear", counted)
    with recomputing(model):
        layer(torch.randn(*X).double()).sum().backward()
    # Called again, but left where its input was read.
    assert (len(calls), len(ended)) == (4, 3)


def test_nothing_is_changed_without_gradients_under_checkpointing_or_in_layers_of_another_kind() -> None:
    model = tiny("llama", vocabulary=61)
    layer = model.model.layers[0].mlp
    with torch.no_grad(), recomputing(model):
        assert "forward" not in vars(layer)
    model.gradient_checkpointing_enable()
    with recomputing(model):
        assert "forward" not in vars(layer)
    model.gradient_checkpointing_disable()

    class Doubled(type(layer)):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)  # type: ignore[no-any-return]

    layer.__class__ = Doubled
    assert _instead(layer) is None
    other = model.model.layers[1].mlp
    other.forward = type(other).forward.__get__(other)
    assert _instead(other) is None


def test_forwards_that_are_wrapped_or_not_of_python_are_left_alone() -> None:
    """A wrapper's instructions are those of any other of its kind, and say nothing of what it wraps."""
    layer = tiny("llama", vocabulary=61).model.layers[0].mlp

    def logged(forward: Any) -> Any:
        @functools.wraps(forward)
        def outer(*given: Any) -> Any:
            return forward(*given)

        return outer

    layer.__class__ = type("Wrapped", (type(layer),), {"forward": logged(type(layer).forward)})
    assert _instead(layer) is None
    assert _instead(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))) is None
