"""TRL preference, implicit prompt: chosen and rejected begin with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._chat import chat, note_divergence, shared_prompt, unchat
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.formats._trl import HOLDS, about, beside, pair_columns, same_shape
from pluralign.feedback.formats._write import words, written
from pluralign.feedback.record import Judgement, Message, Response, text


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    chosen, rejected = fields.given("chosen"), fields.given("rejected")
    same_shape(chosen, rejected)
    if isinstance(chosen, str):
        cut = shared_words(chosen, rejected)
        prompt = text(chosen[:cut])
        sides = [text(chosen[cut:]), text(rejected[cut:])]
    else:
        prompt, sides = shared_prompt([chat(chosen, "chosen"), chat(rejected, "rejected")], "rejected")
        fields.notes += note_divergence(sides)
    first = Response(sides[0], **about(fields, "chosen"))
    second = Response(sides[1], **about(fields, "rejected"))
    yield fields.judgement(**beside(fields), prompt=prompt, responses=(first, second), ranks=FIRST)


def shared_words(first: str, second: str) -> int:
    """Length of the prompt that two texts share, cut before a space and never inside a word.

    >>> "It is blue"[: shared_words("It is blue", "It is black")]
    'It is'
    """
    if first == second:
        problem = "is equal to chosen, word for word"
        raise BadRow("identical-responses", field="rejected", problem=problem, remedy="leave the row out")
    cut = 0
    while cut < min(len(first), len(second)) and first[cut] == second[cut]:
        cut += 1
    if any(side[cut : cut + 1].isalnum() for side in (first, second)):
        while cut and first[cut - 1].isalnum():
            cut -= 1
    return cut - 1 if cut and first[cut - 1] == " " else cut


def _write(j: Judgement) -> dict[str, Any]:
    chosen, rejected, beside_columns = pair_columns(j)
    sides = {"chosen": _whole(j.prompt, chosen), "rejected": _whole(j.prompt, rejected)}
    return written(j, sides | beside_columns, holds=HOLDS | {"ranks"})


def _whole(prompt: tuple[Message, ...], response: Response) -> str | list[dict[str, Any]]:
    messages = prompt + response.messages
    if all(m.role is None for m in messages):
        return words(prompt, "prompt") + words(response.messages, "responses")
    return unchat(messages)


FORMAT = Format(
    name="trl_preference_implicit",
    about="TRL preference pairs whose sides begin with the prompt: chosen, rejected (texts or messages)",
    detect=columns("chosen", "rejected"),
    parse=_parse,
    write=_write,
)
