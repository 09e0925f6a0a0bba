"""Who the groups are and what they like, found where it was planted and not where it was not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.errors import OptionError
from pluralign.feedback import Feedback
from pluralign.feedback.record import Judgement, Response
from pluralign.intervals import clustered_wilson, wilson
from pluralign.models import Answers, MixtureModel, Population, fit
from pluralign.models.groups import Groups, _compared, _likes
from pluralign.models.groups_things import answered

KINDS = ("tea", "milk", "juice", "cola", "water")
LIKES = np.array([[2.0, 1.0, 0.0, -1.0, -2.0], [-2.0, -1.0, 0.0, 1.0, 2.0]])


def votes(tastes: np.ndarray, people: int = 60, each: int = 20, names: Sequence[str] = KINDS) -> Feedback:
    """People of tastes [T, 5] in turn; those of the second live in town. Sides are named and have no texts."""
    random, made = np.random.default_rng(0), []
    for person in range(people):
        taste = tastes[person % len(tastes)]
        facts = {
            "lives": "in town" if person % len(tastes) else "in a village",
            "eyes": "blue" if person % 3 else "brown",
        }
        for _ in range(each):
            a, b = random.choice(5, 2, replace=False)
            wins = random.random() < 1 / (1 + np.exp(taste[b] - taste[a]))
            sides = (Response(model=names[a]), Response(model=names[b]))
            ranks = (1, 2) if wins else (2, 1)
            made.append(Judgement(responses=sides, ranks=ranks, annotator=f"p{person:02d}", annotator_attributes=facts))
    return Feedback.from_judgements(made)


@pytest.fixture(scope="module")
def found() -> Groups:
    rows = votes(LIKES)
    return fit(rows, "mixture", 2, "items", null=0, restarts=3, seed=1).groups(rows)


def test_groups_are_the_planted_ones_with_what_they_like_and_who_they_are(found: Groups) -> None:
    assert found.table["people"].to_list() == [30, 30]
    assert (found.table["alike"] > 0.9).all()
    assert (found.table["low"] < found.table["share"]).all()
    assert found.likes is not None
    assert found.who is not None
    tea = found.likes.filter(found.likes["thing"] == "tea")
    group = int(tea.sort("value")["group"][-1])  # the one that likes tea
    top = found.apart(group, found.likes)
    assert set(top["thing"]) == {"tea", "milk", "cola", "water"}  # juice is the same to both
    own = found.likes.filter(found.likes["group"] == group).sort("value", descending=True)
    assert own["thing"].to_list() == list(KINDS)
    facts = found.apart(group, found.who)
    assert set(facts["attribute"]) == {"lives"}
    village = facts.filter(facts["is"] == "in a village")
    assert village["value"][0] > 0.9 > village["others"][0]
    paragraph = found.words()[group]
    assert "Prefers tea (" in paragraph
    assert "More of its people than of the others: lives in a village (" in paragraph
    assert "eyes" not in paragraph


def test_a_rate_is_that_of_the_planted_taste(found: Groups) -> None:
    """Tea against each of the others, for people of known taste."""
    assert found.likes is not None
    best = found.likes.filter(found.likes["thing"] == "tea").sort("value")
    truth = np.mean([1 / (1 + np.exp(-(2.0 - other))) for other in LIKES[0, 1:]])
    assert best["low"][-1] < truth < best["high"][-1]
    assert best["high"][0] > 1 - truth > best["low"][0]


def test_noise_sets_nobody_apart() -> None:
    """Put into groups by the very answers that are counted, people who answer by the coin would differ."""
    told, naively = 0, 0
    for seed in range(5):
        random, n = np.random.default_rng(seed), 60 * 12
        left = random.integers(5, size=n)
        right = (left + random.integers(1, 5, size=n)) % 5
        person, said = np.arange(n) // 12, (random.random(n) < 0.5).astype(float)
        answers = Answers.indexed(np.eye(5), left, right, said, [f"p{i:02d}" for i in person])
        model = MixtureModel(2, restarts=1, seed=seed, tolerance=1e-4).fit(answers)
        told += len(model.groups(answers).apart(0, model.groups(answers).likes)) > 0
        sign = (np.eye(5)[left] - np.eye(5)[right]) * np.sign(said - 0.5)[:, None]
        naive = _likes(csr_array(sign), person, model.weights_.argmax(1)[person], 2, list(KINDS))
        naively += bool(((naive["gap_low"] > 0) | (naive["gap_high"] < 0)).any())
    assert told <= 1
    assert naively >= 3


def test_intervals_are_those_of_clusters() -> None:
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(30), 10)
    taste = random.normal(0.5, 1.5, 30)[person]
    sign = np.where(random.random(300) < 1 / (1 + np.exp(-taste)), 1.0, -1.0)
    table = _likes(csr_array(sign[:, None]), person, np.zeros(300, dtype=int), 1, ["tea"])
    low, high = clustered_wilson(sign > 0, person)
    # The same design effect; the normal quantile in place of Student's with 29 degrees of freedom.
    assert table["low"][0] == pytest.approx(low, abs=0.01)
    assert table["high"][0] == pytest.approx(high, abs=0.01)
    assert table["low"][0] < wilson((sign > 0).sum(), 300)[0] - 0.02
    assert table["gap"][0] is None


def test_the_interval_of_a_gap_is_newcombes_and_wider_the_more_is_tried() -> None:
    # Newcombe 1998, table II, example (a), method 10: 56/70 against 48/80.
    row = _compared((0.8, 70.0), (0.6, 80.0), 1)
    assert (row["gap_low"], row["gap_high"]) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    many = _compared((0.8, 70.0), (0.6, 80.0), 100)
    assert many["gap_low"] is not None
    assert row["gap_low"] is not None
    assert many["gap_low"] < row["gap_low"]
    assert many["low"] == row["low"]


def lengths(texts: Sequence[str]) -> list[list[float]]:
    return [[len(text), text.count("because")] for text in texts]


def test_of_texts_the_marks_and_words_are_named() -> None:
    random, rows = np.random.default_rng(3), []
    for person in range(40):
        for i in range(16):
            plain, reason = (
                f"no in truth {i} " * int(random.integers(1, 9)),
                f"yes because {i} " * int(random.integers(1, 9)),
            )
            first = random.random() < (0.9 if person % 2 else 0.1)
            chosen, rejected = (reason, plain) if first else (plain, reason)
            rows.append({"prompt": "why?", "chosen": chosen, "rejected": rejected, "annotator": f"p{person}"})
    feedback = pluralign.read(rows)
    model = fit(feedback, "mixture", 2, lengths, null=0, restarts=2)
    found = model.groups(feedback)
    assert found.things == "marks"
    assert found.who is None
    assert found.likes is not None
    group = int(found.likes.filter(found.likes["thing"] == "'because'").sort("value")["group"][-1])
    assert "'because'" in found.words()[group]
    assert "the longer text" not in found.apart(group, found.likes)["thing"].to_list()
    assert found.pairs is not None
    own = found.pairs.filter(found.pairs["group"] == group).to_dicts()
    assert len(own) == 3
    assert all("because" in row["liked"] and row["chance"] > 0.5 > row["others"] for row in own)


def test_one_crowd_is_one_group_and_a_population_without_groups_too() -> None:
    rows = votes(LIKES[:1], people=12)
    for model in (
        fit(rows, "low-rank", 1, "items", null=0, epochs=5, lr=0.2),
        fit(rows, "hierarchical", 2, "items", null=0, spread=1.0),
    ):
        found = model.groups(rows)
        assert found.table["people"].to_list() == [12]
        assert found.likes is not None
        assert found.likes["others"].null_count() == len(found.likes)
        assert "Everybody: 12 people. Prefers tea (" in str(found)
        assert found.plot() is not None


def test_groups_of_vectors_and_of_nothing_but_the_model() -> None:
    random = np.random.default_rng(4)
    left, right = random.normal(size=(2, 300, 3))
    person = np.arange(300) % 20
    said = (left - right)[:, 0] * np.where(person % 2, 1, -1) > 0
    answers = Answers.of(left, right, said.astype(float), [f"p{i}" for i in person])
    model = fit(answers, "mixture", 2, null=0, restarts=2)
    found = model.groups(answers)
    assert found.apart(0, found.likes)["thing"].to_list() == ["more of feature 0"]
    alone = model.groups()
    assert alone.likes is None
    assert alone.words()[0].startswith("Group 0: ")
    assert alone.plot() is not None


def test_facts_are_cut_and_counted() -> None:
    told = answered({f"p{i}": {"age": i, "glad": i > 4, "list": [1]} for i in range(9)})
    assert {value: len(have) for (name, value), (have, _) in told.items() if name == "age"} == {
        "at most 3": 4,
        "above 3 to 5": 2,
        "above 5": 3,
    }
    assert ("list", "[1]") not in told
    assert len(told["glad", "1"][0]) == 4


def test_the_command_writes_a_page_in_words_and_a_picture(tmp_path: Path) -> None:
    path, out = tmp_path / "votes.parquet", tmp_path / "model"
    made = votes(LIKES, each=12, names=("<b>tea</b>", *KINDS[1:]))
    made.write(path)
    arguments = ["fit", str(path), "--population", "mixture", "--groups", "2", "--encoder", "items", "--null", "0"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "Prefers" in result.output
    page = (out / "groups.html").read_text()
    assert "&lt;b&gt;tea" in page
    assert "<b>tea" not in page
    assert "data:image/png;base64," in page
    model = Population.load(out)
    assert model.groups(pluralign.read(path)).words() == model.groups(made).words()
    with pytest.raises(OptionError, match=r"does not end in \.html"):
        model.groups().write(tmp_path / "groups.txt")
