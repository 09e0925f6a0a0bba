"""TRL prompt-completion: prompt, completion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluralign.feedback.formats._chat import chat, unchat
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.formats._trl import (
    HOLDS,
    about,
    beside,
    columns_about,
    columns_beside,
    only,
    prompt_of,
    same_shape,
)
from pluralign.feedback.formats._write import written
from pluralign.feedback.record import Judgement, Response


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt, completion = fields.given("prompt"), fields.given("completion")
    same_shape(prompt, completion)
    response = Response(chat(completion, "completion"), **about(fields, "completion"))
    yield fields.judgement(**beside(fields), prompt=chat(prompt, "prompt"), responses=(response,))


def _write(j: Judgement) -> dict[str, Any]:
    response = only(j)
    row = {"prompt": prompt_of(j), "completion": unchat(response.messages)}
    return written(j, row | columns_about(response, "completion") | columns_beside(j), holds=HOLDS)


FORMAT = Format(
    name="trl_prompt_completion",
    about="TRL demonstrations: prompt, completion (texts or messages)",
    detect=columns("prompt", "completion", without=["label"]),
    parse=_parse,
    write=_write,
)
