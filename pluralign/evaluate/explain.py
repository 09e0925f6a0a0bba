"""What people, judges and models go by: factors, concepts by domain, directions of hidden states.

Every function gives a table with columns of a name, a value and its 95% interval, and `draw` makes a picture of any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import rankdata

from pluralign.errors import FeedbackError, OptionError
from pluralign.evaluate.figures import Array, Figure, difference, mean, preferred, share
from pluralign.intervals import resampled

DRAWS = 300
"""Resamplings behind an interval."""


def factor_strengths(
    winner: ArrayLike,
    loser: ArrayLike,
    names: Sequence[str],
    clusters: ArrayLike | None = None,
    *,
    weigh: bool = True,
    ridge: float = 0.1,
    seed: int = 0,
) -> pl.DataFrame:
    """Strength of every factor: columns factor, value (logits, mean zero), low, high, choices that it decides in.

    winner, loser: [n, F], whether the preferred and the other response have each factor. Every factor of the winner
    alone beats every factor of the loser alone; what both have says nothing. weigh: the wins of one choice count one in
    all. ridge: half of it times the squared strengths keeps a factor that always wins finite. Wins of one choice
    depend on each other, so whole choices are resampled, or whole clusters [n] of them, such as votes on one pair.

    Hu et al. 2023 (DecipherPref). Raises `FeedbackError` for arrays that do not fit.

    >>> found = factor_strengths([[1, 0, 1]] * 8, [[0, 1, 1]] * 8, ["true", "long", "shared"])
    >>> found["factor"].to_list(), found["choices"].to_list()
    (['true', 'shared', 'long'], [8, 0, 8])
    """
    ours, theirs = matrix(winner, names, bool), matrix(loser, names, bool)
    if len(ours) != len(theirs):
        raise FeedbackError(f"there are {len(ours):,} winners and {len(theirs):,} losers; give one for each choice")
    ours, theirs = ours & ~theirs, theirs & ~ours
    pairs = ours.sum(1) * theirs.sum(1)
    weight = np.where(pairs > 0, 1 / np.maximum(pairs, 1), 0.0) if weigh else np.ones(len(ours))

    def strengths(rows: NDArray[np.intp]) -> Array:
        wins = (ours[rows] * weight[rows, None]).T @ theirs[rows].astype(np.float64)
        return _bradley_terry(np.asarray(wins, dtype=np.float64), ridge)

    value = strengths(np.arange(len(ours)))
    random = np.random.default_rng(seed)
    drawn = np.array([strengths(rows) for rows in resampled(clusters, len(ours), DRAWS, random)])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    told = ((ours | theirs) & (pairs > 0)[:, None]).sum(0)
    table = pl.DataFrame({"factor": list(names), "value": value, "low": low, "high": high, "choices": told})
    return table.sort("value", descending=True, maintain_order=True)


def _bradley_terry(wins: Array, ridge: float) -> Array:
    """Strengths [F] of a table of wins [F, F], by Newton's method; the ridge alone holds the mean at zero."""
    theta = np.zeros(len(wins))
    games = wins + wins.T
    for _ in range(50):
        p = expit(theta[:, None] - theta[None, :])
        slope = (wins - games * p).sum(1) - ridge * theta
        bend = -games * p * (1 - p)
        bend[np.diag_indices_from(bend)] = (games * p * (1 - p)).sum(1) + ridge
        step = np.linalg.solve(bend, slope)
        theta = theta + step / max(1.0, float(np.abs(step).max()))
        if float(np.abs(step).max()) < 1e-10:
            break
    return np.asarray(theta - theta.mean())


