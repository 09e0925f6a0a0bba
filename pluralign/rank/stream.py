"""What ratings that follow a stream of votes have in common: items that join, order, weights, one look at each vote."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.errors import FeedbackError
from pluralign.rank.names import places
from pluralign.rank.votes import Votes

Array = NDArray[np.float64]
VALUE = np.array([1.0, 0.0, 0.5, 0.5])
"""What the left side gets for each outcome; neither side won where both were bad."""


@dataclass(frozen=True)
class Batch:
    """Votes in the order of time: item numbers left, right, the left side's points, side (+1 where the left item was
    shown first, -1 the right one, 0 unknown), weight, days or None; all [N]. row: [N] the vote each came from."""

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    points: Array
    side: Array
    weight: Array
    days: Array | None
    row: NDArray[np.intp]


def sides(votes: Votes) -> Array:
    """[N] +1 where the left item was shown first, -1 where the right one was, 0 where that is not known.

    Tables without any record of it show their left item first.
    """
    if votes.first is None:
        return np.ones(len(votes))
    return np.select([votes.first == 0, votes.first == 1], [1.0, -1.0], 0.0)


def timed(votes: Votes) -> Array:
    """The days of votes [N]. Raises `FeedbackError` where there are none, or one is missing."""
    if votes.days is None:
        raise FeedbackError("these votes have no time; add a column 'time' with dates, days or rounds")
    if not np.isfinite(votes.days).all():
        row = int(np.flatnonzero(~np.isfinite(votes.days))[0])
        raise FeedbackError(f"vote {row + 1} has no time; fill it in or leave the vote out")
    return votes.days


class Stream(ABC):
    """Ratings that look at every vote once.

    `fit` starts afresh and `update` goes on; both take anything `Votes.of` takes, sorted by time where there is one
    (stable, so votes of one day keep their order). After either: `items_`, in the order in which they joined;
    `scores_` [n] in logits with mean zero; `expected_` [N]: the share of a win that the left side of every vote of
    the last call was given *before* that vote was seen, which is what an honest log-loss is made of.
    """

    items_: list[str]
    expected_: Array

    def fit(self, data: Any) -> Self:
        """Forget everything and follow these votes."""
        self.items_ = []
        self._places: dict[str, int] = {}
        self._start()
        return self.update(data)

    def update(self, data: Any) -> Self:
        """Follow more votes. Items that were never met join; a model that was not fitted starts."""
        if not hasattr(self, "items_"):
            return self.fit(data)
        votes = Votes.of(data)
        batch = self._batch(votes)
        expected = np.full(len(votes), np.nan)
        expected[batch.row] = self._follow(batch)
        self.expected_ = expected
        return self

    @property
    def scores_(self) -> Array:
        """[n], in logits, with mean zero."""
        return np.asarray(self.logits_ - self.logits_.mean())

    @property
    @abstractmethod
    def logits_(self) -> Array:
        """[n], in logits; items that join start at zero."""

    @property
    @abstractmethod
    def logit_deviations_(self) -> Array | None:
        """[n] what is not known about each of them, one standard deviation; None where the model does not say."""

    @property
    @abstractmethod
    def about_(self) -> str:
        """Which model this is."""

    @property
    def coefficients_(self) -> dict[str, float]:
        """Effects that were estimated: none."""
        return {}

    @property
    def certificate_(self) -> None:
        """A stream has no optimum to arrive at."""
        return None

    @property
    def held_(self) -> str:
        """What keeps scores finite."""
        return "items start alike, and have moved from there as far as their votes took them"

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _join(self, n: int) -> None:
        """Make room for n items that were never met."""

    @abstractmethod
    def _follow(self, batch: Batch) -> Array:
        """Change the ratings; return what was expected before each vote."""

    def _batch(self, votes: Votes) -> Batch:
        new = [item for item in votes.items if item not in self._places]
        for item in new:
            self._places[item] = len(self.items_)
            self.items_.append(item)
        if new:
            self._join(len(new))
        code = np.array([self._places[item] for item in votes.items], dtype=np.int32)
        days = None if votes.days is None else timed(votes)
        order = np.arange(len(votes)) if days is None else np.argsort(days, kind="stable")
        weight = np.ones(len(votes)) if votes.weight is None else votes.weight
        if (weight < 0).any():
            raise FeedbackError(f"vote {int((weight < 0).argmax()) + 1} has a negative weight")
        order = order[weight[order] > 0]
        return Batch(
            code[votes.left[order]],
            code[votes.right[order]],
            VALUE[votes.outcome[order]],
            sides(votes)[order],
            weight[order],
            None if days is None else days[order],
            order,
        )

    def index(self, names: ArrayLike) -> NDArray[np.intp]:
        """Places of items by name, any shape. Raises `OptionError` for a name that was never met."""
        return places(self._places, names, "items that were rated")

    @abstractmethod
    def predict_proba(self, a: ArrayLike, b: ArrayLike) -> Array:
        """P(a wins), P(b wins), P(tie) for items by name, [..., 3], at sides that favour neither."""

    def score(self, data: Any) -> float:
        """Mean log-likelihood a vote, in nats, of votes not to be learnt from; a tie is half a win and half a loss."""
        votes = Votes.of(data)
        names = np.array(votes.items, dtype=object)
        p = self.predict_proba(names[votes.left], names[votes.right])
        share = p[..., 0] + p[..., 2] / 2
        return -log_loss(share, VALUE[votes.outcome], votes.weight)


def log_loss(expected: Array, points: Array, weight: Array | None = None) -> float:
    """Mean of -points ln(expected) - (1 - points) ln(1 - expected), in nats; votes without an expectation left out.

    >>> round(log_loss(np.array([0.5, 0.75]), np.array([1.0, 1.0])), 6)  # (ln 2 + ln 4/3) / 2
    0.490415
    """
    known = ~np.isnan(expected)
    with np.errstate(divide="ignore"):
        loss = -np.where(points > 0, points * np.log(expected), 0) - np.where(
            points < 1, (1 - points) * np.log1p(-expected), 0
        )
    return float(np.average(loss[known], weights=None if weight is None else weight[known]))


def joined(one: Votes, other: Votes) -> Votes:
    """Votes of two tables in one, items of the first keeping their numbers. Columns that only one of them has are lost,
    except weights (1 where there are none) and sides.

    >>> both = joined(Votes.of({"winner": ["b"], "loser": ["a"]}), Votes.of({"winner": ["c"], "loser": ["b"]}))
    >>> both.items, both.left.tolist()
    (['a', 'b', 'c'], [1, 2])
    """
    items = [*one.items, *sorted(set(other.items) - set(one.items))]
    place = {item: i for i, item in enumerate(items)}
    code = np.array([place[item] for item in other.items], dtype=np.int32)
    weight = first = days = None
    if one.weight is not None or other.weight is not None:
        weight = np.concatenate([np.ones(len(v)) if v.weight is None else v.weight for v in (one, other)])
    if one.first is not None or other.first is not None:
        first = np.concatenate([np.zeros(len(v), np.int8) if v.first is None else v.first for v in (one, other)])
    if one.days is not None and other.days is not None:
        days = np.concatenate([one.days, other.days])
    return Votes(
        items,
        np.concatenate([one.left, code[other.left]]),
        np.concatenate([one.right, code[other.right]]),
        np.concatenate([one.outcome, other.outcome]),
        weight=weight,
        first=first,
        days=days,
        dated=one.dated and other.dated,
        dropped=one.dropped + other.dropped,
    )
