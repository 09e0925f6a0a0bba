"""Pictures of a leaderboard, as matplotlib figures that no window needs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.optimize import isotonic_regression

from pluralign.errors import OptionError

if TYPE_CHECKING:
    from pluralign.rank.leaderboard import Leaderboard

MOST = 60
"""Items in one picture; the best of them where there are more."""
LINES = 6
"""Items in a picture over time where none are named."""

BLUE = "#1f5fa8"
COLOURS = (BLUE, "#d9622b", "#2a8c5a", "#8a4fa3", "#b3263c", "#6b6b6b", "#c29b1c", "#2b9ab3")


def intervals(board: Leaderboard) -> Any:
    """Ratings with their intervals, best on top."""
    from matplotlib.figure import Figure

    table = board.table.head(MOST)
    n = len(table)
    figure = Figure(figsize=(7.5, 0.26 * n + 1.2), layout="constrained")
    axes = figure.subplots()
    y = np.arange(n)[::-1]
    rating = table["rating"].to_numpy()
    if board.covariance is not None:
        ends = np.stack([rating - table["low"].to_numpy(), table["high"].to_numpy() - rating])
        axes.errorbar(rating, y, xerr=ends, fmt="none", ecolor=BLUE, elinewidth=1.6, capsize=2)
    axes.plot(rating, y, "o", color=BLUE, markersize=4)
    axes.set_yticks(y, table["item"].to_list())
    axes.set_ylim(-0.8, n - 0.2)
    axes.set_xlabel("rating" + (f", {board.level:.0%} intervals" if board.covariance is not None else ""))
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def win_rates(board: Leaderboard) -> Any:
    """Share of votes that the item of the row won against that of the column, ties half; blank where they never met."""
    return _map(board, "share", "share won by the row", {"cmap": "RdBu", "vmin": 0.0, "vmax": 1.0})


def battles(board: Leaderboard) -> Any:
    """Votes for every pair; blank where they never met."""
    return _map(board, "votes", "votes", {"cmap": "Blues", "vmin": 0.0})


def over_time(board: Leaderboard, items: Sequence[str] = ()) -> Any:
    """Ratings over time with their bands, a name at the end of each line."""
    from matplotlib.figure import Figure

    if board.history is None:
        raise OptionError(
            "this board has no history: votes need a time, and a model that follows it, such as whole-history"
        )
    names = list(items) or board.table["item"].head(LINES).to_list()
    board.model.index(names)
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    ends = []
    for name, colour in zip(names, cycle(COLOURS)):
        part = board.history.filter(pl.col("item") == name)
        if not len(part):
            continue
        time = part["time"].to_numpy()
        if part["low"].null_count() == 0:
            axes.fill_between(time, part["low"], part["high"], color=colour, alpha=0.12, linewidth=0)
        axes.plot(time, part["rating"], color=colour, linewidth=1.5)
        ends.append((part["rating"][-1], time[-1], name, colour))
    ends.sort(key=lambda end: end[0])
    low, high = axes.get_ylim()
    # The places nearest to the ends of the lines at which names do not lie on each other.
    step = (high - low) / 22 * np.arange(len(ends))
    places = isotonic_regression(np.array([end[0] for end in ends]) - step).x + step
    for place, (_, time, name, colour) in zip(places, ends, strict=True):
        axes.annotate(
            name,
            (time, place),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
        )
    banded = board.covariance is not None
    axes.set_ylabel("rating" + (f", {board.level:.0%} bands" if banded else ""))
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _map(board: Leaderboard, column: str, label: str, colours: dict[str, Any]) -> Any:
    from matplotlib.figure import Figure

    names = board.table["item"].head(MOST).to_list()
    place = {name: i for i, name in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    for row in board.win_rates().iter_rows(named=True):
        if row["a"] in place and row["b"] in place:
            i, j = place[row["a"]], place[row["b"]]
            values[i, j] = row[column]
            values[j, i] = 1 - row[column] if column == "share" else row[column]
    side = 0.24 * len(names) + 2.5
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, **colours)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    figure.colorbar(image, ax=axes, label=label, shrink=0.8)
    return figure
