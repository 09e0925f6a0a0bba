"""Checks that hold for a judgement of any format, made once, after parsing."""

from __future__ import annotations

import math

from pluralign.errors import BadRow
from pluralign.feedback.record import Judgement, Message, Response

LONGEST_TEXT = 1_000_000
"""Characters. A longer prompt or response is not read: it is a file pasted into a cell, or a missing quote."""


def check(j: Judgement) -> list[str]:
    """Reasons to note about a judgement that can stay; raises `BadRow` for one that cannot.

    An empty reply is noted, not dropped: it is what the annotator saw. Two equal sides with one preferred cannot be
    meant, so that row is dropped; unless two models of different names gave the same text, which is noted: the vote
    still counts between the two.

    >>> from pluralign.feedback.record import text
    >>> check(Judgement(text("Hi"), (Response(text("Hello")), Response(text(""))), ranks=(1, 2)))
    ['empty-response']
    """
    _texts(j)
    _numbers(j)
    _ranks(j)
    for where, messages in [
        ("prompt", j.prompt),
        *((f"responses[{i}]", r.messages) for i, r in enumerate(j.responses)),
    ]:
        size = sum(len(m.content or "") for m in messages)
        if size > LONGEST_TEXT:
            raise BadRow(
                "too-long",
                field=where,
                problem=f"{size:,} characters, more than {LONGEST_TEXT:,}",
                remedy="look for a missing quote or separator",
            )
    if _equal_sides(j):
        raise BadRow(
            "equal-sides",
            field="responses",
            problem="both responses are the same, and one is preferred",
            remedy="remove the row or record a tie",
        )
    notes = ["empty-response"] if any(_is_empty(r) for r in j.responses) else []
    if prefers_equal_texts(j):
        notes.append("equal-texts")
    return notes


_TEXTS = ("rationale", "annotator", "annotator_kind", "criterion", "context", "prompt_id", "id")


def _texts(j: Judgement) -> None:
    named = [(name, getattr(j, name)) for name in _TEXTS]
    named += [("prompt", value) for m in j.prompt for value in (m.content, m.role)]
    for r in j.responses:
        named += [
            ("model", r.model),
            ("id", r.id),
            *(("responses", v) for m in r.messages for v in (m.content, m.role)),
        ]
    for name, value in named:
        if value is not None and not isinstance(value, str):
            problem = f"holds {type(value).__name__} {str(value)[:40]!r} where a text belongs"
            raise BadRow("wrong-type", field=name, problem=problem, remedy="write it as a text")


def _numbers(j: Judgement) -> None:
    numbers = {name: getattr(j, name) for name in ("strength", "probability", "weight", "margin", "beta")}
    numbers |= {f"ratings.{aspect}": value for r in j.responses for aspect, value in r.ratings.items()}
    for name, value in numbers.items():
        if value is not None and not math.isfinite(value):
            raise BadRow("not-a-number", field=name, problem=f"is {value}", remedy="leave it out or give a number")
    if j.probability is not None and not 0 <= j.probability <= 1:
        raise BadRow(
            "out-of-range",
            field="probability",
            problem=f"{j.probability} is not between 0 and 1",
            remedy="give the chance that the first response is preferred",
        )
    for name in ("weight", "beta"):
        value = numbers[name]
        if value is not None and value < 0:
            raise BadRow(
                "out-of-range", field=name, problem=f"{value} is negative", remedy="give a number of at least 0"
            )


def _ranks(j: Judgement) -> None:
    for name in ("ranks", "positions"):
        values = getattr(j, name)
        if values is not None and len(values) != len(j.responses):
            problem = f"{len(values)} entries for {len(j.responses)} responses"
            raise BadRow("wrong-length", field=name, problem=problem, remedy="give one entry a response")


def prefers_equal_texts(j: Judgement) -> bool:
    """Whether one of two responses is preferred though their texts are the same: nothing to learn for a model of text.

    >>> from pluralign.feedback.record import text
    >>> prefers_equal_texts(Judgement(responses=(Response(text("yes"), "a"), Response(text("yes"), "b")), ranks=(1, 2)))
    True
    """
    if len(j.responses) != 2 or j.ranks is None or j.ranks[0] == j.ranks[1]:
        return False
    first, second = j.responses
    return bool(first.messages) and first.messages == second.messages


def _equal_sides(j: Judgement) -> bool:
    if len(j.responses) != 2 or j.ranks is None or j.ranks[0] == j.ranks[1]:
        return False
    first, second = j.responses
    if first.messages or second.messages:
        two_models = None not in (first.model, second.model) and first.model != second.model
        return prefers_equal_texts(j) and not two_models
    named = first.model is not None or first.id is not None
    return named and (first.model, first.id) == (second.model, second.id)


def _is_empty(r: Response) -> bool:
    def blank(m: Message) -> bool:
        return not (m.content or "").strip() and not m.extra

    # For a continuation of several turns, the reply is the last one.
    return bool(r.messages) and blank(r.messages[-1])
