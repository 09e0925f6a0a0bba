"""TrueSkill for two sides: a normal belief about every item's skill, updated vote by vote."""

from __future__ import annotations

from math import erfc, exp, pi, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank.stream import Array, Batch, Stream

FAR = 30.0
"""Standard deviations beyond which the tail of the normal is its own asymptote, to the last digit that matters."""


def _density(x: float) -> float:
    return exp(-0.5 * x * x) / sqrt(2 * pi)


def _below(x: float) -> float:
    return 0.5 * erfc(-x / sqrt(2))


def _hazard(x: float) -> float:
    """Density over what lies below."""
    return _density(x) / _below(x) if x > -FAR else -x - 1 / x + 2 / x**3


def after_win(t: float, margin: float) -> tuple[float, float]:
    """v and w: shift and shrinkage of the belief when the side with a lead of t deviations wins."""
    x = t - margin
    v = _hazard(x)
    return v, v * (v + x)


def after_draw(t: float, margin: float) -> tuple[float, float]:
    """v and w when neither side wins: the difference lies within the margin."""
    size, sign = abs(t), 1.0 if t >= 0 else -1.0
    low, high = -margin - size, margin - size
    if margin <= 1e-8:
        # Without room for draws one pins the difference to zero.
        return -t, 1.0
    if high < -FAR:
        v = -_hazard(high)
        return sign * v, v * v - high * v
    inside = _below(high) - _below(low)
    v = (_density(low) - _density(high)) / inside
    return sign * v, v * v + (high * _density(high) - low * _density(low)) / inside


class TrueSkill(Stream):
    """Skill is normal, performance adds noise of deviation beta, and the better performance wins unless they are close.

    mean, deviation: of items that join. noise: beta. drift: tau, what uncertainty each vote adds; 0 for items that do
    not change. draws: the share of ties between equals, which sets how close is close. order: skill that the item
    shown first has in addition. Weights must be whole numbers: that many votes in a row.

    After `fit` or `update`: `means_` and `deviations_` [n]; `conservative_` is three deviations below the mean.
    Herbrich, Minka and Graepel 2006.

    >>> board = TrueSkill().fit({"winner": ["x"], "loser": ["y"]})
    >>> board.means_.round(6).tolist(), board.deviations_.round(6).tolist()
    ([29.395832, 20.604168], [7.171476, 7.171476])
    """

    def __init__(
        self,
        *,
        mean: float = 25.0,
        deviation: float = 25 / 3,
        noise: float = 25 / 6,
        drift: float = 25 / 300,
        draws: float = 0.10,
        order: float = 0.0,
    ) -> None:
        self.mean, self.deviation, self.noise = mean, deviation, noise
        self.drift, self.draws, self.order = drift, draws, order

    def _start(self) -> None:
        if min(self.deviation, self.noise) <= 0 or self.drift < 0 or not 0 <= self.draws < 1:
            raise OptionError("TrueSkill needs deviation > 0, noise > 0, drift >= 0 and 0 <= draws < 1")
        self.means_: Array = np.zeros(0)
        self.deviations_: Array = np.zeros(0)
        self._margin = NormalDist().inv_cdf((self.draws + 1) / 2) * sqrt(2) * self.noise

    def _join(self, n: int) -> None:
        self.means_ = np.concatenate([self.means_, np.full(n, self.mean)])
        self.deviations_ = np.concatenate([self.deviations_, np.full(n, self.deviation)])

    @property
    def conservative_(self) -> Array:
        """[n] mean - 3 deviations: what an item is almost surely worth."""
        return self.means_ - 3 * self.deviations_

    @property
    def logits_(self) -> Array:
        """[n], in logits (1.702 probits of the noise of both sides); items that join start at zero."""
        return np.asarray((self.means_ - self.mean) * self._logit)

    @property
    def logit_deviations_(self) -> Array:
        """[n], one standard deviation of each of them."""
        return np.asarray(self.deviations_ * self._logit)

    @property
    def _logit(self) -> float:
        return 1.702 / (sqrt(2) * self.noise)

    @property
    def about_(self) -> str:
        """Which model this is."""
        return f"TrueSkill with noise {self.noise:.3g}, drift {self.drift:.2g} a vote, {self.draws:.0%} of equals tie"

    def _follow(self, batch: Batch) -> Array:
        times = np.round(batch.weight).astype(np.intp)
        if not np.array_equal(times, batch.weight):
            raise FeedbackError("TrueSkill takes whole votes; round the weights, or use Elo or BradleyTerry")
        first = np.repeat(np.arange(len(times)), times)
        left, right, points = batch.left[first].tolist(), batch.right[first].tolist(), batch.points[first].tolist()
        edge = (self.order * batch.side)[first].tolist()
        mean, variance = self.means_.tolist(), (self.deviations_**2).tolist()
        drift, noise, expected = self.drift**2, 2 * self.noise**2, [0.0] * len(left)
        for i, (a, b) in enumerate(zip(left, right, strict=True)):
            va, vb = variance[a] + drift, variance[b] + drift
            total = va + vb + noise
            c = sqrt(total)
            t, margin = (mean[a] - mean[b] + edge[i]) / c, self._margin / c
            expected[i] = (_below(t - margin) + _below(t + margin)) / 2
            if points[i] == 1:
                v, w = after_win(t, margin)
            elif points[i] == 0:
                v, w = after_win(-t, margin)
                v = -v
            else:
                v, w = after_draw(t, margin)
            mean[a] += va / c * v
            mean[b] -= vb / c * v
            variance[a] = va * (1 - va / total * w)
            variance[b] = vb * (1 - vb / total * w)
        self.means_, self.deviations_ = np.array(mean), np.sqrt(variance)
        return np.asarray(np.array(expected)[np.cumsum(times) - times])

    def predict_proba(self, a: ArrayLike, b: ArrayLike) -> Array:
        """P(a wins), P(b wins), P(tie) for items by name, [..., 3], over what is not known about both."""
        i, j = np.broadcast_arrays(self.index(a), self.index(b))
        c = np.sqrt(self.deviations_[i] ** 2 + self.deviations_[j] ** 2 + 2 * self.noise**2)
        t, margin = (self.means_[i] - self.means_[j]) / c, self._margin / c
        win, loss = ndtr(t - margin), ndtr(-t - margin)
        return np.stack([win, loss, 1 - win - loss], -1)
