"""The page and the picture of `benchmarks.pal`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data_page import table
from pluralign.evaluate.figures import Figure, mean, spelled

NEW = (1, 2, 5, 10, 20)
EXPECTED = {"seen": (0.98, 0.98), "1": (0.82, 0.88), "2": (0.91, 0.92), "5": (0.96, 0.99), "20": (0.99, 0.99)}
"""Of two opposite tastes with K = 2, from two worlds of an independent implementation."""
NEAR = 0.005
"""Published figures have two digits."""

Rows = list[dict[str, Any]]


def figure(rows: Rows, **which: Any) -> Figure:
    """Mean accuracy of the rows that agree with `which`, with its interval over seeds."""
    values = [r["accuracy"] for r in rows if all(r[name] == value for name, value in which.items())]
    return mean(np.array(values), np.arange(len(values)))


def cell(rows: Rows, **which: Any) -> str:
    """0.981 [0.975, 0.987]."""
    return spelled(figure(rows, **which).as_dict())


def _counts(rows: Rows) -> tuple[list[int], list[int], list[int]]:
    """True numbers of tastes, numbers of prototypes, answers of people seen."""
    tastes, prototypes = (sorted({r[name] for r in rows}) for name in ("true", "k"))
    return tastes, prototypes, sorted({r["answers"] for r in rows if r["who"] == "seen"})


def draw(rows: Rows, path: Path) -> None:
    """Accuracy against K, of people seen against their answers, and of people not seen against theirs."""
    from matplotlib.figure import Figure as Picture

    from pluralign.rank.plots import COLOURS

    tastes, prototypes, answers = _counts(rows)
    picture = Picture(figsize=(11, 3.6), layout="constrained")
    by_k, seen, new = picture.subplots(1, 3, sharey=True)
    all_answers = answers[-1]
    for true, colour in zip(tastes, COLOURS, strict=False):
        points = [figure(rows, true=true, k=k, who="seen", answers=all_answers) for k in prototypes]
        band(by_k, prototypes, points, colour, f"{true} tastes")
        by_k.axvline(true, color=colour, linewidth=0.8, linestyle=":")
        for axes, who, counts in ((seen, "seen", answers), (new, "new", NEW)):
            points = [figure(rows, true=true, k=true, who=who, answers=m) for m in counts]
            band(axes, counts, points, colour, f"{true} tastes, K = {true}")
    for axes, who, counts in ((seen, "seen", answers), (new, "new", NEW)):
        points = [figure(rows, true=tastes[0], k=1, who=who, answers=m) for m in counts]
        band(axes, counts, points, "#6b6b6b", f"{tastes[0]} tastes, K = 1")
        axes.set_xscale("log")
        axes.set_xticks(counts, [str(m) for m in counts])
        axes.minorticks_off()
    by_k.set_xticks(prototypes)
    by_k.set_xlabel("prototypes K (dotted: true number)")
    by_k.set_ylabel("accuracy on answers held out")
    by_k.set_title(f"people seen, {all_answers} answers each", fontsize=10)
    seen.set_xlabel("answers of each person")
    seen.set_title("people seen", fontsize=10)
    new.set_xlabel("answers of a new person")
    new.set_title("people not seen", fontsize=10)
    for axes in (by_k, seen, new):
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    by_k.set_ylim(0.4, 1.01)
    picture.savefig(path, dpi=144)


def band(axes: Any, x: Any, points: list[Figure], colour: str, name: str) -> None:
    """A line with its intervals."""
    values, low, high = np.array([(p.value, p.low, p.high) for p in points]).T
    ends = [values - low, high - values]
    axes.errorbar(x, values, yerr=ends, color=colour, marker="o", ms=4, capsize=2, linewidth=1.4, label=name)


def expected(rows: Rows) -> list[str]:
    """The figures that are to be met, and whether they are."""
    all_answers = _counts(rows)[2][-1]
    cases = [("seen", "people seen", {"who": "seen", "answers": all_answers})]
    cases += [(str(m), f"not seen, {m} answer{'s' * (m > 1)}", {"who": "new", "answers": m}) for m in (1, 2, 5, 20)]
    lines = []
    for key, name, which in cases:
        found, (low, high) = figure(rows, true=2, k=2, **which), EXPECTED[key]
        inside = found.low <= high + NEAR and found.high >= low - NEAR
        word = "yes" if inside else ("better" if found.low > high else "no")
        asked = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
        lines.append([name, asked, spelled(found.as_dict()), word])
    ones = [figure(rows, true=2, k=1, who="new", answers=m).value for m in NEW]
    spread = max(ones) - min(ones)
    lines.append(["K = 1, not seen", "flat", f"differs by {spread:.4f} at most", "yes" if spread < NEAR else "no"])
    return table(["two tastes, K = 2", "expected", "measured", "met"], lines)


def page(rows: Rows) -> str:
    """docs/pal.md."""
    from benchmarks.pal import EACH, PEOPLE, TEST

    tastes, prototypes, answers = _counts(rows)
    seeds = len({row["seed"] for row in rows})
    by_k = [
        [str(true), *(cell(rows, true=true, k=k, who="seen", answers=answers[-1]) for k in prototypes)]
        for true in tastes
    ]
    pairs = [(true, k) for true in tastes for k in (1, true)]
    by_seen = [[str(t), str(k), *(cell(rows, true=t, k=k, who="seen", answers=m) for m in answers)] for t, k in pairs]
    by_new = [[str(t), str(k), *(cell(rows, true=t, k=k, who="new", answers=m) for m in NEW)] for t, k in pairs]
    return "\n".join(
        [
            "# Ideal points: the synthetic study of PAL",
            "",
            f"{PEOPLE} people of {', '.join(map(str, tastes[:-1]))} or {tastes[-1]} tastes answer {EACH} questions "
            "each, without noise: which of two items, of 8 numbers each, lies nearer to their ideal point in an "
            "unknown space of 4. `IdealPoint` with K prototypes (linear map, squared distance, logistic loss, best of "
            f"three starts) predicts {TEST} further answers of each. Another {PEOPLE} people come after that: their "
            "weights come from their first few answers while everything else stays as it is, with the people seen as "
            f"prior (`alike`), and their other answers are predicted. Means over {seeds} worlds of each kind, with "
            "Student's 95% intervals. Two tastes are opposite; three and five lie at random.",
            "",
            "![Accuracy by prototypes and by answers](pal.png)",
            "",
            *expected(rows),
            "",
            "The expected figures come from two worlds of another implementation; `met` compares them, to two digits, "
            "with the interval of these.",
            "",
            "## People seen, by number of prototypes",
            "",
            *table(["true tastes", *(f"K = {k}" for k in prototypes)], by_k),
            "",
            "One prototype cannot serve several tastes. Accuracy rises until K reaches their number, and more "
            "prototypes than tastes do little harm.",
            "",
            "## People seen, by answers of each",
            "",
            *table(["true tastes", "K", *map(str, answers)], by_seen, left=2),
            "",
            "## People not seen, by answers of each",
            "",
            *table(["true tastes", "K", *map(str, NEW)], by_new, left=2),
            "",
            "With one prototype there is nothing to learn about a person, so answers change nothing.",
            "",
            "Written by `python -m benchmarks.pal`, from benchmarks/results/pal.json.",
            "",
        ]
    )
