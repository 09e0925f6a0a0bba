"""Rounds: curry_dpo and spo_seq, and the six models behind selective_dpo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pluralign
from pluralign.errors import FeedbackError, OptionError
from pluralign.evaluate import difficulty as module
from pluralign.evaluate.difficulty import difficulty, first_half
from pluralign.feedback import Feedback, Judgement, Response, text
from pluralign.feedback.recipes import curry_dpo, selective_dpo
from pluralign.train import Run, align, align_rounds

QUIET = {"pretrain_steps": 2, "eval_strategy": "no", "eval_data": 0, "save_strategy": "no", "max_steps": 1}


def rated() -> Feedback:
    rows = [
        Judgement(text(f"{i} plus 1?"), tuple(Response(text(f" {i + k}"), ratings={"q": -float(k)}) for k in (1, 2, 4)))
        for i in range(6)
    ]
    return Feedback.from_judgements(rows)


def test_curry_dpo_each_round_is_held_to_the_one_before(tmp_path: Path) -> None:
    parts = curry_dpo(rated(), rounds=2)
    runs = align_rounds(parts, "lab:tiny", output_dir=tmp_path, learning_rate=1e-2, **QUIET)
    prints = [run.reference["fingerprint"] for run in runs]
    assert len(set(prints)) == 2
    assert [run.data["train"]["used"] for run in runs] == [6, 6]
    assert runs[1].reference["name"] == str(runs[0].path / "model")
    again = align_rounds(parts, "lab:tiny", output_dir=tmp_path, resume=True, learning_rate=1e-2, **QUIET)
    assert [run.path for run in again] == [run.path for run in runs]


def test_spo_seq_rounds_keep_all_models_before(tmp_path: Path) -> None:
    parts = [rated().pairs(aspect="q")[:4]] * 3
    runs = align_rounds(parts, "lab:tiny", "spo_seq", output_dir=tmp_path, keep=0.2, **QUIET)
    assert [run.objective.name for run in runs] == ["dpo", "spo_seq", "spo_seq"]
    first, second = str(runs[0].path / "reference"), str(runs[0].path / "model")
    assert runs[1].config["options"]["frozen_models"] == [first]
    assert runs[2].config["options"]["frozen_models"] == [first, second]


@pytest.mark.parametrize("lora", [None, 2])
def test_a_later_round_may_be_held_to_the_first_model(tmp_path: Path, lora: int | None) -> None:
    feedback = rated().pairs(aspect="q")
    first = align(feedback, "lab:tiny", output_dir=tmp_path / "1", learning_rate=1e-2, **QUIET)
    origin, moved = str(first.path / "reference"), str(first.path / "model")
    quiet = {name: value for name, value in QUIET.items() if name != "pretrain_steps"}
    here = {"lora": lora, "learning_rate": 0.0, "logging_steps": 1, "output_dir": tmp_path / "2"}
    second = align(feedback, moved, reference_model=origin, **here, **quiet)
    assert second.reference == {"name": origin, "path": None, "fingerprint": first.reference["fingerprint"]}
    # Nothing moved in this round, so what the policy is away from its reference it was before.
    (logged,) = [m for m in second.metrics if "kl" in m]
    assert abs(logged["rewards/margins"]) > 1e-3


def test_a_reference_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    feedback = rated().pairs(aspect="q")
    first = align(feedback, "lab:tiny", output_dir=tmp_path / "1", **QUIET)
    words = [{"prompt": "many other words", "chosen": " stand in here", "rejected": " than there"}]
    with pytest.raises(OptionError, match="another vocabulary than lab:tiny"):
        align(words, "lab:tiny", output_dir=tmp_path / "2", reference_model=str(first.path / "model"), **QUIET)


def test_rounds_refuse_adapters_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="with --lora the reference is the base"):
        align_rounds([rated()], "lab:tiny", output_dir=tmp_path, lora=2)
    with pytest.raises(OptionError, match="one part a round"):
        align_rounds([], "lab:tiny", output_dir=tmp_path)


def test_selective_dpo_halves_keep_prompts_whole() -> None:
    keys = [f"{i % 7}" for i in range(30)]
    half = first_half(keys, 3)
    assert all(len({half[i] for i in range(30) if keys[i] == key}) == 1 for key in keys)
    assert any((first_half(keys, seed) != half).any() for seed in range(4))
    with pytest.raises(FeedbackError, match="all rows have one prompt"):
        first_half(["a", "a"], 0)


def test_selective_dpo_scores_every_pair_by_models_that_did_not_train_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"prompt": f"{i // 2}?", "chosen": f" yes {i}", "rejected": " no"} for i in range(12)]
    feedback = pluralign.read(rows)
    seen: dict[Path, set[str]] = {}

    def watched(data: Feedback, *given: object, output_dir: Path, **options: object) -> Run:
        seen[Path(output_dir)] = {j.prompt[0].content or "" for j in data}
        return align(data, *given, output_dir=output_dir, **options)

    monkeypatch.setattr(module, "align", watched)
    start = align(rows, "lab:tiny", "sft", output_dir=tmp_path / "start", **QUIET)
    options = {name: value for name, value in QUIET.items() if name not in ("eval_data", "pretrain_steps")}
    found = difficulty(feedback, str(start.path / "model"), output_dir=tmp_path / "six", repeats=2, **options)
    assert found.each.shape == (12, 2)
    assert np.isfinite(found.values).all()
    assert found.agreement is not None
    assert len(found.runs) == len(seen) == 4
    prompts = {f"{i}?" for i in range(6)}
    for r in (1, 2):
        a, b = (seen[tmp_path / "six" / f"repeat-{r}{side}"] for side in "ab")
        assert not a & b
        assert a | b == prompts


def test_selective_dpo_finds_flipped_labels_in_the_hard_tail() -> None:
    """The halves of `difficulty` with a linear reward for a language model; a fifth of the labels is wrong."""
    rng = np.random.default_rng(0)
    apart, taste = rng.normal(size=(200, 5)), np.array([2.0, -1.0, 1.5, 0.0, 0.5])
    flipped = rng.uniform(size=200) < 0.2
    apart *= np.where((apart @ taste > 0) ^ flipped, 1.0, -1.0)[:, None]  # chosen minus rejected, as labelled
    each = np.full((200, 3), np.nan)
    for r in range(3):
        half = first_half([str(i) for i in range(200)], r)
        for inside in (half, ~half):
            theta = np.zeros(5)
            for _ in range(200):
                theta += 0.5 * (apart[inside] / (1 + np.exp(apart[inside] @ theta))[:, None]).mean(0)
            each[~inside, r] = np.logaddexp(0, -(apart[~inside] @ theta))
    values = each.mean(1)
    hard = np.argsort(-values)[: flipped.sum()]
    assert flipped[hard].mean() > 0.8
    rows = pluralign.read([{"prompt": f"{i}?", "chosen": "a", "rejected": "b"} for i in range(200)])
    kept = selective_dpo(rows, values, keep=0.6)
    assert np.mean([flipped[int((j.prompt[0].content or "")[:-1])] for j in kept]) < 0.02
