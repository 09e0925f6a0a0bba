"""A run killed at any point goes on: nothing is paid twice, and it comes to what an unbroken one comes to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

POINTS = ("sampling:5", "judging:3", "learning:11", "stage:2", "model:2")
MORE = (
    "sampling:1", "sampling:12", "judging:1", "judging:2", "judging:6", "learning:1", "learning:3", "learning:16",
    "checkpoint:1", "checkpoint:2", "stage:1", "stage:3", "model:1", "model:3", "record:5", "record:6", "record:7",
    "record:9", "metrics:1", "metrics:2", "monitors:1", "monitors:2",
)  # fmt: skip


WEIGHED = ("model:2", "judging:3", "learning:3", "checkpoint:2", "stage:1", "stage:3", "record:6", "metrics:2")


@pytest.mark.parametrize(
    ("learner", "points"),
    [
        ("dpo", POINTS),
        ("constrained", ("learning:12",)),
        pytest.param("dpo", MORE, marks=pytest.mark.slow),
        pytest.param("constrained", WEIGHED, marks=pytest.mark.slow),
    ],
)
def test_nothing_is_paid_twice_and_the_end_is_the_same(tmp_path: Path, learner: str, points: tuple[str, ...]) -> None:
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(here.parents[1]), str(here)]),
    }
    done = subprocess.run(
        [sys.executable, str(here / "killed_runs.py"), str(tmp_path), learner, *points],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    unbroken = found.pop("unbroken-0")
    assert (unbroken["status"], unbroken["error"]) == (0, None)
    assert unbroken["samples"] == 2 + 2 * (4 * 2 + 2)
    if learner == "dpo":
        # In the second round the monitors also ask about the first one's samples.
        assert unbroken["questions"] == 2 * 4 + 2 + 4
    else:
        # The multipliers of the rewards are carried from step to step and from round to round.
        moved = [json.loads(line)["multiplier/brief"] for part in unbroken["steps"] for line in part.splitlines()]
        assert len(set(moved)) == len(moved) == 2 * 4 * 2
    for name, broken in found.items():
        assert broken["status"] == 9, f"{name}: the point was not passed ({broken['error']})"
        assert broken["error"] is None, name
        for what in ("samples", "questions", "weights", "metrics", "steps"):
            assert broken[what] == unbroken[what], f"{name}: {what}"


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
