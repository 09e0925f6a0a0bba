"""Over-optimisation: what the best of n by one reward is worth by another, and where that turns down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from pluralign.errors import OptionError
from pluralign.evaluate.figures import mean

Array = NDArray[np.float64]

SIZES = (1, 2, 4, 8, 16, 32, 64)


def best_of_n_kl(n: ArrayLike) -> Array:
    """ln n - (n - 1) / n: nats from the sampler to its best of n, where rewards do not tie; else an upper bound.

    >>> best_of_n_kl([2, 4, 16, 64]).round(6).tolist()
    [0.193147, 0.636294, 1.835089, 3.174508]
    """
    size = np.asarray(n, dtype=np.float64)
    return np.asarray(np.log(size) - (size - 1) / size)


def best_of_n(proxy: ArrayLike, gold: ArrayLike, n: int) -> Array:
    """[P]: expected gold reward of the best of n by the proxy, over all subsets of the N samples there are.

    proxy, gold: [P, N], rewards of the same samples. Unbiased: the i-th lowest by the proxy is the best of
    C(i - 1, n - 1) of the C(N, n) subsets; samples that the proxy finds alike share theirs. With proxy and gold the
    same it is the expected maximum of n. Stiennon et al. 2020; Gao et al. 2023. Raises `OptionError` for n above N.

    >>> best_of_n([[1.0, 2.0, 3.0]], [[10.0, 30.0, 20.0]], 2).round(3).tolist()
    [23.333]
    """
    p, g = np.atleast_2d(np.asarray(proxy, dtype=np.float64)), np.atleast_2d(np.asarray(gold, dtype=np.float64))
    size = p.shape[1]
    if p.shape != g.shape:
        raise OptionError(f"proxy has shape {p.shape} and gold {g.shape}; give both for the same samples")
    if not 1 <= n <= size:
        raise OptionError(f"the best of {n} needs as many samples a prompt, here are {size}")
    i = np.arange(1, size + 1)
    with np.errstate(invalid="ignore"):
        logs = (
            gammaln(i) - gammaln(n) - gammaln(i - n + 1) - (gammaln(size + 1) - gammaln(n + 1) - gammaln(size - n + 1))
        )
    chance = np.where(i >= n, np.exp(np.where(i >= n, logs, 0.0)), 0.0)
    order = np.argsort(p, axis=1, kind="stable")
    sorted_p, sorted_g = np.take_along_axis(p, order, 1), np.take_along_axis(g, order, 1)
    shared = np.empty_like(p)
    for row, values in enumerate(sorted_p):
        _, alike = np.unique(values, return_inverse=True)
        shared[row] = (np.bincount(alike, chance) / np.bincount(alike))[alike]
    return np.asarray((shared * sorted_g).sum(1))


@dataclass(frozen=True)
class Curve:
    """points: a row for each n, with kl (nats) and gold and proxy rewards over those of the sampler, with intervals.

    alpha, beta: of gold = d (alpha - beta d), d = sqrt(KL). peak: d at which that is highest, None where it rises on.
    """

    points: pl.DataFrame
    alpha: float
    beta: float

    @property
    def peak(self) -> float | None:
        """alpha / (2 beta)."""
        return self.alpha / (2 * self.beta) if self.beta > 0 else None


def overoptimisation(proxy: ArrayLike, gold: ArrayLike, sizes: Sequence[int] = SIZES, seed: int = 0) -> Curve:
    """Gold and proxy reward of the best of n against KL: samples [P, N] of P prompts, which are the units of intervals.

    Gao et al. 2023 (scaling laws of over-optimisation).

    >>> rng = np.random.default_rng(0)
    >>> gold = rng.normal(size=(200, 64))
    >>> noisy = overoptimisation(gold + rng.standard_t(2, size=gold.shape), gold)
    >>> bool(noisy.beta > overoptimisation(gold, gold).beta)
    True
    """
    p, g = np.atleast_2d(np.asarray(proxy, dtype=np.float64)), np.atleast_2d(np.asarray(gold, dtype=np.float64))
    units, rows = np.arange(len(p)), []
    for n in sizes:
        row: dict[str, Any] = {"n": n, "kl": float(best_of_n_kl(n))}
        for name, values in (("gold", g), ("proxy", p)):
            found = mean(best_of_n(p, values, n) - values.mean(1), units, seed)
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        rows.append(row)
    points = pl.DataFrame(rows)
    d = np.sqrt(points["kl"].to_numpy())
    alpha, minus_beta = np.linalg.lstsq(np.stack([d, d**2], 1), points["gold"].to_numpy(), rcond=None)[0]
    return Curve(points, float(alpha), float(-minus_beta))


def draw(curves: dict[str, Curve]) -> Any:
    """Gold reward against the root of KL, a line a curve with its intervals; dashed, the form fitted to it."""
    from matplotlib.figure import Figure

    from pluralign.rank.plots import COLOURS

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        d = np.sqrt(curve.points["kl"].to_numpy())
        gold, low, high = (curve.points[c].to_numpy() for c in ("gold", "gold_low", "gold_high"))
        axes.errorbar(d, gold, yerr=[gold - low, high - gold], fmt="o", ms=4, color=colour, capsize=2, label=name)
        smooth = np.linspace(0, d.max(), 100)
        axes.plot(smooth, smooth * (curve.alpha - curve.beta * smooth), "--", color=colour, linewidth=1)
    axes.set_xlabel("square root of KL to the sampler")
    axes.set_ylabel("gold reward over the sampler's")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return figure
