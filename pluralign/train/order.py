"""In what order rows come, and in what batches: by seed and epoch alone, so that a resumed run meets the same ones."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from pluralign.policy.batch import budgeted

ORDERS = ("random", "sequential", "group_by_length")


class EpochOrder(Sampler[int]):
    """Row numbers in an order that depends on seed and epoch alone, so that a resumed run meets the same one.

    order: of `TrainingArguments.train_sampling_strategy`: random, sequential, or group_by_length, where rows of like
    `lengths` come `together`.
    fill: the order is made a multiple of this by -1, a row without weight. Every process then has the same number of
    full batches, and no row is counted twice to get there.
    """

    def __init__(
        self, lengths: list[int], seed: int, *, order: str = "random", fill: int = 1, together: int = 1
    ) -> None:
        self.lengths, self.seed, self.order, self.together, self.epoch = lengths, seed, order, together, 0
        self.padding = -len(lengths) % fill

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch; the trainer calls it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        if self.order == "random":
            yield from torch.randperm(len(self.lengths), generator=draw).tolist()
        elif self.order == "group_by_length":
            yield from get_length_grouped_indices(self.lengths, self.together, generator=draw)
        else:
            yield from range(len(self.lengths))
        yield from [-1] * self.padding

    def __len__(self) -> int:
        return len(self.lengths) + self.padding


class TokenBatches(Sampler[list[int]]):
    """Batches of rows of like length, of at most so many tokens; a longer row is a batch of its own.

    Which rows come together is drawn once, so that all epochs have as many batches; their order is drawn for each. With
    the order "sequential" nothing is drawn: rows are cut into batches as they come.
    fill: the number of batches is made a multiple of this by batches of the row -1, which has no weight.

    >>> list(TokenBatches([5, 9, 4, 30], 0, 10, order="sequential", fill=2))
    [[0], [1], [2], [3]]
    >>> sorted(TokenBatches([5, 9, 4, 30], 0, 10, fill=2))
    [[-1], [0, 2], [1], [3]]
    """

    def __init__(self, lengths: list[int], seed: int, tokens: int, *, order: str = "random", fill: int = 1) -> None:
        rows = list(range(len(lengths)))
        if order != "sequential":
            rows = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed)).tolist()
            rows.sort(key=lambda i: -lengths[i])
        self.rows = list(budgeted(rows, lengths, tokens))
        # Named as in a BatchSampler, where loaders look for something to tell the epoch to.
        self.sampler = EpochOrder(
            [1] * len(self.rows), seed, order="sequential" if order == "sequential" else "random", fill=fill
        )

    def __iter__(self) -> Iterator[list[int]]:
        return (self.rows[i] if i >= 0 else [-1] for i in self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)
