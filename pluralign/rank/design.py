"""From votes to the rows of a fit: orientation, covariates, what ties and weights count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pluralign.errors import FeedbackError, OptionError
from pluralign.feedback.audit import style
from pluralign.rank.graph import Graph, graph
from pluralign.rank.laplacian import Laplacian
from pluralign.rank.newton import Problem
from pluralign.rank.votes import BOTH_BAD, LEFT, RIGHT, TIE, Counts, Votes

Array = NDArray[np.float64]
LEAST = 50
"""Below so many votes a pair's weight no longer grows under inverse-pair weights, as arenas do it."""


@dataclass(frozen=True)
class Design:
    """problem: the rows to fit. squared: [m, 3] sums of squared weights, which the spread of weighted sums needs.
    scale: [q] what each covariate was divided by. names: of the covariates, order first. votes: [m] the vote that each
    row is, None where votes of a pair were put together.
    """

    problem: Problem
    graph: Graph
    squared: Array
    names: tuple[str, ...] = ()
    scale: Array | None = None
    votes: NDArray[np.intp] | None = None


def outcomes(won: Array, ties: str, both_bad: str) -> Array:
    """Counts [m, 4] as wins, losses and ties [m, 3]: both-bad votes are ties or left out, as are ties."""
    if ties != "drop" and not won[:, BOTH_BAD].any():
        return won[:, :3]
    kept = won[:, :3].copy(order="F")
    if both_bad == "tie":
        kept[:, TIE] += won[:, BOTH_BAD]
    if ties == "drop":
        kept[:, TIE] = 0
    return kept


def weighted(votes: Votes, weights: str) -> Votes:
    """The votes with the weights that a fit takes: as they are, as strong as they are, or each pair counted alike.

    Raises `OptionError` where votes do not say how strong they are.
    """
    if weights == "strength":
        own = 1.0 if votes.weight is None else votes.weight
        return replace(votes, weight=own * _strength(votes))
    if weights != "inverse-pair":
        return votes
    n = len(votes.items)
    pair = np.minimum(votes.left, votes.right).astype(np.int64) * n + np.maximum(votes.left, votes.right)
    _, inverse, count = np.unique(pair, return_inverse=True, return_counts=True)
    weight = 1.0 / np.maximum(count, LEAST)[inverse]
    return replace(votes, weight=weight / weight.mean())


def _strength(votes: Votes) -> Array:
    """[N] how much better the winner is, 1 for ties: the size of column `strength`, whatever its sign."""
    column = votes.column("strength")
    if column is None or column.null_count() == len(column):
        raise OptionError("weights='strength' needs a column 'strength' that says how much better the winner is")
    try:
        strength = column.cast(pl.Float64).fill_null(1.0).abs().to_numpy()
    except pl.exceptions.PolarsError:
        raise OptionError(
            "column 'strength' holds words where numbers belong: 1 slightly better, 2 better, and so on"
        ) from None
    if not np.isfinite(strength).all():
        raise OptionError(f"strength has no number in vote {int((~np.isfinite(strength)).argmax()) + 1}")
    return np.asarray(np.where(votes.outcome >= TIE, 1.0, strength))


def design(
    votes: Votes | Counts,
    *,
    ties: str,
    both_bad: str,
    weights: str,
    order: bool,
    covariates: Sequence[str],
    by_vote: bool = False,
) -> Design:
    """The rows of a fit: distinct pairs, or single votes where something tells these apart, or where `by_vote` asks.

    Raises `FeedbackError` where there is nothing to rank, `OptionError` for missing columns.
    """
    if isinstance(votes, Counts):
        if order or covariates or by_vote or weights in ("inverse-pair", "strength"):
            raise OptionError("counts of pairs know no order, covariates or single votes; give the votes themselves")
        return _from_counts(votes, votes.won, ties, both_bad)
    votes = weighted(votes, weights)
    counts = votes.counts()
    importance = weights != "votes"
    squared = counts.won
    if importance and votes.weight is not None:
        squared = replace(votes, weight=votes.weight**2).counts().won
    plain = _from_counts(counts, squared, ties, both_bad)
    if not (order or covariates or by_vote):
        return plain
    z, names, scale = _covariates(votes, order, covariates)
    n = len(votes.items)
    pair = np.minimum(votes.left, votes.right).astype(np.int64) * n + np.maximum(votes.left, votes.right)
    known = plain.problem.i.astype(np.int64) * n + plain.problem.j
    weight = np.ones(len(votes)) if votes.weight is None else votes.weight
    won = np.zeros((len(votes), 4))
    won[np.arange(len(votes)), votes.outcome] = weight
    kept = outcomes(won, ties, both_bad)
    used = kept.any(1)
    laplacian = plain.problem.laplacian
    owner = np.searchsorted(known, pair[used])
    problem = Problem(votes.left[used], votes.right[used], kept[used], z[used], laplacian, owner)
    return replace(
        plain,
        problem=problem,
        squared=kept[used] ** (2 if importance else 1),
        names=names,
        scale=scale,
        votes=np.flatnonzero(used),
    )


