"""Numbers with their intervals, and the statistics of pair margins. numpy only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.intervals import (
    bootstrap,
    clustered_auc,
    clustered_t,
    clustered_wilson,
    placements,
    rarer,
    sign_flip,
    t_test,
    wilson,
)

Array = NDArray[np.float64]
Clusters = NDArray[Any]

FEW = 40
"""Below so many clusters, resampling them understates the spread and Student's t takes its place."""


@dataclass(frozen=True)
class Figure:
    """A measured number with its 95% interval, the rows and clusters it rests on, and how the interval was made.

    The ends are infinite where nothing can be said of them.
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int
    method: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; None stands for an end of which nothing can be said."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}

    def __str__(self) -> str:
        return spelled(self.as_dict())


def spelled(figure: Mapping[str, Any], digits: int = 3, sign: str = "", unit: float = 1.0) -> str:
    """A figure in words, in multiples of `unit`; sign "+" writes one before positive numbers too.

    >>> spelled({"value": 0.5, "low": 0.25, "high": 0.75}, 0, unit=0.01)
    '50 [25, 75]'
    >>> spelled({"value": 0.5, "low": None, "high": None})
    '0.500 [one cluster: no interval]'
    """
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None:
        return "not a finite number"
    head = f"{value / unit:{sign}.{digits}f}"
    if any(end is None or not math.isfinite(end) for end in (low, high)):
        return f"{head} [one cluster: no interval]"
    return f"{head} [{low / unit:{sign}.{digits}f}, {high / unit:{sign}.{digits}f}]"


def chance(p: float) -> str:
    """A p value in words.

    >>> chance(0.0312), chance(2e-9)
    ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def share(values: Array, clusters: Clusters) -> Figure:
    """A proportion: the mean of values [n] in [0, 1], with a Wilson interval widened for clusters [n].

    >>> str(share(np.array([1.0, 1.0, 0.0, 1.0]), np.arange(4)))
    '0.750 [0.301, 0.954]'
    """
    groups = len(np.unique(clusters))
    method = "Wilson" if groups == len(values) else "Wilson, clustered"
    return Figure(float(values.mean()), *clustered_wilson(values, clusters), len(values), groups, method)


def mean(values: Array, clusters: Clusters, seed: int = 0) -> Figure:
    """The mean of any numbers [n], with a percentile bootstrap over clusters [n]; Student's t where these are few.

    A single cluster shows no spread between clusters, so that it gets no interval.

    >>> mean(np.array([1.0, 2.0]), np.zeros(2)).high
    inf
    """
    groups = len(np.unique(clusters))
    if groups == 1:
        return Figure(float(np.mean(values)), -math.inf, math.inf, len(values), 1, "none: one cluster")
    if groups < FEW:
        return Figure(float(np.mean(values)), *clustered_t(values, clusters), len(values), groups, "t, clustered")
    low, high = bootstrap(np.mean, values, clusters=clusters, seed=seed)
    return Figure(float(np.mean(values)), low, high, len(values), groups, "bootstrap of clusters")


def difference(ours: Array, theirs: Array, clusters: Clusters, seed: int = 0) -> dict[str, Any]:
    """Accuracy of one ranking minus another's on the same pairs: ours, theirs, clusters [n]; right is 1, a guess 0.5.

    The figure, with ahead and behind: pairs in which ours, theirs is the better; p: exact, see `sign_flip`. Where all
    pairs differ alike there is no spread to see, and the interval allows for as many unseen clusters that do not.

    >>> found = difference(np.ones(9), np.array([0.0] * 8 + [1.0]), np.arange(9))
    >>> found["ahead"], found["behind"], round(found["p"], 4)
    (8, 0, 0.0078)
    >>> round(difference(np.ones(3), np.zeros(3), np.arange(3))["low"], 2)
    -0.12
    """
    gap = ours - theirs
    figure = mean(gap, clusters, seed)
    figure = _allowing(figure, figure.clusters)
    ahead, behind = int((gap > 0).sum()), int((gap < 0).sum())
    return {**figure.as_dict(), "ahead": ahead, "behind": behind, "p": sign_flip(gap, clusters)}


def _allowing(figure: Figure, clusters: int) -> Figure:
    """A difference without any spread, with an interval for what so many clusters might not show."""
    if figure.clusters == 1 or figure.high - figure.low > 1e-12:
        return figure
    others, v = wilson(0, clusters)[1], figure.value
    return replace(figure, low=v - others * (1 + v), high=v + others * (1 - v), method="Wilson, none differs")


