"""Coefficients of agreement: Krippendorff's alpha, Cohen's and Fleiss' kappa, and how far agreement could go."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.errors import OptionError
from pluralign.intervals import bootstrap

Array = NDArray[np.float64]
Metric = Literal["nominal", "ordinal", "interval", "ratio"]


def krippendorff(units: ArrayLike, labels: ArrayLike, metric: Metric = "nominal") -> float:
    """Krippendorff's alpha: 1 - observed / expected disagreement (Krippendorff 2004, ch. 11).

    units [n], labels [n]: one entry a judgement; missing judgements are simply absent. metric: how far two labels are
    apart. "nominal": equal or not, labels of any kind; for numbers, "ordinal": labels between them, squared;
    "interval": squared difference; "ratio": that over their sum, squared. NaN where no unit has two judgements or all
    labels are equal.

    >>> krippendorff([1, 1, 2, 2, 3, 3], ["a", "a", "b", "b", "a", "a"])
    1.0
    >>> round(krippendorff([1, 1, 2, 2, 3, 3, 4, 4], [1, 1, 2, 2, 3, 3, 1, 2]), 4)
    0.6667
    """
    return _alpha(*_unit_counts(units, labels, metric), metric)


def krippendorff_interval(
    units: ArrayLike, labels: ArrayLike, metric: Metric = "nominal", seed: int = 0
) -> tuple[float, float]:
    """95% interval of alpha: units resampled as a whole."""
    counts, values = _unit_counts(units, labels, metric)
    # Two thousand replicates of many units cost minutes and change no digit that is shown.
    replicates = int(np.clip(4e7 / max(1, counts.size), 200, 2000))
    return bootstrap(lambda c: _alpha(c, values, metric), counts, replicates=replicates, seed=seed)


def _unit_counts(units: ArrayLike, labels: ArrayLike, metric: Metric) -> tuple[Array, Array]:
    """One line a unit of two or more judgements, and the values of the labels.

    For "nominal" and "interval" a line is the unit's disagreement, then its part of the margins, so that resampling
    adds lines up; for the others, whose distances depend on the margins, it is the count of each value.
    """
    if metric not in ("nominal", "ordinal", "interval", "ratio"):
        raise OptionError(f"there is no metric '{metric}'; take nominal, ordinal, interval or ratio")
    _, unit = np.unique(np.asarray(units), return_inverse=True)
    size = np.bincount(unit)
    keep = size[unit] > 1
    _, unit = np.unique(unit[keep], return_inverse=True)
    m = np.bincount(unit).astype(np.float64)
    if metric == "interval":
        x = np.asarray(labels, dtype=np.float64)[keep]
        total, square = np.bincount(unit, weights=x), np.bincount(unit, weights=x * x)
        within = (2 * m * square - 2 * total**2) / np.maximum(m - 1, 1)
        return np.column_stack((within, m, total, square)).astype(np.float64), x
    numbers = np.asarray(labels) if metric == "nominal" else np.asarray(labels, dtype=np.float64)
    values, label = np.unique(numbers[keep], return_inverse=True)
    counts = np.bincount(unit * len(values) + label, minlength=len(m) * len(values))
    table: Array = counts.reshape(len(m), len(values)).astype(np.float64)
    if metric != "nominal":
        return table, values.astype(np.float64)
    within = (m**2 - (table**2).sum(1)) / np.maximum(m - 1, 1) if len(m) else m
    return np.column_stack((within, table)).astype(np.float64), np.arange(len(values), dtype=np.float64)


def _alpha(counts: Array, values: Array, metric: Metric) -> float:
    total = counts.sum(axis=0)
    observed: float
    if metric == "interval":
        n = total[1] if len(counts) else 0
        observed, expected = total[0], (2 * n * total[3] - 2 * total[2] ** 2) / (n - 1) if n > 1 else 0.0
    elif metric == "nominal":
        n = total[1:].sum()
        observed, expected = total[0], (n**2 - (total[1:] ** 2).sum()) / (n - 1) if n > 1 else 0.0
    else:
        n = total.sum()
        apart = _apart(total, values, metric)
        observed = float((((counts @ apart) * counts).sum(1) / np.maximum(counts.sum(1) - 1, 1)).sum())
        expected = float(total @ apart @ total) / (n - 1) if n > 1 else 0.0
    return float(1 - observed / expected) if expected > 1e-12 else float("nan")


def _apart(total: Array, values: Array, metric: Metric) -> Array:
    """[C, C] squared distances of values."""
    if metric == "ratio":
        both = values[:, None] + values[None]
        gap = values[:, None] - values[None]
        return np.asarray(np.divide(gap, both, out=np.zeros_like(gap), where=both != 0) ** 2)
    middle = np.cumsum(total) - total / 2
    return np.asarray((middle[:, None] - middle[None]) ** 2)


def cohen(first: ArrayLike, second: ArrayLike, weights: str | None = None) -> float:
    """Cohen's kappa of two raters of the same things: (observed - chance) / (1 - chance), chance from both margins.

    first, second [n]: what each said of each thing. weights: None, every difference counts alike (Cohen 1960); "linear"
    or "quadratic", differences between ordered labels count by their distance in order (Cohen 1968). 0 with a warning
    where both raters only ever gave one and the same label, so that nothing tells agreement from habit.

    Raises `ValueError` for no judgements, unequal lengths or another weighting.

    >>> cohen([1, 1, 0, 0], [1, 1, 0, 1])
    0.5
    >>> round(cohen([1, 2, 3, 3], [1, 2, 3, 2], "quadratic"), 4)
    0.8
    """
    one, two = np.asarray(first), np.asarray(second)
    if one.shape != two.shape or not one.size:
        raise ValueError(f"two raters of the same things are needed, and there are {one.size} and {two.size} labels")
    labels, code = np.unique(np.concatenate((one, two)), return_inverse=True)
    k = len(labels)
    table = np.bincount(code[: one.size] * k + code[one.size :], minlength=k * k).reshape(k, k)
    return cohen_of(table.astype(np.float64), weights)


def cohen_of(table: NDArray[np.float64], weights: str | None = None) -> float:
    """Cohen's kappa of a table [K, K] of how often the first rater gave the row's label and the second the column's."""
    k = len(table)
    distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k))) / max(1, k - 1)
    if weights not in (None, "linear", "quadratic"):
        raise ValueError(f"weights: {weights!r} is not one of None, linear, quadratic")
    apart = (distance > 0).astype(float) if weights is None else distance ** (1 if weights == "linear" else 2)
    share = table / table.sum()
    chance = float((np.outer(share.sum(1), share.sum(0)) * apart).sum())
    return _kappa(float((share * apart).sum()), chance)


