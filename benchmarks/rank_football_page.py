"""The page and pictures of `benchmarks.rank_football`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.data_page import BLUE, GREY, ORANGE, save, table
from pluralign.evaluate.figures import mean, spelled
from pluralign.rank import Votes, WholeHistory

Array = NDArray[np.float64]
ELO = 400 / np.log(10)
TEAMS = ("Brazil", "Germany", "Argentina", "England", "Hungary", "Spain", "Uruguay", "Netherlands", "Belgium")
FINALS = (
    ("1954-07-04", "Germany", "Hungary"),
    ("1970-06-21", "Brazil", "Italy"),
    ("1974-07-07", "Germany", "Netherlands"),
    ("1998-07-12", "France", "Brazil"),
    ("2010-07-11", "Spain", "Netherlands"),
    ("2018-07-15", "France", "Croatia"),
)
REFERENCE = "whole-history rating"


def moment(days: float) -> datetime:
    """The date of a number of days since 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=float(days))


def months(votes: Votes) -> NDArray[np.int64]:
    """A number for the calendar month of every match [N]."""
    assert votes.days is not None
    return np.array([moment(day).year * 12 + moment(day).month for day in votes.days])


def ratings_picture(history: WholeHistory, name: str) -> None:
    """Small multiples: each team's rating with its band, the others pale behind it."""
    from matplotlib.figure import Figure

    curves: dict[str, pl.DataFrame] = {}
    for team in TEAMS:
        place = int(history.index(team))
        own = history.votes_.days
        assert own is not None
        met = own[(history.votes_.left == place) | (history.votes_.right == place)]
        curves[team] = history.curve(team, np.linspace(met.min(), own.max(), 400))
    figure = Figure(figsize=(10, 7.6), layout="constrained")
    grid = figure.subplots(3, 3, sharex=True, sharey=True)
    level = 1000 - ELO * float(history.logits_.mean())
    for axes, team in zip(grid.ravel(), TEAMS, strict=True):
        for other, curve in curves.items():
            years = [1970 + day / 365.2425 for day in curve["time"]]
            rating = level + ELO * curve["rating"].to_numpy()
            if other != team:
                axes.plot(years, rating, color="#d5d9df", linewidth=0.8, zorder=1)
                continue
            low, high = (level + ELO * curve[end].to_numpy() for end in ("low", "high"))
            axes.fill_between(years, low, high, color=BLUE, alpha=0.18, linewidth=0, zorder=2)
            axes.plot(years, rating, color=BLUE, linewidth=1.8, zorder=3)
        axes.set_title(team, loc="left", fontsize=11)
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supylabel("rating, 95% bands; the average of all 327 teams at the end of 2019 is 1000", fontsize=9)
    save(figure, name)


