"""Attention on a packed line: each row keeps to itself, each response to what it shares and its own.

The function registered here does what the model's own attention does wherever it is not handed the rows of a line.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from pluralign.policy.layout import Row

PREFIX = "packed_"


class NotPackable(Exception):
    """The model asks of its attention what cannot be kept on a packed line; the message says what."""


def use_packed_attention(model: Any) -> None:
    """Let a model of transformers take packed lines; without `packed_rows` it attends as before."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    before = model.config._attn_implementation
    if before.startswith(PREFIX):
        return
    AttentionInterface.register(PREFIX + before, functools.partial(_attention, before))
    if before in ALL_MASK_ATTENTION_FUNCTIONS:
        AttentionMaskInterface.register(PREFIX + before, ALL_MASK_ATTENTION_FUNCTIONS[before])
    model.set_attn_implementation(PREFIX + before)


def _attention(
    before: str,
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    packed_rows: tuple[Row, ...] | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    if packed_rows is None:
        from transformers import AttentionInterface

        own = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        found = AttentionInterface().get_interface(before, own)
        result: tuple[torch.Tensor, torch.Tensor | None] = found(module, query, key, value, attention_mask, **rest)
        return result
    return packed_attention(module, query, key, value, packed_rows, **rest), None


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    rows: tuple[Row, ...],
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    is_causal: bool | None = None,
    s_aux: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    **_: Any,
) -> torch.Tensor:
    """Attention of the tokens of a line. query: [1, H, N, D]; key, value: [1, H or fewer, N, D] -> [1, N, H, D].

    Raises `NotPackable` for dropout, attention to later tokens, sinks and position biases.
    """
    if dropout:
        raise NotPackable("its attention has dropout, which shared prompts would share")
    if is_causal is False or not getattr(module, "is_causal", True):
        raise NotPackable("its attention looks ahead")
    if s_aux is not None or position_bias is not None:
        raise NotPackable("its attention has sinks or position biases")
    device = query.device.type
    if torch.is_autocast_enabled(device):
        query, key, value = (each.to(torch.get_autocast_dtype(device)) for each in (query, key, value))
    with torch.autocast(device, enabled=False):
        line: torch.Tensor = _on_line(query, key, value, rows, scaling, sliding_window, softcap)
    return line.transpose(1, 2)


class _Line(torch.autograd.Function):
    """Attention row by row, [1, H, N, D]; what is kept for the backward pass is as long as the line.

    A response looks at its prompt's keys and values joined to its own. These copies, kept until the backward pass,
    would be a sixth of all that a Llama of the usual shape keeps; they are made again.
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: tuple[Row, ...], *how: Any
    ) -> torch.Tensor:
        # As it is read later: token by token.
        line = value.new_empty(1, query.shape[2], query.shape[1], value.shape[3]).transpose(1, 2)
        normalisers = query.new_empty(query.shape[:3], dtype=torch.promote_types(query.dtype, torch.float32))
        for own, seen in _segments(rows):
            k, v = (_joined(each, seen, query.shape[1]) for each in (key, value))
            line[:, :, own], found = _attend(query[:, :, own], k, v, *how)
            if found is not None:
                normalisers[:, :, own] = found
        ctx.save_for_backward(query, key, value, line, normalisers)
        ctx.rows, ctx.how = rows, how
        return line

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, line, normalisers = ctx.saved_tensors
        slopes = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for own, seen in _segments(ctx.rows):
            k, v = (_joined(each, seen, query.shape[1]) for each in (key, value))
            given = slope[:, :, own], query[:, :, own], line[:, :, own], normalisers[:, :, own]
            slopes[0][:, :, own], *of_seen = _slopes(*given, k, v, *ctx.how)
            for into, found in zip(slopes[1:], of_seen, strict=True):
                if found.shape[1] > into.shape[1]:
                    # Heads of queries that share keys and values add up.
                    found = found.unflatten(1, (into.shape[1], -1)).sum(2)
                for part, values in zip(seen, found.split([part.stop - part.start for part in seen], 2), strict=True):
                    into[:, :, part] += values
        return (*slopes, *(None,) * 4)


_on_line: Callable[..., torch.Tensor] = _Line.apply


def _segments(rows: tuple[Row, ...]) -> Iterator[tuple[slice, tuple[slice, ...]]]:
    """Stretches of the line, and those that they look at: what a row shares at itself, a response at both."""
    at = 0
    for row in rows:
        shared = slice(at, at + row.shared)
        at = shared.stop
        if row.shared:
            yield shared, (shared,)
        for size in row.own:
            own = slice(at, at + size)
            at = own.stop
            if size:
                yield own, (shared, own)


def _joined(line: torch.Tensor, parts: tuple[slice, ...], heads: int) -> torch.Tensor:
    whole = torch.cat([line[:, :, part] for part in parts], 2) if len(parts) > 1 else line[:, :, parts[0]]
    return whole.repeat_interleave(heads // whole.shape[1], 1) if heads > whole.shape[1] else whole


def _attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float | None, window: int | None, softcap: float | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The last q.shape[2] of k.shape[2] tokens look at those up to themselves, `window` of them at most.

    Also the logs of their normalisers, [1, H, n], where the backward pass can use them.
    """
    n, m = q.shape[2], k.shape[2]
    narrow = window is not None and window < m
    causal = n == m and not narrow and softcap is None
    mask = None if causal else _mask(n, m, window if narrow else None, q)
    if _is_fused(q, v, softcap):
        out, normaliser = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, k, v, 0.0, causal, attn_mask=mask, scale=scale
        )
        return out, normaliser
    if softcap is None or mask is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale), None
    scores = (q @ k.transpose(2, 3)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    scores = softcap * torch.tanh(scores / softcap) + mask
    precise = torch.promote_types(q.dtype, torch.float32)
    return scores.softmax(-1, dtype=precise).to(q.dtype) @ v, None


def _slopes(
    slope: torch.Tensor,
    q: torch.Tensor,
    out: torch.Tensor,
    normaliser: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None,
    window: int | None,
    softcap: float | None,
) -> tuple[torch.Tensor, ...]:
    """Of the queries, keys and values of `_attend`."""
    n, m = q.shape[2], k.shape[2]
    found: tuple[torch.Tensor, ...]
    if _is_fused(q, v, softcap):
        narrow = window is not None and window < m
        causal = n == m and not narrow
        mask = None if causal else _mask(n, m, window if narrow else None, q)
        found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            slope, q, k, v, out, normaliser, 0.0, causal, attn_mask=mask, scale=scale
        )
        return found
    with torch.enable_grad():
        q, k, v = (each.detach().requires_grad_() for each in (q, k, v))
        again, _ = _attend(q, k, v, scale, window, softcap)
    return torch.autograd.grad(again, (q, k, v), slope)


def _is_fused(q: torch.Tensor, v: torch.Tensor, softcap: float | None) -> bool:
    """Whether normalisers can be handed to a backward pass, as what `scaled_dot_product_attention` calls here takes."""
    return q.device.type == "cpu" and softcap is None and q.shape[-1] == v.shape[-1]


def _mask(n: int, m: int, window: int | None, like: torch.Tensor) -> torch.Tensor:
    """What is added to scores, [n, m]: -inf for what comes later, or `window` tokens or more before."""
    ahead = torch.arange(m, device=like.device) - torch.arange(m - n, m, device=like.device)[:, None]
    unseen = ahead > 0
    if window is not None:
        unseen |= ahead <= -window
    return like.new_zeros(n, m).masked_fill_(unseen, -torch.inf)
