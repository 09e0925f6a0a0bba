"""Properties weighed against each other: what a judge goes by when many differ at once, and whether it knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.special import expit

from pluralign.errors import FeedbackError, OptionError
from pluralign.evaluate.explain import matrix, probe
from pluralign.evaluate.figures import Array, Figure
from pluralign.intervals import critical

MIXED = 1.05
"""R-hat above which chains have not met."""
COLLINEAR = 10.0
"""Variance inflation from which a property's weight cannot be told from the others'."""


@dataclass(frozen=True)
class Dissection:
    """What a judge weighs. names: [P]. draws: [S, P] of the posterior of the weights, logits for a difference of one.

    inflation: [P], how much wider the other properties make each weight's variance (infinite: made of them). pairs:
    [P], in which each property differs. r_hat: [P], spread of all chains over that within them, 1 where they met.
    """

    names: tuple[str, ...]
    draws: Array
    inflation: Array
    pairs: Array
    r_hat: Array

    @property
    def table(self) -> pl.DataFrame:
        """A row a property, the most liked first: property, value (mean weight), low, high, preferred, ...

        preferred: sigma(value), the chance that a response is preferred which has more of this property by one, and is
        like the other in all else. separable: whether its weight can be told from those of the other properties.
        """
        value = self.draws.mean(0)
        low, high = np.quantile(self.draws, [0.025, 0.975], axis=0)
        told = {"property": list(self.names), "value": value, "low": low, "high": high, "preferred": expit(value)}
        told |= {"pairs": self.pairs.astype(int), "inflation": self.inflation, "separable": self.inflation < COLLINEAR}
        return pl.DataFrame(told).sort("value", descending=True, maintain_order=True)

    def chance(self, differences: ArrayLike) -> Array:
        """[n]: that the first response is preferred, for differences [n, P], by the mean weights; 1/2 for none."""
        return np.asarray(expit(np.asarray(differences, dtype=np.float64) @ self.draws.mean(0)))

    def similarity(self, other: Dissection) -> Figure:
        """Pearson's correlation of two judges' mean weights; its interval is that of draws of the one and the other.

        Noise in the weights pulls the correlation of draws towards zero, and with it the interval.
        """
        if self.names != other.names:
            raise FeedbackError("the judges were dissected by different properties; give both the same names")
        pairs = zip(self.draws, other.draws[: len(self.draws)], strict=False)
        low, high = np.quantile([_correlation(a, b) for a, b in pairs], [0.025, 0.975])
        value = _correlation(self.draws.mean(0), other.draws.mean(0))
        return Figure(value, float(low), float(high), len(self.names), len(self.names), "posterior draws")


def dissect(
    differences: ArrayLike,
    preferred: ArrayLike,
    names: Sequence[str],
    *,
    scale: float = 0.1,
    chains: int = 4,
    warmup: int = 500,
    draws: int = 2000,
    seed: int = 0,
) -> Dissection:
    """Weights of properties that differ together: a Bayesian logistic regression without intercept.

    differences: [n, P], property of the first response minus that of the second: -1, 0, 1, or on any scale. preferred:
    [n], positive where the judge prefers the first, negative the second; zeros are left out. scale: of the Laplace
    prior of each weight, whose mode is the l1 regression with C = scale. warmup, draws: of each of `chains`, by
    Hamiltonian Monte Carlo on weights that are whitened by the curvature.

    Li et al. 2024. Raises `FeedbackError` for arrays that do not fit, `OptionError` where the chains do not meet.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.choice([-1.0, 0.0, 1.0], (800, 2))
    >>> found = dissect(x, x[:, 0] * 2 - x[:, 1] + rng.logistic(size=800), ["true", "long"], draws=300)
    >>> found.table["property"].to_list(), found.chance(np.zeros((1, 2))).tolist()
    (['true', 'long'], [0.5])
    """
    x, sign = matrix(differences, names, float), np.sign(np.asarray(preferred, dtype=np.float64))
    if len(sign) != len(x) or not sign.any():
        raise FeedbackError(f"there are {len(x):,} pairs and {len(sign):,} verdicts; give one each, not all ties")
    if scale <= 0 or chains < 2 or draws < 10:
        raise OptionError("scale is above zero, chains are 2 or more, draws 10 or more")
    x, sign = x[sign != 0], sign[sign != 0]
    # Pairs that differ alike are one row: most properties take few values.
    rows, count = np.unique(x * sign[:, None], axis=0, return_counts=True)
    made = _chains(rows, count.astype(np.float64), scale, chains, warmup, draws, np.random.default_rng(seed))
    r_hat = _r_hat(made)
    if float(r_hat.max()) > MIXED:
        worst = names[int(r_hat.argmax())]
        raise OptionError(f"the chains have not met (R-hat of {worst} {r_hat.max():.2f}); give more draws")
    return Dissection(tuple(names), made.reshape(-1, len(names)), _inflation(x), (x != 0).sum(0), r_hat)


def _potential(w: Array, rows: Array, count: Array, scale: float) -> Array:
    """Minus the log-posterior of weights [..., P], up to a constant."""
    losses = np.logaddexp(0, -(rows @ np.moveaxis(w, -1, 0)))
    return np.asarray(np.tensordot(count, losses, 1) + np.abs(w).sum(-1) / scale)


def _chains(
    rows: Array, count: Array, scale: float, chains: int, warmup: int, draws: int, random: np.random.Generator
) -> Array:
    """[chains, draws, P]."""
    # The normal prior of the same variance gives a start, and the shape of the posterior.
    ridge, p = 1 / (2 * scale**2), rows.shape[1]
    start = probe(np.repeat(rows, count.astype(int), 0), np.ones(int(count.sum())), ridge)
    told = expit(rows @ start)
    bend = (rows * (count * told * (1 - told))[:, None]).T @ rows + ridge * np.eye(p)
    shape = np.linalg.cholesky(np.linalg.inv(bend))
    whole = rows @ shape

    def slope(q: Array) -> Array:
        w = q @ shape.T
        inner = -(expit(-(whole @ q.T)) * count[:, None]).T @ whole
        return np.asarray(inner + np.sign(w) / scale @ shape)

    def energy(q: Array) -> Array:
        return _potential(q @ shape.T, rows, count, scale)

    q = np.linalg.solve(shape, start) + random.normal(size=(chains, p))
    here, size, went = energy(q), 0.9 * p**-0.25, []
    kept = np.empty((chains, draws, p))
    for i in range(-warmup, draws):
        step = size * random.uniform(0.8, 1.2)
        speed = random.normal(size=(chains, p))
        before = here + (speed**2).sum(1) / 2
        new, moving = q.copy(), speed - step / 2 * slope(q)
        # A quarter of a period of a normal posterior, after which draws have little to do with each other.
        steps = max(1, round(math.pi / 2 / step))
        for leap in range(steps):
            new = new + step * moving
            moving = moving - (step if leap < steps - 1 else step / 2) * slope(new)
        there = energy(new)
        taken = np.log(random.random(chains)) < before - there - (moving**2).sum(1) / 2
        q, here = np.where(taken[:, None], new, q), np.where(taken, there, here)
        went.append(float(taken.mean()))
        if i < 0 and len(went) == 25:
            size *= 0.8 if np.mean(went) < 0.7 else 1.1 if np.mean(went) > 0.9 else 1.0
            went = []
        if i >= 0:
            kept[:, i] = q @ shape.T
    return kept


def _r_hat(draws: Array) -> Array:
    """[P]: potential scale reduction of draws [chains, S, P], each chain in halves (Gelman and Rubin 1992)."""
    half = draws.shape[1] // 2
    parts = np.concatenate([draws[:, :half], draws[:, half : 2 * half]])
    within, between = parts.var(1, ddof=1).mean(0), parts.mean(1).var(0, ddof=1)
    return np.asarray(np.sqrt((half - 1) / half + between / np.maximum(within, 1e-300)))


def _inflation(x: Array) -> Array:
    """[P]: variance inflation of each column in a regression without intercept; 1 where nothing else explains it."""
    size = np.sqrt((x**2).sum(0))
    z = x / np.where(size > 0, size, 1.0)
    found = np.ones(x.shape[1])
    for j in np.flatnonzero(size):
        rest = np.delete(z, j, 1)
        left = z[:, j] - rest @ np.linalg.lstsq(rest, z[:, j], rcond=None)[0] if rest.shape[1] else z[:, j]
        unexplained = float(left @ left)
        found[j] = 1 / unexplained if unexplained > 1e-10 else math.inf
    return found


def introspection(
    stated: ArrayLike,
    differences: ArrayLike,
    preferred: ArrayLike,
    names: Sequence[str],
    *,
    ridge: float = 1.0,
    permutations: int = 9999,
    seed: int = 0,
) -> dict[str, Any]:
    """Does a judge know its own weights: Pearson's correlation of those it states with those its choices show.

    stated: [P], weights of properties as the judge states them, on any scale. differences, preferred: its choices, as
    in `dissect`. The weights of the choices are those of a logistic regression, half of `ridge` times their squares
    added to the loss. The interval is Fisher's, with properties as the units; p: the share of orders of the stated
    weights, and of the order given, that agree as far. ceiling: the correlation to be expected of a judge who states
    its weights exactly, from the agreement of halves of the choices. estimated: [P].

    "Do models know their own weights?" 2025, as far as its abstract says. Raises `FeedbackError`.

    >>> rng = np.random.default_rng(0)
    >>> w = np.array([2.0, 1.0, 0.5, -0.5, -1.0, -2.0])
    >>> x = rng.normal(size=(2000, 6))
    >>> found = introspection(w, x, x @ w + rng.logistic(size=2000), list("abcdef"))
    >>> found["value"] > 0.98, found["p"] < 0.01
    (True, True)
    """
    x, sign = matrix(differences, names, float), np.sign(np.asarray(preferred, dtype=np.float64))
    said = np.asarray(stated, dtype=np.float64)
    if said.shape != (len(names),) or not np.isfinite(said).all() or float(np.ptp(said)) == 0:
        raise FeedbackError(f"state {len(names)} weights, one a property, that are not all the same")
    if len(sign) != len(x) or np.count_nonzero(sign) < 4:
        raise FeedbackError(f"there are {len(x):,} pairs and {len(sign):,} verdicts; give one each, four that choose")
    x, sign = x[sign != 0], sign[sign != 0]
    random = np.random.default_rng(seed)
    shown = probe(x, sign, ridge)
    value, n = _correlation(said, shown), len(names)
    halves = []
    for _ in range(20):
        first = random.permutation(len(x)) % 2 == 0
        halves.append(_correlation(probe(x[first], sign[first], ridge), probe(x[~first], sign[~first], ridge)))
    r = max(float(np.mean(halves)), 0.0)
    dealt = np.array([_correlation(random.permutation(said), shown) for _ in range(permutations)])
    low, high = -math.inf, math.inf
    if n > 3:
        half = critical(0.95) / math.sqrt(n - 3)
        centre = math.atanh(min(max(value, -1 + 1e-12), 1 - 1e-12))
        low, high = math.tanh(centre - half), math.tanh(centre + half)
    return {
        **Figure(value, low, high, n, n, "Fisher, properties").as_dict(),
        "p": (1 + int((dealt >= value - 1e-12).sum())) / (1 + permutations),
        # Two halves agree less than the whole would with another whole (Spearman and Brown), whose root is the most.
        "ceiling": math.sqrt(2 * r / (1 + r)),
        "estimated": shown.tolist(),
    }


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size > 0 else 0.0
