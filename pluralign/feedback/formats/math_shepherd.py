"""Math-Shepherd: a solution whose steps end in a marker, and the marker's sign in a second copy (Wang et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Message, Response, text

MARKER = "ки"
GRADES = {"+": 1.0, "-": 0.0}


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    *steps, rest = fields.text("input").split(MARKER)
    label = fields.text("label")
    problem, begun, first = steps[0].partition("Step 1:") if steps else ("", "", "")
    if not begun or rest.strip():
        what = f"is not a problem and steps that each end in {MARKER!r}"
        raise BadRow("invalid-steps", field="input", problem=what, remedy="write it as published")
    graded, place = [], 0
    for step in steps:
        # The label repeats the text, with a sign where the marker stood.
        place += len(step)
        sign = label[place : place + 1]
        if label[place - len(step) : place] != step or sign not in GRADES:
            what = f"does not repeat the input with + or - in place of {MARKER!r}"
            raise BadRow("invalid-steps", field="label", problem=what, remedy="write it as published")
        graded.append(GRADES[sign])
        place += 1
    words = [begun + first, *steps[1:]]
    messages = tuple(Message(step.strip(), label=grade) for step, grade in zip(words, graded, strict=True))
    yield fields.judgement(
        prompt=text(problem.strip()),
        responses=(Response(messages),),
        annotator_kind="model",
        context=fields.name("task"),
    )


FORMAT = Format(
    name="math_shepherd",
    about="Math-Shepherd: input with a marker after each step, label with + or - in its place",
    detect=columns("input", "label", also=["task"], where=lambda row: MARKER in str(row["input"])),
    parse=_parse,
)
