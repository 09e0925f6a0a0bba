"""Encoded rows as padded tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from pluralign.policy.encode import Encoded


@dataclass
class TokenBatch:
    """B rows of K responses as B*K sequences of T tokens, row by row.

    input_ids, attention_mask: [B*K, T]. response_mask, prompt_mask: [B*K, T], the tokens whose log-prob counts as
    the response's, or as the prompt's (all but the first, which nothing predicts). shape: (B, K).
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    response_mask: torch.Tensor
    prompt_mask: torch.Tensor
    shape: tuple[int, int]

    @property
    def position_ids(self) -> torch.Tensor:
        """Positions counted over real tokens, so that the side of the padding does not matter, [B*K, T]."""
        return (self.attention_mask.cumsum(-1) - 1).clamp(min=0)

    @property
    def length(self) -> torch.Tensor:
        """Scored tokens of each response, [B, K]."""
        return self.response_mask.sum(-1).view(self.shape)

    def to(self, device: Any) -> TokenBatch:
        """The same batch on another device."""
        return TokenBatch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.response_mask.to(device),
            self.prompt_mask.to(device),
            self.shape,
        )


def collate(rows: Sequence[Encoded], *, pad_id: int, side: Literal["left", "right"] = "right") -> TokenBatch:
    """Rows with the same number of responses as one batch, padded to the longest sequence.

    >>> row = Encoded([1, 2], ([3, 4, 9], [5, 9]), ([True] * 3, [True] * 2))
    >>> collate([row], pad_id=0).input_ids.tolist()
    [[1, 2, 3, 4, 9], [1, 2, 5, 9, 0]]
    """
    k = len(rows[0].response_ids)
    if any(len(row.response_ids) != k for row in rows):
        raise ValueError("rows of one batch must have the same number of responses")
    width = max(len(row.prompt_ids) + len(ids) for row in rows for ids in row.response_ids)
    shape = (len(rows) * k, width)
    ids = torch.full(shape, pad_id, dtype=torch.long)
    attention, response, prompt = (torch.zeros(shape, dtype=torch.bool) for _ in range(3))
    sequences = [(row.prompt_ids, *pair) for row in rows for pair in zip(row.response_ids, row.scored, strict=True)]
    for i, (head, tail, scored) in enumerate(sequences):
        n = len(head) + len(tail)
        begin = width - n if side == "left" else 0
        middle = begin + len(head)
        ids[i, begin : begin + n] = torch.tensor(head + tail)
        attention[i, begin : begin + n] = True
        prompt[i, begin + 1 : middle] = True
        response[i, middle : middle + len(tail)] = torch.tensor(scored)
    return TokenBatch(ids, attention.long(), response, prompt, (len(rows), k))


def budgeted(order: Iterable[int], lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Rows in this order, cut into batches of at most so many tokens; a longer row is a batch of its own.

    >>> list(budgeted([2, 0, 1, 3], [5, 9, 4, 30], 10))
    [[2, 0], [1], [3]]
    """
    batch: list[int] = []
    for i in order:
        if batch and sum(lengths[j] for j in batch) + lengths[i] > tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
