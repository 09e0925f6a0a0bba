"""Judges that fail, cost and forget: every answer is counted, kept and paid for once."""

import json
import math

import numpy as np
import pytest

from pluralign.errors import FeedbackError, OptionError
from pluralign.feedback.record import Message
from pluralign.online.journal import Journal
from pluralign.online.judges import Budget, BudgetSpent, Judge, Matrix, Recorded, Rewarding, Scored, Unanswered

CYCLE = [[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]]
NAMES = ["a", "b", "c"]


class Scripted:
    """Gives what the script says, call by call; an exception is raised; afterwards always 0.75."""

    name = "scripted"

    def __init__(self, *script):
        self.script, self.calls = list(script), []

    def prob(self, prompts, first, second):
        self.calls.append(list(zip(prompts, first, second, strict=True)))
        said = self.script.pop(0) if self.script else [0.75] * len(prompts)
        if isinstance(said, BaseException):
            raise said
        return said


class Waits(list):
    def __call__(self, seconds):
        self.append(seconds)


def test_the_interface_is_one_method_and_a_name():
    assert isinstance(Matrix(CYCLE), Judge)
    assert not isinstance(Matrix(CYCLE), Rewarding)
    assert isinstance(Scored(lambda x, y: 0.0, name="zero"), Rewarding)


def test_a_matrix_says_what_it_holds_cycles_included():
    judge = Matrix(CYCLE, NAMES)
    every = [(i, j) for i in range(3) for j in range(3)]
    said = judge.prob(["x"] * 9, [NAMES[i] for i, _ in every], [NAMES[j] for _, j in every])
    assert said.tolist() == [CYCLE[i][j] for i, j in every]
    with pytest.raises(OptionError, match="'d' is not in"):
        judge.prob(["x"], ["a"], ["d"])
    for wrong in ([[0.5, 0.9], [0.2, 0.5]], [[0.5, 2.0], [-1.0, 0.5]], [[0.5, np.nan], [np.nan, 0.5]], [[0.5]] * 2):
        with pytest.raises(OptionError):
            Matrix(wrong)


def test_a_question_is_asked_once_and_counted_once():
    inner = Scripted()
    judge = Recorded(inner)
    for _ in range(3):
        assert judge.prob(["x", "x", "y"], ["a", "a", "a"], ["b", "b", "b"]).tolist() == [0.75] * 3
    assert judge.asked == 2
    assert inner.calls == [[("x", "a", "b"), ("y", "a", "b")]]
    # The other way round is another question: judges may care who stands first.
    judge.prob(["x"], ["b"], ["a"])
    assert judge.asked == 3


@pytest.mark.parametrize(
    "failure",
    [
        Unanswered("cannot tell"),
        TimeoutError("30 s"),
        ConnectionResetError("gone"),
        [],
        [None],
        ["good"],
        [math.nan],
        [1.7],
        [-0.1],
        [True],
        [0.1, 0.2],
    ],
    ids=str,
)
def test_what_is_no_answer_is_asked_again_and_then_recorded_as_none(failure, tmp_path):
    waits = Waits()
    judge = Recorded(Scripted(failure), sleep=waits)
    assert judge.prob(["x"], ["a"], ["b"]).tolist() == [0.75]
    assert judge.asked == 2
    assert waits == [1.0]

    inner, waits = Scripted(*[failure] * 4), Waits()
    judge = Recorded(inner, path=tmp_path / "answers.jsonl", sleep=waits)
    said = judge.prob(["x"], ["a"], ["b"])
    assert np.isnan(said).tolist() == [True]  # never 0.5
    assert (judge.asked, judge.unanswered, waits) == (4, 1, [1.0, 2.0, 4.0])
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert ["value" in line for line in lines] == [False, False, False, True]
    assert lines[-1]["value"] is None
    assert all(line["failed"] for line in lines)
    again = Recorded(inner, path=tmp_path / "answers.jsonl")
    assert np.isnan(again.prob(["x"], ["a"], ["b"])).all()
    assert len(inner.calls) == 4


def test_a_judge_that_says_when_to_come_again_is_obeyed():
    waits = Waits()
    judge = Recorded(Scripted(Unanswered("429", after=7.0), Unanswered("429", after=900.0)), sleep=waits)
    assert judge.prob(["x"], ["a"], ["b"]).tolist() == [0.75]
    assert waits == [7.0, 120.0]


def test_one_bad_question_does_not_take_the_others_with_it():
    class Choosy(Scripted):
        def prob(self, prompts, first, second):
            super().prob(prompts, first, second)
            if "bad" in prompts:
                raise Unanswered("no")
            return [0.25] * len(prompts)

    judge = Recorded(Choosy(), sleep=Waits())
    said = judge.prob(["x", "bad", "z"], ["a"] * 3, ["b"] * 3)
    np.testing.assert_array_equal(said, [0.25, np.nan, 0.25])
    assert judge.asked == 3 + 3 + 1 + 1


