"""Every population on the world its paper is about, against one crowd, everybody alone and its relatives.

`python -m benchmarks.populations` measures what benchmarks/results/populations/ does not hold yet (about twelve minutes
of one core), then writes docs/populations.md and docs/populations.png.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.population_worlds import MOST, WORLDS, World
from pluralign.models import Answers, Hierarchical, MultiSource, Population, PreferenceModel
from pluralign.models.kinds import build

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "populations"
ANSWERS = (1, 2, 5, MOST)
NETWORKS = {"steps": 200, "lr": 1e-2, "hidden": 32}
PROTOTYPES = {"epochs": 20, "batch": 128, "lr": 0.05, "restarts": 2}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "one crowd": ("hierarchical", {"spread": 0.0}),
    "one crowd, ideal point": ("ideal-point", {**PROTOTYPES, "restarts": 1}),
    "everybody alone": ("hierarchical", {"spread": 1.0, "ridge": 1e6, "tolerance": 1e-3}),
    "ideal-point": ("ideal-point", PROTOTYPES),
    "low-rank": ("low-rank", PROTOTYPES),
    "mixture": ("mixture", {"restarts": 3}),
    "mixture, hard": ("mixture", {"restarts": 3, "hard": True}),
    "hierarchical": ("hierarchical", {}),
    "variational": ("variational", NETWORKS),
    "few-shot": ("few-shot", NETWORKS),
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


def measured(world_name: str, seed: int) -> list[dict[str, Any]]:
    """A row a model: accuracy and log-loss of people seen, accuracy of new ones by answers, and of the worst group."""
    world, rows = WORLDS[world_name](seed), []
    for name in MODELS:
        if not takes(name, world):
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


def asking(seed: int, people: int = 12, most: int = 3) -> list[dict[str, Any]]:
    """Accuracy after 1 to 3 questions, of 20 there are: those that tell most against the first ones."""
    rows = []
    for world_name, name in (("ideal", "ideal-point"), ("low-rank", "low-rank"), ("bimodal", "variational")):
        world = WORLDS[world_name](seed)
        model = fitted(name, world, seed)
        pool, reached = world.new.answers, np.zeros((2, most, people))
        for person in range(people):
            own = np.flatnonzero(pool.person.numpy() == person)
            held = world.new.test.take(world.new.test.person == person)
            asked: list[int] = []
            for m in range(most):
                left = np.setdiff1d(own, asked)
                so_far = pool.take(np.array(asked)) if asked else None
                asked.append(int(left[model.next_question(so_far, pool.take(left)).row]))
                for how, rows_taken in enumerate((np.array(asked), own[: m + 1])):
                    weights = model.localise(pool.take(rows_taken)).weights
                    reached[how, m, person] = model.accuracy(held, weights)
        for m in range(most):
            both = {"asked": float(reached[0, m].mean()), "random": float(reached[1, m].mean())}
            rows.append({"world": world_name, "model": name, "seed": seed, "answers": m + 1, **both})
    return rows


def sharing(seed: int) -> list[dict[str, Any]]:
    """MORE: four sources, of whom all like one feature, three a second one and the fourth its opposite."""
    from pluralign.evaluate.figures import _ece

    random = np.random.default_rng([12, seed])
    theta = np.tile([1.0, 3.0, 0, 0, 0, 0, 0, 0], (4, 1))
    theta[3, 1] = -3.0
    person = np.repeat(np.arange(4), 60)
    left, right = random.normal(size=(2, len(person), 8))
    won = random.random(len(person)) < 1 / (1 + np.exp(-((left - right) * theta[person]).sum(1)))
    train = Answers.of(left, right, won.astype(float), person.astype(str).tolist())
    x = random.normal(size=(4000, 8))
    shared = random.random(4000) < 1 / (1 + np.exp(-x[:, 0]))
    test, rows = Answers.of(x, 0 * x, shared.astype(float)), []
    for name, model in (
        ("MORE", MultiSource(steps=200, seed=seed)),
        ("plain mixing, same steps", MultiSource(plain=True, steps=200, seed=seed)),
        ("one crowd, at the optimum", Hierarchical(0.0)),
    ):
        model.fit(train)
        row = {"model": name, "seed": seed, "accuracy": model.accuracy(test), "nats": model.log_loss(test)}
        rows.append({**row, "ece": _ece(model.predict_proba(test), shared, 10)})
    return rows


EXTRA = {"placing": placing, "asking": asking, "sharing": sharing}


def kept(what: str, seed: int) -> list[dict[str, Any]]:
    """Rows measured before, or now and written down."""
    path = RESULTS / f"{what}-{seed}.json"
    if path.exists():
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return rows
    rows = EXTRA[what](seed) if what in EXTRA else measured(what, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
    return rows


def main() -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[*WORLDS, *EXTRA], help="measure these, write no page")
    options = parser.parse_args()
    for seed in range(options.seeds):
        for what in options.only or [*WORLDS, *EXTRA]:
            kept(what, seed)
    if not options.only:
        found = {what: [row for seed in range(options.seeds) for row in kept(what, seed)] for what in [*WORLDS, *EXTRA]}
        from benchmarks.populations_page import write

        write(found, ROOT / "docs")


if __name__ == "__main__":
    main()
