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
    """Log-probs tile by tile; hidden states, weights and one number a token are kept for the backward pass.

    One tile's memory serves for all: logits become probabilities become slopes in place.
    """

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
        w = weight.to(hidden.dtype)
        found, normalisers = [], []
        for part, logits in _tiles(hidden, w, bias, scale, softcap, tile):
            more = _extras(logits.log_softmax(-1), targets[part], extras) if extras else []
            picked = logits.gather(1, targets[part, None])
            top = logits.amax(-1, keepdim=True)
            normaliser = top + logits.sub_(top).exp_().sum(-1, keepdim=True).log_()
            normalisers.append(normaliser)
            found.append([(picked - normaliser)[:, 0], *more])
        joined = tuple(torch.cat(values) for values in zip(*found, strict=True))
        ctx.save_for_backward(hidden, weight, bias, targets, torch.cat(normalisers))
        ctx.scale, ctx.softcap, ctx.tile = scale, softcap, tile
        ctx.mark_non_differentiable(*joined[1:])
        return joined

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor, *_: Any) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, targets, normalisers = ctx.saved_tensors
        w = weight.to(hidden.dtype)
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        d_hidden = torch.empty_like(hidden) if need_hidden else None
        d_weight = torch.zeros_like(weight, dtype=slope.dtype) if need_weight else None
        d_bias = torch.zeros_like(bias, dtype=slope.dtype) if need_bias and bias is not None else None
        for part, logits in _tiles(hidden, w, bias, ctx.scale, ctx.softcap, ctx.tile):
            g = slope[part, None]
            bend = None if ctx.softcap is None else (logits / ctx.softcap).square_().neg_().add_(1)
            d_logits = logits.sub_(normalisers[part]).exp_().mul_(-g)
            d_logits.scatter_add_(1, targets[part, None], g)
            if bend is not None:
                d_logits *= bend
            if ctx.scale != 1:
                d_logits *= ctx.scale
            if d_bias is not None:
                d_bias += d_logits.sum(0)
            d_logits = d_logits.to(hidden.dtype)
            if d_hidden is not None:
                torch.mm(d_logits, w, out=d_hidden[part])
            if d_weight is not None:
                _add_product(d_weight, d_logits.T, hidden[part])
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


def _tiles(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    scale: float,
    softcap: float | None,
    tile: int,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """The logits of some rows at a time, all in the same memory, to be written over."""
    raw = hidden.new_empty(min(tile, len(hidden)), len(weight))
    logits = raw.to(torch.promote_types(raw.dtype, torch.float32))
    for part in _parts(len(hidden), tile):
        h = hidden[part]
        into = raw[: len(h)]
        if bias is None:
            torch.mm(h, weight.T, out=into)
        else:
            torch.addmm(bias.to(h.dtype), h, weight.T, out=into)
        made = into if logits is raw else logits[: len(h)].copy_(into)
        if scale != 1:
            made *= scale
        if softcap is not None:
            made.div_(softcap).tanh_().mul_(softcap)
        yield part, made


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
    return [whole.gather(1, targets[:, None])[:, 0], *_extras(whole, targets, extras)]


@torch.no_grad()
def _extras(log_p: torch.Tensor, targets: torch.Tensor, extras: frozenset[str]) -> list[torch.Tensor]:
    found = {
        "entropy": lambda: -(log_p.exp() * log_p).sum(-1),
        "log_collision": lambda: (2 * log_p).logsumexp(-1),
        "top1": lambda: (log_p.argmax(-1) == targets).to(log_p.dtype),
    }
    return [found[name]() for name in sorted(extras)]


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
