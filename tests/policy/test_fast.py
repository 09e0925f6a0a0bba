"""The fast way to log-probs against the plain one: shared prompts, packed rows, tiled heads; and who is refused."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import FAMILIES, REFUSED, InDouble, tiny
from transformers import T5Config, T5ForConditionalGeneration

from pluralign.policy import attention
from pluralign.policy import logprobs as module
from pluralign.policy.ability import ability, refusal
from pluralign.policy.attention import packed_attention
from pluralign.policy.batch import TokenBatch, collate
from pluralign.policy.encode import Encoded
from pluralign.policy.layout import Layout, Row, packed
from pluralign.policy.logprobs import EXTRAS, LogProbs, logprobs

SIZE = 61
CAPPED = ("gemma2", "gemma3", "mistral")
"""Windows of 5 tokens; gemma2 also has soft caps on attention and logits."""


@pytest.fixture(autouse=True)
def in_double() -> Iterator[None]:
    with InDouble():
        yield


def ragged(k: int, *, seed: int = 0, rows: int = 4) -> list[Encoded]:
    """Rows of k responses of unlike lengths: some begin alike, some are empty, some have unscored stretches."""
    draw = torch.Generator().manual_seed(seed + 17 * k)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=draw))

    def ids(n: int) -> list[int]:
        return torch.randint(3, SIZE, (n,), generator=draw).tolist()

    made = []
    for i in range(rows):
        begin = ids(number(0, 3)) if i % 2 else []
        responses = [begin + ids(number(1, 9)) for _ in range(k)]
        if i == 1:
            responses[-1] = []
        if i == 2 and k > 1:
            # One response is the beginning of another.
            responses[1] = responses[0][: len(responses[0]) // 2 + 1]
        scored = [[bool(number(0, 3)) for _ in each] for each in responses]
        made.append(Encoded(ids(number(1, 12)), tuple(responses), tuple(scored)))
    return made


def values_and_gradients(model: Any, batch: TokenBatch, **way: Any) -> tuple[LogProbs, dict[str, torch.Tensor]]:
    """Log-probs, and the gradient of a sum of them with fixed random weights."""
    model.zero_grad()
    found = logprobs(model, batch, prompt=True, **way)
    weight = torch.randn(found.token_logp.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    total = (found.token_logp * weight).sum() + (found.prompt_logp * weight[:, 0, 0]).sum()
    total.backward()
    return found, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(model: Any, batch: TokenBatch, tolerance: float = 1e-10, **way: Any) -> None:
    expected, slopes = values_and_gradients(model, batch, plain=True, extras=EXTRAS)
    found, fast_slopes = values_and_gradients(model, batch, extras=EXTRAS, **way)
    for name in ("logp", "token_logp", "prompt_logp", "length", "prompt_length"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=tolerance, rtol=tolerance)
    for name in EXTRAS:
        torch.testing.assert_close(found.extras[name], expected.extras[name], atol=tolerance, rtol=tolerance)
    assert slopes.keys() == fast_slopes.keys()
    scale = max(float(slope.abs().max()) for slope in slopes.values())
    for name, slope in slopes.items():
        assert float((fast_slopes[name] - slope).abs().max()) <= tolerance * scale, name


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("family", [*FAMILIES, *CAPPED])
def test_the_fast_way_equals_the_plain_one(family: str, k: int, side: str) -> None:
    model = tiny(family, dtype=torch.float64, vocabulary=SIZE)
    assert ability(model).unpackable is None
    assert ability(model).untiled is None
    assert_same(model, collate(ragged(k), pad_id=2, side=side))


@pytest.mark.parametrize("k", [4])
@pytest.mark.parametrize("seed", range(5))
def test_any_company(seed: int, k: int) -> None:
    assert_same(tiny("llama", dtype=torch.float64, vocabulary=SIZE), collate(ragged(k, seed=seed, rows=7), pad_id=2))


def test_rows_without_anything_to_score() -> None:
    model = tiny("llama", dtype=torch.float64, vocabulary=SIZE)
    batch = collate([Encoded([5, 6], ([], []), ([], [])), Encoded([7], ([8], []), ([False], []))], pad_id=2)
    for plain in (True, False):
        found = logprobs(model, batch, plain=plain)
        assert found.logp.tolist() == [[0, 0], [0, 0]]
        # The loss of a step that happens to hold only such rows is still differentiable.
        found.logp.sum().backward()


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_attention_keeps_no_more_than_the_line_until_the_backward_pass(softcap: float | None) -> None:
    """Not the prompt's keys and values once more for each response, nor repeated for groups of queries."""
    rows = (Row(9, (5, 3, 0, 4)), Row(2, (1, 6)))
    n = sum(row.shared + sum(row.own) for row in rows)
    q, k, v = (torch.randn(1, heads, n, 8, requires_grad=True) for heads in (4, 2, 2))
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = packed_attention(torch.nn.Module(), q, k, v, rows, softcap=softcap)
    places = {each.untyped_storage().data_ptr(): each.numel() for each in kept}
    assert places.keys() >= {each.untyped_storage().data_ptr() for each in (q, k, v, out)}
    # The fifth is one normaliser a head and token.
    assert sorted(places.values()) == sorted([4 * n, *[each.numel() for each in (q, k, v, out)]])


