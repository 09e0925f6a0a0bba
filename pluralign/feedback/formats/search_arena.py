"""Search Arena: battles between models that search the web; about half carry no vote (Miroyan et al. 2025)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._arena import battle, outcome
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt, responses = battle(fields, fields.take("messages_a"), fields.take("messages_b"))
    key = "winner" if "winner" in fields else "vote"
    voted = outcome(fields, key) if key in fields else {}
    if not voted:
        fields.note("no-vote")
    yield fields.judgement(
        **voted,
        id=fields.name("question_id") or fields.name("id"),
        prompt=prompt,
        responses=responses,
        annotator=fields.name("judge"),
        annotator_kind="person",
        time=fields.seconds("tstamp"),
        positions=(1, 2),
    )


FORMAT = Format(
    name="search_arena",
    about="Search Arena: model_a, model_b, messages_a, messages_b, winner (or none)",
    detect=columns(
        "model_a",
        "model_b",
        "messages_a",
        "messages_b",
        also=["winner", "vote", "system_a_metadata", "system_b_metadata", "intents", "language"],
    ),
    parse=_parse,
)