def factor_agreement(
    differences: ArrayLike, preferred: ArrayLike, names: Sequence[str], clusters: ArrayLike | None = None, seed: int = 0
) -> pl.DataFrame:
    """How far each factor goes the judge's way: columns factor, value (tau), low, high, ties.

    differences: [n, F], factor of the first response minus the second. preferred: [n], positive where the judge
    prefers the first, negative the second; zeros are left out. tau = (C - D) / (C + D + T): pairs where both agree,
    where they differ, and where the factor alone ties. clusters: [n], the units of the intervals.

    Oh et al. 2024 (PROFILE); that ties of the factor stand below the line is as described elsewhere.

    >>> factor_agreement([[1, 1], [1, 0], [-1, 0], [-1, -1]], [1, 1, -1, -1], ["always", "half"])["value"].to_list()
    [1.0, 0.5]
    """
    gaps, judge = matrix(differences, names, float), np.sign(np.asarray(preferred, dtype=np.float64))
    if len(judge) != len(gaps) or not judge.any():
        raise FeedbackError(f"there are {len(gaps):,} pairs and {len(judge):,} verdicts; give one each, not all ties")
    units = np.arange(len(judge)) if clusters is None else np.asarray(clusters)
    told = judge != 0
    agree = np.sign(gaps[told]) * judge[told, None]
    rows = []
    for name, values in zip(names, agree.T, strict=True):
        tau, ties = mean(values, units[told], seed), int((values == 0).sum())
        rows.append({"factor": name, "value": tau.value, "low": tau.low, "high": tau.high, "ties": ties})
    return pl.DataFrame(rows).sort("value", descending=True, maintain_order=True)


def factor_alignment(
    ours: tuple[ArrayLike, ArrayLike],
    theirs: tuple[ArrayLike, ArrayLike],
    names: Sequence[str],
    clusters: tuple[ArrayLike | None, ArrayLike | None] = (None, None),
    seed: int = 0,
) -> Figure:
    """How alike two judges rank factors: Spearman's correlation of their taus, with its interval.

    ours, theirs: differences and verdicts of each judge, as in `factor_agreement`, about the same pairs or others.
    clusters: of each; where both judged the same pairs in the same order, both are resampled alike.

    Oh et al. 2024 (PROFILE). Raises `FeedbackError` for fewer than three factors.

    >>> x = np.eye(3).repeat([4, 6, 8], 0)
    >>> factor_alignment((x, np.ones(18)), (x, -np.ones(18)), ["a", "b", "c"]).value < -0.99
    True
    """
    if len(names) < 3:
        raise FeedbackError(f"a correlation of ranks needs three factors, here {len(names)}")
    of_judge = []
    for (differences, judge), units in zip((ours, theirs), clusters, strict=True):
        agree = np.sign(matrix(differences, names, float)) * np.sign(np.asarray(judge, dtype=np.float64))[:, None]
        told = np.asarray(judge) != 0
        # The same seed draws the same rows where the clusters are the same.
        drawn = resampled(units, len(agree), DRAWS, np.random.default_rng(seed))
        ranks = rankdata([agree[rows][told[rows]].mean(0) for rows in (np.arange(len(agree)), *drawn)], axis=1)
        ranks -= ranks.mean(1, keepdims=True)
        of_judge.append(ranks / np.maximum(np.sqrt((ranks**2).sum(1, keepdims=True)), 1e-12))
    found = (of_judge[0] * of_judge[1]).sum(1)
    low, high = np.quantile(found[1:], [0.025, 0.975])
    n, units = len(np.asarray(ours[1])), clusters[0]
    groups = n if units is None else len(np.unique(np.asarray(units)))
    return Figure(float(found[0]), float(low), float(high), n, groups, "bootstrap of clusters")


