"""Conversations: messages as dicts, whole transcripts as text, and what two of them share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._write import no_place, words
from pluralign.feedback.record import Message, Response, text

Messages = tuple[Message, ...]
HUMAN_ASSISTANT = re.compile(r"\n\n(Human|Assistant):[ ]?")
ROLES = {"Human": "user", "Assistant": "assistant"}
SPEAKERS = {role: name for name, role in ROLES.items()}


def chat(value: Any, field: str) -> Messages:
    """A text or a list of {"role", "content"} as messages.

    >>> chat([{"role": "user", "content": "Hi"}], "prompt")[0].role
    'user'
    """
    if isinstance(value, str):
        return text(value)
    if isinstance(value, (list, tuple)) and all(isinstance(m, Mapping) and "role" in m for m in value):
        return tuple(_message(m, field) for m in value)
    problem = f"holds {type(value).__name__} {str(value)[:40]!r}, neither a text nor a list of messages"
    raise BadRow("wrong-type", field=field, problem=problem, remedy='write messages as {"role": ..., "content": ...}')


def _message(m: Mapping[str, Any], field: str) -> Message:
    content, role = m.get("content"), m.get("role")
    extra = {k: v for k, v in m.items() if k not in ("role", "content") and v is not None}
    if isinstance(content, (list, tuple)):
        # Content parts stay whole in `extra`; their words alone are what text methods see.
        extra["content"] = list(content)
        content = "".join(str(p.get("text") or "") for p in content if isinstance(p, Mapping))
    if not isinstance(role, str) or not (content is None or isinstance(content, str)):
        problem = f"a message has role {role!r} and content of type {type(content).__name__}"
        raise BadRow("wrong-type", field=field, problem=problem, remedy="both must be texts")
    return Message(content, role, extra=extra or None)


def unchat(messages: Messages) -> str | list[dict[str, Any]]:
    """Messages as they were given to `chat`. Raises `BadRow` for what neither shape of it could say."""
    if any(m.label is not None for m in messages):
        no_place("label")
    if any(m.role is None for m in messages):
        return words(messages, "messages")
    rows = []
    for m in messages:
        row: dict[str, Any] = {"role": m.role, "content": m.content}
        if m.content is None and m.extra:
            del row["content"]
        rows.append({**row, **(m.extra or {})})
    return rows


def said(m: Message) -> tuple[str | None, str | None]:
    """What makes two messages the same turn, whatever was counted or flagged about them."""
    return m.role, m.content


def transcript(value: str, field: str) -> Messages:
    r"""A text whose turns begin with a blank line and "Human:" or "Assistant:" as messages.

    >>> [m.role for m in transcript("\n\nHuman: Who said 'Human: go'?\n\nAssistant: Nobody.", "chosen")]
    ['user', 'assistant']
    """
    before, *parts = HUMAN_ASSISTANT.split(value)
    if before.strip() or not parts:
        problem = f"begins with {value[:30]!r} instead of a blank line and 'Human:' or 'Assistant:'"
        raise BadRow("not-a-transcript", field=field, problem=problem, remedy="write each turn as '\\n\\nHuman: ...'")
    turns = zip(parts[::2], parts[1::2], strict=True)
    return tuple(Message(content, ROLES[speaker]) for speaker, content in turns)


def untranscript(messages: Messages) -> str:
    """Messages as one text of turns, the inverse of `transcript`."""
    for m in messages:
        if m.role not in SPEAKERS or m != Message(m.content, m.role) or m.content is None:
            problem = f"a turn of role {m.role!r} is more than Human or Assistant and words"
            raise BadRow("not-a-transcript", field="messages", problem=problem, remedy="choose another format")
    return "".join(f"\n\n{SPEAKERS[m.role or '']}: {m.content}" for m in messages)


def shared_prompt(chats: Sequence[Messages], field: str) -> tuple[Messages, list[Messages]]:
    """The turns that all conversations begin with, up to a reply, and what follows in each.

    Where one conversation ends inside another its continuation is empty. Raises `BadRow` where they are all equal.
    """
    shortest = min(len(c) for c in chats)
    shared = 0
    while shared < shortest and len({said(c[shared]) for c in chats}) == 1:
        shared += 1
    if shared == max(len(c) for c in chats):
        problem = "is equal to the other conversation, word for word"
        raise BadRow("identical-responses", field=field, problem=problem, remedy="leave the row out")
    while shared and not any(len(c) > shared and c[shared].role == "assistant" for c in chats):
        shared -= 1
    return chats[0][:shared], [c[shared:] for c in chats]


def note_divergence(continuations: Sequence[Messages]) -> list[str]:
    """Notes on conversations that part before their last reply."""
    return ["diverges-before-last-turn"] if any(len(c) > 1 for c in continuations) else []


def reply(content: str, prompt: Messages, **about: Any) -> Response:
    """A response in the manner of its prompt: an assistant's turn after a chat, plain text after plain text."""
    role = "assistant" if any(m.role for m in prompt) else None
    return Response((Message(content, role),), **about)
