"""A run goes on only as the run that it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pluralign.errors import OptionError
from pluralign.train import Run, align
from pluralign.train.resume import newest_checkpoint

ROWS = [{"prompt": f"{i}?", "chosen": f" It is {i}", "rejected": " No."} for i in range(12)]
OPTIONS: dict[str, Any] = {"eval_data": 0, "pretrain_steps": 2, "max_steps": 4, "save_steps": 2, "logging_steps": 1}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return align(ROWS, "lab:tiny", "dpo", output_dir=tmp_path_factory.mktemp("run"), **OPTIONS)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"beta": 0.2}, "beta was 0.1 and is now 0.2"),
        ({"max_steps": 6}, "max_steps was 4 and is now 6"),
        ({"learning_rate": 1e-3}, "learning_rate was not given and is now 0.001"),
        ({"objective": "ipo"}, 'objective was "dpo" and is now "ipo"'),
        ({"max_length": 64}, "max_length was 1024 and is now 64"),
        ({"data": ROWS[:-1]}, "the feedback is not what the run began with"),
        ({"eval_data": ROWS[:4]}, "the held-out feedback is not what the run began with"),
    ],
)
def test_another_run_is_not_a_continuation(begun: Run, changed: dict[str, Any], said: str) -> None:
    before = (begun.path / "config.json").read_text()
    options = {"data": ROWS, "model": "lab:tiny", "objective": "dpo", "output_dir": begun.path, **OPTIONS, **changed}
    with pytest.raises(OptionError, match="cannot go on") as refused:
        align(resume=True, **options)
    assert said in str(refused.value)
    assert (begun.path / "config.json").read_text() == before


def test_a_default_written_out_is_no_change(begun: Run) -> None:
    again = align(ROWS, "lab:tiny", "dpo", output_dir=begun.path, resume=True, beta=0.1, **OPTIONS)
    assert [m["step"] for m in again.metrics] == [1, 2, 3, 4]


def test_other_processes_or_other_weights_are_refused(begun: Run, tmp_path: Path) -> None:
    config = json.loads((begun.path / "config.json").read_text())
    begun.write("config.json", {**config, "processes": 2})
    with pytest.raises(OptionError, match="it began with 2 processes and there are now 1"):
        align(ROWS, "lab:tiny", "dpo", output_dir=begun.path, resume=True, **OPTIONS)
    begun.write("config.json", config)

    aligned, tokenizer = begun.load_model()
    for part in (begun.load_reference(), tokenizer):
        part.save_pretrained(tmp_path / "start")
    options = {key: value for key, value in OPTIONS.items() if key != "pretrain_steps"}
    align(ROWS, str(tmp_path / "start"), "dpo", output_dir=tmp_path / "run", **options)
    aligned.save_pretrained(tmp_path / "start")
    with pytest.raises(OptionError, match="are not those the run began with"):
        align(ROWS, str(tmp_path / "start"), "dpo", output_dir=tmp_path / "run", resume=True, **options)


def test_what_was_being_written_when_the_run_was_killed_is_passed_over(begun: Run) -> None:
    half = begun.path / "checkpoint-6"
    half.mkdir()
    (half / "trainer_state.json").write_text('{"global_step": ')
    found = newest_checkpoint(begun.path)
    assert found is not None
    assert found.name == "checkpoint-4"
    whole = len(begun.metrics)
    with (begun.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    assert len(begun.metrics) == whole


def test_a_starting_model_left_by_a_failed_attempt_is_not_taken_for_this_one(tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        align(ROWS, "lab:tiny", "dpo", output_dir=tmp_path, **{**OPTIONS, "lora": {"target_modules": ["nowhere"]}})
    other = [{**row, "chosen": row["chosen"] + " now"} for row in ROWS]
    align(other, "lab:tiny", "dpo", output_dir=tmp_path, **OPTIONS)
    fresh = align(other, "lab:tiny", "dpo", output_dir=tmp_path / "fresh", **OPTIONS)
    assert Run.open(tmp_path).reference["fingerprint"] == fresh.reference["fingerprint"]
