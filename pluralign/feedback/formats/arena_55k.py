"""Chatbot Arena 55k: texts as JSON lists of turns, the winner in three columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._arena import WINNERS, battle
from pluralign.feedback.formats._fields import Fields, listed
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement

WON = {"winner_model_a": "model_a", "winner_model_b": "model_b", "winner_tie": "tie"}


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    asked = _turns(fields, "prompt")
    chats = [_conversation(asked, _turns(fields, key)) for key in ("response_a", "response_b")]
    said_to_win = [winner for key, winner in WON.items() if fields.flag(key)]
    if len(said_to_win) != 1:
        problem = f"{len(said_to_win)} of {', '.join(WON)} are 1"
        raise BadRow("unknown-label", field="winner_tie", problem=problem, remedy="exactly one must be")
    prompt, responses = battle(fields, *chats)
    ranks = WINNERS[said_to_win[0]][0]
    yield fields.judgement(
        id=fields.name("id"),
        prompt=prompt,
        responses=responses,
        ranks=ranks,
        annotator_kind="person",
        positions=(1, 2),
    )


def _turns(fields: Fields, key: str) -> list[Any]:
    value = fields.require(key)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            problem = f"is not a JSON list of turns ({error.msg})"
            raise BadRow("invalid-json", field=key, problem=problem, remedy="mend the cell") from None
    return listed(value, key)


def _conversation(asked: list[Any], answered: list[Any]) -> list[dict[str, Any]]:
    turns = zip(asked, answered, strict=True)
    return [
        {"role": role, "content": content}
        for turn in turns
        for role, content in zip(("user", "assistant"), turn, strict=True)
    ]


FORMAT = Format(
    name="arena_55k",
    about="Chatbot Arena 55k: prompt, response_a, response_b as JSON lists, winner_model_a, winner_model_b, winner_tie",
    detect=columns("model_a", "model_b", "prompt", "response_a", "response_b", *WON),
    parse=_parse,
)
