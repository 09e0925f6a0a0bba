"""A table of full rankings: one row a person, one column an item, 1 is best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import number
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats._ranks import by_value
from pluralign.feedback.record import Judgement, Response


def _parse(record: Record) -> Iterator[Judgement]:
    places = [number(value, item) for item, value in record.fields.items()]
    if not _permutation(record.fields):
        problem = f"{[int(p) for p in places]} are not the ranks 1 to {len(places)}, each once"
        raise BadRow("invalid-order", field="(row)", problem=problem, remedy="mend the row or leave it out")
    yield Judgement(
        responses=tuple(Response(model=item) for item in record.fields),
        ranks=by_value(places),
    )


def _permutation(fields: Mapping[str, Any]) -> bool:
    return sorted(str(value).strip() for value in fields.values()) == sorted(str(n) for n in range(1, len(fields) + 1))


def _detect(sample: Sample) -> tuple[int, str] | None:
    if sample.records and len(sample.columns) >= 3 and all(_permutation(r.fields) for r in sample.records):
        return len(sample.columns), f"every row ranks its {len(sample.columns)} columns from 1"
    return None


FORMAT = Format(
    name="rank_columns",
    about="a table of full rankings: one row a person, one column an item, its rank in the cell",
    detect=_detect,
    parse=_parse,
)
