"""`align` end to end on small models: exact steps, exact resumes, honest refusals."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import pluralign
from pluralign.errors import FeedbackError, OptionError
from pluralign.objectives import Need, Rows, catalogue
from pluralign.train import Run, align
from pluralign.train.order import EpochOrder
from pluralign.train.scorer import COMPUTED

QUIET = {"pretrain_steps": 2, "logging_steps": 1, "eval_strategy": "no", "save_strategy": "no"}


def pairs(n: int = 24, **extra: object) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for i in range(n):
        longer = " and so on" * (i % 5)
        rows.append({"prompt": f"{i} plus {i + 1}?", "chosen": f" It is {2 * i + 1}{longer}.", "rejected": " No idea."})
        rows[-1] |= {name: value(i) if callable(value) else value for name, value in extra.items()}
    return rows


def words(n: int) -> str:
    return "".join(f" {i * 7919 % 1000}" for i in range(n))


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.path / "model" / "model.safetensors")


def assert_same_weights(a: Run, b: Run, tolerance: float = 0.0) -> None:
    first, second = weights(a), weights(b)
    for name in first:
        assert torch.allclose(first[name], second[name], atol=tolerance, rtol=0), name


@pytest.mark.parametrize("objective", ["sft", "dpo", "cpo", "simpo", "kto", "bco", "orpo"])
def test_accumulation_equals_the_big_batch(objective: str, tmp_path: Path) -> None:
    runs = []
    for size, accumulation in ((8, 1), (4, 2), (1, 8)):
        runs.append(
            align(
                pairs(),
                "lab:tiny",
                objective,
                output_dir=tmp_path / f"{size}x{accumulation}",
                eval_data=0,
                max_steps=3,
                per_device_train_batch_size=size,
                gradient_accumulation_steps=accumulation,
                # Plain gradient descent: Adam's sign-like first steps would blow rounding up.
                optim="sgd",
                learning_rate=0.1,
                **QUIET,
            )
        )
    for other in runs[1:]:
        assert_same_weights(runs[0], other, tolerance=2e-6)
        for a, b in zip(runs[0].metrics, other.metrics, strict=True):
            # Before the first update every margin is zero but for rounding, and so has no sign.
            shared = a.keys() & b.keys() - ({"rewards/accuracies"} if a["step"] == 1 else set())
            assert {name: a[name] for name in shared} == pytest.approx({name: b[name] for name in shared}, abs=2e-3)


def test_the_first_step_of_dpo_is_log_two_and_metrics_are_in_bounds(tmp_path: Path) -> None:
    run = align(pairs(), "lab:tiny", output_dir=tmp_path / "run", eval_data=0.3, max_steps=4, **QUIET)
    first = run.metrics[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert all(0 <= m["rewards/accuracies"] <= 1 for m in run.metrics)
    assert {m["split"] for m in run.metrics} == {"train", "eval"}
    for name in ("config.json", "data.json", "reference.json", "heldout.parquet", "model", "reference"):
        assert (run.path / name).exists(), name


def test_evaluation_uses_the_held_out_rows_own_reference(tmp_path: Path) -> None:
    run = align(
        pairs(), "lab:tiny", output_dir=tmp_path / "run", max_steps=1, learning_rate=0.0, eval_data=0.4, **QUIET
    )
    held = next(m for m in run.metrics if m["split"] == "eval")
    assert held["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert held["displacement/chosen"] == pytest.approx(0, abs=1e-4)


def test_an_odd_last_batch_is_fine_for_kto(tmp_path: Path) -> None:
    run = align(pairs(9), "lab:tiny", "kto", output_dir=tmp_path / "run", eval_data=0, **QUIET)
    assert len(run.metrics) == 2
    assert all(math.isfinite(m["loss"]) for m in run.metrics)


def test_kto_learns_from_one_class_alone(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}?", "completion": f" {i}.", "label": True} for i in range(8)]
    run = align(rows, "lab:tiny", "kto", output_dir=tmp_path / "run", eval_data=0, **QUIET)
    assert all(math.isfinite(m["loss"]) for m in run.metrics)


def final_loss(
    tmp_path: Path, name: str, rows: list[dict[str, object]], objective: str = "dpo", **options: object
) -> Run:
    settings = {"max_steps": 2, "per_device_train_batch_size": len(rows), **QUIET, **options}
    return align(rows, "lab:tiny", objective, output_dir=tmp_path / name, eval_data=0, seed=1, **settings)


def test_row_fields_are_used(tmp_path: Path) -> None:
    plain = final_loss(tmp_path, "plain", pairs(8))
    doubled = final_loss(tmp_path, "doubled", pairs(8, weight=2.0))
    assert_same_weights(plain, doubled, tolerance=1e-7)
    undecided = final_loss(tmp_path, "undecided", pairs(8, probability=0.5))
    assert undecided.metrics[0]["grad_norm"] < 0.01 * plain.metrics[0]["grad_norm"] + 1e-6
    margin = final_loss(tmp_path, "margin", pairs(8, margin=1.0))
    assert margin.metrics[0]["loss"] == pytest.approx(math.log(1 + math.e), abs=1e-4)
    hot = final_loss(tmp_path, "hot", pairs(8, beta=0.4))
    same = final_loss(tmp_path, "same", pairs(8), beta=0.4)
    assert_same_weights(hot, same, tolerance=1e-7)
    half = final_loss(tmp_path, "half", pairs(8, weight=lambda i: float(i < 4)))
    four = final_loss(tmp_path, "four", pairs(4), reference_cache=str(tmp_path / "cache"))
    assert half.metrics[0]["loss"] == pytest.approx(four.metrics[0]["loss"], abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "ipo", "label_smoothing": 0.1}, "ipo does not use 'label_smoothing'.*cdpo.*rdpo"),
        ({"learning_rat": 1.0}, "did you mean learning_rate"),
        ({"beta": -1.0}, "beta"),
        ({"objective": "dop"}, "did you mean .*dpo"),
        ({"max_length": 1}, "max_length"),
        ({"model": "no/such-folder-here/x"}, "cannot load the model"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], message: str, tmp_path: Path) -> None:
    given: dict[str, object] = {"model": "lab:tiny", **options}
    with pytest.raises(OptionError, match=message):
        align(pairs(), output_dir=tmp_path / "run", **given)


def test_columns_that_would_be_ignored_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"24 rows carry a margin, and ipo does not use one.*--ignore margin"):
        align(pairs(margin=1.0), "lab:tiny", "ipo", output_dir=tmp_path / "a", eval_data=0)
    with pytest.raises(OptionError, match="carry a beta, and sft"):
        align(pairs(beta=1.0), "lab:tiny", "sft", output_dir=tmp_path / "b", eval_data=0)
    run = align(
        pairs(margin=1.0),
        "lab:tiny",
        "ipo",
        output_dir=tmp_path / "c",
        eval_data=0,
        ignore=["margin"],
        max_steps=1,
        **QUIET,
    )
    assert run.finished


def test_feedback_of_another_kind_is_refused_with_a_way_out(tmp_path: Path) -> None:
    thumbs = [{"prompt": "a", "completion": "b", "label": True}]
    with pytest.raises(FeedbackError, match=r"dpo learns from pairs.*kto and bco"):
        align(thumbs, "lab:tiny", output_dir=tmp_path / "run", eval_data=0)


def test_a_finished_run_is_not_overwritten(tmp_path: Path) -> None:
    align(pairs(), "lab:tiny", output_dir=tmp_path / "run", eval_data=0, max_steps=1, **QUIET)
    with pytest.raises(OptionError, match="already holds a run"):
        align(pairs(), "lab:tiny", output_dir=tmp_path / "run", eval_data=0)


def test_what_was_dropped_and_cut_is_counted(tmp_path: Path) -> None:
    rows = [*pairs(12), {"prompt": words(80), "chosen": words(60), "rejected": " c"}]
    rows.append({"prompt": "x", "chosen": "same", "rejected": "same"})
    run = align(rows, "lab:tiny", output_dir=tmp_path / "run", eval_data=0, max_length=32, max_steps=1, **QUIET)
    assert run.data["report"]["dropped"] == {"equal-sides": 1} or sum(run.data["report"]["dropped"].values()) == 1
    assert run.data["train"]["cut"]["prompt-cut"] == 1
    assert run.data["train"]["cut"]["response-cut"] >= 1


def test_lora_trains_adapters_against_the_base(tmp_path: Path) -> None:
    run = align(
        pairs(), "lab:tiny", output_dir=tmp_path / "run", eval_data=0, lora=4, max_steps=3, learning_rate=1e-2, **QUIET
    )
    assert run.metrics[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert (run.path / "adapter" / "adapter_model.safetensors").is_file()
    model, _ = run.load_model()
    moved = {n for n, p in run.load_reference().state_dict().items() if not torch.equal(p, model.state_dict()[n])}
    assert moved
    assert all("proj" in name for name in moved)


def test_a_config_file_and_a_runs_own_config_give_the_same_run(tmp_path: Path) -> None:
    data = pluralign.read(pairs()).write(tmp_path / "pairs.parquet")
    (tmp_path / "run.yaml").write_text(
        f"model: lab:tiny\nobjective: simpo\nbeta: 3.0\ndata: {data}\neval_data: 0\nmax_steps: 2\npretrain_steps: 2\n"
    )
    first = align(config=tmp_path / "run.yaml", output_dir=tmp_path / "a")
    second = align(config=first.path / "config.json", output_dir=tmp_path / "b")
    assert first.objective_options == {"beta": 3.0, "gamma": 1.0}
    assert_same_weights(first, second)


SCRIPT = """
import sys
from pluralign.train import align
rows = [{"prompt": f"{i}?", "chosen": f" It is {i}" + " so" * (i % 7), "rejected": " No."} for i in range(22)]
align(rows, "lab:tiny", sys.argv[2], output_dir=sys.argv[1], eval_data=0, resume=len(sys.argv) > 4, pretrain_steps=2,
      max_steps=40, per_device_train_batch_size=2, gradient_accumulation_steps=2, save_steps=5, logging_steps=1,
      learning_rate=1e-3, train_sampling_strategy=sys.argv[3])
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", SCRIPT, *arguments]


