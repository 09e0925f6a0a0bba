"""Where a response begins and ends, and what a length limit takes away."""

from __future__ import annotations

import pytest
from tiny_models import CHATML, DOUBLED, HEADERS, THINKING, tokenizer

from pluralign.errors import BadRow, OptionError
from pluralign.feedback.record import Message, text
from pluralign.policy.encode import Encoder


def chat(*turns: str) -> tuple[Message, ...]:
    return tuple(Message(turn, role=("user", "assistant")[i % 2]) for i, turn in enumerate(turns))


def reply(words: str) -> tuple[Message, ...]:
    return (Message(words, role="assistant"),)


def decode(ids: list[int]) -> str:
    return tokenizer().decode(ids)


def test_text_has_one_bos_and_one_eos() -> None:
    row = Encoder(tokenizer()).encode(text("Why?"), [text(" Because."), text("")])
    assert decode(row.prompt_ids) == "<|begin|>Why?"
    assert [decode(ids) for ids in row.response_ids] == [" Because.<|end|>", "<|end|>"]


def test_a_space_merged_across_the_boundary_counts_as_response_on_both_sides() -> None:
    encoder = Encoder(tokenizer())
    row = encoder.encode(text("The answer is "), [text("eight"), text("4")])
    together = tokenizer()("The answer is eight")["input_ids"]
    assert row.prompt_ids + row.response_ids[0][:-1] == together
    assert decode(row.prompt_ids) == "<|begin|>The answer is"
    assert encoder.counts["boundary-moved"] == 1


@pytest.mark.parametrize("template", [CHATML, HEADERS], ids=["chatml", "headers"])
def test_a_template_that_closes_the_turn_gets_no_second_eos(template: str) -> None:
    row = Encoder(tokenizer(template)).encode(chat("Why?"), [reply("Because."), reply("4")])
    assert [decode(ids) for ids in row.response_ids] == ["Because.<|end|>", "4<|end|>"]
    assert all(ids.count(tokenizer().eos_token_id) == 1 for ids in row.response_ids)


def test_a_prompt_that_is_no_token_prefix_is_cut_back_and_counted() -> None:
    encoder = Encoder(tokenizer(THINKING))
    row = encoder.encode(chat("Why?"), [reply("Because."), reply("4")])
    assert decode(row.prompt_ids).endswith("<|assistant|>")
    assert [decode(ids) for ids in row.response_ids] == ["Because.<|end|>", "4<|end|>"]
    assert encoder.counts["boundary-moved"] == 1


def test_a_doubled_control_token_is_removed_and_counted() -> None:
    encoder = Encoder(tokenizer(DOUBLED))
    row = encoder.encode(chat("Why?"), [reply("a"), reply("b")])
    assert row.prompt_ids.count(tokenizer().bos_token_id) == 1
    assert encoder.counts["doubled-bos-removed"] == 3


def test_without_a_prompt_the_first_token_is_still_predicted() -> None:
    row = Encoder(tokenizer()).encode((), [text("Dear friend"), text("4")])
    assert decode(row.prompt_ids) == "<|begin|>"
    assert decode(row.response_ids[0]) == "Dear friend<|end|>"


def test_only_the_assistant_is_scored_in_a_continuation_of_several_turns() -> None:
    first = (Message("4", role="assistant"), Message("Sure?", role="user"), Message("Yes", role="assistant"))
    row = Encoder(tokenizer(CHATML)).encode(chat("2 + 2?"), [first, reply("8")])
    said = [token for token, keep in zip(row.response_ids[0], row.scored[0], strict=True) if keep]
    assert decode(said) == "4<|end|>\nYes<|end|>"


def test_a_continuation_without_an_assistant_is_refused() -> None:
    with pytest.raises(BadRow, match="no assistant turn"):
        Encoder(tokenizer(CHATML)).encode(chat("Hi", "Hello"), [(Message("Bye", role="user"),), reply("x")])


def test_the_limit_is_the_same_for_both_sides_and_cuts_the_prompt_first() -> None:
    encoder = Encoder(tokenizer(), max_length=12)
    row = encoder.encode(text("4 + 4 = 8, and " * 3), [text("The answer is eight."), text("Write a short note")])
    free = Encoder(tokenizer()).encode(
        text("4 + 4 = 8, and " * 3), [text("The answer is eight."), text("Write a short note")]
    )
    assert row.prompt_ids[0] == tokenizer().bos_token_id
    assert row.prompt_ids[1:] == free.prompt_ids[len(free.prompt_ids) - len(row.prompt_ids) + 1 :]
    assert max(len(row.prompt_ids) + len(ids) for ids in row.response_ids) <= 12
    assert encoder.counts["prompt-cut"] == 1


@pytest.mark.parametrize("truncation", ["keep_end", "keep_start"])
@pytest.mark.parametrize("limit", [2, 3, 5, 9, 14])
def test_no_limit_ever_empties_a_response(truncation: str, limit: int) -> None:
    encoder = Encoder(tokenizer(), max_length=limit, truncation=truncation)
    try:
        row = encoder.encode(text("Why is the sky blue?"), [text(" 4"), text(" Because short waves scatter more")])
    except BadRow:
        return
    assert all(len(ids) >= 1 and len(row.prompt_ids) + len(ids) <= limit for ids in row.response_ids)


def test_drop_refuses_instead_of_cutting() -> None:
    with pytest.raises(BadRow, match="raise max_length"):
        Encoder(tokenizer(), max_length=4, truncation="drop").encode(
            text("Why is the sky blue?"), [text("4"), text("8")]
        )


def test_responses_that_the_limit_makes_equal_are_refused() -> None:
    with pytest.raises(BadRow) as refused:
        Encoder(tokenizer(), max_length=6, truncation="keep_start").encode(
            text("2 + 2 ="), [text(" 4, and 4"), text(" 4, and 8")]
        )
    assert refused.value.reason == "equal-responses"


def test_a_chat_needs_a_template() -> None:
    bare = tokenizer()
    bare.chat_template, kept = None, bare.chat_template
    try:
        with pytest.raises(OptionError, match="chat template"):
            Encoder(bare).encode(chat("Hi"), [reply("a"), reply("b")])
    finally:
        bare.chat_template = kept
