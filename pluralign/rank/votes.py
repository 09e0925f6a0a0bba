"""Votes as columns of numbers: who met whom, who won, and what else a leaderboard may use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pluralign.rank.names import recoded

LEFT, RIGHT, TIE, BOTH_BAD = 0, 1, 2, 3
"""What a vote said: the left item won, the right one, neither, or neither and both were bad."""


@dataclass(frozen=True)
class Counts:
    """Distinct pairs of items with what became of their votes.

    items: names, in order. low, high: [m] item numbers, low < high, no pair twice. won: [m, 4] weighted votes by
    outcome, in the order of `LEFT`, `RIGHT`, `TIE`, `BOTH_BAD`, as if the low item stood on the left.
    """

    items: Sequence[str]
    low: NDArray[np.int32]
    high: NDArray[np.int32]
    won: NDArray[np.float64]

    @property
    def n(self) -> int:
        """How many items there are."""
        return len(self.items)


@dataclass(frozen=True)
class Votes:
    """N votes between two items each.

    items: names, in order. left, right: item numbers [N]. outcome: `LEFT`, `RIGHT`, `TIE` or `BOTH_BAD` [N].
    weight: how much each vote counts [N], or None. first: 0 where the left item was shown first, 1 where the right one
    was, -1 where that is not known [N], or None. annotator, prompt: numbers of those [N], -1 unknown, or None.
    days: when, in days since 1970 [N], or None; dated: whether those are dates rather than rounds or numbers of the
    source's own. annotators: names, by number. extra: a frame of all other columns,
    row by row. dropped: what was left out, by reason.
    """

    items: Sequence[str]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    outcome: NDArray[np.int8]
    weight: NDArray[np.float64] | None = None
    first: NDArray[np.int8] | None = None
    annotator: NDArray[np.int32] | None = None
    annotators: Sequence[str] = ()
    prompt: NDArray[np.int32] | None = None
    days: NDArray[np.float64] | None = None
    dated: bool = False
    extra: pl.DataFrame | None = None
    dropped: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.left)

    @property
    def total(self) -> float:
        """How many votes there are, each as often as it counts."""
        return float(len(self) if self.weight is None else self.weight.sum())

    @classmethod
    def of(cls, data: Any, columns: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None) -> Votes:
        """Votes from a file, a frame, a mapping of columns, or `Feedback`.

        Tables with plain columns (model_a, model_b, winner and their kin; home, away and scores; winner and loser) are
        read as columns, everything else as `pluralign.read` does. columns: our name -> the source's, such as
        `{"winner": "choice"}`. labels: the source's words for verdicts -> ours, such as `{"gauche": "left"}`.
        Raises `FeedbackError` for what is not a table of votes, or holds verdicts that are not known: a word that is
        not understood never counts as a tie.

        >>> votes = Votes.of({"left": ["a", "b"], "right": ["b", "c"], "label": ["left", "tie"]})
        >>> votes.items, votes.outcome.tolist()
        (['a', 'b', 'c'], [0, 2])
        """
        if isinstance(data, Votes):
            return data
        from pluralign.rank.vote_sources import votes_of

        return votes_of(data, columns or {}, labels or {})

    def column(self, name: str) -> pl.Series | None:
        """A column of the source, or a field of what its format did not understand (`meta`); None if there is none."""
        if self.extra is None or name in self.extra.columns:
            return None if self.extra is None else self.extra[name]
        if "meta" not in self.extra.columns or self.extra["meta"].dtype != pl.String:
            return None
        found = self.extra["meta"].str.json_path_match(f"$['{name.removeprefix('meta.')}']")
        return None if found.null_count() == len(found) else found

    def where(self, mask: Any) -> Votes:
        """The votes for which a boolean mask [N] holds. Items keep their numbers."""
        mask = np.asarray(mask, dtype=bool)
        kept: dict[str, Any] = {}
        for name in ("left", "right", "outcome", "weight", "first", "annotator", "prompt", "days"):
            values = getattr(self, name)
            kept[name] = None if values is None else values[mask]
        extra = None if self.extra is None else self.extra.filter(pl.Series(mask))
        return replace(self, **kept, extra=extra)

    def renumbered(self, items: Sequence[str]) -> Votes:
        """The same votes numbered by another list of names. Raises `OptionError` where one is missing."""
        if list(items) == list(self.items):
            return self
        left, right = recoded(self.items, np.stack([self.left, self.right]), items)
        return replace(self, items=list(items), left=left, right=right)

    def counts(self) -> Counts:
        """Votes of equal pairs put together: all that a model without annotators, order or covariates needs."""
        n = len(self.items)
        if n * n <= max(len(self), 1 << 14):
            pair, won = self._table_counts(n)
        else:
            swapped = self.left > self.right
            low = np.minimum(self.left, self.right).astype(np.int64)
            # Swapping the sides exchanges the first two outcomes.
            outcome = self.outcome ^ (swapped & (self.outcome < TIE))
            pair, won = _sorted_counts((low * n + np.maximum(self.left, self.right)) * 4 + outcome, self.weight)
        return Counts(self.items, (pair // n).astype(np.int32), (pair % n).astype(np.int32), won)

    def _table_counts(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Distinct pairs and their counts [m, 4] by way of a table of all pairs: for few items met often."""
        key = (self.left.astype(np.int64) * n + self.right) * 4 + self.outcome
        every = np.bincount(key, weights=self.weight, minlength=4 * n * n).reshape(n, n, 4).astype(np.float64)
        low, high = np.triu_indices(n, 1)
        won = every[low, high] + every[high, low][:, [RIGHT, LEFT, TIE, BOTH_BAD]]
        met = won.any(1)
        return (low * n + high)[met], np.asfortranarray(won[met])


