"""TRL language modelling: text, or messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluralign.feedback.formats._chat import chat, unchat
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats._trl import BESIDE, HOLDS, about, beside, columns_about, columns_beside, only
from pluralign.feedback.formats._write import written
from pluralign.feedback.record import Judgement, Response


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    key = "messages" if "messages" in fields else "text"
    messages = chat(fields.given(key), key)
    yield fields.judgement(**beside(fields), responses=(Response(messages, **about(fields, "text")),))


def _write(j: Judgement) -> dict[str, Any]:
    response = only(j)
    whole = unchat(response.messages)
    key = "text" if isinstance(whole, str) else "messages"
    return written(j, {key: whole} | columns_about(response, "text") | columns_beside(j), holds=HOLDS - {"prompt"})


def _detect(sample: Sample) -> tuple[int, str] | None:
    found = sample.columns
    first = sample.records[0].fields.get("messages") if sample.records else None
    if isinstance(first, list) and first and isinstance(first[0], dict) and "role" in first[0]:
        return 2, "column messages with roles"
    return (1, "column text") if "text" in found and found <= BESIDE | {"text"} else None


FORMAT = Format(
    name="trl_language_modelling",
    about="TRL language modelling: text, or messages",
    detect=_detect,
    parse=_parse,
    write=_write,
)
