"""docs/label-trouble.md: the results of `benchmarks.label_trouble` as tables and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pluralign.intervals import clustered_t

DOCS = Path(__file__).resolve().parents[1] / "docs"
PLAIN = "as they are"


def values(kept: dict[str, Any], world: str, remedy: str, figure: str) -> np.ndarray:
    """[seeds]: the figure of a remedy in a world, less that of labels as they are."""
    runs = [found for key, found in kept.items() if key.partition("|")[0] == world]
    return np.array([run[remedy][figure] - (0 if remedy == PLAIN else run[PLAIN][figure]) for run in runs])


def interval(each: np.ndarray) -> tuple[float, float, float]:
    """Mean over seeds with Student's 95% interval."""
    return (float(each.mean()), *clustered_t(each, range(len(each))))


def cell(each: np.ndarray, sign: str = "+", better: int = 1) -> str:
    """A mean with its interval; bold where the whole interval is on the better side of zero."""
    mean, low, high = interval(each)
    text = f"{mean:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
    return f"**{text}**" if sign and (low if better > 0 else -high) > 0 else text


def draw(kept: dict[str, Any], worlds: list[str], path: Path) -> None:
    """Gain in accuracy of every remedy in every world."""
    from matplotlib.figure import Figure

    from pluralign.rank.plots import COLOURS

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    names = [n for n in _remedies(kept) if n != PLAIN]
    for axes, world in zip(panels, worlds, strict=False):
        for place, name in enumerate(reversed(names)):
            if name not in _remedies(kept, world):
                continue
            mean, low, high = interval(values(kept, world, name, "accuracy"))
            colour = COLOURS[0] if low > 0 else "#b3452c" if high < 0 else "#6b6b6b"
            axes.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", ms=4, capsize=2, color=colour)
        axes.axvline(0, color="#6b6b6b", linewidth=0.8)
        axes.set_yticks(range(len(names)), reversed(names), fontsize=8)
        axes.set_title(world, fontsize=9)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("accuracy gained over labels as they are", fontsize=9)
    figure.savefig(path, dpi=144)


def _remedies(kept: dict[str, Any], world: str | None = None) -> list[str]:
    found: dict[str, None] = {}
    for key, run in kept.items():
        if world is None or key.partition("|")[0] == world:
            found |= dict.fromkeys(run)
    return list(found)


def table(kept: dict[str, Any], worlds: list[str], figure: str, better: int) -> list[str]:
    """One row a remedy, one column a world."""
    lines = ["| remedy | " + " | ".join(worlds) + " |", "|---" * (len(worlds) + 1) + "|"]
    for name in _remedies(kept):
        cells = [
            cell(values(kept, world, name, figure), "" if name == PLAIN else "+", better)
            if name in _remedies(kept, world)
            else ""
            for world in worlds
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def write(kept: dict[str, Any], worlds: list[str], options: dict[str, Any]) -> None:
    """The page and its picture."""
    seeds = len({key.partition("|")[2] for key in kept})
    told = f"{options['epochs']} epochs in batches of {options['batch']} at a learning rate of {options['lr']}"
    lines = [
        "# Labels in trouble",
        "",
        "A linear reward in ten features labels pairs by Bradley and Terry's model, then some labels are exchanged. "
        "Every remedy learns from the same pairs and is judged on 1,000 clean ones: how often the side that is truly "
        f"better leads, and log-loss on clean labels. Means over {seeds} worlds with Student's 95% intervals; below "
        "the first row, the difference to labels taken as they are, in the same world; bold where the whole "
        f"interval is a gain. All learn for {told}.",
        "",
        "The remedies that need a rate of flips are told the true one. The people of the last world are thirty: ten "
        "exchange half of their answers, five all of them. A linear head cannot memorise single labels, and flips that "
        "fall on everybody alike leave its direction where it was: there, remedies mend how sure it is, not whom it "
        "prefers. Where a head can memorise, they mend whom it prefers, and those that push margins apart make it far "
        "too sure.",
        "",
        "![Accuracy gained by each remedy in each world](label-trouble.png)",
        "",
        "## Accuracy",
        "",
        *table(kept, worlds, "accuracy", 1),
        "",
        "## Log-loss on clean labels, nats",
        "",
        *table(kept, worlds, "log_loss", -1),
        "",
        *reading(kept, worlds),
        "",
        "| remedy | in Python |",
        "| --- | --- |",
        "| smoothed, debiased | `RewardModel(head, 'debiased(bradley_terry)', flip_rate=0.25)` |",
        "| flipped, softened, margins | `Strength.of(ensemble(head, answers), answers).flipped(answers)` and others "
        "(Wang et al. 2024, Secrets of RLHF II) |",
        "| peer review | `PeerReview(head, noise=0.25)` (Zhang et al. 2025) |",
        "| reliability | `ReliableModel(head)` (Chen et al. 2013) |",
        "| contrastive term | `RewardModel(ContrastiveHead(10))` (Wang et al. 2024) |",
        "",
        "Written by `python -m benchmarks.label_trouble`.",
        "",
    ]
    (DOCS / "label-trouble.md").write_text("\n".join(lines), encoding="utf-8")
    draw(kept, worlds, DOCS / "label-trouble.png")


def reading(kept: dict[str, Any], worlds: list[str]) -> list[str]:
    """In words, which remedies are ahead in each world, by both measures."""
    lines = ["## What is ahead of labels as they are", ""]
    for world in worlds:
        words = []
        for figure, better, name in (("accuracy", 1, "more often right"), ("log_loss", -1, "lower log-loss")):
            ahead = [
                remedy
                for remedy in _remedies(kept, world)
                if remedy != PLAIN and _whole(values(kept, world, remedy, figure) * better)
            ]
            words.append(f"{name}: {', '.join(ahead) or 'none'}")
        lines.append(f"- *{world}*: {'; '.join(words)}.")
    return lines


def _whole(each: np.ndarray) -> bool:
    return interval(each)[1] > 0