def fleiss(units: ArrayLike, labels: ArrayLike) -> float:
    """Fleiss' kappa of any number of raters (Fleiss 1971): chance from the share of each label over all judgements.

    units [n], labels [n]: one entry a judgement. Units with one judgement are left out. Where units have different
    numbers of judgements, each unit's agreement counts once, and so do its shares of the labels. 0 with a warning where
    all labels are equal; NaN where no unit has two judgements.

    >>> round(fleiss([1, 1, 2, 2, 3, 3, 4, 4], [1, 1, 2, 2, 3, 3, 1, 2]), 4)
    0.619
    """
    counts = _unit_counts(units, labels, "nominal")[0][:, 1:]
    if not len(counts):
        return float("nan")
    n = counts.sum(axis=1)
    agree = ((counts**2).sum(axis=1) - n) / (n * (n - 1))
    share = (counts / n[:, None]).mean(axis=0)
    return _kappa(1 - float(agree.mean()), 1 - float((share**2).sum()))


def ceiling(units: ArrayLike, labels: ArrayLike) -> float:
    """How often somebody agrees with the majority of all who judged the same unit, over units of two or more.

    No rule that says one thing of each unit can agree with its annotators more often. Where majorities tie, one of
    theirs. NaN where no unit has two judgements.

    >>> ceiling([1, 1, 1, 2, 2], ["a", "a", "b", "b", "b"])
    0.8
    """
    _, unit = np.unique(np.asarray(units), return_inverse=True)
    classes, label = np.unique(np.asarray(labels), return_inverse=True)
    table = np.bincount(unit * len(classes) + label, minlength=(int(unit.max(initial=-1)) + 1) * len(classes))
    table = table.reshape(-1, max(1, len(classes)))
    table = table[table.sum(1) > 1]
    return float(table.max(1).sum() / table.sum()) if len(table) else float("nan")


def _kappa(disagreement: float, chance: float) -> float:
    if chance < 1e-12:
        warnings.warn("all labels are equal, so kappa tells nothing and is given as 0", RuntimeWarning, stacklevel=3)
        return 0.0
    return 1 - disagreement / chance