def auc(scores: Array, good: Clusters, clusters: Clusters) -> Figure:
    """The chance that a good response scores above a bad one, ties half: scores, good (booleans), clusters [n].

    >>> str(auc(np.array([2.0, 1.0, 0.0, 1.0]), np.array([True, True, False, False]), np.arange(4)))
    '0.875 [0.024, 0.999]'
    """
    groups = len(np.unique(clusters))
    value = float(placements(scores, good).mean())
    return Figure(value, *clustered_auc(scores, good, clusters), len(scores), groups, "Wilson of DeLong's variance")


def auc_difference(ours: Array, theirs: Array, good: Clusters, clusters: Clusters) -> dict[str, Any]:
    """AUC of one ranking minus another's on the same responses, all [n], with the p value of Student's test.

    >>> found = auc_difference(*np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([True, False]), np.arange(2))
    >>> found["value"], found["low"]
    (1.0, None)
    """
    gap, seen, groups = (
        placements(ours, good) - placements(theirs, good),
        rarer(good, clusters),
        len(np.unique(clusters)),
    )
    value = float(gap.mean())
    if seen == 1:
        figure, p = Figure(value, -math.inf, math.inf, len(gap), groups, "none: one cluster"), 1.0
    else:
        ends = clustered_t(gap, clusters, freedom=seen - 1)
        figure, p = Figure(value, *ends, len(gap), groups, "t, DeLong"), t_test(gap, clusters, seen - 1)
    return {**_allowing(figure, seen).as_dict(), "p": p}


def preferred(margins: Array) -> Array:
    """1 where a margin is positive, 0 where it is negative, one half at zero: a scorer that cannot tell guesses."""
    return np.where(margins > 0, 1.0, np.where(margins < 0, 0.0, 0.5))


def idealised(reference: Array, preference: float | Array, beta: float) -> Array:
    """Margins [n] of log-prob that a policy would have which fits DPO perfectly (Chen et al. 2024, arXiv 2405.19534).

    reference: log-prob of the preferred response minus the other's under the reference [n]. preference: the share of
    people who prefer it, in [0, 1], one number or [n]. beta: DPO's. The optimum adds log(a / (1 - a)) / beta.

    >>> idealised(np.array([-30.0, -10.0]), 0.9, beta=0.1).round(2).tolist()
    [-8.03, 11.97]
    """
    a = np.asarray(preference, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(reference + (np.log(a) - np.log1p(-a)) / beta)


def calibration(margins: Array, clusters: Clusters, bins: int = 10, seed: int = 0) -> dict[str, Any]:
    """How well sigmoid(margin) predicts which response is preferred. margins [n]: preferred minus other.

    Each pair is looked at in both orders, so that a probability and its complement are judged alike and the result
    does not depend on which side came first. ece: expected calibration error over equal bins of probability; brier:
    mean squared error; log_loss in nats; table: one entry a bin that is not empty.
    """
    p = 1 / (1 + np.exp(-np.clip(margins, -500, 500)))
    both, right = np.concatenate([p, 1 - p]), np.concatenate([np.ones_like(p), np.zeros_like(p)])
    twice = np.concatenate([clusters, clusters])
    groups = len(np.unique(clusters))
    low, high, method = -math.inf, math.inf, "none: one cluster"
    if groups > 1:
        judged = np.stack([both, right], 1)
        low, high = bootstrap(lambda rows: _ece(rows[:, 0], rows[:, 1], bins), judged, twice, 500, seed)
        method = "bootstrap of clusters"
    ece = Figure(_ece(both, right, bins), low, high, len(p), groups, method)
    table = []
    place = np.minimum((both * bins).astype(int), bins - 1)
    for b in range(bins):
        inside = place == b
        if inside.any():
            observed = share(right[inside], twice[inside])
            table.append({"predicted": float(both[inside].mean()), "observed": observed.as_dict()})
    return {
        "ece": ece.as_dict(),
        "brier": mean((1 - p) ** 2, clusters, seed).as_dict(),
        "log_loss": mean(np.logaddexp(0, -margins), clusters, seed).as_dict(),
        "table": table,
    }


def _ece(p: Array, right: Array, bins: int) -> float:
    place = np.minimum((p * bins).astype(int), bins - 1)
    gap = np.bincount(place, weights=p - right, minlength=bins)
    return float(np.abs(gap).sum() / len(p))


def histogram(values: Array, bins: int = 24) -> dict[str, Any]:
    """Counts [bins] and edges [bins + 1] over the middle 99% of values; the tails are counted in the outermost bins."""
    low, high = np.quantile(values, [0.005, 0.995])
    # Values that differ by rounding alone have no width to divide.
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(np.clip(values, low, high), bins=bins, range=(low, high))
    return {"counts": counts.tolist(), "edges": edges.tolist()}
