"""Groups in a picture: everybody's weights, what each group prefers, and who its people are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pluralign.rank.plots import COLOURS

if TYPE_CHECKING:
    from pluralign.models.groups import Groups

LINES = 14
"""Things in one picture, those that set groups apart most."""
GREY = "#999999"


def picture(found: Groups) -> Any:
    """People on the left, a panel for each group on the right, and facts about people below, where any sets apart."""
    from matplotlib.figure import Figure

    k = len(found.table)
    likes = _shown(found, found.likes, "thing")
    who = _shown(found, _named(found.who), "thing")
    heights = [max(0.26 * len(rows), 2.4) for rows in (likes, who) if rows]
    figure = Figure(figsize=(3.2 + 1.75 * k + (2.2 if likes else 0), sum(heights) + 1.3 or 3.4), layout="constrained")
    wide = [1.9, *([1.0] * k)] if likes else [1.0]
    grid = figure.add_gridspec(max(len(heights), 1), len(wide), width_ratios=wide, height_ratios=heights or [1])
    _people(figure.add_subplot(grid[0, 0]), found)
    parts = ((likes, found.likes, "preferred"), (who, _named(found.who), "share of people"))
    for line, (order, rows, label) in enumerate((order, rows, label) for order, rows, label in parts if order):
        first = None
        for group in range(k):
            first = axes = figure.add_subplot(grid[line, 1 + group], **({} if first is None else {"sharey": first}))
            _panel(axes, rows, group, order, label)
            if group:
                axes.tick_params(labelleft=False)
            if line == 0:
                axes.set_title(
                    f"group {group}, {found.table['share'][group]:.0%}", fontsize=9, color=COLOURS[group % len(COLOURS)]
                )
    return figure


def _named(who: pl.DataFrame | None) -> pl.DataFrame | None:
    """Facts about people with one name each."""
    return None if who is None else who.with_columns(thing=pl.col("attribute") + ": " + pl.col("is").str.slice(0, 28))


def _shown(found: Groups, rows: pl.DataFrame | None, name: str) -> list[str]:
    """What is shown, from the bottom up: what sets any group apart most; of one group, what is surest."""
    if rows is None or not len(rows):
        return []
    if rows["gap"].null_count() == len(rows):
        far = rows.with_columns(far=(pl.col("value") - 0.5).abs())
    else:
        inside = pl.min_horizontal(pl.col("gap_low").abs(), pl.col("gap_high").abs())
        clear = (pl.col("gap_low") > 0) | (pl.col("gap_high") < 0)
        far = rows.with_columns(far=pl.when(clear).then(inside).otherwise(-1.0))
        # Things that set nobody apart are shown where they are few, facts about people never.
        if "attribute" in rows.columns or rows[name].n_unique() > LINES:
            far = far.filter(pl.col("far") > 0)
    top = (
        far.group_by(name, maintain_order=True)
        .agg(pl.col("far").max())
        .sort("far", descending=True, maintain_order=True)
    )
    kept = top.head(LINES)[name].to_list()
    first = rows.filter(pl.col("group") == rows["group"].min())
    value = dict(zip(first[name].to_list(), first["value"].to_list(), strict=True))
    return sorted(kept, key=lambda thing: value.get(thing, 0.0))


def _panel(axes: Any, rows: Any, group: int, order: list[str], label: str) -> None:
    """Rates of one group with their intervals, those of everybody else as grey bars."""
    known = {row["thing"]: row for row in rows.filter(pl.col("group") == group).iter_rows(named=True)}
    at = [i for i, thing in enumerate(order) if thing in known]
    told = [known[order[i]] for i in at]
    if told:
        value, low, high = np.array([[row["value"], row["low"], row["high"]] for row in told]).T
        ends = [value - low, high - value]
        axes.errorbar(value, at, xerr=ends, fmt="o", ms=4, capsize=2, color=COLOURS[group % len(COLOURS)])
        others = [(i, row["others"]) for i, row in zip(at, told, strict=True) if row["others"] is not None]
        if others:
            axes.plot([x for _, x in others], [i for i, _ in others], "|", color=GREY, ms=9, mew=1.8)
    if label == "preferred":
        axes.axvline(0.5, color=GREY, linewidth=0.6, linestyle=":")
    axes.set_yticks(range(len(order)), order, fontsize=8)
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "½", "1"], fontsize=8)
    axes.set_xlabel(label, fontsize=8)
    if group == 0 and rows["others"].null_count() < len(rows):
        axes.set_xlabel(f"{label} (grey: others)", fontsize=8)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _people(axes: Any, found: Groups) -> None:
    """Everybody's weights: between two corners a histogram, between more a polygon; a bar where all are one group."""
    weights, k = found.weights, found.weights.shape[1]
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    if k == 1:
        axes.text(0.5, 0.5, f"{len(weights):,} people,\none crowd", ha="center", va="center", fontsize=9)
        axes.set_axis_off()
        return
    if k == 2:
        counts, edges = np.histogram(weights[:, 1], bins=20, range=(0, 1))
        colours = [COLOURS[int(mid > 0.5)] for mid in (edges[1:] + edges[:-1]) / 2]
        axes.bar(edges[:-1], counts, width=0.05, align="edge", color=colours, edgecolor="white", linewidth=0.5)
        axes.set_xlabel("weight on group 1", fontsize=8)
        axes.set_ylabel("people", fontsize=8)
        axes.set_title("people", fontsize=9)
        return
    angle = np.pi / 2 - 2 * np.pi * np.arange(k) / k
    corners = np.stack([np.cos(angle), np.sin(angle)], 1)
    # People at the very same place would hide each other.
    place = weights @ corners + np.random.default_rng(0).normal(0, 0.025, (len(weights), 2))
    best = weights.argmax(1)
    axes.plot(*np.vstack([corners, corners[:1]]).T, color="#dddddd", linewidth=0.8, zorder=0)
    alpha = float(np.clip(300 / len(weights), 0.08, 0.8))
    axes.scatter(*place.T, s=7, linewidths=0, alpha=alpha, c=[COLOURS[b % len(COLOURS)] for b in best])
    for group, (x, y) in enumerate(corners * 1.18):
        axes.text(x, y, str(group), ha="center", va="center", fontsize=10, color=COLOURS[group % len(COLOURS)])
    axes.set_xlim(-1.35, 1.35)
    axes.set_ylim(-1.35, 1.35)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title("people between tastes", fontsize=9)
