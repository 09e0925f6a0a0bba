"""PAL's synthetic study: people whose ideal points are known, groups seen and people not seen.

`python -m benchmarks.pal` writes docs/pal.md and docs/pal.png (about twenty
minutes of one core; --true and --most for less).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.models import Answers, IdealPoint, PreferenceModel

ROOT = Path(__file__).resolve().parents[1]
PEOPLE, EACH, TEST = 40, 60, 50
ANSWERS = (1, 2, 5, 10, 20)
TRUE = (2, 3, 5)
MOST = 6


class World:
    """40 people seen and 40 not, of K* tastes: 8-d items, a linear map to 4-d, no noise; two tastes are opposite."""

    def __init__(self, k: int, seed: int) -> None:
        self.random = np.random.default_rng([k, seed])
        self.map = self.random.normal(size=(8, 4)) / np.sqrt(8)
        self.points = self.random.normal(size=(k, 4))
        if k == 2:
            self.points[1] = -self.points[0]

    def answers(self, people: NDArray[np.int64], each: int) -> Answers:
        """Person i has taste i modulo K*."""
        who = np.repeat(people, each)
        left, right = self.random.normal(size=(2, len(who), 8))
        ideal = self.points[who % len(self.points)]
        nearer = ((left @ self.map - ideal) ** 2).sum(1) < ((right @ self.map - ideal) ** 2).sum(1)
        return Answers.of(left, right, nearer.astype(float), [f"p{i:03d}" for i in who])


def fitted(answers: Answers, k: int, seed: int) -> PreferenceModel:
    """PAL-A as on its card: linear map, squared distance, logistic loss, best of three starts."""
    score = IdealPoint(8, k, distance="squared", projector="linear", width=4)
    restarts = 1 if k == 1 else 3
    return PreferenceModel(score, epochs=50, batch=256, lr=0.03, restarts=restarts, seed=seed).fit(answers)


def one_seed(seed: int, tastes: list[int], most: int) -> list[dict[str, Any]]:
    """Every accuracy of one seed."""
    rows: list[dict[str, Any]] = []
    for true in tastes:
        world = World(true, seed)
        seen, test = (world.answers(np.arange(PEOPLE), each) for each in (EACH, TEST))
        new = world.answers(np.arange(PEOPLE, 2 * PEOPLE), max(ANSWERS) + TEST)
        place = np.tile(np.arange(max(ANSWERS) + TEST), PEOPLE)
        held = new.take(np.flatnonzero(place >= max(ANSWERS)))
        for k in range(1, most + 1):
            model = fitted(seen, k, seed)
            base = {"true": true, "k": k, "seed": seed}
            rows.append({**base, "who": "seen", "answers": EACH, "accuracy": model.accuracy(test)})
            for m in ANSWERS:
                weights = model.alike(new.take(np.flatnonzero(place < m))).weights
                rows.append({**base, "who": "new", "answers": m, "accuracy": model.accuracy(held, weights)})
    return rows


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean over seeds with Student's 95% interval."""
    from pluralign.intervals import clustered_t

    return (float(np.mean(values)), *clustered_t(values, range(len(values))))


def accuracy(rows: list[dict[str, Any]], **which: Any) -> tuple[float, float, float]:
    """Of the rows that agree with `which`."""
    return interval([r["accuracy"] for r in rows if all(r[name] == value for name, value in which.items())])


