"""Log-probs tile by tile against whole logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pluralign.policy.head import EXTRAS, Statistics, token_statistics

N, D, V = 11, 6, 13


def draws(bias: bool, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.nn.Linear, torch.Tensor]:
    torch.manual_seed(0)
    head = torch.nn.Linear(D, V, bias=bias, dtype=dtype)
    return torch.randn(N, D, dtype=dtype, requires_grad=True), head, torch.randint(V, (N,))


def whole(
    hidden: torch.Tensor, head: torch.nn.Linear, targets: torch.Tensor, scale: float, cap: float | None
) -> Statistics:
    logits = scale * head(hidden)
    log_p = (logits if cap is None else cap * torch.tanh(logits / cap)).log_softmax(-1)
    p = log_p.exp()
    return Statistics(
        log_p[torch.arange(N), targets],
        -(p * log_p).sum(-1),
        p.square().sum(-1).log(),
        (log_p.argmax(-1) == targets).to(log_p.dtype),
    )


@pytest.mark.parametrize("tile", [1, 3, N, 4 * N])
@pytest.mark.parametrize(("scale", "cap"), [(1.0, None), (0.3, None), (1.0, 1.5), (2.0, 0.7)])
@pytest.mark.parametrize("bias", [False, True])
def test_tiles_equal_whole_logits(tile: int, scale: float, cap: float | None, bias: bool) -> None:
    hidden, head, targets = draws(bias)
    weight = torch.linspace(-1, 2, N, dtype=torch.float64)
    expected = whole(hidden, head, targets, scale, cap)
    slopes = torch.autograd.grad((expected.logp * weight).sum(), [hidden, *head.parameters()])
    found = token_statistics(hidden, head, targets, scale=scale, softcap=cap, extras=frozenset(EXTRAS), tile=tile)
    for name in ("logp", *EXTRAS):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-12, rtol=1e-12)
    for a, b in zip(
        torch.autograd.grad((found.logp * weight).sum(), [hidden, *head.parameters()]), slopes, strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


def test_only_what_needs_a_gradient_gets_one() -> None:
    hidden, head, targets = draws(True)
    head.requires_grad_(False)
    found = token_statistics(hidden, head, targets, extras=frozenset(EXTRAS), tile=4)
    found.logp.sum().backward()
    assert hidden.grad is not None
    assert head.weight.grad is None
    assert not found.entropy.requires_grad


def test_gradients_of_low_precision_are_summed_in_single() -> None:
    """Many tiles, each adding a little: a sum in bfloat16 would stop growing."""
    torch.manual_seed(0)
    rows = 4096
    head = torch.nn.Linear(4, 8, bias=False, dtype=torch.bfloat16)
    hidden, targets = torch.randn(rows, 4).bfloat16(), torch.randint(8, (rows,))
    exact = torch.nn.Linear(4, 8, bias=False).requires_grad_()
    with torch.no_grad():
        exact.weight.copy_(head.weight)
    token_statistics(hidden, head, targets, tile=16).logp.sum().backward()
    token_statistics(hidden.float(), exact, targets).logp.sum().backward()
    error = (head.weight.grad.float() - exact.weight.grad).norm() / exact.weight.grad.norm()
    assert error < 5e-3


def test_a_head_that_is_more_than_a_matrix() -> None:
    hidden, head, targets = draws(True)
    both = torch.nn.Sequential(torch.nn.Linear(D, D, dtype=torch.float64), torch.nn.Tanh(), head)
    expected = whole(both[:2](hidden), head, targets, 1.0, None).logp
    slopes = torch.autograd.grad(expected.sum(), [hidden, *both.parameters()])
    found = token_statistics(hidden, both, targets, tile=3).logp
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    for a, b in zip(torch.autograd.grad(found.sum(), [hidden, *both.parameters()]), slopes, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


def test_nothing_to_predict() -> None:
    hidden, head, _ = draws(True)
    found = token_statistics(hidden[:0], head, torch.zeros(0, dtype=torch.long), extras=frozenset(EXTRAS))
    assert found.logp.shape == found.top1.shape == (0,)
    found.logp.sum().backward()


class Allocations(TorchDispatchMode):
    """The memory that operations made results of at least so many elements in."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.kept = size, {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.numel() >= self.size:
            # Held on to, so that no memory is given out twice.
            self.kept[result.untyped_storage().data_ptr()] = result
        return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_tile_of_logits_is_held_at_a_time(dtype: torch.dtype) -> None:
    """Logits, probabilities and slopes are one memory in each pass; weights are smaller than a tile here."""
    head = torch.nn.Linear(D, 97, dtype=dtype)
    hidden, targets = torch.randn(40, D, dtype=dtype, requires_grad=True), torch.randint(97, (40,))
    with Allocations(8 * 97) as forward:
        found = token_statistics(hidden, head, targets, tile=8)
    with Allocations(8 * 97) as backward:
        found.logp.sum().backward()
    # In low precision the product and its conversion both have a place; slopes are converted back for the products.
    limits = (1, 1) if dtype is torch.float32 else (2, 7)
    assert len(forward.kept) <= limits[0]
    assert len(backward.kept) <= limits[1]
