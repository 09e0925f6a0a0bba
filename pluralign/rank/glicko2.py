"""Glicko-2: a rating, how sure it is, and how erratic the item has been, updated a rating period at a time."""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank.newton import NotConverged
from pluralign.rank.stream import Array, Batch, Stream

POINTS = 173.7178
"""Points in a unit of the internal scale, as published: 400 / ln 10, rounded."""

TOLERANCE = 1e-6
"""Of the logarithm of the squared volatility, as published."""


def dampened(phi: Array) -> Array:
    """g: how much a result against somebody so uncertain says, between 0 and 1."""
    return 1 / np.sqrt(1 + 3 * phi * phi / pi**2)


class Glicko2(Stream):
    """Glickman's Glicko-2: all votes of a rating period are judged by the ratings at its start, then all move at once.

    start, deviation, volatility: of items that join, in points. tau: how quickly volatility may change, 0.3 to 1.2.
    period: days in a rating period, the first of which starts with the first vote; where votes have no time, every
    `fit` or `update` is one period. order: points that the item shown first has over its rating.
    An item that does not play grows less certain, once it has played. Votes of an update may still belong to the last
    period: it is then done again with the old and the new votes together, so that the result does not depend on how a
    stream was cut.

    After `fit` or `update`: `ratings_`, `deviations_` and `volatilities_`, [n] each. Glickman 2001, 2012.

    >>> played = {"a": ["p"] * 3, "b": ["x", "y", "z"], "winner": ["a", "b", "b"]}
    >>> board = Glicko2().fit(played)
    >>> board.ratings_.round(1).tolist()
    [1400.1, 1337.7, 1662.3, 1662.3]
    """

    def __init__(
        self,
        *,
        start: float = 1500.0,
        deviation: float = 350.0,
        volatility: float = 0.06,
        tau: float = 0.5,
        period: float = 30.0,
        order: float = 0.0,
    ) -> None:
        self.start, self.deviation, self.volatility = start, deviation, volatility
        self.tau, self.period, self.order = tau, period, order

    def _start(self) -> None:
        if min(self.deviation, self.volatility, self.tau, self.period) <= 0:
            raise OptionError("deviation, volatility, tau and period of Glicko2 must be positive")
        self._mu = self._phi = self._sigma = np.zeros(0)
        self._met = np.zeros(0, dtype=bool)
        self._origin: float | None = None
        self._period = -1
        self._open: tuple[Array, Array, Array, Batch] | None = None

    def _join(self, n: int) -> None:
        self._mu = np.concatenate([self._mu, np.full(n, (self.start - 1500) / POINTS)])
        self._phi = np.concatenate([self._phi, np.full(n, self.deviation / POINTS)])
        self._sigma = np.concatenate([self._sigma, np.full(n, self.volatility)])
        self._met = np.concatenate([self._met, np.zeros(n, dtype=bool)])

    @property
    def ratings_(self) -> Array:
        """[n], in points."""
        return 1500 + POINTS * self._mu

    @property
    def deviations_(self) -> Array:
        """[n], in points: one standard deviation of the rating."""
        return POINTS * self._phi

    @property
    def volatilities_(self) -> Array:
        """[n]: how much the rating is expected to change in a period, in units of 173.7178 points."""
        return self._sigma

    @property
    def logits_(self) -> Array:
        """[n], in logits; items that join start at zero."""
        return self._mu - (self.start - 1500) / POINTS

    @property
    def logit_deviations_(self) -> Array:
        """[n], one standard deviation of each of them."""
        return self._phi

    @property
    def about_(self) -> str:
        """Which model this is."""
        period = "every update a rating period" if self._origin is None else f"rating periods of {self.period:g} days"
        return f"Glicko-2, {period}, a tie as half a win each"

    def _follow(self, batch: Batch) -> Array:
        if batch.days is None:
            self._period += 1
            self._open = None
            return self._play(batch)
        if self._origin is None:
            self._origin = float(batch.days[0])
        number = np.floor((batch.days - self._origin) / self.period).astype(np.intp)
        if number[0] < self._period:
            raise FeedbackError(
                "votes older than the last rating period came late; Glicko-2 cannot go back, so fit all of them again"
            )
        expected = np.empty(len(number))
        for cut in np.split(np.arange(len(number)), np.flatnonzero(np.diff(number)) + 1):
            expected[cut] = self._period_of(int(number[cut[0]]), _part(batch, cut))
        return expected

    def _period_of(self, number: int, batch: Batch) -> Array:
        fresh = len(batch.row)
        if number == self._period and self._open is not None:
            # Items that joined since then start as they would have done.
            known = len(self._open[0])
            for mine, then in zip((self._mu, self._phi, self._sigma), self._open[:3], strict=True):
                mine[:known] = then
            batch = _together(self._open[3], batch)
        else:
            idle = max(0, number - self._period - 1) if self._period >= 0 else 0
            self._phi = np.sqrt(self._phi**2 + np.where(self._met, idle * self._sigma**2, 0.0))
        self._open = (self._mu.copy(), self._phi.copy(), self._sigma.copy(), batch)
        self._period = number
        return self._play(batch)[-fresh:]

    def _play(self, batch: Batch) -> Array:
        """One rating period."""
        n, i, j = len(self._mu), batch.left, batch.right
        margin = self._mu[i] - self._mu[j] + batch.side * (self.order / POINTS)
        g = dampened(self._phi)
        by_left, by_right = expit(g[j] * margin), expit(-g[i] * margin)
        w = batch.weight
        precision = np.bincount(i, w * g[j] ** 2 * by_left * (1 - by_left), n)
        precision += np.bincount(j, w * g[i] ** 2 * by_right * (1 - by_right), n)
        surprise = np.bincount(i, w * g[j] * (batch.points - by_left), n)
        surprise += np.bincount(j, w * g[i] * (1 - batch.points - by_right), n)
        both = dampened(np.hypot(self._phi[i], self._phi[j]))
        expected = expit(both * margin)
        played = np.flatnonzero(precision > 0)
        v = 1 / precision[played]
        self._sigma = self._sigma.copy()
        self._sigma[played] = volatility(self._sigma[played], self._phi[played], v, v * surprise[played], self.tau)
        self._met[played] = True
        # Nobody grows less certain before the first vote.
        self._phi = np.sqrt(self._phi**2 + np.where(self._met, self._sigma**2, 0.0))
        self._phi[played] = 1 / np.sqrt(1 / self._phi[played] ** 2 + precision[played])
        self._mu = self._mu.copy()
        self._mu[played] += self._phi[played] ** 2 * surprise[played]
        return np.asarray(expected)

    def predict_proba(self, a: ArrayLike, b: ArrayLike) -> Array:
        """P(a wins), P(b wins), P(tie) for items by name, [..., 3]; pulled to one half by both sides' uncertainty."""
        i, j = np.broadcast_arrays(self.index(a), self.index(b))
        p = expit(dampened(np.hypot(self._phi[i], self._phi[j])) * (self._mu[i] - self._mu[j]))
        return np.stack([p, 1 - p, np.zeros_like(p)], -1)


