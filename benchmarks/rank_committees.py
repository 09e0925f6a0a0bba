"""Choosing a committee from rankings that under-rate a group: what bounds recover, by rule and number of rankings.

    python -m benchmarks.rank_committees

Simulated, so no data are needed. Rewrites docs/rank-committees.md and its picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.data_page import BLUE, DOCS, GREY, ORANGE, axes, save, table
from pluralign.rank import biased_rankings, committee

ITEMS, SEATS, BIAS, NOISE, RUNS = 60, 12, 0.5, 0.5, 30
VOTERS = (1, 3, 10, 30, 100, 300, 1000)
RULES = {"borda": BLUE, "bloc": ORANGE, "sntv": "#4d8b57", "chamberlin-courant": GREY}
Array = NDArray[np.float64]


def run(seed: int, voters: int) -> dict[tuple[str, bool], tuple[float, float]]:
    """By rule and whether groups are held up: quality of the committee over the best one's, and the group's share."""
    rng = np.random.default_rng(seed)
    quality = rng.uniform(0.2, 1.0, ITEMS)
    under = np.arange(ITEMS) < ITEMS // 2
    rankings = biased_rankings(quality, under, BIAS, voters, noise=NOISE, seed=seed)
    groups = {str(i): "under-rated" if under[i] else "rest" for i in range(ITEMS)}
    best = np.sort(quality)[::-1][:SEATS].sum()
    found = {}
    for rule in RULES:
        for held in (False, True):
            these = committee(rankings, SEATS, rule, groups=groups if held else None)  # type: ignore[arg-type]
            members = [int(m) for m in these.members]
            found[rule, held] = float(quality[members].sum() / best), float(under[members].mean())
    return found


def main() -> None:
    """Write the page."""
    results = {voters: [run(seed, voters) for seed in range(RUNS)] for voters in VOTERS}

    def mean(rule: str, held: bool, what: int) -> Array:
        return np.array([np.mean([r[rule, held][what] for r in results[v]]) for v in VOTERS])

    figure, plots = axes(11, 4.4, 2)
    for plot, held in zip(plots, (False, True), strict=True):
        for rule, colour in RULES.items():
            plot.plot(VOTERS, mean(rule, held, 0), "o-", color=colour, markersize=4, linewidth=1.4, label=rule)
        plot.set_xscale("log")
        plot.set_ylim(0.8, 1.005)
        plot.set_xlabel("rankings")
        plot.set_ylabel("true quality of the committee, best = 1")
        plot.set_title("as many of each group as there are" if held else "no bounds", fontsize=10)
        plot.grid(color="#dddddd", linewidth=0.6)
    plots[1].legend(frameon=False, fontsize=8, loc="lower right")
    save(figure, "rank-committees.png")
    head = ["rule", "bounds", *(f"{v:,} ranking{'s' * (v > 1)}" for v in VOTERS), "under-rated group's share of seats"]
    rows = [
        [
            rule,
            "by group" if held else "none",
            *(f"{x:.3f}" for x in mean(rule, held, 0)),
            f"{mean(rule, held, 1)[-1]:.2f}",
        ]
        for held in (False, True)
        for rule in RULES
    ]
    text = [
        "# Committees from biased rankings",
        "",
        "Written by `python -m benchmarks.rank_committees`.",
        "",
        f"{ITEMS} items, half of them in a group whose quality every voter sees as {BIAS:g} of what it is; both groups "
        "are drawn alike. Voters see each item's quality times a log-normal factor (spread "
        f"{NOISE:g}), and rank all items. {SEATS} are chosen; the figure is their true quality over that of the best "
        f"{SEATS}, mean of {RUNS} runs.",
        "",
        "![True quality of the committee by number of rankings](rank-committees.png)",
        "",
        *table(head, rows, left=2),
        "",
        "More rankings help little where all of them share a bias: without bounds every rule settles below the best. "
        "With as many seats for each group as it has of the items, points that grow smoothly with the place (Borda) "
        "need few rankings; rules that look at first places (SNTV) need many times as many, as Boehmer, Celis, Huang, "
        "Mehrotra and Vishnoi (2023) prove, and do as well as they do with few rankings only because items that nobody "
        "puts first are told apart by Borda points. Chamberlin-Courant seeks somebody for every voter, not the best "
        "items.",
    ]
    (DOCS / "rank-committees.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
