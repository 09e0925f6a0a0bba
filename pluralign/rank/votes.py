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


BLOCK = 1 << 15
"""Rows worked on at a time, so that what lies between stays in the cache."""


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
            pair, won = _sorted_counts(self._keys(n), self.weight)
        low = pair // n
        return Counts(self.items, low.astype(np.int32), (pair - low * n).astype(np.int32), won)

    def _keys(self, n: int) -> NDArray[Any]:
        """(low item * n + high item) * 4 + outcome seen from the low item [N], in the smallest type that holds it."""
        key = np.empty(len(self), dtype=np.uint32 if 4 * n * n < 1 << 32 else np.int64)
        for block in blocks(len(self)):
            left, right, outcome = self.left[block], self.right[block], self.outcome[block]
            # Swapping the sides exchanges the first two outcomes.
            outcome = outcome ^ ((left > right) & (outcome < TIE))
            part = np.minimum(left, right).astype(key.dtype)
            part *= n
            part += np.maximum(left, right).astype(key.dtype)
            part *= 4
            part += outcome.astype(key.dtype)
            key[block] = part
        return key

    def _table_counts(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Distinct pairs and their counts [m, 4] by way of a table of all pairs: for few items met often."""
        key = np.empty(len(self), dtype=np.int64)
        for block in blocks(len(self)):
            # Below n * n * 4, which is no more than four times the votes.
            part = self.left[block] * np.int32(n)
            part += self.right[block]
            part *= 4
            part += self.outcome[block]
            key[block] = part
        every = np.bincount(key, weights=self.weight, minlength=4 * n * n).reshape(n * n, 4)
        low, high = np.triu_indices(n, 1)
        pair = low * n + high
        won = np.empty((len(pair), 4), order="F")
        for outcome, swapped in ((LEFT, RIGHT), (RIGHT, LEFT), (TIE, TIE), (BOTH_BAD, BOTH_BAD)):
            won[:, outcome] = every[pair, outcome] + every[high * n + low, swapped]
        met = won.sum(1) > 0 if self.weight is None else won.any(1)
        return (pair, won) if met.all() else (pair[met], np.asfortranarray(won[met]))


def blocks(n: int) -> list[slice]:
    """Parts of `BLOCK` rows."""
    return [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]


def _sorted_counts(key: NDArray[Any], weight: NDArray[np.float64] | None) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Distinct pairs and their counts [m, 4] from pair * 4 + outcome, by sorting: for many items met rarely."""
    if weight is None:
        key.sort()
    else:
        order = np.argsort(key, kind="stable")
        key, weight = key[order], weight[order]
    starts = np.flatnonzero(_changes(key))
    count = np.diff(starts, append=len(key)) if weight is None else np.add.reduceat(weight, starts)
    key = key[starts]
    pairs = key >> 2
    fresh = _changes(pairs)
    pairs = pairs[fresh]
    place: NDArray[np.int64] = np.cumsum(fresh)
    place -= 1
    # Column by column, as every user of it works; columns without votes are never written to.
    place += (key & 3) * np.int64(len(pairs))
    won = np.zeros((len(pairs), 4), order="F")
    won.reshape(-1, order="F")[place] = count
    return pairs, won


def _changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where sorted values differ from the one before."""
    fresh = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=fresh[1:])
    return fresh


def encoded(values: pl.Series) -> tuple[list[str], NDArray[np.int32]]:
    """Sorted distinct strings and each value's place among them [n], -1 for null.

    >>> encoded(pl.Series(["b", None, "a"]))
    (['a', 'b'], array([ 1, -1,  0], dtype=int32))
    """
    # Physical codes are places in a store that other columns may share, so they are mapped to our own.
    physical = values.cast(pl.Categorical).to_physical()
    if physical.null_count():
        known = np.flatnonzero(physical.is_not_null())
        names, codes = encoded(values.drop_nulls())
        out = np.full(len(values), -1, dtype=np.int32)
        out[known] = codes
        return names, out
    codes = physical.to_numpy()
    row = np.full(int(physical.max()) + 1 if len(codes) else 0, -1, dtype=np.int64)  # type: ignore[arg-type]
    start, stop = 0, 1 << 12
    # Ever longer parts, until every code was seen: for most tables a small part of them.
    while start < len(codes) and row.min() < 0:
        row[codes[start:stop]] = np.arange(start, min(stop, len(codes)))
        start, stop = stop, 2 * stop
    seen = np.flatnonzero(row >= 0)
    words = values[row[seen]].to_list()
    order = sorted(range(len(words)), key=words.__getitem__)
    place = np.zeros(len(row), dtype=np.int32)
    place[seen[order]] = np.arange(len(order), dtype=np.int32)
    return [words[i] for i in order], pl.Series(place)[physical].to_numpy()
