"""Polis votes: people agree, disagree or pass on statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text

VOTES = {1: True, -1: False, 0: None, "1": True, "-1": False, "0": None}
SUPERSEDED = "superseded"
MILLISECONDS = 1000


def last_votes(records: Iterable[Record]) -> Iterator[Record]:
    """All votes, marked where the same person voted on the same statement again later: the last one counts."""
    everything = list(records)
    last: dict[tuple[Any, ...], tuple[float, int]] = {}
    for place, record in enumerate(everything):
        # The log is not in the order of time; of two votes in one instant the later line counts.
        when = (_moment(record), place)
        last[_who_what(record)] = max(when, last.get(_who_what(record), when))
    for place, record in enumerate(everything):
        again = {} if last[_who_what(record)][1] == place else {SUPERSEDED: True}
        yield Record(record.source, record.row, record.fields | again)


def _moment(record: Record) -> float:
    try:
        return float(record.fields.get("timestamp") or 0)
    except (TypeError, ValueError):
        return 0.0  # parse drops the row and says why


def _who_what(record: Record) -> tuple[Any, ...]:
    return record.source, str(record.fields.get("voter-id")), str(record.fields.get("comment-id"))


def parse(record: Record) -> Iterator[Judgement]:
    """One vote on one statement."""
    fields = Fields(record)
    if fields.take(SUPERSEDED):
        problem = "the same person voted on the same statement again later"
        raise BadRow("superseded-vote", field="vote", problem=problem, remedy="nothing to do: the last vote counts")
    group = fields.name("group-id")
    yield vote(
        fields,
        fields.choice("vote", VOTES),
        statement=fields.name("comment-id"),
        voter=fields.name("voter-id"),
        time=fields.seconds("timestamp", MILLISECONDS),
        annotator_attributes=None if group is None else {"group-id": group},
    )


def vote(fields: Fields, agrees: bool | None, *, statement: str | None, voter: str | None, **more: Any) -> Judgement:
    """A vote: thumb up or down, none for a pass, and 1, -1 or 0 as the rating `agreement`."""
    topic, words = fields.take("topic"), fields.take("comment-body")
    rating = 0.0 if agrees is None else 1.0 if agrees else -1.0
    response = Response(() if words is None else text(words), id=statement, ratings={"agreement": rating})
    return fields.judgement(
        prompt=() if topic is None else text(topic),
        responses=(response,),
        thumb=agrees,
        annotator=voter,
        annotator_kind="person",
        **more,
    )


FORMAT = Format(
    name="polis",
    about="Polis vote log: comment-id, voter-id, vote (1 agree, -1 disagree, 0 pass); the last vote counts",
    detect=columns("comment-id", "voter-id", "vote", also=["timestamp", "datetime"]),
    parse=parse,
    regroup=last_votes,
)
