"""Who the groups are and what they like, on two public data sets of people who answered under a name.

    python -m benchmarks.groups --data FOLDER

FOLDER holds preflib and coffee. Each is fitted as `pluralign fit` would and described by `groups()`. What comes
out stays in benchmarks/results/groups.json, from which docs/groups.md and its pictures are written; data sets that are
there are not run again. A few minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import pluralign
from benchmarks.explain_words import words
from pluralign.feedback import Feedback
from pluralign.feedback.record import Judgement, Response
from pluralign.feedback.storage import whole_file
from pluralign.models import fit
from pluralign.models.groups import Groups

ROOT = Path(__file__).resolve().parents[1]
KEPT, DOCS = ROOT / "benchmarks" / "results" / "groups.json", ROOT / "docs"
PEOPLE, TRIED = 600, (1, 2, 3, 4)
EM: dict[str, Any] = {"restarts": 1, "tolerance": 1e-2}
ABOUT = {
    "sushi": "Orders of ten kinds of sushi (T. Kamishima, KDD 2003, as kept by BayesMallows, GPL-3.0), by 600 of "
    "5,000 people of whom nothing else is known. Pairs of one order follow from each other in part, so that half of "
    "them tells more of the other half than answers to new questions would.",
    "coffee": "Four coffees tasted blind and rated (Great American Coffee Taste Test, J. Hoffmann and Cometeer "
    "2023), with habits and demographics of the tasters.",
}

WHAT = """`model.groups(feedback)` says who the groups of a fitted population are and what they like, in words, in
    tables with intervals and in a picture; `pluralign fit FEEDBACK --out FOLDER` writes `FOLDER/groups.html`."""
HOW = """Half of everybody's answers says which group they belong to, by the likelihood of each group's taste; what the
    group likes is counted in the other half, and the other way round. Counted in the same answers, even people who
    answer by the coin would differ between groups. Rates have 95% intervals with people as the units; the intervals of
    gaps to everybody else hold for all rows of a table at once, and only gaps whose interval leaves zero out are put
    into words. Groups were chosen among one to four by held-out log-loss."""


def sushi(data: Path) -> tuple[Feedback, Any]:
    """Rankings of everybody drawn."""
    lines = (data / "preflib" / "sushi_rankings.csv").read_text().splitlines()
    names = lines[0].replace('"', "").split(",")
    drawn = np.random.default_rng(0).permutation(len(lines) - 1)[:PEOPLE]
    kinds = tuple(Response(model=name) for name in names)
    made = [
        Judgement(responses=kinds, ranks=tuple(int(rank) for rank in lines[1 + i].split(",")), annotator=f"p{i:04d}")
        for i in drawn.tolist()
    ]
    return Feedback.from_judgements(made), "items"


def coffee(data: Path) -> tuple[Feedback, Any]:
    """Ratings of four coffees: of two, that with the higher one is preferred."""
    rated = [
        replace(j, ranks=None, unranked_below=None)
        for j in pluralign.read(data / "coffee" / "coffee_survey.csv.gz")
        if any(r.ratings for r in j.responses)
    ]
    return Feedback.from_judgements(rated).pairs(aspect="personal_preference", ties="drop"), "items"


DATA: dict[str, Callable[[Path], tuple[Feedback, Any]]] = {"sushi": sushi, "coffee": coffee}


def described(name: str, data: Path) -> dict[str, Any]:
    """Fitted with the number of groups chosen, and described."""
    start = time.process_time()
    feedback, encoder = DATA[name](data)
    model = fit(feedback, "mixture", TRIED, encoder, null=0, **EM)
    plurality = model.plurality_
    assert plurality is not None
    # Several are shown even where one is enough, and this is said.
    shown = max(plurality.chosen, 2)
    if shown != plurality.chosen:
        model = fit(feedback, "mixture", shown, encoder, null=0, **EM)
    found = model.groups(feedback)
    parts = {"likes": found.likes, "who": found.who, "pairs": found.pairs}
    return {
        "chosen": plurality.chosen,
        "plurality": str(plurality),
        "table": found.table.to_dicts(),
        "weights": np.round(found.weights, 3).tolist(),
        "things": found.things,
        **{part: None if rows is None else rows.to_dicts() for part, rows in parts.items()},
        "seconds": round(time.process_time() - start),
    }


def again(kept: dict[str, Any]) -> Groups:
    """The groups of what was kept."""
    likes, who, pairs = (
        None if kept[part] is None else pl.DataFrame(kept[part], infer_schema_length=None)
        for part in ("likes", "who", "pairs")
    )
    return Groups(pl.DataFrame(kept["table"]), np.array(kept["weights"]), likes, who, pairs, kept["things"])


def write(kept: dict[str, Any]) -> None:
    """docs/groups.md and its pictures."""
    lines = [
        "# Who the groups are and what they like",
        "",
        words(WHAT),
        "",
        "```python",
        "import pluralign",
        "",
        "kinds = ['tea', 'milk', 'cola', 'water']",
        "rows = [",
        "    {'model_a': a, 'model_b': b, 'winner': 'model_a', 'annotator': f'{who}{i}'}",
        "    for who, order in (('ada', kinds), ('ben', kinds[::-1]))  # twenty people of each taste",
        "    for i in range(20)",
        "    for n, a in enumerate(order)",
        "    for b in order[n + 1:]",
        "]",
        "votes = pluralign.read(rows)",
        "model = pluralign.fit(votes, 'mixture', 2, 'items', null=0)",
        "found = model.groups(votes)",
        "print(found)                           # a paragraph for each group",
        "found.table, found.likes, found.who    # polars, every rate with its interval",
        "found.plot().savefig('groups.png')",
        "found.write('groups.html')",
        "assert sorted(found.table['people']) == [20, 20]",
        "```",
        "",
        words(HOW),
        "",
    ]
    for name, about in ABOUT.items():
        part = kept[name]
        found = again(part)
        found.plot().savefig(DOCS / f"groups-{name}.png", dpi=144)
        lines += [f"## {name}", "", about, ""]
        if part["chosen"] == 1:
            lines += ["Held-out log-loss chooses **one** group. Two are shown to see what would set them apart.", ""]
        lines += [f"![Groups of {name}](groups-{name}.png)", ""]
        for paragraph in found.words():
            lines += [paragraph, ""]
    minutes = sum(kept[name]["seconds"] for name in ABOUT) / 60
    lines += [f"Written by `python -m benchmarks.groups --data FOLDER`: {minutes:.1f} minutes of one core.", ""]
    (DOCS / "groups.md").write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Describe what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder of the data sets")
    parser.add_argument("--only", nargs="+", choices=list(DATA), default=list(DATA))
    options = parser.parse_args()
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for name in options.only:
        if name not in kept:
            kept[name] = described(name, options.data)
            with whole_file(KEPT) as temporary:
                temporary.write_text(json.dumps(kept) + "\n", encoding="utf-8")
            print(name, kept[name]["seconds"], "s")
    if set(kept) == set(DATA):
        write(kept)


if __name__ == "__main__":
    main()
