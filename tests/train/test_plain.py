"""Every objective: the same losses and gradients through the fast log-probs as through the plain ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_objectives import REACHABLE, rows_for
from tiny_models import InDouble, tiny, tokenizer
from transformers import TrainingArguments

from pluralign.objectives import Need, Objective
from pluralign.policy.ability import ability, plain_only
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoder
from pluralign.policy.logprobs import logprobs
from pluralign.policy.statistics import Reference
from pluralign.train import align, heads
from pluralign.train.batches import Examples
from pluralign.train.data import Row, Wanted, mismatched, prepare
from pluralign.train.trainer import PolicyTrainer

OPTIONS = {"eval_data": 0, "pretrain_steps": 2, "max_steps": 2, "logging_steps": 1, "save_strategy": "no"}


def rows(objective: Objective) -> list[Row]:
    needs = objective.needs()
    wanted = Wanted(
        ratings=Need.RATINGS in needs,
        rationale=Need.RATIONALE in needs,
        ties="tie" in objective.uses,
        scale=(1.0, 5.0),
        degrees=3 if Need.AUXILIARY in needs else None,
    )
    return prepare(rows_for(objective), objective, Encoder(tokenizer()), wanted=wanted).rows


def step(objective: Objective, folder: Path, *, plain: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss and gradients of one step in two micro-batches."""
    made, needs, draw = rows(objective), objective.needs(), np.random.default_rng(0)
    shape = (len(made), len(made[0].sign))

    def some(*size: int) -> Any:
        return draw.normal(-20, 2, size).astype(np.float32)

    with torch.no_grad():
        own = logprobs(tiny("llama"), collate([row.encoded for row in made], pad_id=2), plain=True).logp.numpy()
    # Near enough to the policy that no loss is flat there.
    examples = Examples(made, ref_logp=own + draw.normal(0, 1, shape).astype(np.float32))
    if Need.MISMATCHED in needs:
        examples.mismatched, examples.ref_mismatched = mismatched(made, None, 0), some(len(made), 1)
    if Need.JOINT in needs:
        examples.ref_joint_logp = some(*shape)
    if Need.FROZEN in needs:
        examples.frozen_logp = some(*shape, 1)
    model, reference = (tiny("llama", dtype=torch.float64, seed=seed) for seed in (0, 1))
    if plain:
        plain_only(model)
        plain_only(reference)
    else:
        assert ability(model).unpackable is None
    head = heads.make(model.config, needs, "activations", 3, 0)
    trainer = PolicyTrainer(
        objective=objective,
        options=objective.checked({}),
        pad_id=2,
        model=model,
        reference=Reference(reference),
        head=head and head.double(),
        args=TrainingArguments(
            str(folder), use_cpu=True, report_to="none", remove_unused_columns=False, data_seed=0,
            per_device_train_batch_size=4, train_sampling_strategy="sequential",
        ),
        train_dataset=examples,
    )  # fmt: skip
    batches, _ = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 2, trainer.args.device)
    losses = [trainer.compute_loss(trainer.model, batch) for batch in batches]
    sum(losses).backward()
    slopes = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
    return torch.stack(losses).detach(), slopes


@pytest.mark.parametrize("objective", REACHABLE, ids=[o.name for o in REACHABLE])
def test_the_fast_way_gives_the_same_step(objective: Objective, tmp_path: Path) -> None:
    with InDouble():
        losses, slopes = step(objective, tmp_path, plain=True)
        fast_losses, fast_slopes = step(objective, tmp_path, plain=False)
    torch.testing.assert_close(fast_losses, losses, atol=1e-9, rtol=1e-9)
    scale = max(float(slope.abs().max()) for slope in slopes.values())
    assert scale > 0
    assert slopes.keys() == fast_slopes.keys()
    for name, slope in slopes.items():
        assert float((fast_slopes[name] - slope).abs().max()) <= 1e-8 * scale, name


def test_align_says_what_it_left_out_and_plain_turns_it_off(tmp_path: Path, capsys: Any) -> None:
    pairs = [
        {"prompt": f"A rather long question about the number {i}, is it not?", "chosen": f" {i}", "rejected": " No."}
        for i in range(12)
    ]
    cache, runs, said = str(tmp_path / "cache"), [], []
    for plain in (False, True):
        runs.append(
            align(
                pairs,
                "lab:tiny",
                "dpo",
                output_dir=tmp_path / str(plain),
                reference_cache=cache,
                plain=plain,
                **OPTIONS,
            )
        )
        said.append(" ".join(capsys.readouterr().err.split()))
    assert "repeat a prompt; the head on" in said[0]
    assert "reference log-probs: 0 from the cache, 24 computed" in said[0]
    assert "log-probs: padded batches, every prompt again, whole logits" in said[1]
    assert "reference log-probs: 24 from the cache, 0 computed" in said[1]
    for a, b in zip(runs[0].metrics, runs[1].metrics, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
