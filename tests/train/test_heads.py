"""Modules trained beside the policy: masks of sparse_po, degrees of spo_selfsup."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import pluralign
from pluralign.evaluate.scoring import score_rows
from pluralign.objectives import Need
from pluralign.train import Run, align, heads

WORDS = ["river bank", "old town", "green apple", "tall tower", "warm bread", "night train", "paper boat", "stone wall"]
ROWS = [
    {
        "prompt": f"Describe {a}.",
        "chosen": f" The {a} stood by the {b}, and later a {c} with the {d}.",
        "rejected": f" No {b}.",
    }
    for i, a in enumerate(WORDS)
    for b, c, d in [(WORDS[(i + 1) % 8], WORDS[(i + 3) % 8], WORDS[(i + 5) % 8])]
]
QUIET = {"pretrain_steps": 2, "logging_steps": 1, "eval_strategy": "no", "eval_data": 0, "save_strategy": "no"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = align(ROWS, "lab:tiny", "sft", output_dir=tmp_path_factory.mktemp("start") / "run", max_steps=2, **QUIET)
    return str(run.path / "model")


def trained(folder: Path, model: str, objective: str, **options: object) -> Run:
    given = {"per_device_train_batch_size": 4, "max_steps": 4, "learning_rate": 1e-3}
    return align(ROWS, model, objective, output_dir=folder, **{**QUIET, **given, **options})


@pytest.mark.parametrize("masks", ["common", "independent"])
def test_sparse_po_trains_its_masks_and_keeps_them_for_evaluation(masks: str, tmp_path: Path, model: str) -> None:
    run = trained(tmp_path / "run", model, "sparse_po", token_masks=masks, reward_l1=1e-3)
    assert run.metrics[0]["loss"] == pytest.approx(math.log(2) + 1e-3 * 20, abs=0.05)  # equal models, masks near 1
    policy, tokenizer = run.load_model()
    start = heads.make(policy.config, {Need.TOKEN_WEIGHTS}, masks, 0, 0)
    assert start is not None
    before = {name: p.clone() for name, p in start.state_dict().items()}
    heads.load(start, run.path)
    assert any(not torch.equal(before[name], p) for name, p in start.state_dict().items())
    reference = run.load_reference()
    kept = score_rows(run, pluralign.read(ROWS), policy, reference, tokenizer).reward
    for parameter in start.parameters():
        parameter.data.zero_()
    heads.save(start, run.path)
    assert (score_rows(run, pluralign.read(ROWS), policy, reference, tokenizer).reward == 0).all()
    assert (kept != 0).any()


def test_sparse_po_masks_are_never_negative_and_reach_no_reference() -> None:
    states = [torch.randn(2, 5, 8, requires_grad=True) for _ in range(3)]
    head = heads.MaskHead(3, 8, common=False)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    masks = head(states)
    assert all((mask >= 0).all() for mask in masks)
    assert not torch.equal(*masks)
    (masks[0] + masks[1]).sum().backward()
    assert all(state.grad is None for state in states)
    assert any(p.grad is not None and (p.grad != 0).any() for p in head.parameters())


@pytest.mark.parametrize(("objective", "options"), [("sparse_po", {"token_masks": "common"}), ("spo_selfsup", {})])
def test_a_step_with_sparse_po_or_spo_selfsup_heads_is_the_same_however_it_is_cut(
    objective: str, options: dict[str, object], tmp_path: Path, model: str
) -> None:
    whole = trained(tmp_path / "8", model, objective, per_device_train_batch_size=8, max_steps=2, **options)
    cut = trained(
        tmp_path / "2", model, objective, per_device_train_batch_size=2, gradient_accumulation_steps=4, max_steps=2,
        **options,
    )  # fmt: skip
    for a, b in zip(whole.metrics, cut.metrics, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
    for name in ("head.safetensors", "model/model.safetensors"):
        mine, theirs = (load_file(run.path / name) for run in (whole, cut))
        assert all(torch.allclose(mine[key], theirs[key], atol=3e-5) for key in mine)


@pytest.mark.slow
def test_sparse_po_resumes_with_the_masks_it_had(tmp_path: Path, model: str) -> None:
    options = {"token_masks": "common", "save_strategy": "steps", "save_steps": 2}
    whole, stopped = (trained(tmp_path / name, model, "sparse_po", **options) for name in ("whole", "stopped"))
    for name in ("model", "checkpoint-4", "head.safetensors"):
        (stopped.path / name).rename(tmp_path / f"gone-{name}")
    again = align(ROWS, output_dir=stopped.path, resume=True)
    for name in ("head.safetensors", "model/model.safetensors"):
        mine, theirs = (load_file(run.path / name) for run in (whole, again))
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


@pytest.mark.slow
def test_spo_selfsup_tells_degrees_of_texts_it_has_not_seen(tmp_path: Path, model: str) -> None:
    """Above chance on held-out prompts; without the head the alignment part is that of dpo."""

    def rows(start: int, n: int) -> list[dict[str, str]]:
        pick = [(i * 7 + start, i * 3 + 1, i * 5 + 2, i + 4) for i in range(n)]
        return [
            {
                "prompt": f"Describe {start + i}.",
                "chosen": " " + " and ".join(f"the {WORDS[p % 8]}" for p in place) + ".",
                "rejected": " No.",
            }
            for i, place in enumerate(pick)
        ]

    run = align(
        rows(0, 48), model, "spo_selfsup", output_dir=tmp_path / "run", eval_data=rows(100, 24), degrees=2, gamma=1.0,
        max_steps=30, per_device_train_batch_size=16, learning_rate=3e-3, save_strategy="no", logging_steps=10,
    )  # fmt: skip
    held_out = [m for m in run.metrics if m["split"] == "eval"][-1]
    assert held_out["auxiliary"] < 0.8 * math.log(2)


def test_spo_selfsup_without_its_task_is_dpo(tmp_path: Path, model: str) -> None:
    plain = trained(tmp_path / "dpo", model, "dpo", max_steps=2)
    none = trained(tmp_path / "spo", model, "spo_selfsup", gamma=0.0, max_steps=2)
    assert [m["loss"] for m in none.metrics] == pytest.approx([m["loss"] for m in plain.metrics], abs=1e-5)
    mine, theirs = (load_file(run.path / "model/model.safetensors") for run in (plain, none))
    assert all(torch.allclose(mine[key], theirs[key], atol=1e-6) for key in mine)