def volatility(sigma: Array, phi: Array, v: Array, delta: Array, tau: float) -> Array:
    """New volatilities [k] by the Illinois method, all items at once. Raises `NotConverged`.

    >>> one = lambda x: np.array([x])
    >>> new = volatility(one(0.06), one(200 / POINTS), one(1.778977), one(-0.483933), 0.5)
    >>> round(float(new[0]), 5)  # Glickman's example
    0.06
    """
    start = 2 * np.log(sigma)

    def f(x: Array) -> Array:
        e = np.exp(x)
        return np.asarray(e * (delta**2 - phi**2 - v - e) / (2 * (phi**2 + v + e) ** 2) - (x - start) / tau**2)

    a, excess = start.copy(), delta**2 - phi**2 - v
    b = np.where(excess > 0, np.log(np.where(excess > 0, excess, 1.0)), start - tau)
    search = excess <= 0
    for _ in range(1000):
        below = search & (f(b) < 0)
        if not below.any():
            break
        b[below] -= tau
    fa, fb = f(a), f(b)
    for _ in range(200):
        open_: NDArray[np.bool_] = np.abs(b - a) > TOLERANCE
        if not open_.any():
            return np.asarray(np.exp(a / 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            c = np.where(open_, a + (a - b) * fa / (fb - fa), b)
        fc = f(c)
        crossed = fc * fb <= 0
        a = np.where(open_ & crossed, b, a)
        fa = np.where(open_ & crossed, fb, np.where(open_, fa / 2, fa))
        b, fb = np.where(open_, c, b), np.where(open_, fc, fb)
    raise NotConverged("the volatility of Glicko-2 did not settle; tau may be far outside 0.3 to 1.2")


def _part(batch: Batch, cut: NDArray[np.intp]) -> Batch:
    days = None if batch.days is None else batch.days[cut]
    return Batch(
        batch.left[cut],
        batch.right[cut],
        batch.points[cut],
        batch.side[cut],
        batch.weight[cut],
        days,
        batch.row[cut],
    )


def _together(one: Batch, other: Batch) -> Batch:
    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(one, name), getattr(other, name)])

    left, right, points, side, weight = (joined(name) for name in ("left", "right", "points", "side", "weight"))
    return Batch(left, right, points, side, weight, other.days, other.row)