@pytest.mark.parametrize(("objective", "order"), [("dpo", "random"), ("bco", "random"), ("dpo", "group_by_length")])
def test_killed_and_resumed_is_the_same_as_never_stopped(objective: str, order: str, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(pluralign.__file__).parents[1])}
    subprocess.run(command(str(tmp_path / "whole"), objective, order), check=True, env=environment, capture_output=True)
    broken = tmp_path / "broken"
    process = subprocess.Popen(
        command(str(broken), objective, order), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (broken / "checkpoint-10" / "trainer_state.json").exists():
        assert process.poll() is None, "finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (broken / "model").exists()
    subprocess.run(command(str(broken), objective, order, "resume"), check=True, env=environment, capture_output=True)
    assert_same_weights(Run.open(tmp_path / "whole"), Run.open(broken))
    steps = [m["step"] for m in Run.open(broken).metrics]
    assert steps == list(range(1, 41))
    whole = [m["loss"] for m in Run.open(tmp_path / "whole").metrics]
    assert np.allclose(whole, [m["loss"] for m in Run.open(broken).metrics], atol=0)


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen(command(str(folder), "dpo", "random"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not (folder / "metrics.jsonl").exists() or not (folder / "metrics.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    saved = sorted(int(p.name.rpartition("-")[2]) for p in folder.glob("checkpoint-*"))
    logged = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert saved
    assert max(saved) == max(logged)


TWO = """
import sys
from pluralign.train import align
n = int(sys.argv[4])
rows = [{"prompt": f"{i}?", "chosen": f" It is {i}" + " so" * (i % 4), "rejected": " No."} for i in range(n)]
align(rows, "lab:tiny", sys.argv[2], reward=len(sys.argv) > 5, output_dir=sys.argv[1], eval_data=0.25,
      pretrain_steps=2, max_steps=6, per_device_train_batch_size=int(sys.argv[3]), logging_steps=1, optim="sgd",
      learning_rate=0.1, save_strategy="no", use_cpu=True)
"""


@pytest.mark.parametrize(
    ("objective", "rows"),
    [
        pytest.param("dpo", "32", marks=pytest.mark.slow),
        ("kto", "32"),
        ("dpo", "14"),
        pytest.param("kto", "14", marks=pytest.mark.slow),
        pytest.param("sft", "9", marks=pytest.mark.slow),
        pytest.param("bco", "14", marks=pytest.mark.slow),
        pytest.param("aot", "14", marks=pytest.mark.slow),
        pytest.param("beta_dpo", "14", marks=pytest.mark.slow),
        pytest.param("alpha_dpo", "32", marks=pytest.mark.slow),
        pytest.param("rpo_relative", "14", marks=pytest.mark.slow),
        ("napo", "14"),
    ],
)
def test_two_processes_give_the_losses_of_one(objective: str, rows: str, tmp_path: Path) -> None:
    one_and_two(tmp_path, objective, rows)


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "rows"), [("bradley_terry", "14"), ("hinge_norm + 0.01*centring", "9")])
def test_two_processes_train_the_reward_of_one(objective: str, rows: str, tmp_path: Path) -> None:
    one, two = one_and_two(tmp_path, objective, rows, "reward")
    assert weights(two)["score.weight"].shape[0] == 1
    assert np.ptp([m["rewards/margins"] for m in two.metrics]) > 0.1
    for name in ("rewards/chosen", "rewards/margins"):
        assert [m[name] for m in one.metrics] == pytest.approx([m[name] for m in two.metrics], abs=1e-5)


def one_and_two(tmp_path: Path, objective: str, rows: str, *reward: str) -> tuple[Run, Run]:
    """Runs in one process and in two, seen to have the same losses and weights."""
    script = tmp_path / "two.py"
    script.write_text(TWO)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    # The folder the package is imported from need not be the one the script lies in.
    environment["PYTHONPATH"] = str(Path(pluralign.__file__).parents[1])
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run(
        [sys.executable, str(script), str(one), objective, "4", rows, *reward],
        check=True,
        env=environment,
        capture_output=True,
    )
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    done = subprocess.run(
        [*launch, str(script), str(two), objective, "2", rows, *reward],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = Run.open(one), Run.open(two)
    assert [m["loss"] for m in first.metrics] == pytest.approx([m["loss"] for m in second.metrics], abs=1e-5)
    assert_same_weights(first, second, tolerance=1e-5)
    assert second.config["processes"] == 2
    return first, second


def mixed(n: int) -> list[dict[str, object]]:
    """Plain, softly labelled, weighted and weightless rows in one file."""
    rows = pairs(n)
    for i, row in enumerate(rows):
        row |= {"probability": 0.7 if i % 3 == 0 else None, "weight": (1.0, 2.0, 0.0)[i % 3]}
    return rows


PLAIN = {Need.REFERENCE, Need.PROMPT, Need.MISMATCHED, Need.RUNNING_REWARD}


@pytest.mark.parametrize(
    "name", [n for n, o in catalogue().items() if Rows.PAIRS in o.rows and o.needs() <= PLAIN and not o.refuses]
)
def test_every_objective_takes_rows_of_different_kinds_in_one_file(name: str, tmp_path: Path) -> None:
    run = align(
        mixed(9),
        "lab:tiny",
        name,
        output_dir=tmp_path / "run",
        eval_data=mixed(5),
        per_device_train_batch_size=2,
        **(QUIET | {"pretrain_steps": 1}),
    )
    assert len(run.metrics) == 6
    assert all(math.isfinite(value) for m in run.metrics for value in m.values() if isinstance(value, float))


ON_PAIRS = COMPUTED - {Need.RATINGS, Need.RATIONALE, Need.FROZEN}


@pytest.mark.parametrize("name", [n for n, o in catalogue().items() if Rows.PAIRS in o.rows and o.needs() <= ON_PAIRS])
def test_a_step_without_weight_has_no_loss_and_no_gradient(name: str, tmp_path: Path) -> None:
    run = final_loss(tmp_path, "run", pairs(4, weight=0.0), name, max_steps=1)
    assert run.metrics[0]["loss"] == 0
    assert run.metrics[0]["grad_norm"] == 0


def test_the_order_of_rows_depends_on_seed_and_epoch_alone_and_fills_up_without_repeating() -> None:
    lengths = [i % 5 + 1 for i in range(13)]
    for order in ("random", "sequential", "group_by_length"):
        epochs = []
        for epoch in (0, 1):
            sampler = EpochOrder(lengths, 3, order=order, fill=4, together=4)
            sampler.set_epoch(epoch)
            assert list(sampler) == list(sampler)
            assert sorted(sampler) == [-1, -1, -1, *range(13)]
            assert len(sampler) == 16
            epochs.append(list(sampler))
        assert (epochs[0] == epochs[1]) == (order == "sequential")
