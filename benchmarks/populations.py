"""Every population on the world its paper is about, against one crowd, everybody alone and its relatives.

`python -m benchmarks.populations` measures what benchmarks/results/populations/ does not hold yet (about an hour of
one core), then writes docs/populations.md and docs/populations.png.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import population_claims as claims
from benchmarks.population_claims import PROTOTYPES, READERS
from benchmarks.population_worlds import MOST, WORLDS, World
from pluralign.models import Answers, Population, PreferenceModel
from pluralign.models.kinds import build

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "populations"
ANSWERS = (1, 2, 5, MOST)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "one crowd": ("hierarchical", {"spread": 0.0}),
    "one crowd, ideal point": ("ideal-point", {**PROTOTYPES, "restarts": 1}),
    "everybody alone": ("hierarchical", {"spread": 1.0, "ridge": 1e6, "tolerance": 1e-2}),
    "ideal-point": ("ideal-point", PROTOTYPES),
    "low-rank": ("low-rank", PROTOTYPES),
    "mixture": ("mixture", {"restarts": 3}),
    "mixture, hard": ("mixture", {"restarts": 3, "hard": True}),
    "hierarchical": ("hierarchical", {}),
    "variational": ("variational", READERS),
    "few-shot": ("few-shot", READERS),
    "two-tower": ("two-tower", {**PROTOTYPES, "lr": 0.01, "width": 16}),
    "routed": ("routed", {"epochs": 40, "batch": 128, "lr": 0.05, "hidden": 32, "restarts": 2}),
    "attribute-attention": ("attribute-attention", {**PROTOTYPES, "restarts": 1}),
}
"""One set of options each, in every world; the number of groups is the world's own."""


def takes(name: str, world: World) -> bool:
    """Whether a model can be fitted here: some read prompts, one attributes."""
    if name in ("two-tower", "routed"):
        return world.seen.answers.prompts is not None
    return name != "attribute-attention" or world.attributes > 0


def fitted(name: str, world: World, seed: int) -> Population:
    """A model of this table, fitted to the people seen."""
    kind, options = MODELS[name]
    options = {**options, "seed": seed}
    groups = 1 if name == "one crowd, ideal point" else world.groups
    if kind in ("variational", "few-shot"):
        # Codes of the same size everywhere: what people differ in need not be on a simplex.
        groups = 5
    if kind == "attribute-attention":
        options["attributes"] = world.attributes
    return build(world.seen.answers, kind, groups, options).fit(world.seen.answers)


def measured(world_name: str, seed: int, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a model: accuracy and log-loss of people seen, accuracy of new ones by answers, and of the worst group."""
    world, rows = WORLDS[world_name](seed), []
    for name in MODELS:
        if not takes(name, world):
            continue
        if before := [row for row in known if row["model"] == name]:
            rows += before
            continue
        model = fitted(name, world, seed)
        row: dict[str, Any] = {"world": world_name, "seed": seed, "model": name}
        row["seen"], row["seen nats"] = model.accuracy(world.seen.test), model.log_loss(world.seen.test)
        row["worst"] = worst(model, world.seen.test, world.seen.group, None)
        for m in ANSWERS:
            weights = model.localise(world.new.few(m)).weights
            row[f"new {m}"] = model.accuracy(world.new.test, weights)
        row["new nats"] = model.log_loss(world.new.test, weights)
        row["new worst"] = worst(model, world.new.test, world.new.group, weights)
        rows.append(row)
    return rows


def worst(model: Population, test: Answers, group: Any, weights: Any) -> float:
    """Accuracy in the group where it is lowest."""
    of_row = group[test.person.numpy()]
    reached = []
    for which in np.unique(group):
        reached.append(model.accuracy(test.take(np.flatnonzero(of_row == which)), weights))
    return float(min(reached))


def placing(seed: int) -> list[dict[str, Any]]:
    """New people placed by the people seen against by the one smooth prior, by answers."""
    rows = []
    for world_name, name in (("ideal", "ideal-point"), ("low-rank", "low-rank"), ("crowd", "low-rank")):
        world = WORLDS[world_name](seed)
        model = fitted(name, world, seed)
        assert isinstance(model, PreferenceModel)
        for m in (1, 2, 5, 10, MOST):
            few = world.new.few(m)
            seen, smooth = model.alike(few).weights, model.localise(few, prior="people").weights
            gain = model.accuracy(world.new.test, seen) - model.accuracy(world.new.test, smooth)
            nats = model.log_loss(world.new.test, smooth) - model.log_loss(world.new.test, seen)
            rows.append({"world": world_name, "seed": seed, "answers": m, "gain": gain, "nats": nats})
    return rows


EXTRA: dict[str, tuple[int, Callable[[int], list[dict[str, Any]]]]] = {
    "placing": (1, placing),
    **{f"asking-{name}": (1, partial(claims.asking, name=name)) for name in claims.ASKED_OF},
    **{f"reading-{name}-{n}": (1, partial(claims.reading, name=name, people=n)) for name, n in claims.READ},
    "routing": (2, claims.routing),
    "pulling": (2, claims.pulling),
    "sharing": (4, claims.sharing),
}
"""What else is measured, on how many times as many seeds as the worlds: some take seconds."""


def kept(what: str, seed: int) -> list[dict[str, Any]]:
    """Rows measured before, or now and written down."""
    path, known = RESULTS / f"{what}-{seed}.json", list[dict[str, Any]]()
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
    rows = measured(what, seed, known) if what in WORLDS else known or EXTRA[what][1](seed)
    if rows != known:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
    return rows


def told(what: str, seed: int) -> list[dict[str, Any]]:
    """Rows measured before; none where a model is missing."""
    path = RESULTS / f"{what}-{seed}.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    if rows and what in WORLDS:
        world = WORLDS[what](seed)
        return rows if {row["model"] for row in rows} == {name for name in MODELS if takes(name, world)} else []
    return rows


def main() -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[*WORLDS, *EXTRA], help="measure these, write no page")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page of what there is")
    options = parser.parse_args()
    times = {what: options.seeds * (EXTRA[what][0] if what in EXTRA else 1) for what in [*WORLDS, *EXTRA]}
    # Seed by seed, so that a run that is cut short has measured all there is, on fewer.
    for seed in range(0 if options.page else max(times.values())):
        for what in options.only or times:
            if seed < times[what]:
                kept(what, seed)
    if not options.only:
        from benchmarks.populations_page import write

        found: dict[str, list[dict[str, Any]]] = {}
        for what, often in times.items():
            part = what.partition("-")[0] if what in EXTRA else what
            found.setdefault(part, []).extend(row for seed in range(often) for row in told(what, seed))
        write(found, ROOT / "docs")


if __name__ == "__main__":
    main()
