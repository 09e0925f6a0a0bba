"""Log-probs of single tokens from hidden states, without ever holding [tokens, vocabulary] logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

TILE = 2**22
"""Logits held at a time: 16 MB in single precision. At least 64 rows: with fewer, reading weights takes the time."""


@dataclass(frozen=True)
class Statistics:
    """Numbers of M next-token distributions, [M] each; only logp carries a gradient.

    logp: of the token that came. entropy: in nats. log_collision: log of the sum of squared probabilities.
    top1: 1 where the token that came is the most probable.
    """

    logp: torch.Tensor
    entropy: torch.Tensor | None = None
    log_collision: torch.Tensor | None = None
    top1: torch.Tensor | None = None


EXTRAS = ("entropy", "log_collision", "top1")


def token_statistics(
    hidden: torch.Tensor,
    head: Any,
    targets: torch.Tensor,
    *,
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None,
    scale: float = 1.0,
    softcap: float | None = None,
    extras: frozenset[str] = frozenset(),
    tile: int | None = None,
) -> Statistics:
    """Log-probs of `targets` [M] after `hidden` [M, D], and what else is asked for, in at least single precision.

    head: a linear layer, or any module that makes logits of hidden states (adapters on the head, quantised heads).
    forward: what to call in place of the latter; the module itself when left out.
    The model's logits are cap(scale * head(hidden)), cap(x) = softcap * tanh(x / softcap). extras: of `EXTRAS`.
    The logits of `tile` rows at a time are made, used and thrown away; the backward pass makes them again (chunked
    log-softmax as of Liger and others).

    >>> head = torch.nn.Linear(2, 5)
    >>> hidden, targets = torch.randn(3, 2), torch.tensor([4, 0, 2])
    >>> whole = head(hidden).log_softmax(-1)[torch.arange(3), targets]
    >>> torch.allclose(token_statistics(hidden, head, targets, tile=2).logp, whole)
    True
    """
    device = hidden.device.type
    forward = forward or head
    tile = tile or max(TILE // _vocabulary(head, forward, hidden), 64)
    if torch.is_autocast_enabled(device):
        hidden = hidden.to(torch.get_autocast_dtype(device))
    found: Sequence[torch.Tensor]
    if type(head) is torch.nn.Linear:
        with torch.autocast(device, enabled=False):
            found = _tiled(hidden, head.weight, head.bias, targets, scale, softcap, extras, tile)
    else:
        found = _through_module(hidden, forward, targets, scale, softcap, extras, tile)
    return Statistics(found[0], **dict(zip(sorted(extras), found[1:], strict=True)))


class _Tiled(torch.autograd.Function):
    """Log-probs tile by tile; only hidden states and weights are kept for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        scale: float,
        softcap: float | None,
        extras: frozenset[str],
        tile: int,
    ) -> tuple[torch.Tensor, ...]:
        ctx.save_for_backward(hidden, weight, bias, targets)
        ctx.scale, ctx.softcap, ctx.tile = scale, softcap, tile
        w = weight.to(hidden.dtype)
        found = [
            _of_logits(_logits(hidden[part], w, bias, scale, softcap), targets[part], extras)
            for part in _parts(len(hidden), tile)
        ]
        joined = tuple(torch.cat(values) for values in zip(*found, strict=True))
        ctx.mark_non_differentiable(*joined[1:])
        return joined

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor, *_: Any) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, targets = ctx.saved_tensors
        w = weight.to(hidden.dtype)
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        d_hidden = torch.empty_like(hidden) if need_hidden else None
        d_weight = torch.zeros_like(weight, dtype=slope.dtype) if need_weight else None
        d_bias = torch.zeros_like(bias, dtype=slope.dtype) if need_bias and bias is not None else None
        for part in _parts(len(hidden), ctx.tile):
            h, g = hidden[part], slope[part, None]
            logits = _logits(h, w, bias, ctx.scale, ctx.softcap)
            d_logits = logits.softmax(-1).mul_(-g)
            d_logits.scatter_add_(1, targets[part, None], g)
            if ctx.softcap is not None:
                d_logits *= 1 - (logits / ctx.softcap) ** 2
            if ctx.scale != 1:
                d_logits *= ctx.scale
            if d_bias is not None:
                d_bias += d_logits.sum(0)
            d_logits = d_logits.to(hidden.dtype)
            if d_hidden is not None:
                torch.mm(d_logits, w, out=d_hidden[part])
            if d_weight is not None:
                _add_product(d_weight, d_logits.T, h)
        return (
            d_hidden,
            None if d_weight is None else d_weight.to(weight.dtype),
            None if d_bias is None else d_bias.to(bias.dtype),
            *(None,) * 5,
        )


_tiled: Callable[..., tuple[torch.Tensor, ...]] = _Tiled.apply


def _add_product(into: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    if into.dtype == a.dtype:
        into.addmm_(a, b)
    else:
        into += a @ b


def _parts(rows: int, tile: int) -> Iterator[slice]:
    for start in range(0, max(rows, 1), tile):
        yield slice(start, min(start + tile, rows))


def _logits(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, scale: float, softcap: float | None
) -> torch.Tensor:
    raw = hidden @ weight.T
    if bias is not None:
        raw = raw + bias
    return _finished(raw, scale, softcap)


def _finished(raw: torch.Tensor, scale: float, softcap: float | None) -> torch.Tensor:
    logits = raw.to(torch.promote_types(raw.dtype, torch.float32))
    if scale != 1:
        logits = logits * scale
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def statistics_of_logits(logits: torch.Tensor, targets: torch.Tensor, extras: frozenset[str]) -> Statistics:
    """The same from logits [M, vocabulary]."""
    found = _of_logits(logits, targets, extras)
    return Statistics(found[0], **dict(zip(sorted(extras), found[1:], strict=True)))


def _of_logits(logits: torch.Tensor, targets: torch.Tensor, extras: frozenset[str]) -> list[torch.Tensor]:
    whole = logits.log_softmax(-1)
    logp = whole.gather(1, targets[:, None])[:, 0]
    others = {
        "entropy": lambda: -(whole.exp() * whole).sum(-1),
        "log_collision": lambda: (2 * whole).logsumexp(-1),
        "top1": lambda: (whole.argmax(-1) == targets).to(logp.dtype),
    }
    with torch.no_grad():
        return [logp, *[others[name]() for name in sorted(extras)]]


def _through_module(
    hidden: torch.Tensor,
    head: Callable[[torch.Tensor], torch.Tensor],
    targets: torch.Tensor,
    scale: float,
    softcap: float | None,
    extras: frozenset[str],
    tile: int,
) -> list[torch.Tensor]:
    """The same for a head that is more than a matrix: each tile is a checkpoint."""

    def one(h: torch.Tensor, ids: torch.Tensor) -> list[torch.Tensor]:
        return _of_logits(_finished(head(h), scale, softcap), ids, extras)

    parts = _parts(len(hidden), tile)
    found = [checkpoint(one, hidden[part], targets[part], use_reentrant=False) for part in parts]
    return [torch.cat(values) for values in zip(*found, strict=True)]


def _vocabulary(head: Any, forward: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor) -> int:
    with torch.no_grad():
        return int(getattr(head, "out_features", 0) or forward(hidden[:1]).shape[-1])
