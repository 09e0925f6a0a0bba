"""The reference cache: right numbers, and a new key for everything that would change them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import CHATML, HEADERS, tiny, tokenizer

from pluralign.feedback.record import Message, text
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoder
from pluralign.policy.logprobs import logprobs
from pluralign.policy.reference import ReferenceCache


def encoded(question: str = "Why is the sky blue?", **settings):
    encoder = Encoder(tokenizer(), **settings)
    return [
        encoder.encode(text(question), [text(" 4"), text(" eight")]),
        encoder.encode(text("2"), [text("4"), text("")]),
    ]


def test_cached_values_are_the_live_ones_in_row_order(tmp_path: Path) -> None:
    model, cache = tiny("llama"), ReferenceCache(tmp_path)
    rows = encoded()
    with torch.no_grad():
        live = logprobs(model, collate(rows, pad_id=2)).logp.numpy()
    assert np.allclose(cache.get(model, rows, batch_size=1), live, atol=1e-5)
    assert np.allclose(cache.get(model, rows[::-1]), live[::-1], atol=1e-5)
    assert (cache.hits, cache.misses) == (4, 4)


def test_every_dependence_is_in_the_key(tmp_path: Path) -> None:
    model = tiny("llama")
    said = [(Message("4", role="assistant"),), (Message("8", role="assistant"),)]
    asked = (Message("2 + 2?", role="user"),)
    rows = encoded()
    unscored = [replace(row, scored=tuple([False, *keep[1:]] for keep in row.scored)) for row in rows]
    cases = [
        (model, encoded("Why is the sky green?")[:1]),
        (model, encoded(max_length=5)[:1]),
        (model, unscored),
        (tiny("llama", seed=1), rows),
        (tiny("llama", dtype=torch.bfloat16), rows),
        (model, [Encoder(tokenizer(CHATML)).encode(asked, said)]),
        (model, [Encoder(tokenizer(HEADERS)).encode(asked, said)]),
    ]
    cache = ReferenceCache(tmp_path)
    cache.get(model, rows)
    for other, others in cases:
        cache.get(other, others)
    assert cache.hits == 0
    cache.get(tiny("llama"), encoded())
    assert cache.hits == 4


def test_what_another_run_asked_for_is_not_computed_again(tmp_path: Path) -> None:
    """Other splits, other numbers of responses, other processes: a response is a response."""
    model, rows = tiny("llama"), encoded()
    before = np.array(ReferenceCache(tmp_path).get(model, rows))
    cache = ReferenceCache(tmp_path)
    single = [replace(row, response_ids=row.response_ids[1:], scored=row.scored[1:]) for row in rows]
    assert np.array_equal(cache.get(tiny("llama"), single), before[:, 1:])
    assert (cache.hits, cache.misses) == (2, 0)
    assert cache.get(model, [*rows, *encoded("Never asked?")])[:2].tolist() == before.tolist()
    assert (cache.hits, cache.misses) == (8, 2)
    assert len(list(tmp_path.iterdir())) == 1


def test_an_adapter_does_not_touch_its_reference(tmp_path: Path) -> None:
    cache, rows = ReferenceCache(tmp_path), encoded()
    before = np.array(cache.get(tiny("llama"), rows))
    adapted = get_peft_model(tiny("llama"), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    assert np.array_equal(cache.get(adapted, rows), before)
    assert cache.hits == 4
    fresh = ReferenceCache(tmp_path / "other").get(adapted, rows)
    assert np.allclose(fresh, before, atol=1e-5)


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get(tiny("llama"), encoded(), progress=stop)
    assert list(tmp_path.iterdir()) == []