def test_a_stranger_changes_nothing() -> None:
    model = tiny("llama", dtype=torch.float64, vocabulary=SIZE)
    rows = ragged(3)
    with torch.no_grad():
        alone = torch.cat([logprobs(model, collate([row], pad_id=2)).logp for row in rows])
        together = logprobs(model, collate(rows, pad_id=2)).logp
    torch.testing.assert_close(together, alone, atol=1e-10, rtol=0)


def chained(layout: Layout) -> Layout:
    """Later responses see earlier ones."""
    return replace(layout, rows=tuple(Row(row.shared, (sum(row.own),)) for row in layout.rows))


def one_row(layout: Layout) -> Layout:
    """Rows see the rows before them."""
    return replace(layout, rows=(Row(layout.ids.numel(), ()),))


def blind(layout: Layout) -> Layout:
    """Responses do not see their prompt."""
    return replace(layout, rows=tuple(Row(n, ()) for row in layout.rows for n in (row.shared, *row.own)))


def counted_through(layout: Layout) -> Layout:
    """Positions run on from row to row."""
    return replace(layout, inputs=layout.inputs | {"position_ids": torch.arange(layout.ids.numel())[None]})


def counted_through_rows(layout: Layout) -> Layout:
    """Positions run on from response to response."""
    own = torch.cat([torch.arange(row.shared + sum(row.own)) for row in layout.rows])
    return replace(layout, inputs=layout.inputs | {"position_ids": own[None]})


def neighbours(layout: Layout) -> Layout:
    """Tokens are predicted from whatever stands before them on the line."""
    return replace(layout, parent=(torch.arange(layout.ids.numel()) - 1).clamp(min=0))


