"""Options of `align` from files and the command line: of the right type, within bounds, used, or refused at once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from pluralign.cli.align import extra_options
from pluralign.errors import FeedbackError, OptionError
from pluralign.train import align
from pluralign.train.options import AlignOptions, resolve

PAIRS = [{"prompt": f"{i}?", "chosen": f" It is {i}.", "rejected": " No."} for i in range(8)]


def refused(folder: Path, **options: Any) -> str:
    """The sentence `align` says, before it has made anything."""
    with pytest.raises((OptionError, FeedbackError)) as told:
        align(PAIRS, "lab:tiny", output_dir=folder / "run", **{"eval_data": 0, **options})
    assert not (folder / "run").exists()
    return str(told.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("learning_rate", "fast", "valid number"),
        ("learning_rate", -1.0, "greater than or equal to 0"),
        ("learning_rate", float("nan"), "finite"),
        ("per_device_train_batch_size", "four", "valid integer"),
        ("per_device_train_batch_size", 2.5, "valid integer"),
        ("per_device_train_batch_size", 0, "greater than or equal to 1"),
        ("gradient_accumulation_steps", [1], "valid integer"),
        ("gradient_accumulation_steps", 0, "greater than or equal to 1"),
        ("max_steps", "many", "valid integer"),
        ("max_steps", 0, "no step"),
        ("num_train_epochs", 0, "greater than 0"),
        ("num_train_epochs", "one", "valid number"),
        ("weight_decay", "x", "valid number"),
        ("logging_steps", -1, "greater than 0"),
        ("gradient_checkpointing", "yes please", "valid boolean"),
        ("lora", "yes", "valid integer"),
    ],
)
def test_a_wrong_type_or_an_impossible_number_is_refused_by_name(
    name: str, value: object, words: str, tmp_path: Path
) -> None:
    said = refused(tmp_path, **{name: value})
    assert said.startswith(f"option '{name}' = {value!r}: ")
    assert words in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lerning_rate": 1}, "did you mean learning_rate"),
        # The stock loss reads it, ours does not.
        ({"label_smoothing_factor": 0.1}, "dpo does not use 'label_smoothing_factor'"),
        ({"length_column_name": "n"}, "nor does align or the trainer"),
        ({"eval_strategy": "steps"}, "needs held-out rows"),
        ({"eval_strategy": "sometimes"}, "not a valid IntervalStrategy"),
        ({"train_sampling_strategy": "batch_rebalance"}, "is not one of random, sequential, group_by_length"),
        ({"report_to": "tensorbord"}, "there is no such tracker; there are .*tensorboard"),
    ],
)
def test_what_would_be_ignored_or_fail_later_is_refused(options: dict[str, object], words: str, tmp_path: Path) -> None:
    assert re.search(words, refused(tmp_path, **options))


def test_a_tracker_whose_package_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise RuntimeError("requires the package xyz")

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "tensorboard", missing)
    assert refused(tmp_path, report_to=["tensorboard"]) == "report_to tensorboard: requires the package xyz"


def test_only_trackers_that_were_asked_for_hear_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[dict[str, float]] = []

    class Tracker(TrainerCallback):
        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            heard.append(dict(logs))

    for name in integration_utils.INTEGRATION_TO_CALLBACK:
        monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, name, Tracker)
    quiet = {"eval_data": 0, "max_steps": 1, "logging_steps": 1, "pretrain_steps": 1, "save_strategy": "no"}
    align(PAIRS, "lab:tiny", output_dir=tmp_path / "silent", **quiet)
    assert not heard
    align(PAIRS, "lab:tiny", output_dir=tmp_path / "told", report_to=["tensorboard"], **quiet)
    assert "rewards/margins" in heard[0]


def test_numbers_and_flags_that_yaml_reads_as_text_are_taken_as_meant(tmp_path: Path) -> None:
    text = "model: lab:tiny\nlearning_rate: 1e-5\nmax_steps: '7'\nbeta: 2e-1\ngradient_checkpointing: 'true'\n"
    settings, _, own, training = resolve(yaml.safe_load(text))
    assert settings.model == "lab:tiny"
    assert own["beta"] == 0.2
    assert training == {"learning_rate": 1e-5, "max_steps": 7, "gradient_checkpointing": True}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: lab:tiny\nbetta: 0.1\n", "does not use 'betta'.*did you mean"),
        ("model: lab:tiny\nbeta: high\n", "dpo: option 'beta' = 'high'"),
        ("model: [1, 2]\n", "option 'model'"),
        ("model: lab:tiny\nmax_length: long\n", "option 'max_length' = 'long'"),
        ("- model\n- beta\n", "should hold option: value lines, and holds a list"),
        ("model: 'x\n", "is not valid YAML"),
        ("", "should hold option: value lines"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_in_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(text)
    assert re.search(words, refused_config(tmp_path))


def refused_config(folder: Path) -> str:
    with pytest.raises(OptionError) as told:
        align(PAIRS, config=folder / "run.yaml", output_dir=folder / "run")
    assert "\n" not in str(told.value)
    return str(told.value)


def test_columns_to_ignore_are_named_as_the_messages_say() -> None:
    assert AlignOptions(model="x", **extra_options(["--ignore", "margin"])).ignore == ["margin"]
    assert AlignOptions(model="x", ignore="margin, beta").ignore == ["margin", "beta"]  # type: ignore[arg-type]
    assert AlignOptions(model="x", ignore=["margin"]).ignore == ["margin"]


def test_columns_are_mapped_from_the_command_line(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from pluralign.cli import app

    source = tmp_path / "rows.jsonl"
    source.write_text(json.dumps({"q": "1?", "yes": " It is 1.", "no": " No."}) + "\n")
    words = ["align", str(source), "--model", "lab:tiny", "--columns", "prompt=q,chosen=yes,rejected=no"]
    told = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "run")]).exception
    # Read as asked, it gets as far as holding rows out of one.
    assert re.search("no rows can be held out: .*; --eval-data 0 holds out none", str(told))


def test_feedback_without_a_usable_row_says_why(tmp_path: Path) -> None:
    rows = [{**row, "weight": -1.0} for row in PAIRS]
    with pytest.raises(FeedbackError, match=r"no row of the feedback can be used \(8 .*\)"):
        align(rows, "lab:tiny", output_dir=tmp_path / "run")
