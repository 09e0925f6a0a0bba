"""TRL stepwise supervision: prompt, completions (steps), labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import Fields, listed, number
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.formats._trl import HOLDS, about, beside, columns_about, columns_beside, only
from pluralign.feedback.formats._write import words, written
from pluralign.feedback.record import Judgement, Message, Response, text


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt = text(fields.text("prompt"))
    steps = listed(fields.require("completions"), "completions")
    grades = listed(fields.require("labels"), "labels", len(steps))
    yield fields.judgement(
        **beside(fields), prompt=prompt, responses=(Response(stepwise(steps, grades), **about(fields, "completions")),)
    )


def stepwise(steps: list[str], grades: list[bool | float]) -> tuple[Message, ...]:
    """Steps of a solution as messages, each with its own grade."""
    return tuple(
        Message(step, label=float(grade) if isinstance(grade, bool) else number(grade, "labels"))
        for step, grade in zip(steps, grades, strict=True)
    )


def _write(j: Judgement) -> dict[str, Any]:
    response = only(j)
    labels = [m.label for m in response.messages]
    if None in labels:
        problem = "a step has no grade"
        raise BadRow("no-label", field="responses", problem=problem, remedy="grade every step or write another format")
    # TRL's own labels are booleans; grades between 0 and 1 stay numbers.
    truths = [bool(label) for label in labels] if set(labels) <= {0.0, 1.0} else labels
    steps = [words((Message(m.content, m.role, extra=m.extra),), "responses") for m in response.messages]
    row = {"prompt": words(j.prompt, "prompt"), "completions": steps, "labels": truths}
    return written(j, row | columns_about(response, "completions") | columns_beside(j), holds=HOLDS)


FORMAT = Format(
    name="trl_stepwise",
    about="TRL stepwise supervision: prompt, completions (one text a step), labels (one a step)",
    detect=columns("prompt", "completions", "labels"),
    parse=_parse,
    write=_write,
)
