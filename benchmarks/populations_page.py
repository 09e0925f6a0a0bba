"""The page and picture of `benchmarks.populations`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import population_claims_page as parts
from benchmarks.population_worlds import MOST, WORLDS
from benchmarks.tables import Rows, cell, difference, interval, said, values, verdict

COLUMNS = {
    "seen": "people seen",
    "worst": "their worst group",
    "new 1": "new, 1 answer",
    "new 2": "2",
    "new 5": "5",
    f"new {MOST}": f"{MOST}",
}
CLAIMS = (
    ("PAL-A", "ideal-point", "ideal", f"new {MOST}", "people gather round ideal points"),
    ("PAL-A", "ideal-point", "length", f"new {MOST}", "a majority and a minority of opposite tastes"),
    ("PAL-B", "two-tower", "prompt", f"new {MOST}", "what is wished for depends on the prompt"),
    ("LoRe", "low-rank", "low-rank", f"new {MOST}", "few directions, people between them"),
    ("MaxMin's EM", "mixture, hard", "minority", "worst", "one group is small"),
    ("EM, soft", "mixture", "minority", "worst", "one group is small"),
    ("VPL", "variational", "bimodal", f"new {MOST}", "two types, a reward that bends"),
    ("VPL", "variational", "bends", f"new {MOST}", "everybody different, rewards that wave"),
    ("FSPO", "few-shot", "goals", f"new {MOST}", "everybody different, everybody consistent"),
    ("FSPO", "few-shot", "bends", f"new {MOST}", "everybody different, rewards that wave"),
    ("MiCRo", "routed", "routed", "seen", "the prompt says which reward counts"),
    ("PrefPalette", "attribute-attention", "communities", "seen", "communities value attributes differently"),
    ("hierarchical", "hierarchical", "crowd", f"new {MOST}", "a crowd, and people about it"),
    ("hierarchical", "hierarchical", "one-taste", f"new {MOST}", "nobody differs: it should lose nothing"),
)
"""Method, its row, its world, what is compared, and what the world is about."""
CROWDS = ("one crowd", "one crowd, ideal point")


def claims(found: dict[str, Rows]) -> list[str]:
    """Each method at home, against the best crowd and its best relative."""
    out = [
        "| method | world | measured on | one crowd | against one crowd | best relative | against it | so |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method, name, world, column, about in CLAIMS:
        rows = found[world]
        models = list(dict.fromkeys(r["model"] for r in rows))
        means = {m: float(np.mean(list(values(rows, column, model=m).values()))) for m in models}
        shared = max((m for m in models if m in CROWDS), key=means.__getitem__)
        relative = max((m for m in models if m not in (*CROWDS, name)), key=means.__getitem__)
        over, beside = (difference(rows, column, {"model": name}, {"model": m}) for m in (shared, relative))
        measured = COLUMNS[column] if column in ("seen", "worst") else f"new people, {MOST} answers"
        so = f"beside one crowd {verdict(*over[1:])}; beside {relative} {verdict(*beside[1:])}"
        out.append(
            f"| {method} | {world}: {about} | {measured} | {means[shared]:.3f} | {said(over)} | {relative} "
            f"{means[relative]:.3f} | {said(beside)} | {so} |"
        )
    return out


def worlds(found: dict[str, Rows]) -> list[str]:
    """A table a world: every model that can be fitted there."""
    out = []
    for world, make in WORLDS.items():
        rows = found[world]
        out += ["", f"### {world}", "", (make.__doc__ or "").strip(), ""]
        out += ["| model | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
        models = list(dict.fromkeys(r["model"] for r in rows))
        means = {m: {c: np.mean(list(values(rows, c, model=m).values())) for c in COLUMNS} for m in models}
        for name in models:
            cells = []
            for column in COLUMNS:
                top = max(means[m][column] for m in models)
                text = cell(rows, column, model=name)
                cells.append(f"**{text}**" if means[name][column] == top else text)
            out.append(f"| {name} | " + " | ".join(cells) + " |")
    return out


def placing(rows: Rows) -> list[str]:
    """Two ways to place new people."""
    answers = sorted({r["answers"] for r in rows})
    out = ["| world | in | " + " | ".join(f"{m} answers" for m in answers) + " |", "|---" * (len(answers) + 2) + "|"]
    for world in dict.fromkeys(r["world"] for r in rows):
        for column, name in (("gain", "accuracy"), ("nats", "nats")):
            cells = [said(interval(list(values(rows, column, world=world, answers=m).values()))) for m in answers]
            out.append(f"| {world} | {name} | " + " | ".join(cells) + " |")
    return out


def draw(found: dict[str, Rows], path: Path) -> None:
    """Accuracy of new people by answers, a panel a world."""
    from matplotlib.figure import Figure

    from pluralign.rank.plots import COLOURS

    answers = (1, 2, 5, MOST)
    shown = (
        "one crowd",
        "everybody alone",
        "ideal-point",
        "low-rank",
        "mixture",
        "hierarchical",
        "variational",
        "few-shot",
    )
    shown = (*shown, "two-tower", "routed", "attribute-attention")
    colours = dict(zip(shown[2:], [*COLOURS, "#b07aa1", "#9c755f", "#17becf"][: len(shown) - 2], strict=False))
    colours |= {"one crowd": "#6b6b6b", "everybody alone": "#b0b0b0", "few-shot": "#e377c2"}
    figure = Figure(figsize=(13, 9), layout="constrained")
    panels = figure.subplots(3, 5, sharey=True).ravel()
    for axes, world in zip(panels, WORLDS, strict=False):
        rows = found[world]
        for name in shown:
            if not any(r["model"] == name for r in rows):
                continue
            mean = [np.mean(list(values(rows, f"new {m}", model=name).values())) for m in answers]
            dashed = name in ("one crowd", "everybody alone")
            axes.plot(
                answers, mean, color=colours[name], marker="o", ms=3, lw=1.6, ls="--" if dashed else "-", label=name
            )
        axes.set_title(world, fontsize=10)
        axes.set_ylim(0.45, 1.02)
        axes.set_xscale("log")
        axes.set_xticks(answers, [str(m) for m in answers])
        axes.minorticks_off()
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(WORLDS) :]:
        axes.axis("off")
    handles = {}
    for axes in panels[: len(WORLDS)]:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    panels[-1].legend(handles.values(), handles.keys(), frameon=False, fontsize=9, loc="center")
    figure.supxlabel("answers of a new person", fontsize=10)
    figure.supylabel("accuracy on their other answers", fontsize=10)
    figure.savefig(path, dpi=130)


def write(found: dict[str, Rows], docs: Path) -> None:
    """docs/populations.md and docs/populations.png."""
    best = []
    often = {what: len({r["seed"] for r in rows}) for what, rows in found.items()}
    counts, others = ([n for what, n in often.items() if (what in WORLDS) == home] for home in (True, False))
    seeds, of_parts = (str(min(n)) if len(set(n)) == 1 else f"{min(n)} to {max(n)}" for n in (counts, others))
    for world in WORLDS:
        rows, column = found[world], f"new {MOST}"
        models = list(dict.fromkeys(r["model"] for r in rows))
        best.append(max(models, key=lambda m: float(np.mean(list(values(rows, column, model=m).values())))))
    lines = [
        "# Populations: who wins where",
        "",
        "Every population model on the world its paper is about, against one crowd, everybody alone and its relatives.",
        "Worlds are simulated, so that the truth is known; each model has one set of options in all of them, and the",
        "number of groups is the true one. People seen answer 30 to 300 questions, on which the models are fitted; 40",
        f"other answers of each are foretold. New people give 1 to {MOST} answers, from which `localise` places them",
        f"with everything else as it is, and 40 others are foretold. Means over {seeds} seeds, each a new world,",
        f"and over {of_parts} for single claims; ± is half of Student's 95% interval, and differences are taken seed",
        "by seed.",
        "",
        "![Accuracy of new people by answers, in every world](populations.png)",
        "",
        "## Does a method earn its claim",
        "",
        "*One crowd* is the better of a linear reward and one ideal point. *Everybody alone* is a ridge regression of",
        "each person's answers. The best relative is the best other model in that world, which is chosen with",
        "hindsight, so that a tie with it is no failure.",
        "",
        *claims(found),
        "",
        f"Best with {MOST} answers of new people: "
        + ", ".join(f"{w}: {m}" for w, m in zip(WORLDS, best, strict=True))
        + ".",
        "",
        "### Claims about single parts",
        "",
        *parts.claims(found),
        "",
        "## Every model in every world",
        "",
        "Accuracy, the best in bold. The worst group is that in which a model does worst.",
        *worlds(found),
        "",
        "## Placing new people",
        "",
        "By default `localise` takes the people seen for the prior (`alike`) below 20 answers and one smooth Dirichlet",
        "distribution from there on. The table has what the first gains over the second. Where people are of groups it",
        "gains up to 20 answers at least; where they lie anywhere between prototypes little is gained either way.",
        "",
        *placing(found["placing"]),
        "",
        *parts.sections(found),
        "Written by `python -m benchmarks.populations` from benchmarks/results/populations/.",
        "",
    ]
    (docs / "populations.md").write_text("\n".join(lines), encoding="utf-8")
    draw(found, docs / "populations.png")