def _from_counts(counts: Counts, squared: Array, ties: str, both_bad: str) -> Design:
    same = squared is counts.won
    won = outcomes(counts.won, ties, both_bad)
    squared = won if same else outcomes(squared, ties, both_bad)
    used = (won[:, LEFT] != 0) | (won[:, RIGHT] != 0) | (won[:, TIE] != 0)
    if not used.any():
        raise FeedbackError("no votes are left to rank by")
    if not won[:, LEFT].any() and not won[:, RIGHT].any():
        raise FeedbackError("every vote is a tie, so there is nothing to rank by")
    low, high = counts.low, counts.high
    if not used.all():
        low, high, won = low[used], high[used], won[used]
        squared = won if same else squared[used]
    found = graph(counts.n, low, high, won)
    laplacian = Laplacian(low, high, found.component)
    if not found.near:
        laplacian.settle()
    return Design(Problem(low, high, won, np.zeros((len(low), 0)), laplacian), found, squared)


def _covariates(votes: Votes, order: bool, covariates: Sequence[str]) -> tuple[Array, tuple[str, ...], Array]:
    """[N, q] covariates of left minus right: +1 where the left item was first, then each named one, unit spread."""
    columns: list[Array] = []
    if order:
        # Tables without a record of the order show their left item first.
        first = np.zeros(len(votes), dtype=np.int8) if votes.first is None else votes.first
        columns.append(np.select([first == 0, first == 1], [1.0, -1.0], 0.0))
    scale = [1.0] * len(columns)
    for name in covariates:
        values = _difference(votes, name)
        spread = float(values.std())
        if spread == 0:
            raise OptionError(f"covariate '{name}' is the same on every row, so it explains nothing")
        columns.append(values / spread)
        scale.append(spread)
    z = np.stack(columns, 1) if columns else np.zeros((len(votes), 0))
    return z, (("order",) if order else ()) + tuple(covariates), np.array(scale)


def _difference(votes: Votes, name: str) -> Array:
    """A column of differences, or name_a and name_b, or a feature of the two texts, as (a - b) / (a + b + 1)."""
    try:
        whole = votes.column(name)
        if whole is not None:
            values = whole.cast(pl.Float64).to_numpy()
        else:
            a, b = (side.cast(pl.Float64).to_numpy() for side in _two_sides(votes, name))
            values = (a - b) / (np.abs(a) + np.abs(b) + 1)
    except pl.exceptions.PolarsError:
        raise OptionError(f"covariate '{name}' holds words where numbers belong") from None
    if np.isnan(values).any():
        row = int(np.isnan(values).argmax()) + 1
        raise OptionError(f"covariate '{name}' has no number in vote {row}; fill it in or leave the votes out")
    return np.asarray(values)


def _two_sides(votes: Votes, name: str) -> tuple[pl.Series, pl.Series]:
    for left, right in ((f"{name}_a", f"{name}_b"), (f"{name}_left", f"{name}_right")):
        a, b = votes.column(left), votes.column(right)
        if a is not None and b is not None:
            return a, b
    a, b = votes.column("response_a"), votes.column("response_b")
    feature = {"length": "characters"}.get(name, name)
    if a is not None and b is not None:
        a_features, b_features = (style.features(text.cast(pl.String).fill_null("")) for text in (a, b))
        if feature in a_features.columns:
            return a_features[feature], b_features[feature]
    columns = [] if votes.extra is None else votes.extra.columns
    raise OptionError(
        f"there is no column '{name}', nor '{name}_a' and '{name}_b', to use as a covariate; there are "
        f"{', '.join(columns) or 'none'}; of texts (response_a, response_b) length, headers, lists, bold, citation and "
        "others are counted"
    )
