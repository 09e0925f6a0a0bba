"""Attention on a packed line: each row keeps to itself, each response to what it shares and its own.

The function registered here does what the model's own attention does wherever it is not handed the rows of a line.
"""

from __future__ import annotations

import functools
import sys
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
    sizes = [size for row in rows for size in (row.shared, *row.own)]
    # One split, not a slice a segment: the backward of a slice is as large as the line.
    queries, keys, values = (iter(whole.split(sizes, 2)) for whole in (query, key, value))
    attend = functools.partial(_segment, scale=scaling, window=sliding_window, softcap=softcap)
    outputs = []
    for row in rows:
        q, k, v = next(queries), next(keys), next(values)
        outputs.append(attend(q, k, v))
        for _size in row.own:
            q, own_k, own_v = next(queries), next(keys), next(values)
            outputs.append(attend(q, torch.cat([k, own_k], 2), torch.cat([v, own_v], 2)))
    return torch.cat([each.transpose(1, 2) for each in outputs], 1)


def _segment(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, scale: float | None, window: int | None, softcap: float | None
) -> torch.Tensor:
    """The last q.shape[2] of k.shape[2] tokens look at those up to themselves, `window` of them at most."""
    n, m = q.shape[2], k.shape[2]
    if not n:
        return q
    if (groups := q.shape[1] // k.shape[1]) > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    narrow = window is not None and window < m
    if n == m and not narrow and softcap is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    ahead = torch.arange(m, device=q.device) - torch.arange(m - n, m, device=q.device)[:, None]
    seen = ahead <= 0
    if narrow:
        seen &= ahead > -window  # type: ignore[operator]
    if softcap is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale)
    scores = (q @ k.transpose(2, 3)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    scores = (softcap * torch.tanh(scores / softcap)).masked_fill(~seen, -torch.inf)
    precise = torch.promote_types(q.dtype, torch.float32)
    return scores.softmax(-1, dtype=precise).to(q.dtype) @ v
