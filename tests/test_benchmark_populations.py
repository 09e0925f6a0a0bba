"""The worlds of the table of populations are what they say, and its page is made of what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.population_claims import ASKED, READ, bayes, of_new_people, sharing
from benchmarks.population_worlds import MOST, POOL, TEST, WORLDS
from benchmarks.populations import MODELS, RESULTS, fitted, takes, worst
from benchmarks.populations_page import CLAIMS, COLUMNS, write
from benchmarks.tables import verdict


@pytest.mark.parametrize("name", list(WORLDS))
def test_people_of_a_world(name: str) -> None:
    world = WORLDS[name](3)
    assert set(world.seen.answers.people).isdisjoint(world.new.answers.people)
    for people in (world.seen, world.new):
        assert len(people.group) == len(people.answers.people)
        assert (people.test.sizes == TEST).all()
    assert (world.new.answers.sizes == MOST).all()
    assert (world.pool.sizes == POOL).all()
    assert world.pool.people == world.new.answers.people
    assert (world.new.few(2).sizes == 2).all()
    again = WORLDS[name](3)
    assert np.array_equal(again.seen.answers.items, world.seen.answers.items)
    assert not np.array_equal(WORLDS[name](4).seen.answers.items, world.seen.answers.items)


def test_length_is_two_groups_and_one_crowd_serves_the_majority() -> None:
    world = WORLDS["length"](0)
    one, two = (fitted(name, world, 0) for name in ("one crowd", "mixture"))
    assert one.accuracy(world.seen.test) == pytest.approx(0.7, abs=0.02)
    assert worst(one, world.seen.test, world.seen.group, None) < 0.1
    assert two.accuracy(world.seen.test) > 0.99
    assert two.accuracy(world.new.test, two.localise(world.new.answers).weights) > 0.99
    assert not takes("routed", world)


def test_sharing_compares_three() -> None:
    assert [row["model"][:4] for row in sharing(0)] == ["MORE", "plai", "one "] * 2


@pytest.mark.parametrize("name", ["goals", "bends"])
def test_who_knows_the_world_foretells_best_and_better_with_every_answer(name: str) -> None:
    world = WORLDS[name](0)
    reached = [bayes(world, name, m) for m in (1, 5, 20)]
    assert reached[0] + 0.05 < reached[1] < reached[2] - 0.02
    others = of_new_people(fitted("one crowd, ideal point", world, 0), world)
    assert reached[2] > others["new 20"] + 0.1


def test_the_page_says_what_was_measured(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    found = {
        world: [
            {"world": world, "seed": seed, "model": name, **{c: random.random() for c in COLUMNS}}
            for seed in range(3)
            for name in MODELS
        ]
        for world in WORLDS
    }
    seeds = range(3)
    placing = [
        {"world": "ideal", "seed": seed, "answers": m, "gain": 0.1, "nats": 0.2} for seed in seeds for m in (1, 2)
    ]
    asking = [
        {"world": world, "model": "m", "seed": seed, "answers": m, "asked": 0.5 + 0.02 * m, "random": 0.5 + 0.01 * m}
        for world in ("bimodal", "goals", "bends")
        for seed in seeds
        for m in range(1, ASKED + 1)
    ]
    readers = ("few-shot", "ideal-point", "few-shot, three times the steps", "few-shot, IPO", "who knows the world")
    reading = [
        {"world": world, "people": people, "model": m, "seed": s, **{f"new {n}": random.random() for n in (1, 5, 20)}}
        for world, people in READ
        for m in readers
        for s in seeds
    ]
    routing = [
        {"alpha": alpha, "seed": seed, "accuracy": 0.7, "nats": alpha, "new": 0.7, "new nats": 0.5}
        for alpha in (0.0, 0.1, 0.5)
        for seed in seeds
    ]
    pulling = [
        {"answers": answers, "model": name, "seed": seed, "accuracy": 0.7, "nats": random.random()}
        for answers in (5, 30)
        for name in ("pull 0.03", "no reference", "the reference alone")
        for seed in seeds
    ]
    shared = [
        {"model": name, "answers": answers, "seed": seed}
        | {column: random.random() for column in ("accuracy", "nats", "ece", "sharper", "ece scaled")}
        for answers in (60, 240)
        for seed in seeds
        for name in ("MORE", "plain mixing, same steps")
    ]
    parts = {"placing": placing, "asking": asking, "reading": reading, "routing": routing, "pulling": pulling}
    write(found | parts | {"sharing": shared}, tmp_path)
    page = (tmp_path / "populations.md").read_text()
    assert page.count("\n### ") == len(WORLDS) + 1
    assert "4.0 (4.0 to 4.0) questions tell as much as 8 drawn, bends | shown |" in page
    assert "+0.400 (0.400 to 0.400) | better |" in page
    assert page.count("| beside one crowd ") == len(CLAIMS)
    assert "+0.100 (0.100 to 0.100)" in page
    assert (tmp_path / "populations.png").stat().st_size > 10_000
    assert [verdict(*ends) for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1))] == [
        "better",
        "worse",
        "no difference shown",
    ]


def test_what_was_measured_is_of_every_model_that_can_be_fitted() -> None:
    files = [path for path in RESULTS.glob("*.json") if path.stem.rpartition("-")[0] in WORLDS]
    assert files
    for path in files:
        world, _, seed = path.stem.rpartition("-")
        rows = json.loads(path.read_text(encoding="utf-8"))
        assert [row["model"] for row in rows] == [name for name in MODELS if takes(name, WORLDS[world](int(seed)))]
        assert all(0 <= row[column] <= 1 for row in rows for column in COLUMNS)
