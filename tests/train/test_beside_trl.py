"""Twenty steps beside TRL's trainer: the same losses, the same weights at the end."""

from __future__ import annotations

import copy
from typing import Any

import pytest

pytest.importorskip("trl")

from benchmarks import train_sides as sides
from benchmarks.train import beforehand, weights_apart


@pytest.mark.parametrize("way", ["reference in each step", "reference beforehand", "gradient checkpointing"])
def test_twenty_steps_beside_trl(way: str) -> None:
    """Set A of the benchmark at an eighth of its lengths, on a model of two layers; AdamW, eight pairs a step."""
    tokenizer, start = sides.words_tokenizer(512), sides.llama(64, 512, 2)
    rows = sides.texts((47, 49), (15, 17), 20 * sides.BATCH, 512)
    rest: dict[str, Any] = {
        "max_steps": 20,
        "learning_rate": 1e-3,
        "gradient_checkpointing": way == "gradient checkpointing",
    }
    before = way == "reference beforehand"
    theirs = sides.peer(copy.deepcopy(start), rows, tokenizer, precompute=before, **rest)
    reference = beforehand(start, rows, tokenizer) if before else None
    mine = sides.ours(copy.deepcopy(start), rows, tokenizer, reference=reference, **rest)
    a, b = sides.take_turns(theirs, mine, 20)
    assert len(a.losses) == len(b.losses) == 20
    assert b.losses == pytest.approx(a.losses, abs=1e-4)
    assert max(a.losses) - min(a.losses) > 1e-2
    apart = weights_apart(theirs.model, mine.model, start)
    assert apart["of_weights"] < 1e-3
    assert apart["of_change"] < 1e-2
