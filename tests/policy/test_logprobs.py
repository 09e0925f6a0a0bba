"""Log-probs against a plain computation, position by position."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import FAMILIES, TEMPLATES, tiny, tokenizer

from pluralign.feedback.record import Message, text
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoded, Encoder
from pluralign.policy.logprobs import logprobs

QUESTION = "Why is the sky blue?"
ANSWERS = ("Because short waves scatter.", "The answer is eight, dear friend of the long evening.")


def rows(template: str | None) -> list[Encoded]:
    encoder = Encoder(tokenizer(TEMPLATES[template] if template else None))
    if template is None:
        return [
            encoder.encode(text(QUESTION + " "), [text(a) for a in ANSWERS]),
            encoder.encode(text("2 + 2"), [text(" = 4"), text(" = 8, and 4")]),
        ]
    asked = (Message("Be brief.", role="system"), Message(QUESTION, role="user"))
    return [
        encoder.encode(asked, [(Message(a, role="assistant"),) for a in ANSWERS]),
        encoder.encode(asked[1:], [(Message(a, role="assistant"),) for a in reversed(ANSWERS)]),
    ]


def plain(model, row: Encoded) -> torch.Tensor:
    """One forward pass a token, no padding, no masks: [K]."""
    sums = []
    for ids in row.response_ids:
        context, total = list(row.prompt_ids), 0.0
        for token in ids:
            logits = model(torch.tensor([context])).logits[0, -1].double()
            total += float(logits[token] - logits.logsumexp(-1))
            context.append(token)
        sums.append(total)
    return torch.tensor(sums)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("template", [None, *TEMPLATES])
@pytest.mark.parametrize("family", FAMILIES)
def test_log_probs_equal_a_plain_computation(family: str, template: str | None, side: str) -> None:
    model, batch = tiny(family), rows(template)
    with torch.no_grad():
        found = logprobs(model, collate(batch, pad_id=2, side=side))
        expected = torch.stack([plain(model, row) for row in batch])
    assert torch.allclose(found.logp.double(), expected.double(), atol=1e-5 * 20)
    per_token = (found.logp - expected) / found.length
    assert per_token.abs().max() < 1e-5
    assert found.length.tolist() == [[len(ids) for ids in row.response_ids] for row in batch]


@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_log_probs_complete_the_sequence(family: str) -> None:
    model, batch = tiny(family), rows(None)
    with torch.no_grad():
        found = logprobs(model, collate(batch, pad_id=2), prompt=True)
        for i, row in enumerate(batch):
            whole = Encoded(row.prompt_ids[:1], (row.prompt_ids[1:],), ([True] * (len(row.prompt_ids) - 1),))
            assert found.prompt_logp[i].item() == pytest.approx(plain(model, whole).item(), abs=1e-4)
            assert found.prompt_length[i] == len(row.prompt_ids) - 1


def test_bf16_weights_are_summed_in_single_precision() -> None:
    found = logprobs(tiny("llama", dtype=torch.bfloat16), collate(rows(None), pad_id=2))
    assert found.logp.dtype == found.token_logp.dtype == torch.float32


@settings(max_examples=15, deadline=None)
@given(
    extra=st.integers(1, 9),
    side=st.sampled_from(["left", "right"]),
    ids=st.lists(st.lists(st.integers(3, 60), min_size=1, max_size=7), min_size=2, max_size=2),
)
def test_padding_and_company_change_nothing(extra: int, side: str, ids: list[list[int]]) -> None:
    model = tiny("llama", dtype=torch.float64)
    row = Encoded([0, 5, 7], (ids[0], ids[1]), ([True] * len(ids[0]), [True] * len(ids[1])))
    longer = Encoded([0] * 4, ([9] * (len(ids[0]) + extra), [8]), ([True] * (len(ids[0]) + extra), [True]))
    with torch.no_grad():
        alone = logprobs(model, collate([row], pad_id=2)).logp
        together = logprobs(model, collate([longer, row], pad_id=2, side=side)).logp
    assert torch.allclose(alone[0], together[1], atol=1e-10)


def test_a_wrong_mask_is_seen() -> None:
    model, batch = tiny("llama"), collate(rows(None), pad_id=2, side="left")
    with torch.no_grad():
        right = logprobs(model, batch).logp
        batch.attention_mask[:] = 1
        wrong = logprobs(model, batch).logp
    assert (right - wrong).abs().max() > 1e-2