@pytest.mark.parametrize("wrong", [chained, one_row, blind, counted_through, counted_through_rows, neighbours])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_wrong_masks_and_positions_are_seen(family: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = tiny(family, dtype=torch.float64, vocabulary=SIZE), collate(ragged(3), pad_id=2)
    ability(model)
    if family == "llama" and wrong is counted_through:
        pytest.skip("rotary positions are relative: a row may begin anywhere")
    monkeypatch.setattr(module, "packed", lambda tokens: wrong(packed(tokens)))
    with pytest.raises(AssertionError):
        assert_same(model, batch, tolerance=1e-3)


def test_a_prompt_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama", vocabulary=SIZE)
    ability(model)
    seen: list[int] = []
    model.model.layers[0].register_forward_hook(
        lambda *a: seen.append(a[-1].shape[1]) if len(a[-1].shape) == 3 else None
    )
    rows = [
        Encoded([4] * 20, ([5, 6, 7], [5, 6, 8, 9]), ([True] * 3, [True] * 4)),
        Encoded([9], ([3],) * 2, ([True],) * 2),
    ]
    logprobs(model, collate(rows, pad_id=2))
    assert seen == [20 + 2 + 1 + 2 + 1 + 1]


@pytest.mark.parametrize("family", REFUSED)
def test_models_that_cannot_are_told_why_and_scored_plainly(family: str, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny(family, dtype=torch.float32, vocabulary=SIZE)
    batch = collate(ragged(2), pad_id=2)
    with caplog.at_level(logging.WARNING):
        found = logprobs(model, batch)
        logprobs(model, batch)
    said = [record.getMessage() for record in caplog.records if "cannot share" in record.getMessage()]
    assert len(said) == 1
    assert REFUSED[family] in said[0]
    assert type(model).__name__ in said[0]
    torch.testing.assert_close(found.logp, logprobs(model, batch, plain=True).logp, atol=2e-4, rtol=1e-4)


def test_an_attention_that_leaks_across_rows_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a kernel would that takes the line for one long text."""

    def leaky(module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: Any, **_: Any) -> Any:
        key, value = (each.repeat_interleave(query.shape[1] // key.shape[1], 1) for each in (key, value))
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2)

    monkeypatch.setattr(attention, "packed_attention", leaky)
    model, batch = tiny("llama", vocabulary=SIZE), collate(ragged(2), pad_id=2)
    with caplog.at_level(logging.WARNING):
        found = logprobs(model, batch)
    assert "its log-probs on a packed line are not those of single sequences" in caplog.text
    torch.testing.assert_close(found.logp, logprobs(model, batch, plain=True).logp)


def test_a_compiled_model_is_scored_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    model, batch = tiny("llama", vocabulary=SIZE), collate(ragged(2), pad_id=2)
    expected = logprobs(model, batch, plain=True).logp
    with caplog.at_level(logging.WARNING):
        found = logprobs(torch.compile(tiny("llama", vocabulary=SIZE), backend="eager"), batch)
    assert "it is compiled, and the shape of a packed line changes with every batch" in caplog.text
    torch.testing.assert_close(found.logp, expected)


def test_models_with_an_encoder_are_refused() -> None:
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    assert refusal(T5ForConditionalGeneration(T5Config(vocab_size=SIZE, **sizes))) == "it has an encoder"


def test_dropout_is_not_shared() -> None:
    model = tiny("gpt2", vocabulary=SIZE).train()
    batch = collate(ragged(2), pad_id=2)
    logprobs(model, batch)
    rows: list[int] = []
    model.transformer.register_forward_hook(lambda _m, _i, out: rows.append(out[0].shape[0]))
    logprobs(model, batch)
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.1
    logprobs(model, batch)
    assert rows == [1, 8]


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_nothing(reentrant: bool) -> None:
    model = tiny("llama", vocabulary=SIZE).train()
    batch = collate(ragged(2), pad_id=2)
    _, expected = values_and_gradients(model, batch)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    if reentrant:
        model.enable_input_require_grads()
    _, found = values_and_gradients(model, batch)
    for name, slope in expected.items():
        torch.testing.assert_close(found[name], slope, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("targets", [["q_proj", "down_proj"], ["q_proj", "lm_head"]])
def test_adapters(targets: list[str]) -> None:
    base = tiny("llama", dtype=torch.float64, vocabulary=SIZE)
    model = get_peft_model(base, LoraConfig(r=2, target_modules=targets, init_lora_weights=False))
    assert_same(model, collate(ragged(2), pad_id=2))


def test_tied_weights_and_low_precision() -> None:
    model = tiny("gpt2", vocabulary=SIZE)
    assert model.lm_head.weight is model.transformer.wte.weight
    low = tiny("llama", dtype=torch.bfloat16, vocabulary=SIZE)
    batch = collate(ragged(2), pad_id=2)
    found, expected = logprobs(low, batch), logprobs(low, batch, plain=True)
    assert found.token_logp.dtype == torch.float32
    assert float((found.token_logp - expected.token_logp).abs().max()) < 0.2
    high = tiny("llama", vocabulary=SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = logprobs(high, batch), logprobs(high, batch, plain=True)
    assert found.token_logp.dtype == torch.float32
    assert float((found.token_logp - expected.token_logp).abs().max()) < 0.2


def test_the_model_is_left_as_it_was(tmp_path: Any) -> None:
    model = tiny("llama", vocabulary=SIZE)
    before = model(torch.arange(3, 9)[None]).logits
    logprobs(model, collate(ragged(2), pad_id=2))
    assert torch.equal(model(torch.arange(3, 9)[None]).logits, before)
    assert model.generate(torch.arange(3, 9)[None], max_new_tokens=2, do_sample=False).shape == (1, 8)
    model.save_pretrained(tmp_path)
    assert "packed" not in (tmp_path / "config.json").read_text()
    assert torch.equal(copy.deepcopy(model)(torch.arange(3, 9)[None]).logits, before)


def test_unknown_extras_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown extras median; there are entropy"):
        logprobs(tiny("llama", vocabulary=SIZE), collate(ragged(2), pad_id=2), extras=["median"])
