"""The loop: rounds that can be audited, replayed and gone on with, whatever the learner."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_sampler import PlainSampler
from typer.testing import CliRunner

from pluralign.cli import app
from pluralign.errors import OptionError
from pluralign.lab.tiny import build
from pluralign.online import OnlineRun, direct, run
from pluralign.online.judges import BudgetSpent, Scored, Unanswered
from pluralign.online.learners import accelerated
from pluralign.policy.load import load, save
from pluralign.policy.reference import weights_fingerprint
from pluralign.train import align

PROMPTS = [f"Say {word}: " for word in ("red", "blue", "green", "grey", "pink", "gold")]
SMALL: dict[str, Any] = {
    "rounds": 1, "max_new_tokens": 4, "monitor_prompts": 2, "minibatch": 2, "sampler": PlainSampler,
    "learning_rate": 1e-3,
}  # fmt: skip


def vowels(prompt: str, response: str) -> float:
    return float(sum(letter in "aeiou" for letter in response)) - 0.1 * len(response)


JUDGE = Scored(vowels, name="vowels")


class Compares:
    """A judge of pairs alone, that leaves one question in three without an answer."""

    name = "compares"

    def __init__(self) -> None:
        self.asked = 0

    def prob(self, prompts: Sequence[Any], first: Sequence[str], second: Sequence[str]) -> Any:
        self.asked += len(first)
        found = JUDGE.prob(prompts, first, second)
        return [p if len(a + b) % 3 else math.nan for p, a, b in zip(found, first, second, strict=True)]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "start"
    save(folder, *build("tiny", PROMPTS, steps=2))
    return str(folder)


@pytest.fixture(scope="module")
def done(start: str, tmp_path_factory: pytest.TempPathFactory) -> OnlineRun:
    folder = tmp_path_factory.mktemp("runs") / "dpo"
    return run(PROMPTS, start, "dpo", judge=JUDGE, gold=JUDGE, output_dir=folder, **SMALL | {"rounds": 2})


def test_a_round_leaves_feedback_that_says_what_was_drawn_and_judged(done: OnlineRun) -> None:
    assert [m["round"] for m in done.metrics] == [1, 2]
    feedback = done.feedback(2)
    assert feedback.kinds["pairs"] == len(feedback) == 4
    assert feedback.history[-1] == {"online": "dpo", "round": 2, "questions": 4}
    for row in feedback:
        assert [response.model for response in row.responses] == ["previous", "previous"]
        words = "".join(m.content or "" for m in row.prompt)
        texts = ["".join(m.content or "" for m in r.messages) for r in row.responses]
        assert row.probability == pytest.approx(JUDGE.prob([words], texts[:1], texts[1:])[0])
        assert (row.annotator, row.annotator_kind) == ("vowels, scale 1", "model")
        assert all(logp < 0 for logp in row.meta["logp"])
        assert len(row.meta["seed"]) == len(row.meta["tokens"]) == 2


def test_a_round_is_a_run_and_can_be_replayed(done: OnlineRun, tmp_path: Path) -> None:
    first, second = done.rounds
    assert weights_fingerprint(second.load_model()[0]) == weights_fingerprint(done.load_model()[0])
    assert weights_fingerprint(first.load_model()[0]) != weights_fingerprint(second.load_model()[0])
    assert weights_fingerprint(second.load_reference()) == second.reference["fingerprint"]
    assert [m["step"] for m in second.metrics] == [1, 2]
    replayed = align(
        str(second.path / "feedback.parquet"), str(first.path / "model"), "dpo", output_dir=tmp_path / "again",
        reference_model=done.config["options"]["model"], eval_data=0, max_steps=1, save_strategy="no",
    )  # fmt: skip
    assert replayed.finished
    assert replayed.data["train"]["used"] == 4


def test_a_finished_run_goes_on_for_more_rounds(done: OnlineRun, start: str, tmp_path: Path) -> None:
    whole = run(PROMPTS, start, "dpo", judge=JUDGE, output_dir=tmp_path / "parts", **SMALL)
    judge = Compares()
    more = run(resume=True, judge=JUDGE, output_dir=whole.path, rounds=2, sampler=PlainSampler)
    assert judge.asked == 0
    assert weights_fingerprint(more.load_model()[0]) == weights_fingerprint(done.load_model()[0])
    with pytest.raises(OptionError, match="max_new_tokens was 4 and is now 5"):
        run(prompts=PROMPTS, judge=JUDGE, output_dir=whole.path, resume=True, max_new_tokens=5)
    with pytest.raises(OptionError, match="the prompts are not those the run began with"):
        run(prompts=PROMPTS[1:], judge=JUDGE, output_dir=whole.path, resume=True)
    with pytest.raises(OptionError, match="already holds a run"):
        run(PROMPTS, start, "dpo", judge=JUDGE, output_dir=whole.path)


def test_no_answer_is_no_tie(start: str, tmp_path: Path) -> None:
    judge = Compares()
    found = run(PROMPTS, start, "dpo", judge=judge, output_dir=tmp_path / "run", attempts=1, **SMALL)
    rows = list(found.feedback(1))
    silent = [row for row in rows if row.meta.get("answer") == "none"]
    assert 0 < len(silent) < len(rows)
    assert all(row.probability is None and row.ranks is None for row in silent)
    assert found.rounds[0].data["train"] == {
        "used": 4 - len(silent), "dropped": {"no answer": len(silent)}, "cut": {}, "examples": {}
    }  # fmt: skip
    assert found.metrics[0]["samples/no_answer"] == len(silent) / len(rows)


def test_the_budget_stops_the_run_and_a_larger_one_goes_on(start: str, tmp_path: Path) -> None:
    options = {**SMALL, "monitor_prompts": 0, "rounds": 2, "attempts": 1}
    with pytest.raises(BudgetSpent, match="budget of 8 questions has 2 left"):
        run(PROMPTS, start, "dpo", judge=JUDGE, output_dir=tmp_path / "run", budget=8, **options)
    judge = Compares()
    judge.name = JUDGE.name
    found = run(PROMPTS, judge=judge, output_dir=tmp_path / "run", resume=True, budget=12, **options)
    # Six answers of the first round were there.
    assert judge.asked == 6
    assert len(found.rounds) == 2
    # What it went on with need not be given again.
    assert found.config["options"]["budget"] == found.config["online"]["budget"] == 12


@pytest.mark.parametrize(
    ("learner", "options", "laws"),
    [
        ("inpo", {"eta": 0.5, "tau": 0.1}, {"previous"}),
        ("nash_md", {}, {"previous", "previous^0.5 reference^0.5"}),
        ("egpo", {}, None),
        (accelerated(direct("dpo")), {"anchor": "previous"}, {"previous"}),
        ("simpo", {}, {"previous"}),
    ],
)
def test_learners_of_preferences(start: str, tmp_path: Path, learner: str, options: Any, laws: Any) -> None:
    found = run(PROMPTS, start, learner, judge=JUDGE, output_dir=tmp_path / "run", **SMALL, **options)
    before, after = load(start)[0], found.load_model()[0]
    assert weights_fingerprint(before) != weights_fingerprint(after)
    drawn = {response.model for row in found.feedback(1) for response in row.responses}
    assert laws is None or drawn == laws
    assert np.isfinite(found.metrics[0]["loss"])


class Late(Compares):
    def prob(self, *_: Any) -> Any:
        raise Unanswered("too many questions", after=0.0)


def test_a_judge_that_never_answers_is_said_so(start: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no prompt has an answer to learn from"):
        run(PROMPTS, start, "dpo", judge=Late(), output_dir=tmp_path / "run", attempts=2, **SMALL)


def test_what_does_not_fit_is_said_before_anything_is_drawn(start: str, tmp_path: Path) -> None:
    for options, said in (
        ({"learner": "dpo"}, "learns from what a judge says; give one"),
        ({"learner": "inpo", "judge": JUDGE, "bata": 1}, "inpo does not use 'bata'"),
        ({"learner": "spo", "judge": JUDGE, "kl_target": 1.0}, "kl_target moves a beta, and spo has none"),
        ({"learner": "inpoo", "judge": JUDGE}, "there is no learner 'inpoo' .did you mean inpo"),
        ({"learner": "kto + inpo", "judge": JUDGE}, "inpo"),
        ({"learner": "dpo", "judge": "no_such_module:judge"}, "--judge no_such_module:judge: No module"),
        ({"learner": "dpo", "judge": "math"}, "--judge math: write it as module:name"),
        ({"learner": "dpo", "judge": "math:pi"}, "--judge math:pi is no judge, which has a name and prob"),
        ({"learner": "dpo", "judge": vowels}, "is no judge.*judges.Scored"),
        ({"learner": "remax", "judge": Compares()}, "remax compares with the reward of the most probable response"),
        ({"learner": "dpo", "judge": JUDGE, "samples": 1}, "needs 2 samples a prompt or more"),
    ):
        with pytest.raises(OptionError, match=said):
            run(PROMPTS, start, output_dir=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_the_command_line_runs_and_goes_on(start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from pluralign.online.judges import Scored\njudge = Scored(lambda p, r: -float(len(r)), name='short')\n"
    (tmp_path / "judge_of_this_test.py").write_text(source)
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": p, "completion": " yes"}) + "\n" for p in PROMPTS)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    shown = CliRunner().invoke(app, ["align", "--online", "--help"])
    assert "nash_md" in shown.output
    assert "--max-new-tokens" in shown.output
    folder = str(tmp_path / "run")
    given = ["align", str(tmp_path / "prompts.jsonl"), "--online", "--model", start, "--learner", "inpo", "-o", folder]
    rest = ["--judge", "judge_of_this_test:judge", "--max-new-tokens", "3", "--rounds", "1", "--monitor-prompts", "2"]
    done = CliRunner().invoke(app, [*given, *rest, "--eta", "0.5"])
    assert done.exit_code == 0, done.output
    # What is asked is in the folder.
    (tmp_path / "prompts.jsonl").unlink()
    more = CliRunner().invoke(app, ["align", "--online", "--resume", "-o", folder, "--rounds", "2"])
    assert more.exit_code == 0, more.output
    found = OnlineRun.open(folder)
    assert [len(found.feedback(n)) for n in (1, 2)] == [4, 4]
    assert found.config["objective_options"]["eta"] == 0.5


def test_several_processes_are_refused(start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OptionError, match="2 processes were launched, and learning while asking runs in one"):
        run(PROMPTS, start, "dpo", judge=JUDGE, output_dir=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run").exists()
