"""UKPConvArg1 ranking: a score of each argument, smaller is more convincing (Habernal and Gurevych 2016)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.formats.ukpconvarg import about_debate
from pluralign.feedback.record import Judgement, Response, text


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    response = Response(text(fields.text("argument")), id=fields.name("#id"), ratings={"rank": fields.number("rank")})
    yield fields.judgement(**about_debate(record.source), responses=(response,))


FORMAT = Format(
    name="ukpconvarg_ranking",
    about="UKPConvArg1 ranking: tab-separated #id, rank (smaller is more convincing), argument",
    detect=columns("#id", "rank", "argument"),
    parse=_parse,
)
