"""Chatbot Arena battles: the 33k release, later releases, and bare vote files (Zheng et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._arena import WINNERS, battle, outcome
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement

PEOPLE = ("judge", "annotator", "worker", "user")
"""Names of the column that says who voted; releases have the first, vote files of others any."""
OPTIONAL = (
    *PEOPLE,
    "conversation_a",
    "conversation_b",
    "question_id",
    "turn",
    "anony",
    "language",
    "tstamp",
    "openai_moderation",
    "toxic_chat_tag",
    "conv_metadata",
    "category_tag",
    "dedup_tag",
    "is_code",
    "evaluation_session_id",
)


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt, responses = battle(fields, fields.take("conversation_a"), fields.take("conversation_b"))
    yield fields.judgement(
        **outcome(fields, "winner"),
        id=fields.name("question_id") or fields.name("id"),
        prompt=prompt,
        responses=responses,
        annotator=next((name for key in PEOPLE if (name := fields.name(key)) is not None), None),
        annotator_kind="person",
        time=fields.seconds("tstamp"),
        positions=(1, 2),
    )


FORMAT = Format(
    name="arena",
    about="Chatbot Arena: model_a, model_b, winner (model_a, model_b, tie, tie (bothbad)), with or without texts",
    detect=columns(
        *("model_a", "model_b", "winner"),
        also=OPTIONAL,
        # Texts in columns of their own are read by `table`; here they would end in meta.
        without=("prompt", "response_a", "response_b"),
        where=lambda row: not row["winner"] or row["winner"] in WINNERS,
    ),
    parse=_parse,
)
