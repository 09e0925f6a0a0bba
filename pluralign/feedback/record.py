"""The record: one judgement by one annotator, as Python objects and as an Arrow schema.

A row of the table is one `Judgement`. Text that is not a chat is one `Message` whose role is None, so that plain
prompts and conversations share a type and each comes back as it was given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation, or a whole plain text when `role` is None.

    `label` grades this step alone (process supervision). `extra` holds every other key of the source message:
    `tool_calls`, `name`, content parts that are not text.
    """

    content: str | None
    role: str | None = None
    label: float | None = None
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """One candidate. `messages` is empty where only the name of the producer is known (an arena vote).

    `model` names what produced it (a model, a player, a product); `id` names this very text (an argument, a comment).
    `ratings` maps an aspect to a number in the source's own units.
    """

    messages: tuple[Message, ...] = ()
    model: str | None = None
    id: str | None = None
    ratings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one annotator said about K >= 1 responses to one prompt.

    Exactly what the source gave is set; everything else stays None. A row may hold several kinds of judgement
    (ranks and ratings, say), which `audit` then compares.

    ranks: 1 is best, equal numbers are ties, None was not ranked; one entry a response.
    unranked_below: True where every response without a rank was seen and put below all ranked ones, in no order among
        themselves: a choice of one among K is ranks (None, 1, None) and unranked_below. Else nothing is known of them.
    both_bad: a tie in which neither response was acceptable. `ranks` is then (1, 1).
    strength: signed and graded, in the source's units, K = 2: positive where the first response is preferred.
    probability: chance that the first response is preferred, K = 2 (a soft label), in [0, 1].
    thumb: good or bad, K = 1.
    weight: how many such judgements the row stands for, or how much it should count.
    margin: how far the score of the first response should exceed that of the second, K = 2.
    beta: a temperature of the objective for this row alone.
    positions: the place where each response was shown, 1 is first; one entry a response.
    criterion: the aspect judged ("helpful"); context: the situation it was judged in ("breakfast at a hotel").
    """

    prompt: tuple[Message, ...] = ()
    responses: tuple[Response, ...] = ()
    ranks: tuple[int | None, ...] | None = None
    unranked_below: bool | None = None
    both_bad: bool | None = None
    strength: float | None = None
    probability: float | None = None
    thumb: bool | None = None
    rationale: str | None = None
    weight: float | None = None
    margin: float | None = None
    beta: float | None = None
    annotator: str | None = None
    annotator_kind: str | None = None
    annotator_attributes: Mapping[str, Any] | None = None
    time: datetime | None = None
    positions: tuple[int, ...] | None = None
    criterion: str | None = None
    context: str | None = None
    tools: Any = None
    prompt_id: str | None = None
    id: str | None = None
    source: str | None = None
    row: int | None = None
    format: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


def text(content: str | None) -> tuple[Message, ...]:
    """A plain text as messages.

    >>> text("Why is the sky blue?")[0].role is None
    True
    """
    return (Message(content),)


def plain(messages: Iterable[Message]) -> str:
    """The words of a prompt or response, turns separated by a blank line, without roles.

    >>> plain((Message("Hi", role="user"), Message("Hello", role="assistant")))
    'Hi\\n\\nHello'
    """
    return "\n\n".join(m.content for m in messages if m.content)


# JSON columns (extra, annotator_attributes, tools, meta) are strings: their shape differs from row to row, which
# Arrow structs cannot hold without inventing nulls.
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string()), ("label", pa.float64()), ("extra", pa.string())])
RESPONSE = pa.struct(
    [
        ("messages", pa.list_(MESSAGE)),
        ("model", pa.string()),
        ("id", pa.string()),
        ("ratings", pa.list_(pa.struct([("aspect", pa.string()), ("value", pa.float64())]))),
    ]
)
SCHEMA = pa.schema(
    [
        ("prompt", pa.list_(MESSAGE)),
        ("responses", pa.list_(RESPONSE)),
        ("ranks", pa.list_(pa.int32())),
        ("unranked_below", pa.bool_()),
        ("both_bad", pa.bool_()),
        ("strength", pa.float64()),
        ("probability", pa.float64()),
        ("thumb", pa.bool_()),
        ("rationale", pa.string()),
        ("weight", pa.float64()),
        ("margin", pa.float64()),
        ("beta", pa.float64()),
        ("annotator", pa.string()),
        ("annotator_kind", pa.string()),
        ("annotator_attributes", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("positions", pa.list_(pa.int32())),
        ("criterion", pa.string()),
        ("context", pa.string()),
        ("tools", pa.string()),
        ("prompt_id", pa.string()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("row", pa.int64()),
        ("format", pa.string()),
        ("meta", pa.string()),
    ]
)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _loads(value: str | None) -> Any:
    return None if value is None else json.loads(value)


def _message_row(m: Message) -> dict[str, Any]:
    return {"role": m.role, "content": m.content, "label": m.label, "extra": _json(m.extra)}


def _message(row: Mapping[str, Any]) -> Message:
    return Message(row["content"], row["role"], row["label"], _loads(row["extra"]))


def to_row(j: Judgement) -> dict[str, Any]:
    """A judgement as a dict that fits `SCHEMA`."""
    row = {name: getattr(j, name) for name in SCHEMA.names}
    row["prompt"] = [_message_row(m) for m in j.prompt]
    row["responses"] = [
        {
            "messages": [_message_row(m) for m in r.messages],
            "model": r.model,
            "id": r.id,
            "ratings": [{"aspect": a, "value": v} for a, v in r.ratings.items()],
        }
        for r in j.responses
    ]
    for name in ("annotator_attributes", "tools"):
        row[name] = _json(row[name])
    row["meta"] = _json(dict(j.meta)) if j.meta else None
    return row


def from_row(row: Mapping[str, Any]) -> Judgement:
    """The judgement in one row of a table of `SCHEMA` (as `Table.to_pylist` gives it). Inverse of `to_row`."""
    values = {name: row[name] for name in SCHEMA.names}
    values["prompt"] = tuple(_message(m) for m in row["prompt"] or ())
    values["responses"] = tuple(
        Response(
            messages=tuple(_message(m) for m in r["messages"] or ()),
            model=r["model"],
            id=r["id"],
            ratings={x["aspect"]: x["value"] for x in r["ratings"] or ()},
        )
        for r in row["responses"] or ()
    )
    for name in ("ranks", "positions"):
        values[name] = None if row[name] is None else tuple(row[name])
    for name in ("annotator_attributes", "tools"):
        values[name] = _loads(row[name])
    values["meta"] = _loads(row["meta"]) or {}
    return Judgement(**values)


def to_batch(judgements: Iterable[Judgement]) -> pa.RecordBatch:
    """Judgements as one Arrow record batch of `SCHEMA`."""
    return pa.RecordBatch.from_pylist([to_row(j) for j in judgements], schema=SCHEMA)
