"""LAMP-R: a paragraph in a chat, its score in the reply (Chakrabarty et al. 2025)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._chat import chat
from pluralign.feedback.formats._fields import Fields, number
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Message, Response, text

SCALE = re.compile(r"scale from (\d+) to (\d+)")
PARAGRAPH = "Paragraph:\n"


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    *asked, answer = chat(fields.require("messages"), "messages")
    task, marker, paragraph = (asked[-1].content or "").partition(PARAGRAPH)
    if not marker:
        problem = "the user's turn holds no 'Paragraph:'"
        raise BadRow("missing-field", field="messages", problem=problem, remedy="write the text to be scored below it")
    score = _score(answer.content)
    scale = SCALE.search(task)
    if scale and not int(scale[1]) <= score <= int(scale[2]):
        problem = f"the score {score:g} is outside the scale {scale[1]} to {scale[2]} that the task states"
        raise BadRow("out-of-scale", field="messages", problem=problem, remedy="mend the score or leave the row out")
    prompt = (*asked[:-1], Message(task + PARAGRAPH, asked[-1].role))
    yield fields.judgement(
        prompt=prompt,
        responses=(Response(text(paragraph), ratings={"quality": score}),),
        annotator_kind="person",
    )


def _score(reply: str | None) -> float:
    try:
        return number(json.loads(reply or "")["score"], "messages")
    except (ValueError, KeyError, TypeError):
        problem = f'the last turn {str(reply)[:40]!r} is not {{"score": number}}'
        raise BadRow("invalid-json", field="messages", problem=problem, remedy="mend the reply") from None


def _scored(row: Mapping[str, Any]) -> bool:
    last = row["messages"][-1] if isinstance(row["messages"], list) and row["messages"] else None
    return isinstance(last, Mapping) and str(last.get("content", "")).lstrip().startswith('{"score"')


FORMAT = Format(
    name="lamp_scores",
    about='LAMP-R: messages that ask for a score of a paragraph and end with {"score": n}',
    detect=columns("messages", where=_scored, weight=2),
    parse=_parse,
)
