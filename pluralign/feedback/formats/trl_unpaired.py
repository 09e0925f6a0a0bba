"""TRL unpaired preference: prompt, completion, label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluralign.errors import BadRow
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
    thumb = fields.flag("label")
    response = Response(chat(completion, "completion"), **about(fields, "completion"))
    yield fields.judgement(**beside(fields), prompt=chat(prompt, "prompt"), responses=(response,), thumb=thumb)


def _write(j: Judgement) -> dict[str, Any]:
    response = only(j)
    if j.thumb is None:
        problem = "the response is neither good nor bad"
        raise BadRow("no-label", field="thumb", problem=problem, remedy="turn the judgements into thumbs first")
    row = {"prompt": prompt_of(j), "completion": unchat(response.messages), "label": j.thumb}
    row |= columns_about(response, "completion") | columns_beside(j)
    return written(j, row, holds=HOLDS | {"thumb"})


FORMAT = Format(
    name="trl_unpaired",
    about="TRL unpaired preference, also the KTO mix: prompt, completion, label true or false",
    detect=columns("prompt", "completion", "label"),
    parse=_parse,
    write=_write,
)
