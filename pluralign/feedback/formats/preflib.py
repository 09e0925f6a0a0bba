"""PrefLib text: strict or tied, complete or incomplete orders, and categories (Mattei and Walsh 2013)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import number
from pluralign.feedback.formats._files import lines
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats._ranks import by_value
from pluralign.feedback.record import Judgement, Response

HEADER = re.compile(r"#\s*([^:]+):\s*(.*)")
ALTERNATIVE, CATEGORY = "ALTERNATIVE NAME ", "CATEGORY NAME "
MARK = b"# NUMBER ALTERNATIVES:"
PLACE = re.compile(r"\{([^}]*)\}|(\d+)")


def _open(path: Path) -> Iterator[Record]:
    header, orders = headed(lines(path))
    for row, line in enumerate(orders, start=1):
        yield Record(str(path), row, {"order": line, "header": header})


def headed(text_lines: list[str]) -> tuple[dict[str, str], list[str]]:
    """The header of a PrefLib file and the lines after it."""
    header = {match[1]: match[2] for line in text_lines if (match := HEADER.match(line))}
    return header, [line for line in text_lines if line.strip() and not line.startswith("#")]


def names(header: dict[str, str], kind: str) -> list[str]:
    """The alternatives, or the categories, in the order of their numbers."""
    found = {int(key.removeprefix(kind)): name for key, name in header.items() if key.startswith(kind)}
    return [found[number] for number in sorted(found)]


def places(listed: str, count: int) -> list[int | None]:
    """The place (from 1) of each of `count` alternatives in an order such as "1,{2,3},4"; None where it is not in it.

    >>> places("3,{1,4}", 4)
    [2, None, 1, 2]
    """
    found: list[int | None] = [None] * count
    groups = [tied or single for tied, single in PLACE.findall(listed)]
    for place, group in enumerate(groups, start=1):
        for item in (int(part) for part in group.split(",") if part.strip()):
            if not 1 <= item <= count:
                problem = f"alternative {item} is not one of the {count} named"
                raise BadRow("unknown-item", field="order", problem=problem, remedy="mend the order or its header")
            if found[item - 1] is not None:
                problem = f"alternative {item} is there twice"
                raise BadRow("repeated-item", field="order", problem=problem, remedy="mend the order")
            found[item - 1] = place
    return found


def order(line: str, count: int) -> tuple[float, list[int | None]]:
    """How many people gave the order of a line such as "12: 1,{2,3}", and the places in it of `count` alternatives."""
    people, colon, listed = line.partition(":")
    if not colon or PLACE.sub("", listed).strip(" ,"):
        problem = f"{line[:60]!r} is not 'count: order'"
        raise BadRow("invalid-order", field="order", problem=problem, remedy="mend the line, as in '12: 3,{1,4}'")
    return number(people, "order"), places(listed, count)


def _parse(record: Record) -> Iterator[Judgement]:
    header = record.fields["header"]
    alternatives = names(header, ALTERNATIVE)
    weight, found = order(record.fields["order"], len(alternatives))
    # Categories keep their numbers: one of them may be empty, which an order cannot show.
    categories = names(header, CATEGORY)
    meta = {"categories": categories, "category": found} if categories else {}
    yield Judgement(
        responses=tuple(Response(model=name) for name in alternatives),
        ranks=by_value([None if place is None else float(place) for place in found]),
        weight=weight,
        context=header.get("TITLE") or None,
        meta=meta | {key.lower(): value for key, value in header.items() if value and _told_by_no_field(key)},
    )


def _told_by_no_field(key: str) -> bool:
    return key != "TITLE" and not key.startswith((ALTERNATIVE, CATEGORY))


def _detect(sample: Sample) -> tuple[int, str] | None:
    if MARK in sample.head:
        return 10, "header line '# NUMBER ALTERNATIVES:'"
    return None


FORMAT = Format(
    name="preflib",
    about="PrefLib text files: soc, soi, toc, toi, cat",
    detect=_detect,
    parse=_parse,
    open=_open,
)
