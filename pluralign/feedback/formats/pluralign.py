"""Our own record as JSON rows: what `Feedback.write` puts into a .jsonl file."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.record import SCHEMA, Judgement, from_row, to_row


def _detect(sample: Sample) -> tuple[int, str] | None:
    columns = sample.columns
    own = columns & set(SCHEMA.names)
    if "responses" in columns and columns <= set(SCHEMA.names):
        rows = [r.fields.get("responses") for r in sample.records]
        if all(isinstance(row, list) and all(isinstance(x, dict) and "messages" in x for x in row) for row in rows):
            return 10 + len(own), "every column is one of our record's"
    return None


def _parse(record: Record) -> Iterable[Judgement]:
    row = {name: record.fields.get(name) for name in SCHEMA.names}
    row["prompt"] = [_complete(m) for m in row["prompt"] or ()]
    row["responses"] = [
        {"model": None, "id": None, "ratings": None, **r, "messages": [_complete(m) for m in r.get("messages") or ()]}
        for r in row["responses"] or ()
    ]
    if isinstance(row["time"], str):
        row["time"] = datetime.fromisoformat(row["time"])
    yield from_row(row)


def _complete(message: dict[str, Any]) -> dict[str, Any]:
    return {"role": None, "content": None, "label": None, "extra": None, **message}


def _write(j: Judgement) -> dict[str, Any]:
    row = {name: value for name, value in to_row(j).items() if value is not None and value != []}
    if j.time is not None:
        row["time"] = j.time.isoformat()
    row.setdefault("responses", [])
    return row


FORMAT = Format(
    name="pluralign",
    about="our own record, one JSON object a row",
    detect=_detect,
    parse=_parse,
    write=_write,
)
