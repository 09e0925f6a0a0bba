"""Intervals: how far a number could be off. One place, so that every page says the same for the same data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from pluralign.errors import FeedbackError

_BLOCK = 4_000_000  # resampled indices held at once: 32 MB


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927).

    `successes` and `n` may be fractional (half a win for a tie, an effective sample size). With n = 0 nothing is
    known and the interval is (0, 1). Raises ValueError unless 0 <= successes <= n and 0 < level < 1.

    >>> low, high = wilson(8, 10)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    if not 0 <= successes <= n:
        raise ValueError(f"a proportion needs 0 <= successes <= n, got successes={successes}, n={n}")
    return _score_interval(successes, n, critical(level))


def _score_interval(successes: float, n: float, z: float) -> tuple[float, float]:
    if n == 0:
        return 0.0, 1.0
    low, high = score_intervals(np.float64(successes), np.float64(n), z)
    return float(low), float(high)


def score_intervals(
    successes: ArrayLike, n: ArrayLike, z: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of Wilson intervals of `successes` out of `n` > 0 at `z` standard errors, arrays of one shape."""
    s, n, z = (np.asarray(x, dtype=np.float64) for x in (successes, n, z))
    p = s / n
    centre = p + z * z / (2 * n)
    half = z * np.sqrt(np.maximum(p * (1 - p), 0) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # The ends are exact at 0 and n; rounding would otherwise leave 1e-17 there.
    return np.where(s == 0, 0.0, (centre - half) / scale), np.where(s == n, 1.0, (centre + half) / scale)


def clustered_wilson(values: ArrayLike, clusters: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Wilson interval of the mean of `values` [n] in [0, 1] when values of one cluster [n] are not independent.

    The sample size is divided by the design effect: the variance of the mean with whole clusters as the units
    (linearised ratio estimator, Cochran 1977, ch. 6) over the variance of independent values. A design effect below
    one is not used: clusters may widen the interval, never narrow it. A variance seen over G clusters is itself
    uncertain, so the normal quantile gives way to Student's with G - 1 degrees of freedom.

    >>> v = [1, 0, 1, 1, 0, 1, 0, 0, 1, 1]
    >>> clustered_wilson(v, range(10)) == wilson(6, 10)
    True
    >>> low, high = clustered_wilson(v * 2, [*range(10)] * 2)  # every value twice tells nothing new
    >>> abs(high - wilson(6, 10)[1]) < 0.04
    True
    """
    v = np.asarray(values, dtype=np.float64)
    _, group = np.unique(np.asarray(clusters), return_inverse=True)
    n, g = v.size, int(group.max()) + 1 if v.size else 0
    if n == 0:
        return wilson(0, 0, level)
    p = float(v.mean())
    if g == n:
        return wilson(p * n, n, level)
    spread = float(v.var())
    if g == 1 or spread == 0:
        # Between-cluster variance cannot be seen here, so only the clusters count as evidence.
        return wilson(p * g, g, level)
    effect = max(1.0, _cluster_variance(v, group, g) / (spread / n))
    return _score_interval(p * n / effect, n / effect, critical(level, g - 1))


def clustered_t(
    values: ArrayLike, clusters: ArrayLike, level: float = 0.95, freedom: int | None = None
) -> tuple[float, float]:
    """Student's interval of the mean of any `values` [n] whose units are clusters [n], with G - 1 degrees of freedom.

    For few clusters: resampling a handful of them (`bootstrap`) understates how different an unseen one may be.
    freedom: where fewer clusters than G show the spread. Raises ValueError for a single cluster.

    >>> clustered_t([1.0, 1.0, 3.0, 3.0], [0, 0, 1, 1])[1] > 10
    True
    """
    mean, error, g = _clustered(values, clusters, "interval")
    half = critical(level, freedom or g - 1) * error
    return mean - half, mean + half


def t_test(values: ArrayLike, clusters: ArrayLike, freedom: int | None = None) -> float:
    """Two-sided p value of a mean of `values` [n] against zero, by the same reckoning as `clustered_t`.

    >>> p = t_test([1.0, 2.0, 3.0, 4.0], [0, 1, 2, 3])
    >>> low, _ = clustered_t([1.0, 2.0, 3.0, 4.0], [0, 1, 2, 3], level=1 - p)  # the interval that just reaches zero
    >>> abs(low) < 1e-9
    True
    """
    mean, error, g = _clustered(values, clusters, "test")
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(freedom or g - 1, -abs(mean) / error))


def _clustered(values: ArrayLike, clusters: ArrayLike, what: str) -> tuple[float, float, int]:
    """The mean, its standard error with clusters as the units, and how many there are."""
    v = np.asarray(values, dtype=np.float64)
    _, group = np.unique(np.asarray(clusters), return_inverse=True)
    g = int(group.max()) + 1
    if g == 1:
        raise ValueError(f"one cluster shows no spread between clusters, so it gives no {what}")
    return float(v.mean()), float(np.sqrt(_cluster_variance(v, group, g))), g


def placements(scores: ArrayLike, good: ArrayLike) -> NDArray[np.float64]:
    """Values [n] whose mean is the AUC, the chance that a good response scores above a bad one, ties half.

    scores [n], good [n] booleans. Each response has its share of the others' class that it stands on the right side
    of, scaled so that the spread of these values is that of the AUC (DeLong et al. 1988; summed over clusters,
    Obuchowski 1997). Raises ValueError unless there are good and bad ones.

    >>> float(placements([3.0, 2.0, 1.0, 2.0], [True, True, False, False]).mean())
    0.875
    """
    s, positive = np.asarray(scores, dtype=np.float64), np.asarray(good, dtype=bool)
    m, k = int(positive.sum()), int((~positive).sum())
    if not m or not k:
        raise ValueError("an AUC needs good and bad responses")
    right = np.empty(s.size)
    for side, other, sign in ((positive, ~positive, 1), (~positive, positive, -1)):
        theirs = np.sort(sign * s[other])
        mine = sign * s[side]
        right[side] = (np.searchsorted(theirs, mine, "left") + np.searchsorted(theirs, mine, "right")) / 2 / theirs.size
    area = float(right[positive].mean())
    return area + (right - area) * np.where(positive, s.size / m, s.size / k)


def clustered_auc(scores: ArrayLike, good: ArrayLike, clusters: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Interval of the AUC of scores [n] for good against bad ones [n], with whole clusters [n] as the units.

    Wilson's, for as many independent comparisons as would give the clustered variance of `placements`, with Student's
    quantile; its degrees of freedom are the clusters of the rarer class less one, since these tell least. Where every
    comparison comes out alike that variance cannot be seen, and the same clusters are all the evidence.

    >>> low, high = clustered_auc([3.0, 2.0, 1.0, 2.0], [True, True, False, False], range(4))
    >>> 0 < low < 0.875 < high < 1
    True
    """
    values, positive = placements(scores, good), np.asarray(good, dtype=bool)
    names, group = np.unique(np.asarray(clusters), return_inverse=True)
    area, seen = float(np.clip(values.mean(), 0, 1)), rarer(positive, group)
    variance = _cluster_variance(values, group, len(names)) if seen > 1 else 0.0
    if variance < 1e-15 or area in (0.0, 1.0):
        return wilson(area * seen, seen, level)
    n = area * (1 - area) / variance
    return _score_interval(area * n, n, critical(level, seen - 1))


def rarer(good: ArrayLike, clusters: ArrayLike) -> int:
    """Clusters that hold a good response or those that hold a bad one, whichever are fewer.

    >>> rarer([True, False, False, False], [0, 0, 1, 2])
    1
    """
    positive, group = np.asarray(good, dtype=bool), np.asarray(clusters)
    return min(len(np.unique(group[positive])), len(np.unique(group[~positive])))


def _cluster_variance(v: NDArray[np.float64], group: NDArray[np.intp], g: int) -> float:
    """Variance of the mean of v [n] with g whole clusters as the units."""
    residual = np.bincount(group, weights=v - v.mean())
    return g / (g - 1) * float(residual @ residual) / v.size**2


def sign_flip(differences: ArrayLike, clusters: ArrayLike) -> float:
    """Exact two-sided p value of paired differences [n] against none, with whole clusters [n] as the units.

    differences: multiples of one half, such as right (1, 0 or one half) by one ranking minus right by another. If the
    two were as good, the sum over each cluster would be as likely with the other sign; p is the share of all signs
    that give a total at least as far from zero (Fisher 1935). Where each cluster is one pair this is McNemar's exact
    test. Computed from the characteristic function of the total, to about 1e-12. Raises ValueError for other numbers.

    >>> round(sign_flip([1] * 8 + [-1] + [0] * 20, range(29)), 6)  # eight against one of a fair coin
    0.039062
    >>> sign_flip([1] * 8, [0, 0, 0, 0, 1, 1, 1, 1])  # two clusters can do no better
    0.5
    """
    halves = 2 * np.asarray(differences, dtype=np.float64)
    if not np.array_equal(halves, np.round(halves)):
        raise ValueError("the sign-flip test takes multiples of one half")
    _, group = np.unique(np.asarray(clusters), return_inverse=True)
    total = np.abs(np.bincount(group, weights=halves))
    sizes, counts = np.unique(total[total > 0].astype(np.int64), return_counts=True)
    if not sizes.size:
        return 1.0
    most = int(sizes @ counts)
    width = 2 * most + 1
    angle = 2 * np.pi * np.arange(width // 2 + 1) / width
    transform = np.prod([np.cos(size * angle) ** count for size, count in zip(sizes, counts, strict=True)], axis=0)
    chance = np.fft.irfft(transform, n=width)  # of each total; the negative ones stand at the end
    observed = int(abs(halves.sum()))
    p = 1.0 if observed == 0 else 2 * float(chance[observed : most + 1].sum())
    # The observed signs and their opposite are always among those counted.
    return float(np.clip(p, 2.0 ** (1 - int(counts.sum())), 1.0))


def bootstrap(
    statistic: Callable[[NDArray[Any]], float],
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of `statistic(values)` (Efron 1979).

    `values` is [n] or [n, d]; rows are resampled. With `clusters` [n] whole clusters are resampled, so that copies of
    a row, or many rows of one annotator, do not shrink the interval. A replicate in which the statistic is NaN (a
    class is missing from it) is left out; if all are, the interval is (nan, nan). `numpy.mean` of [n] is resampled
    without a Python loop. Raises ValueError on empty values or clusters of another length.

    >>> low, high = bootstrap(np.mean, np.arange(100.0))
    >>> 42 < low < 49.5 < high < 57
    True
    >>> bootstrap(np.median, [3.0, 3.0, 3.0])
    (3.0, 3.0)
    """
    v = np.asarray(values)
    n = len(v)
    if n == 0:
        raise ValueError("bootstrap needs at least one value")
    rng = np.random.default_rng(seed)
    if clusters is None:
        group, g = None, n
    else:
        _, group = np.unique(np.asarray(clusters), return_inverse=True)
        if group.shape != (n,):
            raise ValueError(f"clusters must have one entry a value: {group.size} for {n} values")
        g = int(group.max()) + 1
    if statistic is np.mean and v.ndim == 1:
        estimates = _means(v.astype(np.float64), group, g, replicates, rng)
    else:
        estimates = _estimates(statistic, v, group, g, replicates, rng)
    estimates = estimates[~np.isnan(estimates)]
    if not estimates.size:
        return float("nan"), float("nan")
    low, high = np.quantile(estimates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled(
    clusters: ArrayLike | None, n: int, draws: int, random: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Rows of n, drawn with replacement, `draws` times; whole clusters [n] where there are any.

    For statistics of several arrays, or of a model that is fitted again; else see `bootstrap`. Raises `FeedbackError`
    where clusters are not one for each row.

    >>> [sorted(rows.tolist()) for rows in resampled(["a", "a"], 2, 1, np.random.default_rng(0))]
    [[0, 1]]
    """
    if clusters is None:
        yield from (random.integers(n, size=n) for _ in range(draws))
        return
    units = np.unique(np.asarray(clusters), return_inverse=True)[1]
    if len(units) != n:
        raise FeedbackError(f"there are {len(units):,} clusters for {n:,} rows; give one each")
    members = np.split(np.argsort(units, kind="stable"), np.cumsum(np.bincount(units))[:-1])
    for _ in range(draws):
        yield np.concatenate([members[i] for i in random.integers(len(members), size=len(members))])


def critical(level: float, freedom: float | None = None) -> float:
    """Half-width in standard errors: the normal quantile, Student's where degrees of freedom are given."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if freedom is None:
        return NormalDist().inv_cdf((1 + level) / 2)
    return float(stdtrit(freedom, (1 + level) / 2))


def _means(
    v: NDArray[np.float64], group: NDArray[np.intp] | None, g: int, replicates: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    total = v if group is None else np.bincount(group, weights=v)
    count = np.ones(g) if group is None else np.bincount(group).astype(np.float64)
    out = np.empty(replicates)
    step = max(1, _BLOCK // g)
    for start in range(0, replicates, step):
        drawn = rng.integers(g, size=(min(step, replicates - start), g))
        out[start : start + len(drawn)] = total[drawn].sum(1) / count[drawn].sum(1)
    return out


def _estimates(
    statistic: Callable[[NDArray[Any]], float],
    v: NDArray[Any],
    group: NDArray[np.intp] | None,
    g: int,
    replicates: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    out = np.empty(replicates)
    if group is None:
        for i in range(replicates):
            out[i] = statistic(v[rng.integers(g, size=g)])
        return out
    order = np.argsort(group, kind="stable")
    v = v[order]
    count = np.bincount(group)
    start = np.concatenate(([0], np.cumsum(count)[:-1]))
    for i in range(replicates):
        drawn = rng.integers(g, size=g)
        length = count[drawn]
        # Row numbers of the drawn clusters laid end to end, without a loop over clusters.
        offset = np.repeat(start[drawn] - np.concatenate(([0], np.cumsum(length)[:-1])), length)
        out[i] = statistic(v[offset + np.arange(length.sum())])
    return out
