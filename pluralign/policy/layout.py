"""Where the tokens of a batch stand when the model sees them: padded, or packed with what responses share said once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pluralign.policy.batch import TokenBatch


@dataclass(frozen=True)
class Row:
    """One prompt and its responses on the packed line: `shared` tokens that all begin with, then each one's own."""

    shared: int
    own: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """N tokens as the model takes them.

    inputs: what the model is called with. ids: the tokens on one line, [N]. parent: for each of them the place of the
    token before it, [N]. place: where the token of sequence i, column t stands on the line, [B*K, T]; of no meaning
    in the padding. rows: of a packed line; nothing else knows where one row ends.
    """

    inputs: dict[str, Any]
    ids: torch.Tensor
    parent: torch.Tensor
    place: torch.Tensor
    rows: tuple[Row, ...] = ()


def padded(tokens: TokenBatch) -> Layout:
    """Every sequence whole, filled up to the longest."""
    ids = tokens.input_ids
    place = torch.arange(ids.numel(), device=ids.device)
    inputs = {"input_ids": ids, "attention_mask": tokens.attention_mask, "position_ids": tokens.position_ids}
    return Layout(inputs, ids.flatten(), place - 1, place.view(ids.shape))


def packed(tokens: TokenBatch) -> Layout:
    """All rows on one line: no padding, and the longest common beginning of a row's responses once.

    Positions count as if each response stood alone. The attention must keep to `rows` (see `policy.attention`).

    >>> from pluralign.policy.batch import collate
    >>> from pluralign.policy.encode import Encoded
    >>> batch = collate([Encoded([1, 2], ([3, 4, 9], [3, 9]), ([True] * 3, [True] * 2))], pad_id=0)
    >>> layout = packed(batch)
    >>> layout.ids.tolist(), layout.inputs["position_ids"].tolist(), layout.rows
    ([1, 2, 3, 4, 9, 9], [[0, 1, 2, 3, 4, 3]], (Row(shared=3, own=(2, 1)),))
    """
    b, k = tokens.shape
    real = tokens.attention_mask.bool().view(b, k, -1)
    position = tokens.position_ids.view(b, k, -1)
    length = real.sum(-1)
    shared = _common_beginning(tokens.input_ids.view(b, k, -1), real, length)
    own = length - shared[:, None]
    # The line: row by row, what is shared, then each response's own.
    sizes = torch.cat([shared[:, None], own], 1)
    starts = (sizes.flatten().cumsum(0) - sizes.flatten()).view(b, k + 1)
    place = torch.where(
        position < shared[:, None, None],
        starts[:, :1, None] + position,
        starts[:, 1:, None] + position - shared[:, None, None],
    )
    first = torch.arange(k, device=real.device)[None, :, None] == 0
    said = real & (first | (position >= shared[:, None, None]))
    before = torch.cat([place[..., :1], place[..., :-1]], -1)
    ids, positions, parent = (
        torch.zeros(int(sizes.sum()), dtype=torch.long, device=real.device).index_put((place[said],), values[said])
        for values in (tokens.input_ids.view(b, k, -1), position, before)
    )
    rows = tuple(Row(head, tuple(tail)) for head, tail in zip(shared.tolist(), own.tolist(), strict=True))
    inputs = {"input_ids": ids[None], "position_ids": positions[None]}
    return Layout(inputs, ids, parent, place.view(b * k, -1), rows)


def _common_beginning(ids: torch.Tensor, real: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Tokens that all sequences of a row begin with, [B]. ids, real: [B, K, T]; length: [B, K]."""
    # Whichever side the padding is on, column t is token t.
    begin = real.int().argmax(-1, keepdim=True)
    column = torch.arange(ids.shape[-1], device=ids.device)
    aligned = ids.gather(-1, (begin + column).clamp(max=ids.shape[-1] - 1))
    same = (aligned == aligned[:, :1]).all(1) & (column < length.min(1).values[:, None])
    return same.int().cumprod(-1).sum(-1)
