"""Absolute strengths from votes that may say that both answers were bad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

from pluralign.errors import FeedbackError
from pluralign.rank.bradley_terry import VIRTUAL
from pluralign.rank.graph import graph
from pluralign.rank.minimise import minimise
from pluralign.rank.names import places
from pluralign.rank.newton import Penalty
from pluralign.rank.votes import BOTH_BAD, LEFT, RIGHT, TIE, Counts, Votes

Array = NDArray[np.float64]


class GroundedRaoKupper:
    """Rao and Kupper's model with a third contender, nothing at all, of score zero, which wins where both are bad.

    With worths x = exp(score) and a threshold t >= 1: P(a) = x_a / (x_a + t x_b + 1), P(b) alike, P(both bad) =
    1 / (1 + x_a + x_b), and the rest are ties. So scores have a zero of their own: sigmoid(score) is the chance that an
    item alone is better than nothing. virtual: wins and losses of every item against nothing; None adds `VIRTUAL` only
    for items that the votes leave infinite.

    After `fit`: `items_`; `scores_` [n], in logits above nothing; `tie_`, ln t; `nll_` in nats; `certificate_`;
    `penalised_` [n]. Prompt-to-Leaderboard, Frick et al. 2025. Raises `FeedbackError` where no vote says that both were
    bad, `NotConverged` rather than returning the last step.

    >>> said = ["model_a", "model_a", "model_b", "tie", "tie (bothbad)"]
    >>> model = GroundedRaoKupper().fit({"model_a": ["x"] * 5, "model_b": ["y"] * 5, "winner": said})
    >>> dict(zip(model.items_, model.scores_.round(3).tolist()))
    {'x': 0.931, 'y': 0.381}
    """

    def __init__(self, *, virtual: float | None = None) -> None:
        self.virtual = virtual

    def fit(self, data: Any) -> GroundedRaoKupper:
        """Fit to anything `Votes.of` takes, or to `Counts`."""
        votes = data if isinstance(data, Counts) else Votes.of(data)
        counts = votes if isinstance(votes, Counts) else votes.counts()
        self.items_, self.counts_ = list(counts.items), counts
        won = counts.won
        if not won[:, BOTH_BAD].any():
            raise FeedbackError(
                "no vote says that both were bad, so nothing says how good the best is; take rao-kupper"
            )
        if not won[:, TIE].any():
            raise FeedbackError("no vote is a tie between good items, so there is no threshold to fit")
        n = counts.n
        own = np.where(_infinite(counts), VIRTUAL, 0.0) if self.virtual is None else float(self.virtual)
        virtual = np.broadcast_to(own, n)
        self.penalised_ = virtual > 0
        self.penalty_ = Penalty(np.zeros(n), virtual)
        # ln (t - 1), which may be any number, comes last.
        x, self.certificate_ = minimise(self._objective, np.zeros(n + 1))
        self.scores_: Array = x[:n]
        self.tie_ = float(np.logaddexp(0, x[n]))
        self._x = x
        self.nll_ = -float((won * self._log(x)[0])[won > 0].sum())
        return self

    def _objective(self, x: Array) -> tuple[float, Array, Callable[[], Array]]:
        counts, n = self.counts_, self.counts_.n
        log, slopes = self._log(x)
        value, pull, stiffness = self.penalty_.terms(x[:n], np.zeros(0))
        total = value - float((counts.won * log)[counts.won > 0].sum())
        gradient = self._spread(-np.einsum("mc,mcp->mp", counts.won, slopes))
        gradient[:n] += pull

        def step() -> Array:
            matrix = self._information(log, slopes)
            matrix[np.arange(n), np.arange(n)] += stiffness
            return np.asarray(cho_solve(cho_factor(matrix), gradient))

        return total, gradient, step

    def _spread(self, values: Array) -> Array:
        """Sums over pairs of [m, 3], by low item, high item and threshold: [n + 1]."""
        counts, n = self.counts_, self.counts_.n
        low, high = (np.bincount(at, values[:, k], n) for k, at in enumerate((counts.low, counts.high)))
        return np.append(low + high, values[:, 2].sum())

    def _information(self, log: Array, slopes: Array) -> Array:
        """What votes are expected to tell (Fisher), [n + 1, n + 1]: definite everywhere, unlike the curvature."""
        counts, n = self.counts_, self.counts_.n
        weight = counts.won.sum(1)[:, None] * np.exp(log)
        blocks = np.einsum("mc,mcp,mcq->mpq", weight, slopes, slopes)
        matrix = np.zeros((n + 1, n + 1))
        at = np.stack([counts.low, counts.high, np.full(len(counts.low), n)], 1)
        np.add.at(matrix, (at[:, :, None], at[:, None, :]), blocks)
        return matrix

    def _log(self, x: Array) -> tuple[Array, Array]:
        """Log-probabilities [m, 4] of every pair, and their derivatives by its two scores and the last entry of x."""
        n = self.counts_.n
        return _terms(x[self.counts_.low], x[self.counts_.high], x[n])

    def predict_proba(self, a: ArrayLike, b: ArrayLike) -> Array:
        """P(a wins), P(b wins), P(tie), P(both bad) for items by name, [..., 4]."""
        i, j = np.broadcast_arrays(self.index(a), self.index(b))
        log, _ = _terms(self.scores_[i.ravel()], self.scores_[j.ravel()], self._x[-1])
        return np.exp(log).reshape(*i.shape, 4)

    def better_than_nothing(self) -> Array:
        """The chance that each item alone is better than nothing, [n]."""
        return np.asarray(expit(self.scores_))

    def index(self, names: ArrayLike) -> NDArray[np.intp]:
        """Places of items by name, any shape. Raises `OptionError` for a name that did not take part."""
        return places(self.items_, names)

    def covariance(self) -> Array:
        """Of the scores, [n, n], by what votes are expected to tell, the threshold being estimated too."""
        n = self.counts_.n
        log, slopes = self._log(self._x)
        matrix = self._information(log, slopes)
        _, _, stiffness = self.penalty_.terms(self.scores_, np.zeros(0))
        matrix[np.arange(n), np.arange(n)] += stiffness
        return np.asarray(np.linalg.inv(matrix)[:n, :n])


def _terms(a: Array, b: Array, eta: float) -> tuple[Array, Array]:
    """Log-probabilities [m, 4] of votes between scores a and b [m] at t = 1 + exp(eta), and derivatives [m, 4, 3]."""
    log_t = float(np.logaddexp(0, eta))
    # d ln t / d eta
    slope = float(expit(eta))
    zero = np.zeros_like(a)
    sums = [
        np.logaddexp(np.logaddexp(a, log_t + b), zero),
        np.logaddexp(np.logaddexp(b, log_t + a), zero),
        np.logaddexp(np.logaddexp(a, b), zero),
    ]
    # Of each sum by a, b and eta.
    by = [
        np.stack([np.exp(a - sums[0]), np.exp(log_t + b - sums[0]), slope * np.exp(log_t + b - sums[0])], 1),
        np.stack([np.exp(log_t + a - sums[1]), np.exp(b - sums[1]), slope * np.exp(log_t + a - sums[1])], 1),
        np.stack([np.exp(a - sums[2]), np.exp(b - sums[2]), zero], 1),
    ]
    # (t - 1) x_a x_b / (1 + x_a + x_b) times the sum of one over each of the first two: nothing cancels.
    either = np.logaddexp(-sums[0], -sums[1])
    share = np.exp(-sums[0] - either)[:, None]
    log, slopes = np.empty((len(a), 4)), np.empty((len(a), 4, 3))
    log[:, LEFT], log[:, RIGHT], log[:, BOTH_BAD] = a - sums[0], b - sums[1], -sums[2]
    log[:, TIE] = eta + a + b - sums[2] + either
    slopes[:, LEFT], slopes[:, RIGHT], slopes[:, BOTH_BAD] = -by[0], -by[1], -by[2]
    slopes[:, LEFT, 0] += 1
    slopes[:, RIGHT, 1] += 1
    slopes[:, TIE] = 1 - by[2] - share * by[0] - (1 - share) * by[1]
    return log, slopes


def _infinite(counts: Counts) -> NDArray[np.bool_]:
    """[n] items that no circle of wins connects with nothing, which beats what is bad and loses to what wins."""
    n, won = counts.n, counts.won
    low, high = counts.low, counts.high
    # Against nothing: a win or a tie is a win of each good item, both bad is a loss of both.
    good = np.bincount(low, won[:, LEFT] + won[:, TIE], n) + np.bincount(high, won[:, RIGHT] + won[:, TIE], n)
    bad = np.bincount(low, won[:, BOTH_BAD], n) + np.bincount(high, won[:, BOTH_BAD], n)
    nothing = np.arange(n, dtype=np.int32)
    ends = np.concatenate([low, nothing]), np.concatenate([high, np.full(n, n, dtype=np.int32)])
    table = np.concatenate([won[:, :3], np.column_stack([good, bad, np.zeros(n)])])
    order = np.argsort(ends[0], kind="stable")
    found = graph(n + 1, ends[0][order], ends[1][order], table[order])
    return np.asarray(found.block[:n] != found.block[n])
