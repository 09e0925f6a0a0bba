"""Verifiers: right answers, and programs that cheat, hang, gorge and call home."""

import time

import pytest

from pluralign.errors import OptionError
from pluralign.online.judges import Recorded, Rewarding
from pluralign.online.verifier import ExactAnswer, UnitTests, fenced, last_number, sandboxed

TESTS = "assert double(3) == 6"
GOOD = "def double(x): return 2 * x"


def test_answers_are_compared_as_numbers():
    judge = ExactAnswer(lambda prompt: prompt.split("=")[1], name="sums")
    assert isinstance(judge, Rewarding)
    said = ["12", "It is 12.0, I think", "012", "13", "I do not know", "12 or 13"]
    assert judge.reward(["7+5=12"] * 6, said).tolist() == [1, 1, 1, 0, 0, 0]
    assert judge.prob(["7+5=12"] * 3, ["12", "1", "12"], ["1", "12", "12"]).tolist() == [1.0, 0.0, 0.5]
    with pytest.raises(OptionError, match="cannot be read"):
        ExactAnswer(lambda prompt: "none", name="bad").reward(["x"], ["1"])


@pytest.mark.parametrize(
    ("text", "number"),
    [("-3", "-3"), ("1,234,567", "1234567"), ("0.50", "0.5"), ("007", "7"), ("1.000", "1"), ("0", "0")],
)
def test_numbers_are_read_as_they_are_written(text, number):
    assert last_number(text) == number


def test_programs_are_found_in_their_fences():
    assert fenced("a\n```py\nfirst\n```\n```\nsecond\n```") == "second\n"
    assert fenced("plain") == "plain"


def test_tests_decide():
    judge = UnitTests(lambda prompt: TESTS, name="double")
    programs = [GOOD, f"```python\n{GOOD}\n```", "def double(x): return x", "def double(x: return", ""]
    assert judge.reward(["x"] * 5, programs).tolist() == [1, 1, 0, 0, 0]
    verdict = sandboxed("def double(x): raise ValueError('no')", TESTS)
    assert (verdict.passed, verdict.why, verdict.said) == (False, "failed", "ValueError: no")


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("while True: pass", "time"),
        ("x = 'a' * 10**10", "memory"),
        ("x = [0]\nwhile True: x += x", "memory"),
        ("import os; os._exit(0)", "ended early"),
        ("raise SystemExit(0)", "failed"),
        ("import os; os.system('true')", "failed"),
        ("import subprocess; subprocess.run(['true'])", "failed"),
        ("import os; os.fork()", "failed"),
        ("import socket; socket.create_connection(('127.0.0.1', 80), 1)", "failed"),
        ("open('/tmp/pluralign-escaped', 'w')", "failed"),
    ],
)
def test_what_does_not_run_to_the_end_has_not_passed(program, why):
    verdict = sandboxed(f"{GOOD}\n{program}", TESTS, seconds=1, megabytes=200)
    assert (verdict.passed, verdict.why) == (False, why), verdict


def test_a_sleeper_is_stopped_by_the_clock():
    began = time.monotonic()
    assert sandboxed("import time; time.sleep(600)", TESTS, seconds=0.1).why == "time"
    assert time.monotonic() - began < 60


def test_a_program_has_an_empty_folder_and_environment_and_may_write_there():
    program = f"{GOOD}\nimport os\nassert not os.listdir('.') and 'PATH' not in os.environ\nopen('a', 'w').write('b')"
    assert sandboxed(program, TESTS).passed
    big = f"{GOOD}\nopen('a', 'wb').write(b'0' * 10**7)"
    assert not sandboxed(big, TESTS).passed


def test_verdicts_are_recorded_like_any_answer(tmp_path):
    judge = Recorded(UnitTests(lambda prompt: TESTS, name="double"), path=tmp_path / "a.jsonl")
    assert judge.prob(["x"], [GOOD], ["pass"]).tolist() == [1.0]
    assert Recorded(judge.judge, path=tmp_path / "a.jsonl").asked == 1
