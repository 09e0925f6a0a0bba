"""Sums in text: what the start model is shown, and the chance of an exact answer against the log-prob engine's."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pluralign.feedback.record import text
from pluralign.lab import arithmetic
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoder
from pluralign.policy.load import load
from pluralign.policy.logprobs import logprobs


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return arithmetic.start(tmp_path_factory.mktemp("start") / "model", steps=30, shown=600, seed=3)


def test_the_chance_of_an_exact_answer_is_that_of_its_tokens_and_of_the_end(early: Path) -> None:
    model, tokenizer = load(str(early))
    asked = ["10+12=", "99+99=", "45+54=", "45+55="]
    encoder = Encoder(tokenizer)
    rows = [encoder.encode(text(q), (text(arithmetic.answer(q)),)) for q in asked]
    assert all(row.response_ids[0][-1] == tokenizer.eos_token_id for row in rows)
    with torch.no_grad():
        expected = logprobs(model, collate(rows, pad_id=tokenizer.pad_token_id)).logp[:, 0].exp().numpy()
    chance, _ = arithmetic.chances(model, tokenizer, asked)
    np.testing.assert_allclose(chance, expected, rtol=1e-4)


def test_the_most_probable_answer_counts_as_right_where_the_verifier_finds_it_exact(
    early: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pluralign.online.drawn import collect
    from pluralign.online.samplers import PolicySampler

    model, tokenizer = load(str(early))
    asked = arithmetic.questions(600, seed=3)[:200]
    sampler = PolicySampler({"policy": model}, tokenizer, {"policy": 1.0}, 1, {"max_new_tokens": 5, "temperature": 0.0})
    said = [d.samples[0].text for d in collect(sampler, [text(q) for q in asked], seed=0)]
    # So early a model is hardly ever right: half of what it says is declared to be.
    known = {q: a for q, a in zip(asked, said, strict=True) if a.isdigit() and len(a) <= 3}
    truth = {q: a if i % 2 else f"{(int(a) + 1) % 100}" for i, (q, a) in enumerate(known.items())}
    assert len(truth) >= 50
    monkeypatch.setattr(arithmetic, "answer", truth.__getitem__)
    _, best = arithmetic.chances(model, tokenizer, list(truth))
    assert best.tolist() == [arithmetic.exact(q, known[q]) for q in truth] == [i % 2 for i in range(len(truth))]


def test_it_is_shown_sums_until_it_draws_the_answer_with_the_chance_asked_for(tmp_path: Path) -> None:
    steps: list[int] = []
    arithmetic.start(tmp_path / "at once", until=0.0, shown=600, progress=lambda step, *_: steps.append(step))
    assert steps[-1] == 10
    steps.clear()
    arithmetic.start(tmp_path / "never", until=1.0, steps=15, shown=600, progress=lambda step, *_: steps.append(step))
    assert steps[-1] == 15