def concept_weights(
    concepts: ArrayLike,
    chosen: ArrayLike,
    domains: Sequence[str],
    *,
    alpha: float = 1.0,
    shared_penalty: float = 0.01,
    own_penalty: float = 0.01,
    steps: int = 3000,
) -> tuple[Array, dict[str, Array]]:
    """Weights of concepts that all domains share, [C], and what each domain adds, by name [C].

    concepts: [n, C], first response minus second. chosen: [n], +1 where the first is preferred, -1 the second. domains:
    [n]. Minimises mean l(y (b + s_d) x) + alpha mean l(y b x) + shared_penalty |b|_1 + own_penalty sum_d |s_d|_1, l the
    logistic loss, by FISTA. alpha makes the shared part foretell by itself, and so a domain not seen; 0 is the sum
    of a shared and a sparse part. A large own_penalty is one regression for all, a large shared_penalty one for each.

    Calderon et al. 2025. Raises `OptionError` for negative penalties.

    >>> x = np.random.default_rng(0).normal(size=(400, 2))
    >>> b, own = concept_weights(x, np.sign(x[:, 0]), ["a", "b"] * 200, own_penalty=1.0)
    >>> bool(b[0] > 1 and abs(b[1]) < 0.2 and not own["a"].any())
    True
    """
    x, y = np.asarray(concepts, dtype=np.float64), np.asarray(chosen, dtype=np.float64)
    if min(alpha, shared_penalty, own_penalty) < 0:
        raise OptionError("alpha and the penalties are at least zero")
    if len(y) != len(x) or len(domains) != len(x) or not np.isin(y, (-1, 1)).all():
        raise FeedbackError("concepts, verdicts of +1 or -1 and domains are one for each pair")
    names, domain = np.unique(np.asarray(domains), return_inverse=True)
    signed, d = x * y[:, None], len(names)
    member = np.eye(d)[domain]
    penalty = np.array([shared_penalty] + [own_penalty] * d)[:, None]
    largest = float(np.linalg.eigvalsh(x.T @ x)[-1]) / len(x) / 4
    size = 1 / max((2 + alpha) * largest, 1e-12)

    def slope(w: Array) -> Array:
        each = (signed @ (w[0] + w[1:]).T)[np.arange(len(x)), domain]
        own = -(member * expit(-each)[:, None]).T @ signed / len(x)
        alone = -expit(-(signed @ w[0])) @ signed / len(x)
        return np.vstack([own.sum(0) + alpha * alone, own])

    w = ahead = np.zeros((d + 1, x.shape[1]))
    t = 1.0
    for _ in range(steps):
        moved = ahead - size * slope(ahead)
        new = np.sign(moved) * np.maximum(np.abs(moved) - size * penalty, 0)
        later = (1 + np.sqrt(1 + 4 * t * t)) / 2
        ahead = new + (t - 1) / later * (new - w)
        done = float(np.abs(new - w).max()) < 1e-9
        w, t = new, later
        if done:
            break
    return w[0], dict(zip(names.tolist(), w[1:], strict=True))


def concept_table(
    concepts: ArrayLike,
    chosen: ArrayLike,
    domains: Sequence[str],
    names: Sequence[str],
    clusters: ArrayLike | None = None,
    seed: int = 0,
    **options: Any,
) -> pl.DataFrame:
    """`concept_weights` with intervals: columns concept, domain ("all" for the shared part), value, low, high.

    Pairs, or whole clusters [n] of them, are resampled; an interval that is a single zero says that no draw needed the
    concept there.
    """
    x, y, domain = np.asarray(concepts, dtype=np.float64), np.asarray(chosen), np.asarray(domains)
    x = matrix(x, names, float)
    random, parts = np.random.default_rng(seed), ["all", *np.unique(domain).tolist()]

    def fitted(rows: NDArray[np.intp]) -> Array:
        shared, own = concept_weights(x[rows], y[rows], domain[rows].tolist(), **options)
        return np.array([shared, *(own.get(part, np.zeros(x.shape[1])) for part in parts[1:])])

    value = fitted(np.arange(len(x)))
    drawn = np.array([fitted(rows) for rows in resampled(clusters, len(x), 60, random)])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return pl.DataFrame(
        [
            {"concept": name, "domain": part, "value": value[i, j], "low": low[i, j], "high": high[i, j]}
            for i, part in enumerate(parts)
            for j, name in enumerate(names)
        ]
    )


def probe_layers(
    differences: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    baseline: ArrayLike | None = None,
    ridge: float | Sequence[float] = 1.0,
    folds: int = 5,
    seed: int = 0,
) -> pl.DataFrame:
    """How well a direction of each layer tells the preferred response: columns layer, value (accuracy), low, high, ...

    differences: [L, n, H], hidden states of the preferred response minus the other. A logistic Bradley-Terry probe
    P(a > b) = sigma(v . (h_a - h_b)) without intercept, so that swapping the sides swaps the answer, is fitted to all
    folds but one of the clusters [n] and judged on that. `shuffled` is the same with labels at random, `gain` the
    difference between the two with its p value, exact over clusters. ridge: half of it times |v|^2, on standardised
    differences; of several the one that does best on one of the folds that are fitted. baseline: [n], 1 where a simpler
    rule prefers the right response, 0 where the other, one half where it cannot tell; adds `over`, `over_low` and
    `over_high`, by how much the probe is more often right.

    Tang et al. 2023.

    >>> rng = np.random.default_rng(0)
    >>> noise, told = rng.normal(size=(60, 4)), rng.normal(size=(60, 4)) + [3.0, 0, 0, 0]
    >>> probe_layers([noise, told])["value"].to_list()[1] > 0.9
    True
    """
    x = np.asarray(differences, dtype=np.float64)
    if x.ndim != 3 or len(x[0]) < folds:
        raise FeedbackError(f"differences are [layers, pairs, width] with {folds} pairs at least, here {x.shape}")
    units = np.arange(x.shape[1]) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    random = np.random.default_rng(seed)
    fold = random.permutation(int(units.max()) + 1)[units] % folds
    sign = random.choice([-1.0, 1.0], size=x.shape[1])
    ridges = [float(r) for r in np.atleast_1d(ridge)]
    rows = []
    for layer, h in enumerate(x):
        scale = np.sqrt((h**2).mean(0))
        h = h / np.where(scale > 0, scale, 1.0)
        right = _probed(h, np.ones(len(h)), fold, ridges)
        chance = _probed(h, sign, fold, ridges)
        figure, gain = share(right, units), difference(right, chance, units, seed)
        row = {"layer": layer, "value": figure.value, "low": figure.low, "high": figure.high}
        row |= {"shuffled": float(chance.mean()), "gain": gain["value"], "p": gain["p"]}
        if baseline is not None:
            over = difference(right, np.asarray(baseline, dtype=np.float64), units, seed)
            row |= {"over": over["value"], "over_low": over["low"], "over_high": over["high"]}
        rows.append(row)
    return pl.DataFrame(rows)