def test_rubbish_for_some_is_asked_again_for_those_alone():
    inner = Scripted([0.1, None, 0.3], [0.2])
    judge = Recorded(inner, sleep=Waits())
    assert judge.prob(["x", "y", "z"], ["a"] * 3, ["b"] * 3).tolist() == [0.1, 0.2, 0.3]
    assert [len(call) for call in inner.calls] == [3, 1]


def test_an_error_of_the_judges_own_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        Recorded(Scripted(ZeroDivisionError()), sleep=Waits()).prob(["x"], ["a"], ["b"])


def test_a_spent_budget_says_so_before_anything_is_asked():
    inner, budget = Scripted(), Budget(3)
    judge = Recorded(inner, budget=budget)
    judge.prob(["x", "y"], ["a"] * 2, ["b"] * 2)
    with pytest.raises(BudgetSpent, match="3 questions has 1 left and 2"):
        judge.prob(["x", "v", "w"], ["a"] * 3, ["b"] * 3)
    assert (judge.asked, budget.left) == (2, 1)
    judge.prob(["x", "v"], ["a"] * 2, ["b"] * 2)
    with pytest.raises(BudgetSpent):
        Recorded(Matrix(CYCLE), budget=budget).prob(["x"], ["0"], ["1"])  # shared
    # What is known costs nothing.
    assert judge.prob(["y"], ["a"], ["b"]).tolist() == [0.75]


def test_questions_asked_again_are_paid_again():
    judge = Recorded(Scripted([None]), budget=Budget(1), sleep=Waits())
    with pytest.raises(BudgetSpent):
        judge.prob(["x"], ["a"], ["b"])
    assert judge.asked == 1


@pytest.mark.parametrize("killed_after", range(5))
def test_a_kill_loses_at_most_the_batch_in_flight(killed_after, tmp_path):
    """The judge is killed in each of its batches; the second run pays for what the first had no answer to."""
    path = tmp_path / "answers.jsonl"
    prompts = [f"prompt {i}" for i in range(9)]
    first = Scripted(*[[0.6] * 2] * killed_after, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        Recorded(first, path=path, batch=2).prob(prompts, ["a"] * 9, ["b"] * 9)
    if path.exists():
        with path.open("ab") as file:
            file.write(b'{"key": "torn in the mid')
    second = Scripted()
    judge = Recorded(second, path=path, batch=2, budget=Budget(9))
    said = judge.prob(prompts, ["a"] * 9, ["b"] * 9)
    done = 2 * killed_after
    assert said.tolist() == [0.6] * done + [0.75] * (9 - done)
    assert (sum(map(len, second.calls)), judge.asked, judge.budget.left) == (9 - done, 9, 0)


def test_answers_belong_to_their_judge_prompt_order_and_roles(tmp_path):
    path = tmp_path / "answers.jsonl"
    Recorded(Scripted(), path=path).prob(["x"], ["a"], ["b"])
    other = Scripted([0.1])
    other.name = "other"
    assert Recorded(other, path=path).prob(["x"], ["a"], ["b"]).tolist() == [0.1]
    judge = Recorded(Scripted([0.2], [0.3]), path=path)
    assert judge.prob([(Message("x", role="user"),)], ["a"], ["b"]).tolist() == [0.2]
    assert judge.prob([(Message("x", role="system"),)], ["a"], ["b"]).tolist() == [0.3]


def test_rewards_are_kept_apart_from_chances(tmp_path):
    judge = Recorded(Scored(lambda x, y: len(y), name="length", scale=0.5), path=tmp_path / "a.jsonl")
    assert judge.reward(["x"], ["four"]).tolist() == [4.0]
    assert judge.prob(["x"], ["four"], ["ab"])[0] == pytest.approx(1 / (1 + math.exp(-1)))
    assert judge.asked == 2
    with pytest.raises(OptionError, match="compares and gives no rewards"):
        Recorded(Matrix(CYCLE)).reward(["x"], ["0"])


def test_a_damaged_journal_is_named_and_a_torn_end_dropped(tmp_path):
    path = tmp_path / "j.jsonl"
    Journal(path).append([{"a": 1}, {"a": 2}])
    path.write_bytes(path.read_bytes() + b'{"a": 3')
    journal = Journal(path)
    assert journal.lines == [{"a": 1}, {"a": 2}]
    journal.append([{"a": 4}])
    assert Journal(path).lines == [{"a": 1}, {"a": 2}, {"a": 4}]
    path.write_text('{"a": 1}\nbroken\n{"a": 2}\n')
    with pytest.raises(FeedbackError, match="line 2 is no JSON object"):
        Journal(path)