def cell(three: tuple[float, float, float]) -> str:
    """0.981 (0.975 to 0.987)."""
    return f"{three[0]:.3f} ({three[1]:.3f} to {three[2]:.3f})"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against K, and of new people against answers."""
    from matplotlib.figure import Figure

    from pluralign.rank.plots import COLOURS

    tastes, most = sorted({r["true"] for r in rows}), max(r["k"] for r in rows)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for true, colour in zip(tastes, COLOURS, strict=False):
        points = [accuracy(rows, true=true, k=k, who="seen") for k in range(1, most + 1)]
        band(left, range(1, most + 1), points, colour, f"{true} tastes")
        points = [accuracy(rows, true=true, k=true, who="new", answers=m) for m in ANSWERS]
        band(right, ANSWERS, points, colour, f"{true} tastes, K = {true}")
    points = [accuracy(rows, true=2, k=1, who="new", answers=m) for m in ANSWERS]
    band(right, ANSWERS, points, "#6b6b6b", "2 tastes, K = 1")
    left.set_xticks(range(1, most + 1))
    left.set_xlabel("prototypes K")
    left.set_ylabel("held-out accuracy")
    left.set_title("people seen, 60 answers each", fontsize=10)
    right.set_xscale("log")
    right.set_xticks(ANSWERS, [str(m) for m in ANSWERS])
    right.minorticks_off()
    right.set_xlabel("answers of a new person")
    right.set_title("people not seen", fontsize=10)
    for axes in (left, right):
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="center right")
    figure.savefig(path, dpi=144)


def band(axes: Any, x: Any, points: list[tuple[float, float, float]], colour: str, name: str) -> None:
    """A line with its intervals."""
    mean, low, high = np.array(points).T
    axes.errorbar(x, mean, yerr=[mean - low, high - mean], color=colour, marker="o", ms=4, capsize=2, label=name)


def page(rows: list[dict[str, Any]]) -> str:
    """docs/pal.md."""
    seeds = len({row["seed"] for row in rows})
    tastes, most = sorted({r["true"] for r in rows}), max(r["k"] for r in rows)
    by_k = [
        f"| {true} | " + " | ".join(cell(accuracy(rows, true=true, k=k, who="seen")) for k in range(1, most + 1)) + " |"
        for true in tastes
    ]
    by_m = [
        f"| {true} | {k} | "
        + " | ".join(cell(accuracy(rows, true=true, k=k, who="new", answers=m)) for m in ANSWERS)
        + " |"
        for true in tastes
        for k in sorted({1, true})
    ]
    return "\n".join(
        [
            "# Ideal points: the synthetic study of PAL",
            "",
            f"{PEOPLE} people of {' or '.join(map(str, tastes))} tastes answer {EACH} questions each without noise:",
            "which of two items, of 8",
            "numbers each, lies nearer to their ideal point in an unknown space of 4. `IdealPoint` with K prototypes",
            f"(linear map, squared distance, logistic loss, best of three starts) predicts {TEST} further answers of",
            f"each. Another {PEOPLE} people come after that: their weights come from their first few answers while",
            "everything else stays as it is, with the people seen as prior (`alike`), and their other answers are",
            f"predicted. Means over {seeds} seeds, each a new world, with Student's 95% intervals.",
            "",
            "![Accuracy by prototypes and by answers](pal.png)",
            "",
            "## People seen, by number of prototypes",
            "",
            "| true tastes | " + " | ".join(f"K = {k}" for k in range(1, most + 1)) + " |",
            "|---" * (most + 1) + "|",
            *by_k,
            "",
            "One prototype cannot serve opposite tastes.",
            "",
            "## People not seen, by number of answers",
            "",
            "| true tastes | K | " + " | ".join(str(m) for m in ANSWERS) + " |",
            "|---" * (len(ANSWERS) + 2) + "|",
            *by_m,
            "",
            "With one prototype there is nothing to learn about a person, so answers change nothing.",
            "",
            f"Written by `python -m benchmarks.pal --true {' '.join(map(str, tastes))} --most {most}`.",
            "",
        ]
    )


def main() -> None:
    """Run the seeds, or read what earlier runs kept, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--true", type=int, nargs="+", default=list(TRUE), help="true numbers of tastes")
    parser.add_argument("--most", type=int, default=MOST, help="prototypes to try, up to")
    parser.add_argument("--keep", type=Path, help="folder that keeps each seed's numbers, so that a run can go on")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        kept = None if options.keep is None else options.keep / f"{seed}.json"
        if kept is not None and kept.exists():
            rows += json.loads(kept.read_text())
            continue
        found = one_seed(seed, options.true, options.most)
        rows += found
        if kept is not None:
            kept.write_text(json.dumps(found))
    (ROOT / "docs" / "pal.md").write_text(page(rows), encoding="utf-8")
    draw(rows, ROOT / "docs" / "pal.png")


if __name__ == "__main__":
    main()
