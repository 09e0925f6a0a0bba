"""Rewards that were trained or saved, measured: accuracy by part, both orders, what they lean on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.errors import FeedbackError, OptionError
from pluralign.evaluate.rewards import REWARD, evaluate_reward
from pluralign.feedback import Feedback, Judgement
from pluralign.feedback.record import Message, Response
from pluralign.models import Answers, Compositional, Features, Head, PeerReview, ReliableModel, RewardModel, Ties
from pluralign.train import Run, TextReward

SUBSETS = ("alpacaeval-easy", "donotanswer")
WARM, COLD = "With warm regards to you", "No"


def judgement(i: int, *, swapped: bool = False, good: bool = True, annotator: str | None = None) -> Judgement:
    """Pair i, WARM preferred but where `good` is false. swapped: sides exchanged, and who was shown first not."""
    texts = (WARM, f"{COLD} {i}")
    ranks, positions = ((1, 2) if good else (2, 1)), ((1, 2) if i % 3 else (2, 1))
    if swapped:
        texts, ranks, positions = texts[::-1], ranks[::-1], positions[::-1]
    return Judgement(
        prompt=(Message(f"Note {i}?"),),
        responses=tuple(Response((Message(text),)) for text in texts),
        ranks=ranks,
        positions=positions,
        annotator=annotator or f"u{i % 3}",
        meta={"subset": SUBSETS[i % 2]},
    )


HELD = Feedback.from_judgements([judgement(i, good=i % 5 > 0) for i in range(90)])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    feedback = Feedback.from_judgements(judgement(i) for i in range(40))
    return pluralign.align(
        feedback,
        "lab:tiny",
        reward=True,
        output_dir=tmp_path_factory.mktemp("runs") / "reward",
        eval_data=0.3,
        max_steps=4,
        pretrain_steps=2,
        learning_rate=1e-3,
        save_strategy="no",
    )


def test_a_run_that_trained_a_reward_is_measured_on_the_rows_it_held_out(run: Run) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(run.path)])
    assert done.exit_code == 0, done.output
    assert "accuracy, reward: " in done.output
    assert "prefers the longer of two: reward " in done.output
    assert "prefers the one shown first: reward " in done.output
    assert "calibration error: " in done.output
    assert f"next: pluralign report {run.path}" in done.output
    figures = run.evaluations()["heldout"]
    margins, at = TextReward.load(run).margins(run.heldout())
    assert figures["n"] == len(at) == len(run.heldout())
    assert figures["accuracy"][REWARD]["value"] == pytest.approx((margins > 0).mean())
    assert figures["margins"]["mean"]["value"] == pytest.approx(margins.mean())
    assert figures["data"]["dropped"] == figures["data"]["cut"] == {}
    assert {pair["chosen"] for pair in figures["pairs"]} == {WARM}
    page = pluralign.report(run)
    text = page.read_text()
    assert "What the reward leans on" in text
    assert "What changed against the reference" not in text
    assert json.loads(page.with_suffix(".json").read_text())["runs"]["reward"]["verdict"].startswith("It ranks")


def test_parts_people_the_worst_and_the_ceiling_are_told(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "new.parquet"
    twice = [*HELD, *(judgement(i, good=True, annotator="other") for i in range(10))]
    Feedback.from_judgements(twice).write(file)
    done = CliRunner().invoke(app, ["evaluate", str(run.path), str(file), "--slice", "meta.subset"])
    assert done.exit_code == 0, done.output
    figures = run.evaluations()["new"]
    assert figures["n"] == 100
    parts = {(s["by"], s["value"]): s["accuracy"][REWARD] for s in figures["slices"]}
    for subset in SUBSETS:
        own = [j for j in twice if j.meta["subset"] == subset]
        assert parts["meta.subset", subset]["n"] == len(own)
        assert parts["meta.subset", subset]["low"] < parts["meta.subset", subset]["value"]
    margins, at = TextReward.load(run).margins(pluralign.read(file))
    said = [twice[i] for i in at]
    longer = np.array([1.0 if j.ranks == (1, 2) else -1.0 for j in said])
    shown = np.array([1.0 if j.ranks == j.positions else -1.0 for j in said])
    assert figures["longer"]["reward"]["value"] == pytest.approx((longer * margins > 0).mean())
    assert figures["first"]["reward"]["value"] == pytest.approx((shown * margins > 0).mean())
    assert {by for by, _ in parts} >= {"meta.subset", "annotator", "longer side"}
    enough = [s["accuracy"][REWARD]["value"] for s in figures["slices"] if s["by"] == "annotator" and not s["small"]]
    assert figures["worst"]["annotator"]["value"] == min(enough)
    assert figures["ceiling"]["pairs"] == 10
    assert figures["ceiling"]["others"]["value"] == pytest.approx(0.8)
    # Of 100 preferred responses 18 are the shorter ones.
    assert figures["longer"]["people"]["value"] == pytest.approx(0.82)
    first = [(j.ranks == (1, 2)) == (j.positions == (1, 2)) for j in twice]
    assert figures["first"]["people"]["value"] == pytest.approx(np.mean(first))
    bench = {row["name"]: row for row in figures["rewardbench"]["table"]}
    assert bench["Chat"]["accuracy"] == pytest.approx(parts["meta.subset", "alpacaeval-easy"]["value"])
    assert bench["Safety"]["n"] == parts["meta.subset", "donotanswer"]["n"]
    assert "RewardBench, Chat: " in done.output


def test_which_side_a_response_stands_on_changes_no_figure(run: Run) -> None:
    turned = Feedback.from_judgements([judgement(i, good=i % 5 > 0, swapped=i % 2 == 0) for i in range(90)])
    reward = TextReward.load(run)
    one, two = (evaluate_reward(reward, data).figures for data in (HELD, turned))
    for name in ("accuracy", "strict", "difference", "calibration", "longer", "first", "worst", "margins"):
        assert one[name] == pytest.approx(two[name]) if name == "strict" else _near(one[name], two[name]), name


def _near(one: Any, two: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_near(value, two[name]) for name, value in one.items())
    if isinstance(one, list):
        return len(one) == len(two) and all(map(_near, one, two))
    return bool(one == two or (isinstance(one, float) and one == pytest.approx(two, abs=1e-5)))


def test_a_folder_with_a_classifier_is_a_reward(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "classifier"
    shutil.copytree(run.path / "model", folder)
    figures = pluralign.evaluate(folder, HELD, name="x").figures
    assert json.loads((folder / "evaluation" / "x.json").read_text())["n"] == 90
    assert _near(figures["accuracy"], pluralign.evaluate(run, HELD, name="x").figures["accuracy"])
    with pytest.raises(FeedbackError, match="holds no rows out"):
        pluralign.evaluate(folder)


def test_pairs_that_cannot_be_read_are_counted(run: Run) -> None:
    empty = Judgement(
        prompt=(Message("?"),),
        responses=(Response((), model="a"), Response((), model="b")),
        ranks=(1, 2),
        meta={"subset": "x"},
    )
    found = evaluate_reward(TextReward.load(run), Feedback.from_judgements([*HELD, empty])).figures
    assert (found["n"], found["data"]["used"], found["data"]["rows"]) == (90, 90, 91)
    assert sum(found["data"]["dropped"].values()) == 1
    short = TextReward.load(run, max_length=10)
    cut = evaluate_reward(short, HELD).figures["data"]
    assert sum(cut["cut"].values()) + sum(cut["dropped"].values()) > 0
    with pytest.raises(FeedbackError, match="can be read by this reward"):
        evaluate_reward(TextReward.load(run), Feedback.from_judgements([empty]))


@pytest.fixture
def features() -> Features:
    return Features("items")


MODELS = {
    "ties": lambda: RewardModel(Head(91), Ties("rao-kupper"), epochs=3),
    "reliable": lambda: ReliableModel(Head(91), epochs=3),
    "peers": lambda: PeerReview(Head(91), noise=0.1, epochs=3),
    "compositional": lambda: Compositional(strengths=[1.0]),
}


@pytest.mark.parametrize(
    "kind", ["ties", "compositional", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("reliable", "peers"))]
)
def test_every_kind_of_saved_reward_is_measured(kind: str, features: Features, tmp_path: Path) -> None:
    model: Any = MODELS[kind]()
    model.features = features
    model.fit(HELD)
    HELD.write(tmp_path / "held.parquet")
    folder = model.save(tmp_path / "model")
    done = CliRunner().invoke(app, ["evaluate", str(folder), str(tmp_path / "held.parquet")])
    assert done.exit_code == 0, done.output
    figures = json.loads((folder / "evaluation" / "held.json").read_text())
    assert figures["accuracy"][REWARD]["value"] == pytest.approx(model.accuracy(HELD))
    assert figures["worst"]
    assert "next:" not in done.output


def test_a_model_of_named_features_is_measured_on_columns(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = [
        {"response_a": "x", "response_b": "y", "winner": "response_a" if a[0] > b[0] else "response_b", "kind": k % 2,
         "scores_a": a.tolist(), "scores_b": b.tolist()}
        for k, (a, b) in enumerate(draw.normal(size=(80, 2, 2)))
    ]  # fmt: skip
    model = Compositional(["helpful", "long"], strengths=[1.0])
    model.features = Features("features:scores")
    feedback = pluralign.read([*rows, rows[0] | {"winner": "tie"}])
    folder = model.fit(feedback).save(tmp_path / "model")
    figures = pluralign.evaluate(folder, feedback, slices=["meta.kind"]).figures
    assert (figures["n"], figures["accuracy"][REWARD]["value"]) == (80, pytest.approx(model.accuracy(feedback)))
    assert figures["accuracy"][REWARD]["value"] > 0.95
    assert figures["worst"]["meta.kind"]["n"] == 40


def test_what_cannot_be_measured_is_one_sentence(run: Run, tmp_path: Path) -> None:
    bare = RewardModel(Head(1), epochs=1).fit(Answers.of([[0.0]], [[1.0]], [1.0]))
    with pytest.raises(OptionError, match="was fitted to vectors"):
        pluralign.evaluate(bare, HELD)
    with pytest.raises(OptionError, match="leave the scorer out"):
        pluralign.evaluate(run, HELD, scorer=lambda prompt, response: 0.0)
    ties = Feedback.from_judgements([Judgement(prompt=(), responses=HELD[0].responses, ranks=(1, 1))])  # type: ignore[union-attr]
    with pytest.raises(FeedbackError, match="prefers one of two"):
        pluralign.evaluate(run, ties)
    shutil.copytree(run.path, tmp_path / "half")
    shutil.rmtree(tmp_path / "half" / "model")
    with pytest.raises(OptionError, match="is not finished; continue it with align --resume"):
        pluralign.evaluate(tmp_path / "half")
    with pytest.raises(OptionError, match="is not a run"):
        pluralign.evaluate(tmp_path)
