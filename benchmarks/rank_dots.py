"""Workers order pictures by their number of dots: rankings whose truth is known.

    python -m benchmarks.rank_dots --data FOLDER

FOLDER holds 00024-00000001.soc and 00024-00000003.soc of PrefLib. Rewrites docs/rank-dots.md and its picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.data_page import BLUE, GREY, ORANGE, axes, publish, save, table
from pluralign.intervals import wilson
from pluralign.rank import Mallows, Mixture, PlackettLuce, Rankings, rank

FILES = {"3 dots apart": "00024-00000001.soc", "7 dots apart": "00024-00000003.soc"}
CROWDS = (5, 10, 20, 40, 80, 160, 320)
DRAWS = 300


def single(rankings: Rankings) -> Rankings:
    """One ranking a worker, where the file has counts."""
    rows = np.repeat(np.arange(len(rankings)), rankings.weights.astype(int))
    whole = rankings.flat.reshape(len(rankings), -1)[rows]
    return Rankings.of([[rankings.items[i] for i in row] for row in whole])


def truth(rankings: Rankings) -> list[str]:
    """Fewest dots first, as workers were asked to."""
    return sorted(rankings.items, key=int)


def orders(rankings: Rankings) -> dict[str, list[str]]:
    """The order of the items by several rules."""
    luce, mallows = PlackettLuce().fit(rankings), Mallows().fit(rankings)
    wins = rankings.matrix().sum(1)
    first = np.bincount(rankings.flat[rankings.offsets[:-1]], rankings.weights, rankings.n)
    found = {"Plackett-Luce": luce.scores_, "Mallows": mallows.scores_, "Borda": wins, "most often first": first}
    return {name: [rankings.items[i] for i in np.argsort(-scores, kind="stable")] for name, scores in found.items()}


def recovered(rankings: Rankings, size: int) -> dict[str, float]:
    """Share of random crowds of this size from which each rule finds the whole true order."""
    rng = np.random.default_rng(size)
    weight = rankings.weights / rankings.weights.sum()
    hits: dict[str, int] = {}
    for _ in range(DRAWS):
        drawn = rng.multinomial(size, weight).astype(np.float64)
        crowd = replace(rankings.where(drawn > 0), weight=drawn[drawn > 0])
        # Level items keep the order of their numbers, which must not be the true one.
        crowd = crowd.renumbered(rng.permutation(rankings.items).tolist())
        for name, order in orders(crowd).items():
            hits[name] = hits.get(name, 0) + (order == truth(rankings))
    return {name: count / DRAWS for name, count in hits.items()}


def picture(found: dict[str, list[dict[str, float]]], name: str) -> None:
    """Share of crowds that find the truth, by size, one panel a file."""
    figure, panels = axes(9.6, 3.9, len(found))
    colours = {"Plackett-Luce": BLUE, "Mallows": ORANGE, "Borda": "#5b8c5a", "most often first": GREY}
    for panel, (title, curves) in zip(panels, found.items(), strict=True):
        for name, colour in colours.items():
            panel.plot(CROWDS, [c[name] for c in curves], "o-", color=colour, markersize=4, label=name)
        panel.set_xscale("log")
        panel.set_xticks(CROWDS, list(map(str, CROWDS)))
        panel.minorticks_off()
        panel.set_xlabel(f"workers, {title}")
        panel.set_ylim(0, 1.02)
        panel.grid(axis="y", color="#dddddd", linewidth=0.6)
    panels[0].set_ylabel("share of crowds that find the whole order")
    panels[1].legend(frameon=False, loc="lower right")
    save(figure, name)


def kinds(title: str, rankings: Rankings) -> list[str]:
    """How many kinds of workers there are, and what they do."""
    model = Mixture(most=4, restarts=8).fit(single(rankings))
    assert model.held_out_ is not None
    order = [model.items_.index(name) for name in truth(rankings)]
    chance = np.exp(model.scores_) / np.exp(model.scores_).sum(1, keepdims=True)
    head = [f"workers, {title}", *(f"{name} dots first" for name in truth(rankings)), "whole order right"]
    rows = [
        [f"{share:.0%}", *(f"{p[i]:.0%}" for i in order), f"{_right(p[order]):.0%}"]
        for share, p in zip(model.shares_, chance, strict=True)
    ]
    losses = ", ".join(f"{row['loss']:.4f} with {row['k']}" for row in model.held_out_.iter_rows(named=True))
    return [*table(head, rows, left=0), "", f"Log-loss of workers left out, in nats: {losses}.", ""]


def _right(p: Sequence[float]) -> float:
    """Chance of one order, best first, with these chances of coming first."""
    left, total = 1.0, float(sum(p))
    for value in p:
        left *= value / total
        total -= value
    return left


def page(folder: Path) -> str:
    """The page, as Markdown; writes its picture."""
    files = {title: Rankings.of(folder / name) for title, name in FILES.items()}
    lines = [
        "Workers put four pictures in order, the one with the fewest dots first. The truth is in the names, so that "
        "models can be held against it.",
        "",
    ]
    rows = []
    for title, rankings in files.items():
        workers = int(rankings.weights.sum())
        exact = [rankings.names(k) == [[name] for name in truth(rankings)] for k in range(len(rankings))]
        right = int(rankings.weights[np.array(exact)].sum())
        low, high = wilson(right, workers)
        mallows, luce = Mallows().fit(rankings), PlackettLuce().fit(rankings)
        assert all(order == truth(rankings) for order in orders(rankings).values())
        rows.append(
            [
                title,
                workers,
                f"{right / workers:.1%} [{low:.1%}, {high:.1%}]",
                f"{mallows.theta_:.3f} ± {mallows.error_:.3f}",
                f"{mallows.nll_ / workers:.4f}",
                f"{luce.nll_ / workers:.4f}",
            ]
        )
    head = ["", "workers", "whole order right", "theta of Mallows", "log-loss of Mallows, nats", "of Plackett-Luce"]
    lines += [*table(head, rows), ""]
    lines += [
        f"Guessing gets {1 / 24:.1%} right, at {np.log(24):.4f} nats. From all workers together every rule finds the "
        "truth. How close two neighbours are is told by the boards:",
        "",
    ]
    for title, rankings in files.items():
        board = rank(rankings, "plackett-luce")
        names = truth(rankings)
        gaps = [(a, b, board.contrast(a, b)) for a, b in pairwise(names)]
        told = "; ".join(f"{a} over {b} by {g.value:.0f} [{g.low:.0f}, {g.high:.0f}]" for a, b, g in gaps)
        lines.append(f"- {title}, in rating points: {told}.")
    found = {title: [recovered(rankings, size) for size in CROWDS] for title, rankings in files.items()}
    picture(found, "rank-dots.png")
    lines += [
        "",
        "## How many workers it takes",
        "",
        "![Share of crowds that find the whole order, by their size](rank-dots.png)",
        "",
        f"{DRAWS} crowds of each size are drawn from the workers. " + need(found),
        "",
        "## Not all workers are alike",
        "",
        "A mixture of Plackett-Luce, the number of kinds by log-loss on workers left out:",
        "",
    ]
    for title, rankings in files.items():
        lines += kinds(title, rankings)
    lines.append(
        "A kind that puts every picture first about as often as any other is guessing; one that is sure of the first "
        "picture and of nothing else seems to have looked for the fewest dots alone."
    )
    return "\n".join(lines)


def need(found: dict[str, list[dict[str, float]]]) -> str:
    """In words: what share the largest crowds reach, by rule."""
    parts = []
    for title, curves in found.items():
        half = {n: next((size for size, c in zip(CROWDS, curves, strict=True) if c[n] >= 0.8), None) for n in curves[0]}
        said = ", ".join(f"{name} {f'at {size}' if size else 'at none of these sizes'}" for name, size in half.items())
        parts.append(f"Four crowds of five are right, {title}: {said}.")
    return " ".join(parts)


if __name__ == "__main__":
    publish(
        page,
        "Pictures of dots: rankings with a known truth",
        "orders in [PrefLib](https://preflib.org) (Mao, Procaccia and Chen 2013)",
    )
