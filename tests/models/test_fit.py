"""`fit`: from feedback to people, groups, rewards and back from disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.errors import FeedbackError, OptionError
from pluralign.evaluate.rewards import evaluate_reward
from pluralign.models import Answers, Features, PreferenceModel, fit
from tests.models.worlds import IdealPoints

QUICK: dict[str, Any] = {"epochs": 80, "lr": 0.05, "batch": 128}


def lengths(texts: Sequence[str]) -> list[list[float]]:
    return [[len(text), text.count("a")] for text in texts]


def rows(people: int = 6, each: int = 20, tastes: int = 2) -> list[dict[str, Any]]:
    """Person i likes the longer text where i is even and the shorter one where it is odd (or all the longer one)."""
    random = np.random.default_rng(0)
    made = []
    for person in range(people):
        for _ in range(each):
            short, long = sorted(random.choice(np.arange(1, 60), 2, replace=False))
            ends = ("a" * long, "a" * short)
            chosen, rejected = ends if person % tastes == 0 else ends[::-1]
            made.append({"prompt": "", "chosen": chosen, "rejected": rejected, "annotator": f"p{person}"})
    return made


@pytest.fixture(scope="module")
def model() -> PreferenceModel:
    return fit(rows(), "low-rank", range(1, 4), lengths, null=4, **QUICK)


def test_two_tastes_are_two_groups_and_the_gain_is_beyond_chance(model: PreferenceModel) -> None:
    found = model.plurality_
    assert found is not None
    assert found.groups == [1, 2, 3]
    assert found.chosen >= 2
    assert found.gain is not None
    assert found.low is not None
    assert found.null is not None
    assert found.gain > 0.3
    assert found.low > 0
    assert max(found.null) < found.gain / 2
    assert found.p == pytest.approx(0.2)
    assert model.accuracy(rows()) > 0.97
    table = model.groups().table
    assert table["share"].sum() == pytest.approx(1)
    assert table["people"].sum() == 6


def test_one_taste_gains_nothing() -> None:
    found = fit(rows(tastes=1), "low-rank", [1, 2], lengths, null=0, **QUICK).plurality_
    assert found is not None
    assert found.gain is not None
    assert abs(found.gain) < 0.05


def test_texts_are_scored_for_each_person(model: PreferenceModel) -> None:
    texts = ["a" * 50, "a"]
    assert model.score("", texts, "p0")[0] > model.score("", texts, "p0")[1]
    assert model.score("", texts, "p1")[0] < model.score("", texts, "p1")[1]
    assert model.likes("", texts).shape == (2, 1 + model.scorer.groups)
    with pytest.raises(OptionError, match="'ada' did not answer"):
        model.score("", texts, "ada")


def test_somebody_new_is_localised_and_nothing_else_moves(model: PreferenceModel) -> None:
    before = [p.clone() for p in model.scorer.parameters()]
    new = [{**row, "annotator": "new"} for row in rows()[20:26]]
    found = model.localise(new)
    assert all(torch.equal(a, b) for a, b in zip(before, model.scorer.parameters(), strict=True))
    assert model.accuracy(new, found.weights) == 1
    assert model.margins(new) == pytest.approx(model.margins(new, model.weights_.mean(0)), abs=1e-4)


def test_names_are_found_whatever_people_a_table_holds(model: PreferenceModel) -> None:
    only = [row for row in rows() if row["annotator"] in ("p1", "p4")]
    at = [i for i, row in enumerate(rows()) if row["annotator"] in ("p1", "p4")]
    assert model.margins(only) == pytest.approx(model.margins(rows())[at], abs=1e-5)


@pytest.mark.parametrize("population", ["ideal-point", "two-tower", "low-rank"])
@pytest.mark.parametrize("who", ["p001", 1, [0.3, 0.7], None])
def test_differences_of_an_exported_reward_are_the_margins(population: str, who: Any) -> None:
    answers = IdealPoints(2, seed=0).answers(np.arange(4), 10)
    asked = torch.randn(40, 3).numpy()
    answers = Answers.of(
        answers.items[answers.left],
        answers.items[answers.right],
        answers.probability,
        [answers.people[i] for i in answers.person],
        prompt=asked,
    )
    fitted = fit(answers, population, 2, null=0, epochs=2)
    reward = fitted.export(who)
    left, right = (
        reward.of(answers.items[side], None if answers.prompts is None else answers.prompts)
        for side in (answers.left, answers.right)
    )
    margins = fitted.margins(answers, reward.weights)
    assert (left - right).double().tolist() == margins.tolist()


def test_saved_and_loaded_is_the_same(model: PreferenceModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    with pytest.raises(OptionError, match="give it"):
        PreferenceModel.load(tmp_path / "model")
    again = PreferenceModel.load(tmp_path / "model", lengths)
    assert np.array_equal(again.margins(rows()), model.margins(rows()))
    assert again.plurality_ == model.plurality_
    assert again.weights("p3").tolist() == model.weights("p3").tolist()
    with pytest.raises(FeedbackError, match="holds no fitted model"):
        PreferenceModel.load(tmp_path)


def test_vectors_are_kept_by_content(tmp_path: Path) -> None:
    asked: list[str] = []

    def encode(texts: Sequence[str]) -> list[list[float]]:
        asked.extend(texts)
        return lengths(texts)

    def features(fingerprint: str) -> Features:
        encode.fingerprint = fingerprint  # type: ignore[attr-defined]
        return Features(encode, cache=tmp_path)

    first = features("one").vectors(["x", "aa", "x"])
    assert asked == ["x", "aa"]
    assert features("one").vectors(["aa", "x", "new"])[:2].tolist() == first[[1, 0]].tolist()
    assert asked == ["x", "aa", "new"]
    features("two").vectors(["x"])
    assert asked == ["x", "aa", "new", "x"]


def test_columns_hold_features_and_items_hold_themselves() -> None:
    table = [
        {"response_a": "x", "response_b": "y", "winner": "response_b", "size_a": 1.0, "size_b": 3.0, "annotator": "u"},
        {"response_a": "y", "response_b": "z", "winner": "response_a", "size_a": 3.0, "size_b": 2.0, "annotator": "u"},
    ]
    feedback = pluralign.read(table)
    by_size = fit(feedback, "low-rank", 1, "features:size", epochs=30, lr=0.1)
    assert by_size.accuracy(feedback) == 1
    items = fit(feedback, "low-rank", 1, "items", epochs=30, lr=0.1)
    assert items.features is not None
    assert sorted(items.features.names or []) == ["x", "y", "z"]
    assert items.accuracy(feedback) == 1
    with pytest.raises(FeedbackError, match="no 'weight_a'"):
        fit(feedback, "low-rank", 1, "features:weight")
    with pytest.raises(FeedbackError, match="fit before converting"):
        fit(feedback.pairs(), "low-rank", 1, "features:size")
    with pytest.raises(FeedbackError, match="'q' was not among the items"):
        items.score("", ["q"])


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(OptionError, match="is not one of ideal-point"):
        fit(rows(), "crowd")
    with pytest.raises(OptionError, match="unexpected keyword argument 'colour'"):
        fit(rows(), groups=1, encoder=lengths, colour=1)
    with pytest.raises(FeedbackError, match="no answers can be held out"):
        fit(rows(2, 3), groups=[1, 2], encoder=lengths)


def test_the_command(tmp_path: Path) -> None:
    source = tmp_path / "votes.jsonl"
    pluralign.read(rows()).write(source)
    options = "--population low-rank --groups 1,2 --encoder items --null 0 --epochs 5"
    done = CliRunner().invoke(app, ["fit", str(source), *options.split(), "-o", str(tmp_path / "model")])
    assert done.exit_code == 0, done.output
    assert "chosen: " in done.output
    assert PreferenceModel.load(tmp_path / "model").people_ == tuple(f"p{i}" for i in range(6))


def test_rated_responses_are_ordered_by_the_aspect_that_is_named() -> None:
    from pluralign.feedback import Feedback, Judgement, Message, Response

    def rated(annotator: str, text: str) -> Judgement:
        other = Response((Message("no"),), ratings={"taste": 0.4, "price": 0.9})
        return Judgement(
            annotator=annotator, responses=(Response((Message(text),), ratings={"taste": 1.0, "price": 0.1}), other)
        )

    rows = Feedback.from_judgements([rated(name, "long" * n) for name in ("ada", "ben") for n in (1, 2, 3)])

    with pytest.raises(FeedbackError, match="rated on price, taste; name the one"):
        fit(rows, "low-rank", 1, lengths)
    for aspect, best in (("taste", 0), ("price", 1)):
        model = fit(rows, "low-rank", 1, lengths, aspect=aspect, lr=0.1)
        assert int(model.score("", ["longlong", "no"], "ada").argmax()) == best
        assert evaluate_reward(model, rows).figures["accuracy"]["reward"]["value"] == 1.0


def test_who_says_little_chooses_as_often_as_they_measure() -> None:
    from pluralign.models.fitting import _parts

    said = np.repeat(np.arange(1, 8), 400)
    person = np.repeat(np.arange(len(said)), said)
    pair = np.concatenate([np.arange(n) for n in said])
    answers = Answers.indexed(np.eye(8), pair, pair + 1, np.ones(len(pair)), [f"p{i:04d}" for i in person])
    part, by = _parts(answers, 0), said[answers.person.numpy()]
    assert (part[by == 1] == 0).all()
    for n in range(2, 8):
        shares = [float((part[by == n] == which).mean()) for which in range(3)]
        assert 0.5 <= shares[0] < 1
        assert shares[1] == pytest.approx(shares[2], abs=0.05)


def test_answers_of_one_person_do_not_tell_how_many_tastes_there_are() -> None:
    rows = [{"model_a": "x", "model_b": "y", "winner": w} for w in ("model_a", "model_b") * 6]
    with pytest.raises(FeedbackError, match="all answers are those of one person"):
        fit(rows, "low-rank", [1, 2], "items")


def test_vote_files_that_name_workers_are_of_many_people() -> None:
    rows = [{"model_a": "x", "model_b": "y", "winner": "model_a", "worker": f"w{i % 2}"} for i in range(8)]
    assert fit(rows, "low-rank", 1, "items").people_ == ("w0", "w1")
