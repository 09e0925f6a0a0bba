"""Polis participants and their votes: one row a person, one column a statement."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.formats.polis import VOTES, vote
from pluralign.feedback.record import Judgement


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    voter, group = fields.name("participant"), fields.name("group-id")
    statements = [key for key in record.fields if key.isdigit()]
    votes = {key: fields.choice(key, VOTES) for key in statements if key in fields}
    for key in statements:
        fields.left.pop(key, None)
    for statement, agrees in votes.items():
        attributes = None if group is None else {"group-id": group}
        yield vote(fields, agrees, statement=statement, voter=voter, annotator_attributes=attributes)


FORMAT = Format(
    name="polis_matrix",
    about="Polis participants-votes: participant, group-id, then one column a statement (1, -1, 0 or empty)",
    detect=columns("participant", "group-id", "n-votes", also=["n-comments", "n-agree", "n-disagree"]),
    parse=_parse,
)
