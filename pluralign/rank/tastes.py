"""Models of one taste, for mixtures: what each person said, and how scores are improved on it."""

from __future__ import annotations

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


class _Scores:
    """Scores [n] under a ridge, improved by one damped Newton step."""

    ridge: float

    def prior(self, x: Array) -> float:
        """Gaussian of variance 1 / ridge."""
        return -self.ridge / 2 * float(x @ x)

    def value(self, x: Array, weight: Array) -> float:
        """Negative weighted log-likelihood."""
        raise NotImplementedError

    def derivatives(self, x: Array, weight: Array) -> tuple[Array, Array]:
        """Of it: [n] and [n, n]."""
        raise NotImplementedError

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


class VotesTaste(_Scores):
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
        return np.bincount(self.pair, w * self.up), np.bincount(self.pair, w * self.down)

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


class RankingsTaste(_Scores):
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


def votes_of_people(data: Any) -> tuple[Votes, NDArray[np.int64], list[str]]:
    """Votes whose annotator is known, the number of each one's person [N], and the names of people."""
    votes = Votes.of(data)
    if votes.annotator is None:
        raise FeedbackError("a mixture needs to know who voted; give a column annotator")
    votes = votes.where(votes.annotator >= 0)
    assert votes.annotator is not None
    used, person = np.unique(votes.annotator, return_inverse=True)
    return votes, person.astype(np.int64), [votes.annotators[u] for u in used]


def rankings_of_people(data: Any) -> tuple[Rankings, NDArray[np.int64], list[str]]:
    """Rankings, the number of each one's person [R], and names of people: one a ranking where annotators are unknown."""
    rankings = Rankings.of(data)
    if rankings.annotator is None:
        return rankings, np.arange(len(rankings)), [str(r + 1) for r in range(len(rankings))]
    rankings = rankings.where(rankings.annotator >= 0)
    assert rankings.annotator is not None
    used, person = np.unique(rankings.annotator, return_inverse=True)
    return rankings, person.astype(np.int64), [rankings.annotators[u] for u in used]
