"""Models of one taste, for mixtures: what each person said, and how scores are improved on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

from pluralign.errors import FeedbackError
from pluralign.rank.luce import Luce
from pluralign.rank.rankings import Rankings
from pluralign.rank.votes import LEFT, RIGHT, Votes

Array = NDArray[np.float64]


class Scores(ABC):
    """Scores [n] of U people's taste under a ridge, improved by one damped Newton step.

    comparisons: [U] how many each person made.
    """

    n: int
    people: int
    ridge: float
    comparisons: Array

    @abstractmethod
    def log_likelihood(self, x: Array) -> Array:
        """[U], in nats."""

    @abstractmethod
    def value(self, x: Array, weight: Array) -> float:
        """Negative log-likelihood of people weighted [U]."""

    @abstractmethod
    def derivatives(self, x: Array, weight: Array) -> tuple[Array, Array]:
        """Of it: [n] and [n, n]."""

    @abstractmethod
    def gradients(self, x: Array) -> Array:
        """[U, n] derivative of each person's log-likelihood."""

    def prior(self, x: Array) -> float:
        """Gaussian of variance 1 / ridge."""
        return -self.ridge / 2 * float(x @ x)

    def improved(self, x: Array, weight: Array) -> Array:
        """One Newton step, halved while it does not help."""
        slope, matrix = self.derivatives(x, weight)
        slope = slope + self.ridge * x
        step = np.asarray(cho_solve(cho_factor(matrix + self.ridge * np.eye(len(x))), slope))
        now = self.value(x, weight) - self.prior(x)
        for _ in range(30):
            new = x - step
            if self.value(new, weight) - self.prior(new) <= now + 1e-12 * abs(now):
                return np.asarray(new)
            step = step / 2
        return x


class VotesTaste(Scores):
    """Bradley-Terry scores of one taste; votes of one person on one pair are put together, ties half a win each."""

    def __init__(self, votes: Votes, person: NDArray[np.int64], ridge: float) -> None:
        n = len(votes.items)
        self.n, self.ridge, self.people = n, ridge, int(person.max()) + 1
        swap = votes.left > votes.right
        low, high = np.minimum(votes.left, votes.right).astype(np.int64), np.maximum(votes.left, votes.right)
        weight = np.ones(len(votes)) if votes.weight is None else votes.weight
        up = np.select([votes.outcome == LEFT, votes.outcome == RIGHT], [1.0, 0.0], 0.5)
        up = np.where(swap, 1 - up, up) * weight
        key, inverse = np.unique((person * n + low) * n + high, return_inverse=True)
        self.person, pair = np.divmod(key, n * n)
        self.up = np.bincount(inverse, up)
        self.down = np.bincount(inverse, weight - up)
        pairs, self.pair = np.unique(pair, return_inverse=True)
        self.low, self.high = np.divmod(pairs, n)
        self.comparisons = np.bincount(person, minlength=self.people).astype(np.float64)

    def log_likelihood(self, x: Array) -> Array:
        """[U], in nats."""
        d = x[self.low] - x[self.high]
        win, loss = -np.logaddexp(0, -d)[self.pair], -np.logaddexp(0, d)[self.pair]
        return np.bincount(self.person, self.up * win + self.down * loss, self.people).astype(np.float64)

    def _counts(self, weight: Array) -> tuple[Array, Array]:
        w = weight[self.person]
        up, down = np.bincount(self.pair, w * self.up), np.bincount(self.pair, w * self.down)
        return up.astype(np.float64), down.astype(np.float64)

    def value(self, x: Array, weight: Array) -> float:
        """Negative weighted log-likelihood."""
        up, down = self._counts(weight)
        d = x[self.low] - x[self.high]
        return float(up @ np.logaddexp(0, -d) + down @ np.logaddexp(0, d))

    def derivatives(self, x: Array, weight: Array) -> tuple[Array, Array]:
        """Of it: [n] and [n, n]."""
        up, down = self._counts(weight)
        p = expit(x[self.low] - x[self.high])
        pull, curve = (up + down) * p - up, (up + down) * p * (1 - p)
        slope = np.bincount(self.low, pull, self.n) - np.bincount(self.high, pull, self.n)
        edges = np.zeros((self.n, self.n))
        edges[self.low, self.high] = curve
        edges += edges.T
        return np.asarray(slope), np.diag(edges.sum(1)) - edges

    def gradients(self, x: Array) -> Array:
        """[U, n] derivative of each person's log-likelihood."""
        p = expit(x[self.low] - x[self.high])[self.pair]
        pull = self.up - (self.up + self.down) * p
        size = self.people * self.n
        up = np.bincount(self.person * self.n + self.low[self.pair], pull, size)
        return np.asarray(up - np.bincount(self.person * self.n + self.high[self.pair], pull, size)).reshape(-1, self.n)


