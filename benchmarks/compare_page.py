"""`pluralign compare` on real data, as pages of the documentation.

    python -m benchmarks.compare_page ukpconvarg1 DATA FOLDER
    python -m benchmarks.compare_page alpaca_eval DATA FOLDER

DATA is the release; FOLDER keeps what is finished, so that the same command goes on where it was interrupted. About an
hour on four cores each. Writes docs/compare-NAME.md and its picture.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import polars as pl

import pluralign
from pluralign.compare.summary import Entry, Summary
from pluralign.evaluate.figures import chance, spelled

DOCS = Path(__file__).resolve().parents[1] / "docs"
OBJECTIVES = ["simpo", "orpo", "ipo", "nca", "dpo + sft", "dpo", "cdpo", "r_dpo", "exo", "apo_zero", "kto", "cpo"]
SETTINGS: dict[str, Any] = {"model": "lab:small", "grid": "small", "eval_data": 0.4, "scorer": "length"}
"""The same for both: lab:small has three million weights. The next size would spend the hour on its starting model."""
OWN: dict[str, dict[str, Any]] = {
    "ukpconvarg1": {"budget": "200 steps", "max_length": 384},
    "alpaca_eval": {"budget": "100 steps", "max_length": 256, "samples": 32},
}
ABOUT = {
    "ukpconvarg1": "Pairs of arguments in online debates; crowd workers said which is more convincing (Habernal and "
    "Gurevych 2016). Prompts are debate sides: an argument is in many pairs of its side and in no other, so sides are "
    "the units of splits and of intervals.",
    "alpaca_eval": "Answers of six models beside one baseline's, judged by GPT-4 Turbo with a graded preference from 0 "
    "to 1, which the losses take as a soft label. Prompts are the units of splits and of intervals.",
}
PARTS = ("train", "choose", "report")
COLUMNS = {
    "KL": (2, ""),
    "win rate": (2, ""),
    "length": (1, ""),
    "preferred moved": (1, "+"),
    "calibration error": (3, ""),
}


def command(name: str) -> str:
    """The comparison as a shell would say it."""
    options = " ".join(
        f"--{option.replace('_', '-')} {shlex.quote(str(value))}" for option, value in (SETTINGS | OWN[name]).items()
    )
    return f"pluralign compare DATA --objectives {shlex.quote(','.join(OBJECTIVES))} {options} -o FOLDER"


def page(name: str, summary: Summary, sizes: dict[str, int]) -> str:
    """The page's text."""
    plan, entries = summary.plan, summary.entries
    header = ["objective", "accuracy", "over its settings", "behind the best", "p", *COLUMNS, "CPU s a step"]
    rows = [header, ["---"] * len(header), *map(_row, entries)]
    return "\n".join(
        [
            f"# {len(entries)} objectives on {name}",
            "",
            ABOUT[name],
            "",
            f"{sizes['train']:,} pairs to learn from, {sizes['choose']:,} to choose settings on, {sizes['report']:,} "
            "that all figures are of; a model of three million weights made from the texts learnt from (`lab:small`); "
            f"{plan.steps} optimizer steps for each of {sum(e.runs for e in entries)} runs; "
            f"{' or '.join(str(n) for n in sorted({e.settings for e in entries}))} learning rates an objective.",
            "",
            summary.verdict,
            "",
            *([*(f"- {note}" for note in summary.notes), ""] if summary.notes else []),
            *(f"| {' | '.join(cells)} |" for cells in rows),
            "",
            "Accuracy is that of the reward each objective implies, with 95% intervals, at the learning rate that did "
            "best on the rows that choose; *over its settings* is the lowest and the highest over all of them. "
            "Differences are on the same rows, p adjusted for their number (Holm). The best stands first by the rows "
            "that choose, so that it may be behind others here. KL and lengths are of samples. Win rate: how often a "
            "sample is *longer* than the starting model's, since length is the scorer; it says nothing of quality, and "
            f"samples were cut at {plan.max_new_tokens} tokens.",
            "",
            f"![Accuracy of every run against how far it moved](compare-{name}.png)",
            "",
            f"*Measured with `{command(name)}`; written by `python -m benchmarks.compare_page {name} DATA FOLDER`.*",
            "",
        ]
    )


def _row(entry: Entry) -> list[str]:
    behind = spelled(entry.behind, 3, "+") if entry.behind else "the best"
    figures = [
        spelled(entry.figures[name], digits, sign) if name in entry.figures else ""
        for name, (digits, sign) in COLUMNS.items()
    ]
    spread = " to ".join(f"{value:.3f}" for value in entry.spread)
    p = "" if entry.p is None else chance(entry.p)
    return [f"`{entry.objective}`", spelled(entry.accuracy), spread, behind, p, *figures, f"{entry.per_step:.1f}"]


def picture(summary: Summary, path: Path) -> None:
    """Every run's accuracy against its KL."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    for i, entry in enumerate(summary.entries):
        mine = [p for p in summary.points if p["objective"] == entry.objective]
        marker, colour = "os^Dv<>PX*hd"[i % 12], plt.get_cmap("tab20")(i % 20)
        axes.scatter(
            [p["kl"] for p in mine],
            [p["accuracy"] for p in mine],
            label=entry.objective,
            marker=marker,
            color=colour,
            s=34,
            clip_on=False,
        )
    axes.axhline(0.5, color="0.7", linewidth=1)
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlim(left=min(0.0, *(p["kl"] for p in summary.points)))
    axes.set_xlabel("KL to the starting model, nats a sample")
    axes.set_ylabel("held-out accuracy")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Run or go on, and write the page."""
    name, data, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    found = pluralign.compare(data, OBJECTIVES, output_dir=folder, **SETTINGS, **OWN[name])
    sizes = {part: pl.scan_parquet(folder / f"{part}.parquet").select(pl.len()).collect().item() for part in PARTS}
    (DOCS / f"compare-{name}.md").write_text(page(name, found.summary, sizes))
    picture(found.summary, DOCS / f"compare-{name}.png")
    print(found)


if __name__ == "__main__":
    main()
