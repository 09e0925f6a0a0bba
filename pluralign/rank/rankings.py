"""Rankings as columns of numbers: who put which items in which order, with ties and gaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import OptionError
from pluralign.rank.names import recoded

Unranked = Literal["recorded", "below", "absent"]


@dataclass(frozen=True)
class Rankings:
    """R rankings of two or more items each, laid end to end.

    items: names, in order. flat: [N] item numbers, ranking after ranking, best first. level: [N] the place of each
    within its ranking, from 0 without gaps; equal levels are ties. offsets: [R + 1] where each ranking begins.
    unranked_below: [R] whether the last level holds candidates that were seen and left below all others in no order
    (a top three among ten), rather than a tie. weight: how many such rankings each stands for [R], or None. annotator:
    numbers of who ranked [R], -1 unknown, or None; annotators: their names. dropped: what was left out, by reason.
    """

    items: Sequence[str]
    flat: NDArray[np.int32]
    level: NDArray[np.int32]
    offsets: NDArray[np.int64]
    unranked_below: NDArray[np.bool_]
    weight: NDArray[np.float64] | None = None
    annotator: NDArray[np.int32] | None = None
    annotators: Sequence[str] = ()
    dropped: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def n(self) -> int:
        """How many items there are."""
        return len(self.items)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[R] how many items each ranking holds, candidates below included."""
        return np.diff(self.offsets)

    @property
    def owner(self) -> NDArray[np.int64]:
        """[N] the ranking of each entry."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def weights(self) -> NDArray[np.float64]:
        """[R] how many rankings each stands for; ones where that was not said."""
        return np.ones(len(self)) if self.weight is None else self.weight

    @classmethod
    def of(cls, data: Any, unranked: Unranked = "recorded") -> Rankings:
        """Rankings from a file, `Feedback`, `Votes`, a frame or lists of names.

        Lists hold names, best first; a list, tuple or set inside is a tie. Frames are long (columns ranking, item,
        rank, and perhaps annotator and weight) or wide (a column an item, its rank in the cell, empty where it has
        none). Everything else is read by `pluralign.read`. unranked: whether items of the file without a rank stand
        "below" the ranked ones or were "absent"; "recorded" takes the source's word, which is absent where it says
        nothing. Raises `FeedbackError` for an item ranked twice or where nothing is ranked.

        >>> rankings = Rankings.of([["b", "a", "c"], ["a", ["b", "c"]]])
        >>> rankings.items, rankings.flat.tolist(), rankings.level.tolist()
        (['a', 'b', 'c'], [1, 0, 2, 0, 1, 2], [0, 1, 2, 0, 1, 1])
        """
        if unranked not in ("recorded", "below", "absent"):
            raise OptionError(f"unranked is 'recorded', 'below' or 'absent', not '{unranked}'")
        if isinstance(data, Rankings):
            return data
        from pluralign.rank import ranking_sources

        return ranking_sources.rankings(data, unranked)

    def where(self, mask: Any) -> Rankings:
        """The rankings for which a boolean mask [R] holds. Items keep their numbers."""
        mask = np.asarray(mask, dtype=bool)
        entries = mask[self.owner]
        offsets = np.concatenate(([0], np.cumsum(self.lengths[mask])))
        return replace(
            self,
            flat=self.flat[entries],
            level=self.level[entries],
            offsets=offsets,
            unranked_below=self.unranked_below[mask],
            weight=None if self.weight is None else self.weight[mask],
            annotator=None if self.annotator is None else self.annotator[mask],
        )

    def renumbered(self, items: Sequence[str]) -> Rankings:
        """The same rankings numbered by another list of names. Raises `OptionError` where one is missing."""
        if list(items) == list(self.items):
            return self
        return replace(self, items=list(items), flat=recoded(self.items, self.flat, items))

    def names(self, ranking: int) -> list[list[str]]:
        """One ranking as names, best first, ties together.

        >>> Rankings.of([["a", ["b", "c"]]]).names(0)
        [['a'], ['b', 'c']]
        """
        inside = slice(self.offsets[ranking], self.offsets[ranking + 1])
        level = self.level[inside]
        return [[self.items[i] for i in self.flat[inside][level == place]] for place in range(int(level.max()) + 1)]

    def blocks(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Starts and ends [B] of levels: entries of one ranking on one place, in order."""
        fresh = np.ones(len(self.flat), dtype=bool)
        fresh[1:] = self.level[1:] != self.level[:-1]
        fresh[self.offsets[:-1]] = True
        starts = np.flatnonzero(fresh)
        return starts, np.append(starts[1:], len(self.flat))

    def above(self, everything: bool = True) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Who stands above whom: numbers of the upper and the lower item and of the ranking, three arrays alike.

        everything: each pair of entries on different levels; otherwise only those on neighbouring levels, from which
        the rest follows.
        """
        starts, ends = self.blocks()
        size = ends - starts
        owner = self.owner
        last = np.append(owner[starts[1:]] != owner[starts[:-1]], True) if len(starts) else np.zeros(0, bool)
        following = np.append(ends[1:], 0)
        until = self.offsets[1:][owner[starts]] if everything else np.where(last, ends, following)
        until = np.where(last, ends, until)
        begin, count = np.repeat(ends, size), np.repeat(until - ends, size)
        upper = np.repeat(np.arange(len(self.flat)), count)
        lower = np.repeat(begin - np.concatenate(([0], np.cumsum(count)[:-1])), count) + np.arange(int(count.sum()))
        return self.flat[upper].astype(np.int64), self.flat[lower].astype(np.int64), owner[upper]

    def ties(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of items on one place, and the ranking of each, three arrays alike; not of candidates left below."""
        starts, ends = self.blocks()
        owner = self.owner[starts]
        below = self.unranked_below[owner] & (ends == self.offsets[1:][owner])
        parts = []
        for size in np.unique((ends - starts)[~below]):
            block = starts[~below & (ends - starts == size)]
            i, j = np.triu_indices(int(size), 1)
            parts.append((block[:, None] + i, block[:, None] + j))
        a, b = (np.concatenate([part[k].ravel() for part in parts] or [np.zeros(0, np.int64)]) for k in (0, 1))
        return self.flat[a].astype(np.int64), self.flat[b].astype(np.int64), self.owner[a]

    def matrix(self) -> NDArray[np.float64]:
        """[n, n] weighted count of rankings that put the item of the row above that of the column."""
        upper, lower, ranking = self.above()
        weight = None if self.weight is None else self.weight[ranking]
        counts = np.bincount(upper * self.n + lower, weights=weight, minlength=self.n**2)
        return np.asarray(counts.reshape(self.n, self.n), dtype=np.float64)
