"""Batches of so many tokens: every row once, the loss of the step exact, however it is cut, resumed or spread."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pluralign
from pluralign.errors import OptionError
from pluralign.train import Run, align
from pluralign.train.order import TokenBatches

QUIET: dict[str, Any] = {
    "eval_data": 0, "pretrain_steps": 2, "logging_steps": 1, "save_strategy": "no", "optim": "sgd",
    "learning_rate": 0.1,
}  # fmt: skip


def pairs(n: int) -> list[dict[str, Any]]:
    return [
        {"prompt": f"{i}?", "chosen": f" It is {i}" + " so" * (i * i % 11), "rejected": " No.", "weight": 1 + i % 3}
        for i in range(n)
    ]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return dict(run.load_model()[0].state_dict())


def assert_close(a: Run, b: Run, tolerance: float) -> None:
    first, second = weights(a), weights(b)
    for name, values in first.items():
        torch.testing.assert_close(second[name], values, atol=tolerance, rtol=0)


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    tokens=st.integers(1, 90),
    fill=st.integers(1, 4),
    order=st.sampled_from(["random", "sequential", "group_by_length"]),
)
def test_every_row_is_in_one_batch_and_no_batch_is_over_the_budget(
    lengths: list[int], tokens: int, fill: int, order: str
) -> None:
    sampler = TokenBatches(lengths, 3, tokens, order=order, fill=fill)
    epochs = []
    for epoch in range(3):
        sampler.sampler.set_epoch(epoch)
        batches = list(sampler)
        assert batches == list(sampler)
        assert len(batches) == len(sampler)
        assert len(batches) % fill == 0
        assert sorted(i for batch in batches for i in batch if i >= 0) == list(range(len(lengths)))
        assert all(len(batch) == 1 or sum(lengths[i] for i in batch) <= tokens for batch in batches)
        epochs.append(batches)
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    if order == "sequential":
        assert [i for batch in epochs[2] for i in batch if i >= 0] == list(range(len(lengths)))
    else:
        # Rows of like length: no batch reaches into another's range.
        spans = sorted((min(lengths[i] for i in b), max(lengths[i] for i in b)) for b in epochs[0] if b != [-1])
        assert all(low >= high for (_, high), (low, _) in pairwise(spans))


def test_batches_are_nearly_full_and_change_their_places() -> None:
    lengths = [1 + (i * 37) % 50 for i in range(400)]
    sampler = TokenBatches(lengths, 0, 500)
    assert len(sampler) <= sum(lengths) / 500 * 1.1 + 1
    orders = []
    for epoch in range(2):
        sampler.sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] != orders[1]
    assert [i for batch in orders[0] for i in batch] != sorted(range(400), key=lambda i: -lengths[i])


@pytest.mark.parametrize("objective", ["dpo", "bco"])
def test_a_step_of_token_batches_is_the_weighted_mean_of_its_rows(
    objective: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A whole epoch in one step, in one batch of all rows and in as many as the budget makes of them."""
    options = QUIET | {"num_train_epochs": 3}
    whole = align(
        pairs(10), "lab:tiny", objective, output_dir=tmp_path / "whole", per_device_train_batch_size=10, **options
    )
    capsys.readouterr()
    cut = align(
        pairs(10), "lab:tiny", objective, output_dir=tmp_path / "cut", max_tokens_per_batch=40,
        gradient_accumulation_steps=50, **options,
    )  # fmt: skip
    said = " ".join(capsys.readouterr().err.split())
    assert "of at most 40 tokens" in said
    assert int(said.partition("batches: ")[2].split()[0]) > 3
    assert len(cut.metrics) == len(whole.metrics) == 3
    for a, b in zip(cut.metrics, whole.metrics, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=2e-5)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3, abs=1e-4)
    assert_close(whole, cut, 2e-6)


def test_a_run_resumed_within_an_epoch_is_the_run_never_stopped(tmp_path: Path) -> None:
    options = QUIET | {
        "max_tokens_per_batch": 40, "gradient_accumulation_steps": 2, "max_steps": 7, "save_strategy": "steps",
        "save_steps": 1, "optim": "adamw_torch", "learning_rate": 1e-3,
    }  # fmt: skip
    whole = align(pairs(14), "lab:tiny", "dpo", output_dir=tmp_path / "whole", **options)
    for stopped in (2, 5):
        broken = tmp_path / f"stopped-{stopped}"
        shutil.copytree(whole.path, broken)
        shutil.rmtree(broken / "model")
        for step in range(stopped + 1, 8):
            shutil.rmtree(broken / f"checkpoint-{step}")
        again = align(pairs(14), "lab:tiny", "dpo", output_dir=broken, resume=True, **options)
        assert [m["loss"] for m in again.metrics] == [m["loss"] for m in whole.metrics]
        assert_close(whole, again, 0)


SCRIPT = """
import json, sys
from pluralign.train import align
align(**json.loads(sys.argv[1]))
"""


def test_two_processes_share_the_batches_of_one(tmp_path: Path) -> None:
    options = QUIET | {
        "data": [{**row, "weight": float(row["weight"])} for row in pairs(14)], "model": "lab:tiny",
        "num_train_epochs": 2, "max_tokens_per_batch": 40, "use_cpu": True,
    }  # fmt: skip
    one = align(output_dir=tmp_path / "one", gradient_accumulation_steps=2, **options)
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = str(Path(pluralign.__file__).parents[1])
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    given = json.dumps(options | {"output_dir": str(tmp_path / "two")})
    done = subprocess.run(
        [sys.executable, *launch, str(script), given], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    two = Run.open(tmp_path / "two")
    assert len(one.metrics) > 4
    assert [m["loss"] for m in two.metrics] == pytest.approx([m["loss"] for m in one.metrics], abs=1e-5)
    assert_close(one, two, 1e-5)


@pytest.mark.parametrize("name", ["per_device_train_batch_size", "auto_find_batch_size", "dataloader_drop_last"])
def test_two_ways_to_say_what_fits_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=f"max_tokens_per_batch says what fits into a batch, and so does {name}"):
        align(pairs(4), "lab:tiny", output_dir=tmp_path / "run", max_tokens_per_batch=40, **{**QUIET, name: 1})
