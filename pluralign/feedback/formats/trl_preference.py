"""TRL preference, explicit prompt: prompt, chosen, rejected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluralign.feedback.formats._chat import chat, unchat
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.formats._trl import HOLDS, about, beside, pair_columns, prompt_of, same_shape
from pluralign.feedback.formats._write import written
from pluralign.feedback.record import Judgement, Response


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt, chosen, rejected = (fields.given(key) for key in ("prompt", "chosen", "rejected"))
    same_shape(prompt, chosen, rejected)
    first = Response(chat(chosen, "chosen"), **about(fields, "chosen"))
    second = Response(chat(rejected, "rejected"), **about(fields, "rejected"))
    yield fields.judgement(**beside(fields), prompt=chat(prompt, "prompt"), responses=(first, second), ranks=FIRST)


def _write(j: Judgement) -> dict[str, Any]:
    chosen, rejected, beside_columns = pair_columns(j)
    texts = {"prompt": prompt_of(j), "chosen": unchat(chosen.messages), "rejected": unchat(rejected.messages)}
    return written(j, texts | beside_columns, holds=HOLDS | {"ranks"})


FORMAT = Format(
    name="trl_preference",
    about="TRL preference pairs with an explicit prompt: prompt, chosen, rejected (texts or messages)",
    detect=columns("prompt", "chosen", "rejected"),
    parse=_parse,
    write=_write,
)
