"""A key-value cache with room to grow, of which rows can be given up without copying the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


def growing_cache(model: Any) -> Any:
    """The cache that a model of transformers takes, its layers of full attention with room for what will come."""
    cache = DynamicCache(config=model.config)
    cache.layers = [Growing() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class Growing(DynamicLayer):  # type: ignore[misc]
    """Keys and values are the part in use of buffers [rows, heads, room, width]: a token is written, nothing pasted."""

    room: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Add tokens [rows, heads, n, width]; gives all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            # A prompt by itself: most often it is repeated next, and room would be made in vain.
            self.keys, self.values = key_states, value_states
            return self.keys, self.values
        begin = self.keys.shape[-2]
        end = begin + key_states.shape[-2]
        if self.room is None or self.room[0].shape[-2] < end:
            self.room = (_with_room(self.keys, None, end), _with_room(self.values, None, end))
        for buffer, fresh in zip(self.room, (key_states, value_states), strict=True):
            buffer[:, :, begin:end] = fresh
        self.keys, self.values = (buffer[:, :, :end] for buffer in self.room)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row j is what row beam_idx[j] was. Where gaps are filled from the end only, only those rows are copied."""
        rows, end = self.keys.shape[0], self.keys.shape[-2]
        at = torch.arange(len(beam_idx), device=beam_idx.device)
        moved = beam_idx != at
        if self.room is None or len(beam_idx) > rows or not bool((beam_idx[moved] >= len(beam_idx)).all()):
            self.room = (_with_room(self.keys, beam_idx, end), _with_room(self.values, beam_idx, end))
        else:
            for buffer in self.room:
                buffer[at[moved], :, :end] = buffer[beam_idx[moved], :, :end]
            self.room = (self.room[0][: len(at)], self.room[1][: len(at)])
        self.keys, self.values = (buffer[:, :, :end] for buffer in self.room)


def _with_room(used: Tensor, rows: Tensor | None, end: int) -> Tensor:
    """These rows of [R, heads, n, width] in a buffer with room beyond `end`."""
    count = used.shape[0] if rows is None else len(rows)
    buffer = used.new_empty(count, used.shape[1], end + max(64, end // 2), used.shape[-1])
    buffer[:, :, : used.shape[-2]] = used if rows is None else used[rows]
    return buffer
