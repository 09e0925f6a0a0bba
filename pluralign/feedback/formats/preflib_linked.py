"""PrefLib CSV that links the orders one person gave in several files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pluralign.errors import FeedbackError
from pluralign.feedback.formats._files import lines
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats._ranks import by_value
from pluralign.feedback.formats.preflib import ALTERNATIVE, headed, names, places
from pluralign.feedback.record import Judgement, Response

FILES = re.compile(rb"\d{5}-\d{8}\.\w{3}(;\d{5}-\d{8}\.\w{3})+\s*\n")


def _open(path: Path) -> Iterator[Record]:
    files, titles, *orders = (line.split(";") for line in lines(path) if line.strip())
    alternatives = [_alternatives(path.parent / file) for file in files]
    for row, given in enumerate(orders, start=1):
        fields = {"titles": titles, "orders": given, "alternatives": alternatives, "respondent": row}
        yield Record(str(path), row, fields)


def _alternatives(path: Path) -> list[str]:
    if not path.is_file():
        raise FeedbackError(f"{path}: not there, and it holds the names of the alternatives; put it beside the CSV")
    return names(headed(lines(path))[0], ALTERNATIVE)


def _parse(record: Record) -> Iterator[Judgement]:
    titles, orders, alternatives = (record.fields[key] for key in ("titles", "orders", "alternatives"))
    for title, order, known in zip(titles, orders, alternatives, strict=True):
        if not order.strip():
            continue
        found = places(order, len(known))
        yield Judgement(
            responses=tuple(Response(model=name) for name in known),
            ranks=by_value([None if place is None else float(place) for place in found]),
            annotator=str(record.fields["respondent"]),
            annotator_kind="person",
            context=title,
        )


def _detect(sample: Sample) -> tuple[int, str] | None:
    return (10, "first line names PrefLib files") if FILES.match(sample.head.replace(b"\r", b"")) else None


FORMAT = Format(
    name="preflib_linked",
    about="PrefLib CSV that links several orders of each respondent; reads the files it names for their items",
    detect=_detect,
    parse=_parse,
    open=_open,
)
