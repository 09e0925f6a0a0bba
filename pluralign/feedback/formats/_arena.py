"""What arena releases share: named models, a winner or one of two kinds of tie, conversations side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._chat import Messages, chat, said
from pluralign.feedback.formats._fields import Fields, missing
from pluralign.feedback.formats._ranks import FIRST, SECOND, TIE
from pluralign.feedback.record import Response

Outcome = tuple[tuple[int, int], bool | None]
WINNERS: dict[str, Outcome] = {
    "model_a": (FIRST, None),
    "model_b": (SECOND, None),
    "tie": (TIE, False),
    "tie (bothbad)": (TIE, True),
    "both_bad": (TIE, True),
    "bothbad": (TIE, True),
}


def battle(fields: Fields, first: Any, second: Any) -> tuple[Messages, tuple[Response, ...]]:
    """Prompt and the two named responses of conversations given as lists of messages (or not given at all)."""
    models = (fields.name("model_a"), fields.name("model_b"))
    if missing(first) and missing(second):
        return (), tuple(Response(model=model) for model in models)
    chats = (chat(first, "conversation_a"), chat(second, "conversation_b"))
    prompt, sides = split(chats)
    return prompt, tuple(Response(side, model=model) for side, model in zip(sides, models, strict=True))


def split(chats: Sequence[Messages]) -> tuple[Messages, list[Messages]]:
    """The turns before the first reply, which both sides share, and what follows in each.

    The replies may be equal: two models may say the same, which is no reason to drop the vote.
    """
    before = next((i for i, m in enumerate(chats[0]) if m.role == "assistant"), len(chats[0]))
    if any([said(m) for m in c[:before]] != [said(m) for m in chats[0][:before]] for c in chats):
        problem = "begins with another prompt than conversation_a"
        raise BadRow("no-common-prompt", field="conversation_b", problem=problem, remedy="leave the row out")
    return chats[0][:before], [c[before:] for c in chats]


def outcome(fields: Fields, key: str) -> dict[str, Any]:
    """Ranks, and whether a tie means that neither was acceptable."""
    ranks, both_bad = fields.choice(key, WINNERS)
    return {"ranks": ranks, "both_bad": both_bad}
