"""Mallows: one central order, and every ranking the less likely the more pairs it turns round."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from pluralign.errors import FeedbackError
from pluralign.rank.kemeny import EXACT, Kemeny, kemeny
from pluralign.rank.names import places
from pluralign.rank.rankings import Rankings

Array = NDArray[np.float64]


class Mallows:
    """P(ranking) is proportional to exp(-theta d), d the pairs that it orders unlike the central one (Kendall's tau).

    Items on one place stood in an order that was not recorded, so that all orders are summed over, as are those of
    candidates left below a top list; both exactly, since d over orders of groups has Gauss's multinomial for generating
    function. A ranking of some items is taken as drawn among these alone. The most likely centre is Kemeny's order
    whatever theta: exact where circles of majorities hold up to `exact` items, else found by local search and stated
    with its bound.

    After `fit`: `items_`; `center_`, names, best first; `places_` [n], from 0; `theta_`, 0 for chance alone, infinite
    where all rankings agree, and `error_`, its standard error given the centre; `kemeny_`, with cost and bound;
    `nll_` in nats.

    Mallows 1957; Diaconis 1988. Raises `FeedbackError` where there is nothing to rank.

    >>> model = Mallows().fit([["a", "b", "c"], ["a", "b", "c"], ["b", "a", "c"], ["a", "c", "b"]])
    >>> model.center_, round(model.theta_, 3)
    (['a', 'b', 'c'], 1.356)
    """

    def __init__(self, *, exact: int = EXACT, seed: int = 0) -> None:
        self.exact, self.seed = exact, seed

    def fit(self, data: Any) -> Mallows:
        """Fit to anything `Rankings.of` takes."""
        rankings = Rankings.of(data)
        self.rankings_, self.items_ = rankings, list(rankings.items)
        above = rankings.matrix()
        if not above.any():
            raise FeedbackError("every ranking is one big tie, so there is nothing to rank by")
        self.kemeny_: Kemeny = kemeny(above, self.exact, self.seed)
        self.center_ = [self.items_[i] for i in self.kemeny_.order]
        self.places_ = np.empty(rankings.n, dtype=np.intp)
        self.places_[self.kemeny_.order] = np.arange(rankings.n)
        counted = _groups(rankings)
        self.theta_ = _dispersion(counted, self.kemeny_.cost)
        spread = sum(w * _moments(k, self.theta_)[1] for k, w in counted.items())
        self.error_ = float(spread**-0.5) if np.isfinite(self.theta_) else np.inf
        self.nll_ = -float(rankings.weights @ self.log_likelihood(rankings))
        return self

    @property
    def scores_(self) -> Array:
        """[n] places above the middle one."""
        return np.asarray((len(self.items_) - 1) / 2 - self.places_)

    @property
    def coefficients_(self) -> dict[str, float]:
        """None: rankings have no covariates."""
        return {}

    @property
    def certificate_(self) -> None:
        """None: no step leads to an order; `kemeny_` says how good it is."""

    @property
    def about_(self) -> str:
        """Which model this is."""
        return f"Mallows' model (theta {self.theta_:.3f}, standard error {self.error_:.3f})"

    @property
    def held_(self) -> str:
        """What keeps scores finite."""
        return "places are finite whatever the rankings say"

    def log_likelihood(self, data: Any) -> Array:
        """[R] of rankings of the same items, in nats."""
        rankings = Rankings.of(data).renumbered(self.items_)
        upper, lower, owner = rankings.above()
        turned = np.bincount(owner, self.places_[upper] > self.places_[lower], len(rankings))
        starts, ends = rankings.blocks()
        most = int(rankings.lengths.max())
        table = np.array([_log_orders(k, self.theta_) for k in range(most + 1)])
        tied = np.bincount(rankings.owner[starts], table[ends - starts], len(rankings))
        with np.errstate(invalid="ignore"):
            cost = np.where(turned > 0, self.theta_ * turned, 0.0)
        return np.asarray(tied - table[rankings.lengths] - cost)

    def score(self, data: Any) -> float:
        """Mean log-likelihood a ranking, in nats."""
        rankings = Rankings.of(data)
        return float(np.average(self.log_likelihood(rankings), weights=rankings.weights))

    def index(self, names: ArrayLike) -> NDArray[np.intp]:
        """Places of items in `items_` by name, any shape. Raises `OptionError` for a name that did not take part."""
        return places(self.items_, names)

    def predict_proba(self, a: ArrayLike, b: ArrayLike) -> Array:
        """P(a above b), P(b above a), P(tie), [..., 3], in a ranking of all items: set by how far apart they are."""
        i, j = np.broadcast_arrays(self.index(a), self.index(b))
        gap = self.places_[j] - self.places_[i]
        apart = np.abs(gap)
        p = np.where(apart > 0, _mean(apart + 1, self.theta_) - _mean(apart, self.theta_), 0.5)
        p = np.where(gap >= 0, p, 1 - p)
        return np.stack([p, 1 - p, np.zeros_like(p)], -1)

    def sample(self, count: int, seed: int = 0) -> list[list[str]]:
        """Rankings of all items, drawn by inserting one item after another (Doignon et al. 2004)."""
        rng = np.random.default_rng(seed)
        drawn: list[list[str]] = [[] for _ in range(count)]
        for k, item in enumerate(self.center_):
            # How many of the items so far it is put before.
            odds = np.append(1.0, np.exp(-self.theta_ * np.arange(1, k + 1)))
            for order, ahead in zip(drawn, rng.choice(k + 1, size=count, p=odds / odds.sum()), strict=True):
                order.insert(k - int(ahead), item)
        return drawn


def _groups(rankings: Rankings) -> dict[int, float]:
    """Weight of orders by length: rankings count once, the orders within their levels are taken off again."""
    starts, ends = rankings.blocks()
    most = int(rankings.lengths.max()) + 1
    whole = np.bincount(rankings.lengths, rankings.weights, most)
    tied = np.bincount(ends - starts, rankings.weights[rankings.owner[starts]], most)
    return {k: float(w) for k, w in enumerate(whole - tied) if k > 1 and w}


def _dispersion(counted: dict[int, float], turned: float) -> float:
    """theta at which the expected number of turned pairs is the one that was seen."""

    def excess(theta: float) -> float:
        return sum(w * _moments(k, theta)[0] for k, w in counted.items()) - turned

    if turned <= 0:
        return float("inf")
    if excess(0.0) <= 0:
        return 0.0
    top = 1.0
    while excess(top) > 0:
        top *= 2
    return float(brentq(excess, 0.0, top, xtol=1e-13))


def _moments(k: int, theta: float) -> tuple[float, float]:
    """Mean and variance of the pairs turned round in an order of k items."""
    if not np.isfinite(theta):
        return 0.0, 0.0
    j = np.arange(1, k + 1, dtype=np.float64)
    if theta < 1e-5:
        # Uniform on 0..j-1, item by item, with the first order in theta.
        variance = (j**2 - 1) / 12
        return float(((j - 1) / 2 - theta * variance).sum()), float(variance.sum())
    mean = 1 / np.expm1(theta) - j / np.expm1(np.minimum(j * theta, 700.0))
    wide = np.minimum(j * theta, 700.0)
    variance = np.exp(-theta) / np.expm1(-theta) ** 2 - j**2 * np.exp(-wide) / np.expm1(-wide) ** 2
    return float(mean.sum()), float(variance.sum())


def _log_orders(k: int, theta: float) -> float:
    """Log of the sum of exp(-theta d) over the k! orders."""
    j = np.arange(1, k + 1, dtype=np.float64)
    if not np.isfinite(theta):
        return 0.0
    if theta < 1e-10:
        return float(np.log(j).sum())
    return float((np.log(-np.expm1(-j * theta)) - np.log(-np.expm1(-theta))).sum())


def _mean(k: NDArray[np.intp], theta: float) -> Array:
    """k / (1 - exp(-k theta)), whose steps are the chances of pairs k apart in the centre (Mallows 1957)."""
    if not np.isfinite(theta):
        return k.astype(np.float64)
    if theta < 1e-8:
        return k / 2.0
    return np.asarray(k / -np.expm1(-np.maximum(k, 1) * theta))
