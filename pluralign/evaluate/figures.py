"""Numbers with their intervals, and the statistics of pair margins. numpy only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.intervals import bootstrap, clustered_wilson

Array = NDArray[np.float64]
Clusters = NDArray[Any]


@dataclass(frozen=True)
class Figure:
    """A measured number with its 95% interval, the rows and clusters it rests on, and how the interval was made."""

    value: float
    low: float
    high: float
    n: int
    clusters: int
    method: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def share(values: Array, clusters: Clusters) -> Figure:
    """A proportion: the mean of values [n] in [0, 1], with a Wilson interval widened for clusters [n].

    >>> str(share(np.array([1.0, 1.0, 0.0, 1.0]), np.arange(4)))
    '0.750 [0.301, 0.954]'
    """
    groups = len(np.unique(clusters))
    method = "Wilson" if groups == len(values) else "Wilson, clustered"
    return Figure(float(values.mean()), *clustered_wilson(values, clusters), len(values), groups, method)


def mean(values: Array, clusters: Clusters, seed: int = 0) -> Figure:
    """The mean of any numbers [n], with a percentile bootstrap over clusters [n]."""
    low, high = bootstrap(np.mean, values, clusters=clusters, seed=seed)
    return Figure(float(np.mean(values)), low, high, len(values), len(np.unique(clusters)), "bootstrap of clusters")


def preferred(margins: Array) -> Array:
    """1 where a margin is positive, 0 where it is negative, one half at zero: a scorer that cannot tell guesses."""
    return np.where(margins > 0, 1.0, np.where(margins < 0, 0.0, 0.5))


def calibration(margins: Array, clusters: Clusters, bins: int = 10, seed: int = 0) -> dict[str, Any]:
    """How well sigmoid(margin) predicts which response is preferred. margins [n]: preferred minus other.

    Each pair is looked at in both orders, so that a probability and its complement are judged alike and the result
    does not depend on which side came first. ece: expected calibration error over equal bins of probability; brier:
    mean squared error; log_loss in nats; table: one entry a bin that is not empty.
    """
    p = 1 / (1 + np.exp(-np.clip(margins, -500, 500)))
    both, right = np.concatenate([p, 1 - p]), np.concatenate([np.ones_like(p), np.zeros_like(p)])
    twice = np.concatenate([clusters, clusters])
    low, high = bootstrap(lambda rows: _ece(rows[:, 0], rows[:, 1], bins), np.stack([both, right], 1), twice, 500, seed)
    ece = Figure(_ece(both, right, bins), low, high, len(p), len(np.unique(clusters)), "bootstrap of clusters")
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
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(np.clip(values, low, high), bins=bins, range=(low, high))
    return {"counts": counts.tolist(), "edges": edges.tolist()}
