"""HH-RLHF: whole transcripts, the chosen and the rejected one (Bai et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._chat import HUMAN_ASSISTANT, note_divergence, shared_prompt, transcript, untranscript
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.formats._trl import HOLDS, about, beside, pair_columns
from pluralign.feedback.formats._write import written
from pluralign.feedback.record import Judgement, Response


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    chats = [transcript(fields.text(side), side) for side in ("chosen", "rejected")]
    prompt, sides = shared_prompt(chats, "rejected")
    if not prompt:
        problem = "shares no turn with chosen"
        raise BadRow("no-common-prompt", field="rejected", problem=problem, remedy="leave the row out")
    fields.notes += note_divergence(sides)
    responses = (Response(sides[0], **about(fields, "chosen")), Response(sides[1], **about(fields, "rejected")))
    yield fields.judgement(**beside(fields), prompt=prompt, responses=responses, ranks=FIRST)


def _write(j: Judgement) -> dict[str, Any]:
    chosen, rejected, beside_columns = pair_columns(j)
    sides = {"chosen": untranscript(j.prompt + chosen.messages), "rejected": untranscript(j.prompt + rejected.messages)}
    return written(j, sides | beside_columns, holds=HOLDS | {"ranks"})


def _marked(row: Mapping[str, Any]) -> bool:
    return all(isinstance(row.get(side), str) and HUMAN_ASSISTANT.match(row[side]) for side in ("chosen", "rejected"))


FORMAT = Format(
    name="hh",
    about="HH-RLHF transcripts: chosen, rejected, turns introduced by Human: and Assistant:",
    detect=columns("chosen", "rejected", where=_marked),
    parse=_parse,
    write=_write,
)
