"""The worlds of the table of populations are what they say, and its page is made of what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.population_worlds import MOST, TEST, WORLDS
from benchmarks.populations import MODELS, RESULTS, fitted, kept, sharing, takes, worst
from benchmarks.populations_page import CLAIMS, COLUMNS, verdict, write


@pytest.mark.parametrize("name", list(WORLDS))
def test_people_of_a_world(name: str) -> None:
    world = WORLDS[name](3)
    assert set(world.seen.answers.people).isdisjoint(world.new.answers.people)
    for people in (world.seen, world.new):
        assert len(people.group) == len(people.answers.people)
        assert (people.test.sizes == TEST).all()
    assert (world.new.answers.sizes == MOST).all()
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
    assert [row["model"][:4] for row in sharing(0)] == ["MORE", "plai", "one "]


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
    measured = [
        {
            "world": "ideal",
            "model": "m",
            "seed": seed,
            "answers": m,
            "gain": 0.1,
            "nats": 0.2,
            "asked": 0.9,
            "random": 0.8,
        }
        for seed in range(3)
        for m in (1, 2)
    ]
    shared = [
        {"model": name, "seed": seed, "accuracy": 0.5, "nats": 0.7, "ece": random.random()}
        for seed in range(3)
        for name in ("MORE", "plain")
    ]
    write(found | {"placing": measured, "asking": measured, "sharing": shared}, tmp_path)
    page = (tmp_path / "populations.md").read_text()
    assert page.count("\n### ") == len(WORLDS)
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
        rows = kept(world, int(seed))
        assert [row["model"] for row in rows] == [name for name in MODELS if takes(name, WORLDS[world](int(seed)))]
        assert all(0 <= row[column] <= 1 for row in rows for column in COLUMNS)
