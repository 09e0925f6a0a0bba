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
from pluralign.feedback.formats._trl import pair_columns
from pluralign.feedback.record import Judgement, Response


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    chats = [transcript(fields.text(side), side) for side in ("chosen", "rejected")]
    prompt, sides = shared_prompt(chats, "rejected")
    if not prompt:
        problem = "shares no turn with chosen"
        raise BadRow("no-common-prompt", field="rejected", problem=problem, remedy="leave the row out")
    fields.notes += note_divergence(sides)
    yield fields.judgement(prompt=prompt, responses=tuple(Response(side) for side in sides), ranks=FIRST)


def _write(j: Judgement) -> dict[str, Any]:
    chosen, rejected, beside_columns = pair_columns(j)
    sides = {"chosen": untranscript(j.prompt + chosen.messages), "rejected": untranscript(j.prompt + rejected.messages)}
    return sides | beside_columns


def _marked(row: Mapping[str, Any]) -> bool:
    return all(isinstance(row.get(side), str) and HUMAN_ASSISTANT.match(row[side]) for side in ("chosen", "rejected"))


FORMAT = Format(
    name="hh",
    about="HH-RLHF transcripts: chosen, rejected, turns introduced by Human: and Assistant:",
    detect=columns("chosen", "rejected", where=_marked),
    parse=_parse,
    write=_write,
)