def predictions_picture(losses: dict[str, Array], test: Votes, file: str) -> None:
    """Loss of every model less that of the reference: over the whole test, and year by year."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    month = months(test)
    others = [name for name in losses if name != REFERENCE]
    close = others[:-1]
    colours = dict(zip(close, (BLUE, ORANGE, "#2a8c5a", "#8a4fa3"), strict=True))
    for y, name in enumerate(reversed(close)):
        gap = mean(losses[name] - losses[REFERENCE], month)
        left.errorbar(
            gap.value,
            y,
            xerr=[[gap.value - gap.low], [gap.high - gap.value]],
            fmt="o",
            color=colours[name],
            capsize=3,
        )
    left.axvline(0, color=GREY, linewidth=0.8)
    left.set_yticks(range(len(close)), list(reversed(close)))
    for label, name in zip(left.get_yticklabels(), reversed(close), strict=True):
        label.set_color(colours[name])
    left.set_ylim(-0.6, len(close) - 0.4)
    left.set_xlabel(f"log-loss a match more than {REFERENCE}, 95% intervals", fontsize=9)
    year = (month - 1) // 12
    for name in close:
        gaps = [float((losses[name] - losses[REFERENCE])[year == y].mean()) for y in np.unique(year)]
        right.plot(np.unique(year), gaps, "-o", markersize=3, color=colours[name], linewidth=1.3)
    right.axhline(0, color=GREY, linewidth=0.8)
    right.set_xticks(np.unique(year)[::2])
    right.set_xlabel("the same, by year", fontsize=9)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, file)


def page(
    history: WholeHistory,
    votes: Votes,
    test: Votes,
    losses: dict[str, Array],
    shares: dict[str, float],
    settings: dict[str, str],
) -> str:
    """The page, as Markdown."""
    month = months(test)
    rows = []
    for name, loss in losses.items():
        own = spelled(mean(loss, month).as_dict(), 4)
        gap = "" if name == REFERENCE else spelled(mean(loss - losses[REFERENCE], month).as_dict(), 4, "+")
        rows.append([name, own, gap, f"{shares[name]:.4f}", settings[name]])
    certificate = history.certificate_
    order, error = history.coefficients_["order"], history.errors_["order"]
    ends = (np.exp(order + sign * 1.96 * error) for sign in (-1, 1))
    level, per_year = next(ends), ELO * np.sqrt(365 * history.variance_)
    lines = [
        f"{len(votes):,} matches between {len(votes.items)} teams, from 1872 to 2019. One whole-history rating "
        f"of all of them estimates {len(history._history.rating):,} ratings, one for every team on every day on which "
        f"it played, together with home advantage and draws, by Newton's method: {certificate.steps} steps, the last "
        f"of {certificate.step:.0e} logits. The drift that predicts the last fifth of the matches best is "
        f"{per_year:.0f} points in a year (one standard deviation). Playing at home multiplies the odds of a win "
        f"against a loss by {np.exp(order):.2f} [{level:.2f}, {next(ends):.2f}]; draws: nu {history.tie_:.3f} of "
        "Davidson's model.",
        "",
        "![Ratings of nine teams over time with 95% bands](rank-football.png)",
        "",
        "Bands are those of the posterior's curvature. They are wide before the 1920s, when continents hardly met, and "
        "part of that width is common to all teams; differences are known better than levels:",
        "",
        *table(
            ["the day of", "difference of ratings", "win, draw, loss of the first, neutral ground"],
            [_final(history, *final) for final in FINALS],
        ),
        "",
        "These look back: they know the final itself and all that came after.",
        "",
        "## Who predicts 2010 to 2019",
        "",
        f"{len(test):,} matches, each predicted from what came before it. Parameters of Elo, Glicko-2 and TrueSkill "
        "(home advantage among them) are those that predicted 1990 to 2009 best; the drift of the whole-history rating "
        "is the one that predicted the last fifth of the matches until 2009 best. Nothing was chosen by looking at the "
        "test. Streams learn from every match; their share of a win becomes win, draw and loss by Davidson's model "
        "with slope and draws of 1990 to 2009. Whole-history rating and Bradley-Terry are fitted again every 28 days "
        "only.",
        "",
        *table(
            ["model", "log-loss of win, draw, loss", "difference", "with a draw as half a win", "parameters"],
            rows,
            left=5,
        ),
        "",
        "Log-loss in nats a match with 95% intervals, resampled by calendar month; differences are paired, to "
        f"{REFERENCE}.",
        "",
        "![Log-loss more than that of whole-history rating](rank-football-predictions.png)",
        "",
        " ".join(_verdict(losses, month)),
    ]
    return "\n".join(lines)


def _final(history: WholeHistory, day: str, one: str, other: str) -> list[str]:
    days = float((date.fromisoformat(day) - date(1970, 1, 1)).days)
    row = history.contrast(one, other, [days]).row(0, named=True)
    p = history.predict_proba(one, other, days)
    gap, low, high = (ELO * row[name] for name in ("rating", "low", "high"))
    return [
        f"{one} - {other}, {day}",
        f"{gap:+.0f} [{low:+.0f}, {high:+.0f}]",
        f"{p[0]:.2f}, {p[2]:.2f}, {p[1]:.2f}",
    ]


def _verdict(losses: dict[str, Array], month: Any) -> list[str]:
    """What the intervals say, in words."""
    better, even, worse = [], [], []
    for name, loss in losses.items():
        if name == REFERENCE:
            continue
        gap = mean(loss - losses[REFERENCE], month)
        (worse if gap.low > 0 else better if gap.high < 0 else even).append(name)
    said = [f"Predicts worse than {REFERENCE}, by an interval clear of zero: {'; '.join(worse) or 'none'}."]
    said.append(f"Better: {'; '.join(better) or 'none'}. Too close to call: {'; '.join(even) or 'none'}.")
    return said
