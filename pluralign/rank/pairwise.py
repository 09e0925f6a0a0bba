"""How often each item was put above each other one: what rules of social choice and cycles are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pluralign.errors import OptionError
from pluralign.rank.rankings import Rankings
from pluralign.rank.votes import LEFT, RIGHT, TIE, Counts, Votes

Array = NDArray[np.float64]

LARGEST = 5000
"""Items of the largest table; a number for every two of more would not fit in memory with what is computed from it."""


@dataclass(frozen=True)
class Pairwise:
    """A table of all pairs.

    items: names [n]. wins: [n, n] weighted votes, or rankings, that put the item of the row above that of the column.
    ties: [n, n], symmetric, those that put them level, both bad included.
    """

    items: Sequence[str]
    wins: Array
    ties: Array

    @property
    def n(self) -> int:
        """How many items there are."""
        return len(self.items)

    @property
    def margins(self) -> Array:
        """[n, n] by how many votes the item of the row leads that of the column; skew-symmetric."""
        return np.asarray(self.wins - self.wins.T)

    @property
    def votes(self) -> Array:
        """[n, n] how many votes compared two items; symmetric, zero where they never met."""
        return np.asarray(self.wins + self.wins.T + self.ties)

    @classmethod
    def of(cls, data: Any) -> Pairwise:
        """The table of anything `Votes.of` or `Rankings.of` takes; of a ranking, all its pairs.

        Raises `OptionError` beyond `LARGEST` items.

        >>> Pairwise.of([["a", "b", "c"], ["b", ["a", "c"]]]).wins.astype(int).tolist()
        [[0, 1, 1], [1, 0, 2], [0, 0, 0]]
        """
        if isinstance(data, Pairwise):
            return data
        source = votes_or_rankings(data)
        if len(source.items) > LARGEST:
            raise OptionError(
                f"a table of all pairs of {len(source.items):,} items is too large; take {LARGEST:,} of interest"
            )
        return _of_rankings(source) if isinstance(source, Rankings) else _of_counts(source)


def votes_or_rankings(data: Any) -> Votes | Counts | Rankings:
    """Data as rankings where its source holds orders of items, as votes everywhere else."""
    if isinstance(data, (Votes, Counts, Rankings)):
        return data
    from pluralign.rank.ranking_sources import orders

    return Rankings.of(data) if orders(data) else Votes.of(data)


def _of_counts(source: Votes | Counts) -> Pairwise:
    counts = source if isinstance(source, Counts) else source.counts()
    wins, ties = np.zeros((2, counts.n, counts.n))
    wins[counts.low, counts.high] = counts.won[:, LEFT]
    wins[counts.high, counts.low] = counts.won[:, RIGHT]
    ties[counts.low, counts.high] = ties[counts.high, counts.low] = counts.won[:, TIE:].sum(1)
    return Pairwise(list(counts.items), wins, ties)


def _of_rankings(rankings: Rankings) -> Pairwise:
    wins = rankings.matrix()
    last = np.repeat(np.maximum.reduceat(rankings.level, rankings.offsets[:-1]), rankings.lengths)
    below = rankings.unranked_below[rankings.owner] & (rankings.level == last)
    # Candidates left below are in no order among themselves: that is no tie.
    ties = _together(rankings, np.ones(len(below), bool)) - _together(rankings, below) - wins - wins.T
    np.fill_diagonal(ties, 0)
    return Pairwise(list(rankings.items), wins, ties)


def _together(rankings: Rankings, entries: NDArray[np.bool_]) -> Array:
    """[n, n] weighted rankings that hold both items among these entries."""
    size = len(rankings), rankings.n
    there = csr_array((np.ones(entries.sum()), (rankings.owner[entries], rankings.flat[entries])), shape=size)
    weighted = csr_array((rankings.weights[there.nonzero()[0]], there.nonzero()), shape=size)
    return np.asarray((there.T @ weighted).toarray())
