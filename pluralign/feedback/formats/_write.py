"""What writers share: nothing of a judgement is left behind without a word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields as fields_of
from typing import Any, NoReturn

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import NOTES
from pluralign.feedback.record import Judgement, Message, Response

PROVENANCE = frozenset(("source", "row", "format", "meta"))


def written(j: Judgement, row: dict[str, Any], *, holds: Iterable[str]) -> dict[str, Any]:
    """The row with what a reader did not understand beside it; a key of that which is taken is called meta_KEY.

    holds: the fields that the row tells. Raises `BadRow` where the judgement says anything else.
    """
    told = PROVENANCE.union(holds)
    for field in fields_of(j):
        value = getattr(j, field.name)
        # That a tie is not a bad one says nothing of a pair; a thumb down says everything.
        silent = value is None or value == () or (value is False and field.name != "thumb")
        if field.name not in told and not silent:
            no_place(field.name)
    rest = {key: value for key, value in j.meta.items() if key != NOTES}
    return row | {key if key not in row else f"meta_{key}": value for key, value in rest.items()}


def no_place(field: str) -> NoReturn:
    """Refuse to write a field that would be lost."""
    problem = "is set and has no place in this format"
    raise BadRow("would-be-lost", field=field, problem=problem, remedy="choose another format or empty the field first")


def output(response: Response) -> str:
    """The text of a response that only a model's name may stand beside."""
    if response.ratings or response.id is not None:
        no_place("responses")
    return words(response.messages, "responses")


def words(messages: tuple[Message, ...], field: str) -> str:
    """The text of one message without a role; no message is no text, anything else would lose its shape."""
    if not messages:
        return ""
    if len(messages) > 1 or messages[0] != Message(messages[0].content) or messages[0].content is None:
        problem = "is a conversation, and this format holds plain texts"
        raise BadRow("not-plain-text", field=field, problem=problem, remedy="choose a format that holds messages")
    return messages[0].content
