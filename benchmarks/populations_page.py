"""The page and picture of `benchmarks.populations`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.population_worlds import MOST, WORLDS
from pluralign.errors import OptionError
from pluralign.intervals import clustered_t

Rows = list[dict[str, Any]]
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
    ("FSPO", "few-shot", "goals", f"new {MOST}", "everybody different, everybody consistent"),
    ("MiCRo", "routed", "routed", "seen", "the prompt says which reward counts"),
    ("PrefPalette", "attribute-attention", "communities", "seen", "communities value attributes differently"),
    ("hierarchical", "hierarchical", "crowd", f"new {MOST}", "a crowd, and people about it"),
    ("hierarchical", "hierarchical", "one-taste", f"new {MOST}", "nobody differs: it should lose nothing"),
)
"""Method, its row, its world, what is compared, and what the world is about."""
CROWDS = ("one crowd", "one crowd, ideal point")


def interval(measured: list[float]) -> tuple[float, float, float]:
    """Mean over seeds with Student's 95% interval."""
    if len(measured) == 1:
        raise OptionError("one seed has no interval; measure at least two (--seeds 2)")
    return (float(np.mean(measured)), *clustered_t(measured, range(len(measured))))


def values(rows: Rows, column: str, **which: Any) -> dict[int, float]:
    """Of each seed."""
    return {r["seed"]: r[column] for r in rows if all(r[name] == value for name, value in which.items())}


def cell(rows: Rows, column: str, **which: Any) -> str:
    """0.981 ± 0.006."""
    mean, _, high = interval(list(values(rows, column, **which).values()))
    return f"{mean:.3f} ± {high - mean:.3f}"


def against(rows: Rows, column: str, one: str, other: str) -> tuple[float, float, float]:
    """Difference of two models, seed by seed, with Student's 95% interval."""
    a, b = values(rows, column, model=one), values(rows, column, model=other)
    return interval([a[seed] - b[seed] for seed in a])


def said(three: tuple[float, float, float]) -> str:
    """+0.031 (0.020 to 0.042)."""
    return f"{three[0]:+.3f} ({three[1]:.3f} to {three[2]:.3f})"


def verdict(low: float, high: float) -> str:
    """What an interval of a difference shows."""
    return "better" if low > 0 else "worse" if high < 0 else "no difference shown"


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
        over, beside = against(rows, column, name, shared), against(rows, column, name, relative)
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


def asking(rows: Rows) -> list[str]:
    """Questions asked against questions drawn."""
    answers = sorted({r["answers"] for r in rows})
    out = ["| world | model | questions | " + " | ".join(map(str, answers)) + " |", "|---" * (len(answers) + 3) + "|"]
    for world in dict.fromkeys(r["world"] for r in rows):
        of = [r for r in rows if r["world"] == world]
        for how, name in (("asked", "by information"), ("random", "as they come")):
            cells = [cell(of, how, answers=m) for m in answers]
            out.append(f"| {world} | {of[0]['model']} | {name} | " + " | ".join(cells) + " |")
        cells = []
        for m in answers:
            a, b = (values(of, how, answers=m) for how in ("asked", "random"))
            cells.append(said(interval([a[seed] - b[seed] for seed in a])))
        out.append("| | | difference | " + " | ".join(cells) + " |")
    return out


def sharing(rows: Rows) -> list[str]:
    """MORE against plain mixing."""
    out = ["| model | accuracy | log-loss, nats | calibration error |", "|---|---|---|---|"]
    names = list(dict.fromkeys(r["model"] for r in rows))
    for name in names:
        cells = [cell(rows, column, model=name) for column in ("accuracy", "nats", "ece")]
        out.append(f"| {name} | " + " | ".join(cells) + " |")
    cells = [said(against(rows, column, names[0], names[1])) for column in ("accuracy", "nats", "ece")]
    out.append("| MORE less plain mixing | " + " | ".join(cells) + " |")
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
    figure = Figure(figsize=(11, 9), layout="constrained")
    panels = figure.subplots(3, 4, sharey=True).ravel()
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
    best, counts = [], sorted({len({r["seed"] for r in rows}) for rows in found.values()})
    seeds = " or ".join(map(str, counts))
    for world in WORLDS:
        rows, column = found[world], f"new {MOST}"
        models = list(dict.fromkeys(r["model"] for r in rows))
        best.append(max(models, key=lambda m: float(np.mean(list(values(rows, column, model=m).values())))))
    questions = [
        "## Questions asked",
        "",
        "`next_question` picks, of 20 pairs, the one whose answer tells most about the person so far; against pairs as",
        "they come. Accuracy on other answers after 1 to 3 questions.",
        "",
        *asking(found["asking"]),
        "",
    ]
    lines = [
        "# Populations: who wins where",
        "",
        "Every population model on the world its paper is about, against one crowd, everybody alone and its relatives.",
        "Worlds are simulated, so that the truth is known; each model has one set of options in all of them, and the",
        "number of groups is the true one. People seen answer 30 to 300 questions, on which the models are fitted; 40",
        f"other answers of each are foretold. New people give 1 to {MOST} answers, from which `localise` places them",
        f"with everything else as it is, and 40 others are foretold. Means over {seeds} seeds, each a new world;",
        "± is half of Student's 95% interval, and differences are taken seed by seed.",
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
        *questions,
        "## What sources share",
        "",
        "Four sources of 60 answers: all like one feature, three like a second and one dislikes it. Answers by the",
        "shared feature alone are foretold. MORE's claim is a lower calibration error than that of plain mixing.",
        "",
        *sharing(found["sharing"]),
        "",
        "Written by `python -m benchmarks.populations` from benchmarks/results/populations/.",
        "",
    ]
    (docs / "populations.md").write_text("\n".join(lines), encoding="utf-8")
    draw(found, docs / "populations.png")
