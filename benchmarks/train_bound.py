"""How many operations of matrix products a DPO step takes, the usual way and at the least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Row = tuple[int, Sequence[int]]
"""Tokens of a prompt and of each response."""


@dataclass(frozen=True)
class Count:
    """Token positions, query-key pairs, and positions that the head runs on, of one pass over some rows."""

    positions: int
    looks: int
    head: int


def padded(rows: Sequence[Row], batch: int) -> Count:
    """Every response with its prompt, filled up to the longest of its batch, the head everywhere."""
    positions = looks = 0
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        width = max(p + max(r) for p, r in part)
        n = sum(len(r) for _, r in part)
        positions += n * width
        looks += n * width * (width + 1) // 2
    return Count(positions, looks, positions)


def distinct(rows: Sequence[Row]) -> Count:
    """Every prompt once, no padding, the head where a response token is predicted."""
    positions = sum(p + sum(r) for p, r in rows)
    looks = sum(p * (p + 1) // 2 + sum(n * p + n * (n + 1) // 2 for n in r) for p, r in rows)
    return Count(positions, looks, sum(sum(r) for _, r in rows))


def operations(count: Count, config: Any, *, reference: bool = True, checkpointing: bool = False) -> float:
    """Of a training step: a pass forward, twice that back, the head once more because it is recomputed.

    reference: and a pass of the reference forward. checkpointing: and the layers once more.
    """
    d, ff = config.hidden_size, config.intermediate_size
    layer = 2 * (4 * d * d + 3 * d * ff) * count.positions + 4 * d * count.looks
    body = config.num_hidden_layers * layer * (3 + reference + checkpointing)
    return float(body + 2 * d * config.vocab_size * count.head * (4 + reference))
