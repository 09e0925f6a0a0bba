"""Records that belong together, as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from pluralign.feedback.formats._format import Record

ROWS = "rows"


def adjacent(*keys: str) -> Callable[[Iterable[Record]], Iterator[Record]]:
    """Regrouping of consecutive records that agree in `keys`: one record whose field `rows` lists their fields.

    >>> rows = [Record("f", n, {"prompt": prompt}) for n, prompt in enumerate("xxy", start=1)]
    >>> [(r.row, len(r.fields["rows"])) for r in adjacent("prompt")(rows)]
    [(1, 2), (3, 1)]
    """

    def same(record: Record) -> tuple[Any, ...]:
        return (record.source, *(str(record.fields.get(key)) for key in keys))

    def regroup(records: Iterable[Record]) -> Iterator[Record]:
        for _, run in groupby(records, same):
            group = list(run)
            yield Record(group[0].source, group[0].row, {ROWS: [record.fields for record in group]})

    return regroup


def rows_of(record: Record) -> list[dict[str, Any]]:
    """The fields of the records in a group; of the record itself where it was not grouped."""
    rows: list[dict[str, Any]] = record.fields.get(ROWS) or [record.fields]
    return rows