class RankingsTaste(Scores):
    """Plackett-Luce scores of one taste; ties count as orders that were not recorded."""

    def __init__(self, rankings: Rankings, person: NDArray[np.int64], ridge: float) -> None:
        self.n, self.ridge, self.people = rankings.n, ridge, int(person.max()) + 1
        self.person, self.weights = person, rankings.weights
        # Looks of one taste follow each other; a likelihood of its own remembers the last scores.
        self.luce = Luce(rankings)
        pairs = (rankings.lengths * (rankings.lengths - 1) // 2).astype(np.float64)
        self.comparisons = np.bincount(person, pairs, self.people).astype(np.float64)

    def log_likelihood(self, x: Array) -> Array:
        """[U], in nats."""
        log = self.luce.log_likelihood(x)
        return np.bincount(self.person, self.weights * log, self.people).astype(np.float64)

    def value(self, x: Array, weight: Array) -> float:
        """Negative weighted log-likelihood."""
        return -float(weight @ self.log_likelihood(x))

    def derivatives(self, x: Array, weight: Array) -> tuple[Array, Array]:
        """Of it: [n] and [n, n]."""
        w = weight[self.person] * self.weights
        return self.luce.gradient(x, w)[1], self.luce.hessian(x, w)

    def gradients(self, x: Array) -> Array:
        """[U, n] derivative of each person's log-likelihood."""
        row, item, value = self.luce.gradients(x)
        place = self.person[row] * self.n + item
        found = np.bincount(place, self.weights[row] * value, self.people * self.n)
        return found.astype(np.float64).reshape(-1, self.n)


@dataclass(frozen=True)
class People:
    """What U people said: votes or rankings whose author is known, the number of each one's person, and names [U]."""

    said: Votes | Rankings
    person: NDArray[np.int64]
    names: list[str]

    @classmethod
    def of(cls, data: Any, rankings: bool, items: Sequence[str] | None = None) -> People:
        """From anything `Votes.of` or `Rankings.of` takes; by the numbers of `items` where these are given.

        A ranking whose author is not known is one of somebody who ranked nothing else; a vote without author is left
        out. Raises `FeedbackError` where no vote has an author.
        """
        said = Rankings.of(data) if rankings else Votes.of(data)
        if items is not None:
            said = said.renumbered(items)
        if said.annotator is None:
            if isinstance(said, Votes):
                raise FeedbackError("tastes show in what one person said again and again; give a column annotator")
            return cls(said, np.arange(len(said)), [str(r + 1) for r in range(len(said))])
        said = said.where(said.annotator >= 0)
        assert said.annotator is not None
        if not len(said):
            raise FeedbackError("no row says who gave it, and tastes are of people; fill in the column annotator")
        used, person = np.unique(said.annotator, return_inverse=True)
        return cls(said, person.astype(np.int64), [str(said.annotators[u]) for u in used])

    def __len__(self) -> int:
        return len(self.names)

    def where(self, mask: NDArray[np.bool_]) -> People:
        """The people for whom a mask [U] holds, with all that they said."""
        place = np.cumsum(mask) - 1
        kept = mask[self.person]
        names = [name for name, keep in zip(self.names, mask, strict=True) if keep]
        return replace(self, said=self.said.where(kept), person=place[self.person[kept]], names=names)

    def taste(self, ridge: float) -> Scores:
        """The model of one taste for them."""
        made = RankingsTaste if isinstance(self.said, Rankings) else VotesTaste
        return made(self.said, self.person, ridge)  # type: ignore[arg-type]
