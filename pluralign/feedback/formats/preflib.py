"""PrefLib text: strict or tied, complete or incomplete orders, and categories (Mattei and Walsh 2013)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pluralign.errors import BadRow, FeedbackError
from pluralign.feedback.formats._fields import NOTES, number
from pluralign.feedback.formats._files import lines
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats._ranks import by_value
from pluralign.feedback.formats._write import written
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


STRICT, COMPLETE = (".soc", ".soi"), (".soc", ".toc")
_HEADER = (
    "file name", "title", "description", "data type", "modification type", "relates to", "related files",
    "publication date", "modification date", "number alternatives", "number voters", "number unique orders",
)  # fmt: skip
_COUNTED = ("number alternatives", "number voters", "number unique orders", "data type")


def save(judgements: Iterable[Judgement], ending: str) -> str:
    """Orders as the text of a PrefLib file; equal orders are one line with the sum of their weights.

    ending: ".soc" and ".soi" hold strict orders, ".soc" and ".toc" complete ones; an order that is not of that kind
    raises `FeedbackError`, as does a judgement that says more than an order of named items.
    """
    numbers: dict[str, int] = {}
    voters: Counter[tuple[tuple[int, ...], ...]] = Counter()
    title: str | None = None
    header: dict[str, str] = {}
    for row, j in enumerate(judgements, start=1):
        try:
            written(replace(j, meta={}), {}, holds=("responses", "ranks", "weight", "context"))
            order = _order(j, numbers, ending)
            if row > 1 and (j.context or "") != title:
                problem = f"is {j.context!r}, and {title!r} in an earlier row; a file has one title"
                raise BadRow("would-be-lost", field="context", problem=problem, remedy="write one file for each")
            if "\n" in (j.context or ""):
                raise BadRow("would-be-lost", field="context", problem="has several lines", remedy="shorten it to one")
            if strange := sorted(set(j.meta) - set(_HEADER) - {NOTES}):
                problem = f"holds {', '.join(strange)}, which a PrefLib file has no place for"
                raise BadRow("would-be-lost", field="meta", problem=problem, remedy="empty it first")
        except BadRow as error:
            raise FeedbackError(f"row {row} cannot be written as {ending}: {error}") from None
        title = j.context or ""
        header |= {key: " ".join(str(value).split()) for key, value in j.meta.items() if key in _HEADER}
        voters[order] += _people(j.weight, row)
    if ending in COMPLETE:
        _complete(voters, numbers, ending)
    return _text(header | {"title": title or ""}, numbers, voters, ending)


def _order(j: Judgement, numbers: dict[str, int], ending: str) -> tuple[tuple[int, ...], ...]:
    """The items by place, each place a tuple of numbers; new names get the next number."""
    for r in j.responses:
        if r.model is None or r.messages or r.id is not None or r.ratings or "\n" in r.model:
            problem = "is not one item with a name alone"
            raise BadRow("would-be-lost", field="responses", problem=problem, remedy="turn the feedback into votes")
        numbers.setdefault(r.model, len(numbers) + 1)
    items = [numbers[r.model] for r in j.responses if r.model is not None]
    if j.ranks is None or all(rank is None for rank in j.ranks) or len(set(items)) < len(items):
        raise BadRow("not-an-order", field="ranks", problem="hold no order", remedy="leave the row out")
    groups: dict[int, list[int]] = {}
    for item, rank in zip(items, j.ranks, strict=True):
        if rank is not None:
            groups.setdefault(rank, []).append(item)
    order = tuple(tuple(sorted(groups[rank])) for rank in sorted(groups))
    if ending in STRICT and any(len(group) > 1 for group in order):
        raise BadRow("tied", field="ranks", problem="holds a tie", remedy="write .toc or .toi, which have ties")
    return order


def _people(weight: float | None, row: int) -> int:
    count = 1.0 if weight is None else weight
    if not count.is_integer() or count < 1:
        raise FeedbackError(f"row {row}, field 'weight': {count} is no number of voters; PrefLib counts whole people")
    return int(count)


def _complete(voters: Counter[tuple[tuple[int, ...], ...]], numbers: dict[str, int], ending: str) -> None:
    short = sum(1 for order in voters if sum(map(len, order)) < len(numbers))
    if short:
        raise FeedbackError(
            f"{short:,} of {len(voters):,} orders leave out some of the {len(numbers):,} items, and {ending} holds"
            f" complete orders; write {'.soi' if ending == '.soc' else '.toi'}"
        )


def _text(
    header: dict[str, str], numbers: dict[str, int], voters: Counter[tuple[tuple[int, ...], ...]], ending: str
) -> str:
    counts = (len(numbers), voters.total(), len(voters), ending.removeprefix("."))
    header |= {key: str(value) for key, value in zip(_COUNTED, counts, strict=True)}
    lines = [f"# {key.upper()}: {header.get(key, '')}" for key in _HEADER if header.get(key) or key in ("title",)]
    lines += [f"# {ALTERNATIVE}{number}: {name}" for name, number in numbers.items()]
    for order, people in voters.most_common():
        listed = ",".join(str(g[0]) if len(g) == 1 else "{" + ",".join(map(str, g)) + "}" for g in order)
        lines.append(f"{people}: {listed}")
    return "\n".join(lines) + "\n"


FORMAT = Format(
    name="preflib",
    about="PrefLib text files: soc, soi, toc, toi, cat",
    detect=_detect,
    parse=_parse,
    open=_open,
    endings=(".soc", ".soi", ".toc", ".toi"),
    save=save,
)
