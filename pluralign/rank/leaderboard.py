"""`Leaderboard`: ratings with intervals and ranks, and what they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit

from pluralign.errors import OptionError
from pluralign.evaluate.figures import Figure
from pluralign.rank.estimator import Estimator
from pluralign.rank.graph import Graph
from pluralign.rank.notes import mark, notes
from pluralign.rank.votes import LEFT, RIGHT, TIE, Votes

if TYPE_CHECKING:
    from pluralign.rank.social_choice import SocialChoice

Array = NDArray[np.float64]

ELO = 400 / np.log(10)
"""Rating points a logit: 400 points are odds of ten to one."""


@dataclass(frozen=True)
class Leaderboard:
    """Ratings with intervals and ranks, and what they rest on.

    model: the fit. votes: what it was fitted to. graph: who can be compared. covariance: of scores and covariates
    [n + q, n + q] in the model's unit, None without intervals. interval: how it was found. unit, origin: rating =
    origin + unit * (score - score of `anchor`). anchor: place of the anchored item, None where ratings are centred.
    level: of intervals. freedom: degrees of freedom of clustered intervals, None for the normal ones. history: ratings
    over time, `item`, `time`, `rating`, `low`, `high`, of models that know them. remarks: on this fit, for the notes.
    """

    model: Estimator
    votes: Votes
    graph: Graph
    covariance: Array | None
    interval: str
    unit: float
    origin: float
    anchor: int | None
    level: float
    freedom: int | None
    history: pl.DataFrame | None = None
    remarks: Sequence[str] = ()
    table: pl.DataFrame = field(init=False)
    notes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", self._table())
        object.__setattr__(self, "notes", notes(self))

    def __str__(self) -> str:
        return self.to_markdown()

    @property
    def elo(self) -> bool:
        """Whether 400 points of rating are odds of ten to one."""
        return bool(self.unit == ELO)

    @property
    def ratings(self) -> Array:
        """[n], in the order of `model.items_`."""
        shift = 0.0 if self.anchor is None else self.model.scores_[self.anchor]
        return np.asarray(self.origin + self.unit * (self.model.scores_ - shift))

    @property
    def _between(self) -> Array:
        """Covariance of the scores alone, [n, n]."""
        assert self.covariance is not None
        n = len(self.model.items_)
        return self.covariance[:n, :n]

    @property
    def errors(self) -> Array | None:
        """Standard errors of the ratings [n], the anchor's being zero."""
        if self.covariance is None:
            return None
        c = self._between
        variance = np.diag(c).copy()
        if self.anchor is not None:
            variance += c[self.anchor, self.anchor] - 2 * c[self.anchor]
        return np.asarray(self.unit * np.sqrt(np.maximum(variance, 0)))

    def predict(self, a: ArrayLike, b: ArrayLike) -> Array:
        """P(a wins), P(b wins), P(tie), [..., 3]; NaN for items that no votes connect."""
        return self.model.predict_proba(a, b)

    def contrast(self, a: str, b: str) -> Figure:
        """Rating of a minus that of b with its interval; the interval does not depend on anchor or gauge.

        Raises `OptionError` where votes do not connect the two.
        """
        i, j = (int(self.model.index(name)) for name in (a, b))
        if self.graph.component[i] != self.graph.component[j]:
            raise OptionError(
                f"no votes connect '{a}' and '{b}', directly or through others, so they cannot be compared"
            )
        value = self.unit * (self.model.scores_[i] - self.model.scores_[j])
        n, groups = len(self.votes), len(self.votes) if self.freedom is None else self.freedom + 1
        if self.covariance is None:
            return Figure(value, -np.inf, np.inf, n, groups, "none")
        half = self.critical() * self._error(i, j)
        return Figure(float(value), float(value - half), float(value + half), n, groups, self.interval)

    def p_value(self, a: str, b: str) -> float:
        """Two-sided p value of equal strength of two items, from the contrast and its standard error."""
        figure = self.contrast(a, b)
        i, j = (int(self.model.index(name)) for name in (a, b))
        if self.covariance is None:
            raise OptionError("a test needs standard errors; rank with an interval")
        z = abs(figure.value) / self._error(i, j)
        return float(2 * stdtr(self.freedom if self.freedom is not None else np.inf, -z))

    def simulate(self, draws: int = 10_000, seed: int = 0) -> pl.DataFrame:
        """How often each item is best and where it ranks, over scores drawn as uncertain as they are.

        Columns item, p_best, rank (mean), low, high (of the drawn ranks, at the level of the board), component: items
        of different components cannot be compared and rank among their own.
        """
        if self.covariance is None:
            raise OptionError("a simulation needs standard errors; rank with an interval")
        values, vectors = np.linalg.eigh(self._between)
        root = vectors * np.sqrt(np.maximum(values, 0))
        noise = np.random.default_rng(seed).normal(size=(draws, len(values)))
        drawn, component = self.model.scores_ + noise @ root.T, self.graph.component
        places = np.empty(drawn.shape, dtype=np.int64)
        for c in range(int(component.max()) + 1):
            inside = np.flatnonzero(component == c)
            places[:, inside] = np.argsort(np.argsort(-drawn[:, inside], axis=1), axis=1) + 1
        tail = (1 - self.level) / 2
        low, high = np.quantile(places, [tail, 1 - tail], axis=0, method="nearest")
        frame = pl.DataFrame(
            {
                "item": self.model.items_,
                "p_best": (places == 1).mean(0),
                "rank": places.mean(0),
                "low": low.astype(int),
                "high": high.astype(int),
                "component": component,
            }
        )
        return frame.sort("component", "rank")

    def win_rates(self) -> pl.DataFrame:
        """Every pair that met, see `winrates.win_rates`, and the share that the model expects."""
        from pluralign.rank.winrates import win_rates

        met = win_rates(self.votes, level=self.level)
        p = self.predict(met["a"].to_numpy(), met["b"].to_numpy())
        return met.with_columns(expected=p[:, 0] + p[:, 2] / 2)

    def to_markdown(self, most: int | None = None) -> str:
        """The table as Markdown, its notes below."""
        lines = [
            "| rank | item | rating | interval | could be rank | votes | |",
            "| ---: | --- | ---: | --- | --- | ---: | --- |",
            *(f"| {' | '.join(cells)} |" for cells in self.cells(most)),
        ]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)])

    def cells(self, most: int | None = None) -> list[list[str]]:
        """The rows as they are printed: rank, item, rating, its interval, ranks it could have, votes, note."""
        digits = 0 if self.elo else 3
        return [
            [
                str(row["rank"]),
                str(row["item"]),
                f"{row['rating']:.{digits}f}",
                "" if row["low"] is None else f"{row['low']:.{digits}f} to {row['high']:.{digits}f}",
                "" if row["rank_low"] is None else f"{row['rank_low']} to {row['rank_high']}",
                f"{row['votes']:,.0f}",
                str(row["note"]),
            ]
            for row in (self.table.head(most) if most else self.table).iter_rows(named=True)
        ]

    def social_choice(self, seed: int = 0) -> SocialChoice:
        """The same votes by other rules, and how much of them runs in circles; see `social_choice.social_choice`."""
        from pluralign.rank.social_choice import social_choice

        return social_choice(self.votes, seed=seed)

    def to_html(self, path: str | Path, rules: SocialChoice | None = None) -> Path:
        """One self-contained page: the table with its intervals, the pairs that met, the notes, and rules if given."""
        from pluralign.rank.page import write

        return write(self, Path(path), rules)

    def plot(
        self, kind: Literal["intervals", "win-rates", "battles", "time"] = "intervals", items: Sequence[str] = ()
    ) -> Any:
        """A matplotlib figure of the ratings with their intervals, of shares won or votes for every pair, or of ratings
        over time with their bands. items: for the last, those to draw; the best ones where none are named.
        """
        from pluralign.rank.plots import battles, intervals, over_time, win_rates

        if kind == "time":
            return over_time(self, items)
        return {"intervals": intervals, "win-rates": win_rates, "battles": battles}[kind](self)

    def critical(self, tail: float | None = None) -> float:
        """Half-width of an interval in standard errors; of one with this probability beyond each end."""
        tail = (1 - self.level) / 2 if tail is None else tail
        return float(-ndtri(tail) if self.freedom is None else -stdtrit(self.freedom, tail))

    def _error(self, i: int, j: int) -> float:
        c = self._between
        return float(self.unit * np.sqrt(max(c[i, i] + c[j, j] - 2 * c[i, j], 0.0)))

    def _ranks(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """[n] best and worst rank of each item in its component, all of them right at once with the board's level.

        An item is above another where their difference is clear of zero, with Bonferroni's quantile over all pairs.
        """
        c, scores = self._between, self.model.scores_
        n = len(scores)
        clear = self.critical((1 - self.level) / max(2, n * (n - 1)))
        spread = np.diag(c)
        error = np.sqrt(np.maximum(spread[:, None] + spread[None] - 2 * c, 0))
        together = self.graph.component[:, None] == self.graph.component[None]
        above = together & (scores[:, None] - scores[None] > clear * error + 1e-12)
        return 1 + above.sum(0), together.sum(1) - above.sum(1)

    def _table(self) -> pl.DataFrame:
        model, counts = self.model, self.votes.counts()
        n = len(model.items_)
        low, high, won = counts.low, counts.high, counts.won

        def total(of_low: Array, of_high: Array) -> Array:
            return np.asarray(np.bincount(low, of_low, n) + np.bincount(high, of_high, n))

        ties = won[:, TIE:].sum(1)
        votes = total(won.sum(1), won.sum(1))
        component = self.graph.component
        ratings, errors = self.ratings, self.errors
        rank = np.array(
            [1 + int(((component == component[i]) & (ratings > ratings[i] + 1e-9)).sum()) for i in range(n)]
        )
        half = None if errors is None else self.critical() * errors
        outside = self.graph.outside
        best, worst = (None, None) if errors is None else self._ranks()
        frame = pl.DataFrame(
            {
                "rank": rank,
                "item": pl.Series(model.items_, dtype=pl.String),
                "rating": ratings,
                "low": [None] * n if half is None else ratings - half,
                "high": [None] * n if half is None else ratings + half,
                "rank_low": best if best is not None else [None] * n,
                "rank_high": worst if worst is not None else [None] * n,
                "wins": total(won[:, LEFT], won[:, RIGHT]),
                "losses": total(won[:, RIGHT], won[:, LEFT]),
                "ties": total(ties, ties),
                "votes": votes,
                "component": component,
                "note": [mark(self.graph, outside, i, float(votes[i])) for i in range(n)],
            }
        )
        return frame.sort("component", "rank", "item")
