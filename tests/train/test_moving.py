"""tr_dpo: a reference that follows the policy."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from safetensors.torch import load_file

from pluralign.errors import OptionError
from pluralign.train import Run, align

ROWS = [{"prompt": f"{i}?", "chosen": f" It is {i}" + " so" * (i % 4), "rejected": " No."} for i in range(16)]
QUIET = {
    "pretrain_steps": 2,
    "logging_steps": 1,
    "eval_strategy": "no",
    "eval_data": 0,
    "train_sampling_strategy": "sequential",
}


def losses(run: Run) -> list[float]:
    return [m["loss"] for m in run.metrics]


def trained(folder: Path, **options: object) -> Run:
    given = {"per_device_train_batch_size": 4, "max_steps": 6, "learning_rate": 1e-3, "save_strategy": "no"}
    return align(ROWS, "lab:tiny", "dpo", output_dir=folder, **{**QUIET, **given, **options})


def test_tr_dpo_that_never_moves_is_dpo_and_one_that_copies_starts_over(tmp_path: Path) -> None:
    plain = losses(trained(tmp_path / "plain"))
    never = losses(trained(tmp_path / "never", sync_ref_model=True, ref_model_sync_steps=100))
    assert never == pytest.approx(plain, abs=1e-5)
    copied = losses(
        trained(tmp_path / "copied", sync_ref_model=True, ref_model_sync_steps=2, ref_model_mixup_alpha=1.0)
    )
    for i, loss in enumerate(copied):  # right after a move, policy and reference agree
        assert (abs(loss - math.log(2)) < 1e-5) is (i % 2 == 0)
    assert plain[2] < math.log(2) - 1e-3


def test_tr_dpo_resumes_with_the_reference_it_had(tmp_path: Path) -> None:
    options = {"sync_ref_model": True, "ref_model_sync_steps": 2, "save_strategy": "steps", "save_steps": 3}
    whole = trained(tmp_path / "whole", **options)
    stopped = trained(tmp_path / "stopped", **options)
    for name in ("model", "checkpoint-6"):
        (stopped.path / name).rename(tmp_path / f"gone-{name}")
    again = align(ROWS, output_dir=stopped.path, resume=True)
    mine, theirs = (load_file(run.path / "model" / "model.safetensors") for run in (whole, again))
    assert all((mine[name] == theirs[name]).all() for name in mine)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "simpo"}, "simpo has none"),
        ({"objective": "kto"}, "kto: its reference point"),
        ({"objective": "dpo", "lora": 2}, "whole weights"),
    ],
)
def test_tr_dpo_refuses_what_it_does_not_go_with(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        align(ROWS, "lab:tiny", output_dir=tmp_path / "run", sync_ref_model=True, **QUIET, **options)
