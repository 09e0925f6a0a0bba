"""Every objective trains on rows of its kind, and a step does not depend on how it is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pluralign.errors import OptionError
from pluralign.feedback import Feedback
from pluralign.feedback.record import Judgement, Message, Response
from pluralign.objectives import Need, Objective, Rows, catalogue, find
from pluralign.train import Run, align
from pluralign.train.scorer import COMPUTED

QUIET = {"pretrain_steps": 2, "logging_steps": 1, "eval_strategy": "no", "save_strategy": "no", "eval_data": 0}
REACHABLE = [o for o in catalogue().values() if o.needs() <= COMPUTED]


def said(text: str, **rest: Any) -> Response:
    return Response((Message(text),), **rest)


def rows_for(objective: Objective, n: int = 8) -> Feedback:
    """Rows of the first kind the objective takes, of unlike lengths, with whatever it reads of them."""
    kind, rows = objective.rows[0], []
    for i in range(n):
        prompt = () if objective.name in ("dove", "mapl") else (Message(f"{i} plus {i + 1}?"),)
        head = f"{i} plus {i + 1 + i % 2}?" if not prompt else ""
        good = said(f"{head} It is {2 * i + 1}{' and so on' * (i % 3)}.", ratings={"quality": 5.0})
        bad = said(f"{i} plus {i}? No." if head else " No idea at all.", ratings={"quality": 2.0 + i % 2})
        middle = said(f" Perhaps {2 * i}.", ratings={"quality": 4.0})
        why = "It is right." if i % 2 else None
        if kind is Rows.RANKINGS:
            some = (good, middle, bad) if objective.name == "tpo" or i % 2 else (good, bad)
            rows.append(Judgement(prompt, some, ranks=tuple(range(1, len(some) + 1))))
        elif kind is Rows.UNPAIRED:
            rows.append(Judgement(prompt, (good if i % 2 else bad,), thumb=bool(i % 2)))
        elif kind is Rows.DEMONSTRATIONS or (kind is Rows.MIXED and i % 2):
            rows.append(Judgement(prompt, (Response(good.messages),)))
        else:
            tie = "tie" in objective.uses and i % 3 == 0
            rows.append(Judgement(prompt, (good, bad), ranks=(1, 1) if tie else (1, 2), rationale=why))
    return Feedback.from_judgements(rows)


def trained(objective: Objective, folder: Path, size: int, accumulation: int, **rest: Any) -> Run:
    options = {"rating_range": (1.0, 5.0)} | ({"frozen_models": [rest.pop("frozen")]} if "frozen" in rest else {})
    return align(
        rows_for(objective), rest.pop("model", "lab:tiny"), objective.name, output_dir=folder, max_steps=2,
        per_device_train_batch_size=size, gradient_accumulation_steps=accumulation, **options, **QUIET, **rest,
    )  # fmt: skip


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = trained(catalogue()["dpo"], tmp_path_factory.mktemp("other") / "run", 8, 1)
    return str(run.path / "model")


ONE_OF_EACH = {
    "alpha_dpo", "beta_dpo", "c3po", "dove", "fpo", "ld_dpo", "modpo", "odpo", "pl_dpo", "pmpo", "rationale_dpo",
    "rpo_relative", "sampo", "sparse_po", "todo", "tpo", "tree_tpo", "wpo",
}  # fmt: skip
"""Together they use every way to fill a batch."""


@pytest.mark.parametrize(
    "objective",
    [pytest.param(o, id=o.name, marks=() if o.name in ONE_OF_EACH else pytest.mark.slow) for o in REACHABLE],
)
def test_a_step_is_the_same_however_it_is_cut(objective: Objective, tmp_path: Path, other_model: str) -> None:
    """Two optimizer steps on eight rows, whole and in micro-batches of two: the same losses and weights."""
    extra = {"model": other_model, "seed": 3}
    if Need.FROZEN in objective.needs():
        extra["frozen"] = other_model
    whole, cut = (trained(objective, tmp_path / str(size), size, 8 // size, **dict(extra)) for size in (8, 2))
    for a, b in zip(whole.metrics, cut.metrics, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4, abs=1e-5)
    mine, theirs = (load_file(run.path / "model" / "model.safetensors") for run in (whole, cut))
    start = load_file(f"{other_model}/model.safetensors")
    assert any(not torch.equal(mine[name], start[name]) for name in mine)
    for name in mine:
        assert torch.allclose(mine[name], theirs[name], atol=2e-5), name


def test_a_sum_of_objectives_trains(tmp_path: Path) -> None:
    objective = find("0.8*dpo(beta=0.1) + 0.2*bco + sft")
    run = trained(objective, tmp_path / "run", 4, 2)
    assert run.objective.name == objective.name
    assert run.objective_options == {"beta": 0.01}
    assert run.metrics[-1]["loss"] == pytest.approx(run.metrics[-1]["loss"])


def test_what_align_cannot_compute_is_said_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {o.name for o in catalogue().values()} == {o.name for o in REACHABLE}
    monkeypatch.setattr("pluralign.train.alignment.COMPUTED", COMPUTED - {Need.FEATURES})
    with pytest.raises(OptionError, match="fpo needs features, which align does not compute"):
        trained(catalogue()["fpo"], tmp_path / "run", 4, 1)


def test_refused_columns_are_said_before_the_first_step(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}?", "chosen": " a", "rejected": " b", "weight": 1.0 + i} for i in range(4)]
    with pytest.raises(OptionError, match="4 rows carry a weight, and aot takes none: its terms belong to no single"):
        align(rows, "lab:tiny", "aot", output_dir=tmp_path, **QUIET)


def test_ratings_on_several_aspects_ask_which(tmp_path: Path) -> None:
    one = said(" a", ratings={"helpful": 1.0, "true": 3.0})
    feedback = Feedback.from_judgements(
        [Judgement((Message("?"),), (one, said(" b", ratings=one.ratings)), ranks=(1, 2))] * 4
    )
    with pytest.raises(OptionError, match="rated on helpful, true; say which is meant with --aspect"):
        align(feedback, "lab:tiny", "odpo", output_dir=tmp_path, **QUIET)


def test_fpo_takes_a_sparse_autoencoder_and_others_refuse_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file({"W_enc": torch.randn(96, 20), "b_enc": torch.zeros(20)}, tmp_path / "sae.safetensors")
    with pytest.raises(OptionError, match="gives features, and dpo uses none"):
        trained(catalogue()["dpo"], tmp_path / "dpo", 4, 1, sparse_autoencoder=str(tmp_path / "sae.safetensors"))
    run = trained(catalogue()["fpo"], tmp_path / "fpo", 4, 1, sparse_autoencoder=str(tmp_path / "sae.safetensors"))
    assert run.finished
