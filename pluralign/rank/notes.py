"""What stands beside a leaderboard: how it was made, what it could not estimate, what to beware of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pluralign.rank.graph import Graph

if TYPE_CHECKING:
    from pluralign.rank.leaderboard import Leaderboard

FEW = 30
"""Votes below which an item is marked."""


def mark(graph: Graph, outside: NDArray[np.bool_], i: int, votes: float) -> str:
    """What is worth knowing about one item; outside: see `Graph.outside`."""
    marks = [
        "no votes" if votes == 0 else "",
        "never lost" if graph.unbeaten[i] else "",
        "never won" if graph.winless[i] else "",
        "held by a prior" if outside[i] else "",
        f"under {FEW} votes" if 0 < votes < FEW else "",
    ]
    return ", ".join(mark for mark in marks if mark)


def notes(board: Leaderboard) -> list[str]:
    """What a reader should know before believing the table."""
    model, graph = board.model, board.graph
    level = f"{board.level:.0%}"
    notes = [f"{model.about_}; {board.votes.total:,.0f} votes between {len(model.items_):,} items."]
    if board.covariance is None:
        notes.append("No intervals were asked for." if board.interval == "none" else f"Intervals: {board.interval}.")
    else:
        notes.append(
            f"Intervals: {level} for each rating, {board.interval}. Ranks that an item could have hold for all items "
            f"at once with {level} (Bonferroni over all pairs)."
        )
    if board.covariance is not None and (first := _leaders(board)):
        notes.append(first)
    held = "ratings average" if board.anchor is None else f"{model.items_[board.anchor]} is held at"
    if board.elo:
        notes.append(f"Scale: 400 points are odds of ten to one; {held} {board.origin:.0f}.")
    for name, value in model.coefficients_.items():
        notes.append(_effect(board, name, value))
    parts = int(graph.component.max()) + 1
    if parts > 1:
        shown = []
        for c in np.argsort(-np.bincount(graph.component))[:5]:
            names = [model.items_[i] for i in np.flatnonzero(graph.component == c)]
            shown.append(", ".join(names[:4]) + (f" and {len(names) - 4:,} more" if len(names) > 4 else ""))
        notes.append(
            f"{parts} groups of items were never compared with each other ({'; '.join(shown)}): ranks and ratings "
            "hold within a group only."
        )
    if graph.infinite.any():
        extremes = [model.items_[i] for i in np.flatnonzero(graph.unbeaten | graph.winless)]
        named = f" ({', '.join(extremes[:6])}{' and others' if len(extremes) > 6 else ''} never lost or never won)"
        notes.append(f"Votes alone leave some scores infinite{named if extremes else ''}: {model.held_}.")
    notes += board.remarks
    notes += [f"Left out {n:,} rows: {reason.replace('-', ' ')}." for reason, n in board.votes.dropped.items()]
    if (certificate := model.certificate_) is not None:
        notes.append(
            f"Converged in {certificate.steps} steps: last step {certificate.step:.1e} logits, largest gradient "
            f"{certificate.gradient:.1e} votes."
        )
    return notes


def _leaders(board: Leaderboard) -> str:
    """Whether the first is ahead of the second: tested on their difference, which is surer than either rating."""
    top = board.table.filter(board.table["component"] == 0)["item"].to_list()[:2]
    if len(top) < 2:
        return ""
    lead, p = board.contrast(*top), board.p_value(*top)
    digits = 0 if board.elo else 3
    said = "under 0.001" if p < 0.001 else f"{p:.3f}"
    return (
        f"{top[0]} leads {top[1]} by {lead.value:.{digits}f} [{lead.low:.{digits}f}, {lead.high:.{digits}f}]: p {said} "
        "that they are equal, for these two alone."
    )


def _effect(board: Leaderboard, name: str, value: float) -> str:
    n = len(board.model.items_)
    what = {"order": "Being shown first", "grade": "One grade more"}.get(name, f"One spread more of {name}")
    said = f"{what} multiplies the odds by {np.exp(value):.3f}"
    if board.covariance is None or len(board.covariance) == n:
        return said + "."
    k = n + list(board.model.coefficients_).index(name)
    half = board.critical() * np.sqrt(board.covariance[k, k])
    return f"{said} [{np.exp(value - half):.3f}, {np.exp(value + half):.3f}]."
