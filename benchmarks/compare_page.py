"""A comparison as a page of the documentation.

    python -m benchmarks.compare_page FOLDER NAME

FOLDER is what `pluralign compare` wrote; NAME is the data set's. Writes docs/compare-NAME.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pluralign.evaluate.figures import chance, spelled

DOCS = Path(__file__).resolve().parents[1] / "docs"
ABOUT = {
    "ukpconvarg1": "Pairs of arguments in online debates; crowd workers said which is more convincing (Habernal and "
    "Gurevych 2016). Prompts are debate sides: an argument is in many pairs of its side and in no other, so sides are "
    "the units of splits and of intervals.",
    "alpaca_eval": "Answers of six models beside one baseline's, judged by GPT-4 Turbo with a graded preference from 0 "
    "to 1, which the losses take as a soft label.",
}


def page(name: str, numbers: dict[str, Any], sizes: dict[str, int]) -> str:
    plan, entries = numbers["plan"], numbers["entries"]
    options = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in plan["options"].items())
    options += "".join(f" --{key.replace('_', '-')} {value:g}" for key, value in entries[0]["options"].items())
    names = ",".join(e["objective"] for e in entries)
    lines = [
        f"# Twelve objectives on {name}" if len(entries) == 12 else f"# {len(entries)} objectives on {name}",
        "",
        ABOUT[name],
        "",
        f"{sizes['train']:,} pairs to learn from, {sizes['choose']:,} to choose settings on, {sizes['report']:,} that "
        f"all figures are of; a model of half a million weights made from the texts (`lab:tiny`); {plan['steps']} "
        "optimizer steps for each.",
        "",
        "!!! warning",
        f"    This is a small run: it shows what [`pluralign compare`](compare.md) has to say, on {plan['steps']} "
        "steps of a tiny model, and is no guide to which objective to take. The run in full, about an hour on four "
        "cores:",
        "",
        "    ```console",
        f"    $ pluralign compare {name} --objectives '{names}' --model lab:base --grid small --budget 60m \\",
        f"        --eval-data 0.4 --scorer length -o compare-{name}",
        "    ```",
        "",
        numbers["verdict"],
        "",
        *([*(f"- {note}" for note in numbers["notes"]), ""] if numbers["notes"] else []),
        "| objective | accuracy | behind the best | p | KL | win rate | length | preferred moved | calibration |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for e in entries:
        figures = e["figures"]
        behind = spelled(e["behind"], 3, "+") if e["behind"] else "the best"
        cells = [f"`{e['objective']}`", spelled(e["accuracy"]), behind, chance(e["p"]) if e["p"] is not None else ""]
        for key, digits, sign in (
            ("KL", 2, ""),
            ("win rate", 2, ""),
            ("length", 1, ""),
            ("preferred moved", 1, "+"),
            ("calibration error", 3, ""),
        ):
            cells.append(spelled(figures[key], digits, sign) if key in figures else "")
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Accuracy is that of the reward each objective implies, with 95% intervals; differences are on the same rows, "
        "p adjusted for their number (Holm). The best stands first by the rows that choose, so that it may be behind "
        "others here. Win rate: how often a sample is *longer* than the starting model's, since length is the scorer; "
        f"it says nothing of quality, and samples were cut at {plan['max_new_tokens']} tokens.",
        "",
        f"*Measured with `pluralign compare PAIRS --objectives '{names}' --model lab:tiny --grid one --budget "
        f"'{plan['steps']} steps' --scorer length --samples {plan['samples']} --max-new-tokens "
        f"{plan['max_new_tokens']} {options}` on a random part of the data, a starting model of 60 steps, "
        "one setting and one seed each. Written by "
        "`python -m benchmarks.compare_page`.*",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    import polars as pl

    folder, name = Path(sys.argv[1]), sys.argv[2]
    sizes = {part: len(pl.read_parquet(folder / f"{part}.parquet")) for part in ("train", "choose", "report")}
    out = DOCS / f"compare-{name}.md"
    out.write_text(page(name, json.loads((folder / "compare.json").read_text()), sizes))
    print(f"written: {out}")


if __name__ == "__main__":
    main()
