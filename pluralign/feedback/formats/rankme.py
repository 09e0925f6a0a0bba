"""RankME: generated texts rated on three attributes, one by one or three side by side (Novikova et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text

ATTRIBUTES = ("informativeness", "naturalness", "quality")


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    slots = ["1", "2", "3"] if "ref1" in record.fields else [""]
    created = fields.take("_created_at")
    attributes = {key.lstrip("_"): fields.take(key) for key in ("_country", "_channel", "_trust")}
    yield fields.judgement(
        prompt_id=fields.name("mr_id"),
        prompt=text(fields.text("mr")),
        responses=tuple(_response(fields, slot) for slot in slots),
        annotator=fields.name("_worker_id"),
        annotator_kind="person",
        annotator_attributes={key: value for key, value in attributes.items() if value is not None} or None,
        time=None if created is None else _time(created),
    )


def _response(fields: Fields, slot: str) -> Response:
    ratings = {
        name: fields.number(f"{column}{slot}")
        for column, name in (*((name, name) for name in ATTRIBUTES), ("inf", "informativeness"))
        if f"{column}{slot}" in fields
    }
    return Response(text(fields.text(f"ref{slot}")), model=fields.name(f"team{slot}"), ratings=ratings)


def _time(written: str) -> datetime:
    """Month, day, year and the hour in UTC, as the crowd platform writes them."""
    try:
        return datetime.strptime(written, "%m/%d/%Y %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        problem = f"{written!r} is not a time like 11/4/2017 12:37:13"
        raise BadRow("invalid-time", field="_created_at", problem=problem, remedy="mend it or empty the cell") from None


def _detect(sample: Sample) -> tuple[int, str] | None:
    single = columns("_worker_id", "mr", "mr_id", "ref", "team", also=ATTRIBUTES)
    three = columns("_worker_id", "mr", "mr_id", "ref1", "ref2", "ref3", also=["team1", "quality1", "inf1"])
    return single(sample) or three(sample)


FORMAT = Format(
    name="rankme",
    about="RankME: crowd ratings of generated texts, Likert or magnitude, alone or three side by side",
    detect=_detect,
    parse=_parse,
)
