"""Pictures of a leaderboard, as matplotlib figures that no window needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pluralign.rank.leaderboard import Leaderboard

MOST = 60
"""Items in one picture; the best of them where there are more."""
BLUE = "#1f5fa8"


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