def _sorted_counts(
    key: NDArray[np.int64], weight: NDArray[np.float64] | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Distinct pairs and their counts [m, 4] from pair * 4 + outcome, by sorting: for many items met rarely."""
    if weight is None:
        key = np.sort(key)
        starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
        distinct, count = key[starts], np.diff(np.append(starts, len(key))).astype(np.float64)
    else:
        distinct, inverse = np.unique(key, return_inverse=True)
        count = np.bincount(inverse, weights=weight).astype(np.float64)
    pairs = distinct >> 2
    fresh = np.concatenate(([True], pairs[1:] != pairs[:-1])) if len(pairs) else np.zeros(0, bool)
    # Column by column, as every user of it works.
    won = np.zeros((int(fresh.sum()), 4), order="F")
    won[np.cumsum(fresh) - 1, distinct & 3] = count
    return pairs[fresh], won


def encoded(values: pl.Series) -> tuple[list[str], NDArray[np.int32]]:
    """Sorted distinct strings and each value's place among them [n], -1 for null.

    >>> encoded(pl.Series(["b", None, "a"]))
    (['a', 'b'], array([ 1, -1,  0], dtype=int32))
    """
    # Physical codes are places in a store that other columns may share, so they are mapped to our own.
    physical = values.cast(pl.Categorical).to_physical()
    known = np.flatnonzero(physical.is_not_null()) if physical.null_count() else slice(None)
    codes = physical.drop_nulls().to_numpy() if physical.null_count() else physical.to_numpy()
    first = np.full(int(codes.max()) + 1 if len(codes) else 0, -1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    seen = np.flatnonzero(first >= 0)
    distinct = values.drop_nulls().gather(first[seen]) if physical.null_count() else values.gather(first[seen])
    order = distinct.arg_sort().to_numpy()
    place = np.empty(len(first), dtype=np.int32)
    place[seen[order]] = np.arange(len(order), dtype=np.int32)
    out = np.full(len(values), -1, dtype=np.int32)
    out[known] = place[codes]
    return distinct.gather(order).to_list(), out
