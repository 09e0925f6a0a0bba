"""Texts as vectors for the weights of sem_dpo, ddpo and bco_match."""

from __future__ import annotations

import numpy as np
from tiny_models import TEXTS, tiny, tokenizer

import pluralign
from pluralign.feedback.recipes import sem_dpo
from pluralign.policy.embed import embedder


def test_company_and_padding_change_no_vector() -> None:
    embed = embedder(tiny("llama").double(), tokenizer(), batch_size=2)
    texts = [*TEXTS[:3], "", TEXTS[0]]
    together = embed(texts)
    assert together.shape == (5, 32)
    for text, vector in zip(texts, together, strict=True):
        assert np.allclose(embed([text])[0], vector, atol=1e-10)


def test_sem_dpo_with_the_states_of_a_model() -> None:
    rows = [{"prompt": TEXTS[0], "chosen": c, "rejected": "no"} for c in (TEXTS[0], TEXTS[1])]
    same, other = sem_dpo(pluralign.read(rows), embed=embedder(tiny("gpt2"), tokenizer())).table["weight"].to_pylist()
    assert abs(same - 1) < 1e-9
    assert other < same


def test_all_layers_at_once_are_each_layer_by_itself() -> None:
    model, words = tiny("llama").double(), tokenizer()
    every = embedder(model, words, layer=None, batch_size=2, pooling="last")(TEXTS[:3])
    assert every.shape[0] == 3
    for layer in range(every.shape[1]):
        alone = embedder(model, words, layer=layer, pooling="last")(TEXTS[:3])
        assert np.allclose(every[:, layer], alone, atol=1e-10)
