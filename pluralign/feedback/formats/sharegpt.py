"""ShareGPT conversations: turns with "from" and "value", alone or with two continuations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import Fields, listed
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.formats._trl import HOLDS, about, beside, columns_about, columns_beside, pair_columns
from pluralign.feedback.formats._write import written
from pluralign.feedback.record import Judgement, Message, Response

ROLES = {"human": "user", "gpt": "assistant", "system": "system", "tool": "tool"}
SYNONYMS = {"user": "user", "assistant": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant"}
SPEAKERS = {role: speaker for speaker, role in ROLES.items()}


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    turns = tuple(_message(turn) for turn in listed(fields.require("conversations"), "conversations"))
    if "chosen" in fields or "rejected" in fields:
        sides = tuple(
            Response((_message(fields.require(side)),), **about(fields, side)) for side in ("chosen", "rejected")
        )
        yield fields.judgement(**beside(fields), prompt=turns, responses=sides, ranks=FIRST)
    else:
        yield fields.judgement(**beside(fields), responses=(Response(turns, **about(fields, "text")),))


def _message(turn: Mapping[str, Any]) -> Message:
    speaker = turn["from"]
    role = ROLES.get(speaker) or SYNONYMS.get(speaker)
    if role is None:
        problem = f"the speaker {str(speaker)[:40]!r} is not known"
        known = ", ".join([*ROLES, *SYNONYMS])
        raise BadRow("unknown-label", field="conversations", problem=problem, remedy=f"use one of {known}")
    extra = {key: value for key, value in turn.items() if key not in ("from", "value") and value is not None}
    # What the speaker was called is kept where the usual name would not give it back.
    extra |= {} if SPEAKERS[role] == speaker else {"from": speaker}
    return Message(turn["value"], role, extra=extra or None)


def _turn(m: Message) -> dict[str, Any]:
    if m.role not in SPEAKERS or m.label is not None:
        problem = f"a turn of role {m.role!r} has no speaker here"
        raise BadRow("would-be-lost", field="messages", problem=problem, remedy="choose another format")
    return {"from": SPEAKERS[m.role], "value": m.content, **(m.extra or {})}


def _write(j: Judgement) -> dict[str, Any]:
    if len(j.responses) == 1 and not j.prompt:
        row = {"conversations": [_turn(m) for m in j.responses[0].messages]} | columns_about(j.responses[0], "text")
        return written(j, row | columns_beside(j), holds=HOLDS)
    chosen, rejected, beside_columns = pair_columns(j)
    if len(chosen.messages) != 1 or len(rejected.messages) != 1:
        problem = "a side has more or less than one turn"
        raise BadRow("not-one-turn", field="responses", problem=problem, remedy="write another format")
    sides = {"chosen": _turn(chosen.messages[0]), "rejected": _turn(rejected.messages[0])}
    row = {"conversations": [_turn(m) for m in j.prompt]} | sides | beside_columns
    return written(j, row, holds=HOLDS | {"ranks"})


def _spoken(row: Mapping[str, Any]) -> bool:
    turns = row.get("conversations")
    return isinstance(turns, list) and bool(turns) and isinstance(turns[0], Mapping) and "from" in turns[0]


FORMAT = Format(
    name="sharegpt",
    about="ShareGPT conversations with from and value, alone or with a chosen and a rejected turn",
    detect=columns("conversations", also=["chosen", "rejected"], where=_spoken),
    parse=_parse,
    write=_write,
)