def _probed(h: Array, sign: Array, fold: Any, ridges: Sequence[float]) -> Array:
    """[n]: whether each pair is told right by the probe fitted without its fold; label `sign` of the difference."""
    right, some = np.empty(len(h)), np.unique(fold)
    for at, f in enumerate(some):
        held, ridge, v = fold == f, ridges[0], None
        if len(ridges) > 1:
            inner = fold == some[(at + 1) % len(some)]
            rest, best = ~held & ~inner, np.inf
            # From the heaviest on each begins where the last one ended.
            for tried in sorted(ridges, reverse=True):
                v = probe(h[rest], sign[rest], tried, v)
                loss = float(np.logaddexp(0, -(h[inner] @ v) * sign[inner]).sum())
                if loss < best:
                    best, ridge, start = loss, tried, v
            v = start
        right[held] = preferred((h[held] @ probe(h[~held], sign[~held], ridge, v)) * sign[held])
    return right


def probe(h: Array, sign: Array, ridge: float, start: Array | None = None) -> Array:
    """Direction [H] that tells differences [n, H] of label `sign` [n], by Newton's method."""
    a = h * sign[:, None]
    v = np.zeros(h.shape[1]) if start is None else start
    for _ in range(30):
        p = expit(a @ v)
        bend = (a * (p * (1 - p))[:, None]).T @ a + ridge * np.eye(len(v))
        step = np.linalg.solve(bend, a.T @ (1 - p) - ridge * v)
        v = v + step / max(1.0, float(np.abs(step).max()))
        if float(np.abs(step).max()) < 1e-8:
            break
    return v


def draw(table: pl.DataFrame, label: str, rest: float = 0.0) -> Any:
    """Values of a table with their intervals, a line each, its first row on top. rest: where nothing is told."""
    from matplotlib.figure import Figure

    from pluralign.rank.plots import BLUE

    texts = [c for c in table.columns if table[c].dtype == pl.String] or [table.columns[0]]
    names = [", ".join(map(str, row)) for row in table.select(texts).iter_rows()]
    figure = Figure(figsize=(7, 0.3 * len(names) + 1.2), layout="constrained")
    axes, y = figure.subplots(), np.arange(len(names))[::-1]
    value, low, high = (table[c].to_numpy() for c in ("value", "low", "high"))
    ends = [np.maximum(value - low, 0), np.maximum(high - value, 0)]
    axes.errorbar(value, y, xerr=ends, fmt="o", color=BLUE, capsize=2, ms=4)
    axes.axvline(rest, color="#999999", linewidth=0.8)
    axes.set_yticks(y, names)
    axes.set_xlabel(f"{label}, 95% intervals")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def matrix(values: ArrayLike, names: Sequence[str], kind: type) -> Any:
    """[n, P] numbers of this kind, a column a name. Raises `FeedbackError` for any other shape."""
    found: Any = np.asarray(values, dtype=kind)
    if found.ndim != 2 or found.shape[1] != len(names) or not len(found):
        raise FeedbackError(f"{len(names)} names and an array of {found.shape}; give a row a pair, a column a name")
    return found
