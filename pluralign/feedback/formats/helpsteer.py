"""HelpSteer and HelpSteer2 ratings: adjacent rows answer the same prompt (Wang et al. 2023, 2024)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pluralign.feedback.formats._chat import reply
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._group import adjacent, rows_of
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Message, text

ASPECTS = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
TURN = re.compile(r"\n?<extra_id_1>(User|Assistant)\n?")


def turns(prompt: str) -> tuple[Message, ...]:
    """A prompt as given; one of several turns, marked <extra_id_1>, as a chat that begins with the user.

    >>> [m.role for m in turns("Hi\\n<extra_id_1>Assistant\\nHello\\n<extra_id_1>User\\nWhy?")]
    ['user', 'assistant', 'user']
    """
    first, *rest = TURN.split(prompt)
    if not rest:
        return text(prompt)
    roles = ["user", *(speaker.lower() for speaker in rest[::2])]
    spoken = zip(roles, [first, *rest[1::2]], strict=True)
    return tuple(Message(content, role) for role, content in spoken if content or role != "user")


def _parse(record: Record) -> Iterator[Judgement]:
    rows = [Fields(row) for row in rows_of(record)]
    prompt = [turns(row.text("prompt")) for row in rows].pop()
    responses = tuple(reply(row.text("response"), prompt, ratings=_ratings(row)) for row in rows)
    left = [row.meta() for row in rows]
    yield Judgement(prompt, responses, annotator_kind="person", meta={"responses": left} if any(left) else {})


def _ratings(row: Fields) -> dict[str, float]:
    return {aspect: value for aspect in ASPECTS if (value := row.maybe(aspect)) is not None}


FORMAT = Format(
    name="helpsteer",
    about="HelpSteer 1 and 2: a response rated 0 to 4 on five aspects; adjacent rows share a prompt",
    detect=columns("prompt", "response", *ASPECTS),
    parse=_parse,
    regroup=adjacent("prompt"),
)
