"""The Star Wars survey: six films ranked, fourteen characters rated in words (Hickey 2014)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import Fields, number
from pluralign.feedback.formats._files import lines
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats._ranks import by_value
from pluralign.feedback.record import Judgement, Response

RANK, VIEW = "Please rank the Star Wars films", "Please state whether you view"
SINGLE = "Response"
# The source's words, in their order; the numbers only say that order.
FAVOUR = {
    "Very unfavorably": 1.0,
    "Somewhat unfavorably": 2.0,
    "Neither favorably nor unfavorably (neutral)": 3.0,
    "Somewhat favorably": 4.0,
    "Very favorably": 5.0,
}
UNFAMILIAR = "Unfamiliar (N/A)"


def _open(path: Path) -> Iterator[Record]:
    table = list(csv.reader(lines(path)))
    questions, answers = table[0], table[1]
    # A question stands above its first column only.
    for place in range(1, len(questions)):
        questions[place] = questions[place] or questions[place - 1]
    for row, cells in enumerate(table[2:], start=1):
        fields: dict[str, Any] = {}
        for question, answer, cell in zip(questions, answers, cells, strict=False):
            if answer in ("", SINGLE):
                fields[question] = cell
            else:
                fields.setdefault(question, {})[answer] = cell
        yield Record(str(path), row, fields)


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    films, characters = (_answers(fields, question) for question in (RANK, VIEW))
    annotator = fields.name("RespondentID")
    who: dict[str, Any] = {
        "annotator": annotator,
        "annotator_kind": "person",
        "annotator_attributes": _attributes(fields.left),
    }
    if any(films.values()):
        places = [number(place, film) if place else None for film, place in films.items()]
        yield Judgement(responses=tuple(Response(model=film) for film in films), ranks=by_value(places), **who)
    unknown = [view for view in characters.values() if view and view not in FAVOUR and view != UNFAMILIAR]
    if unknown:
        problem = f"the label {unknown[0][:40]!r} is not known"
        raise BadRow("unknown-label", field=VIEW, problem=problem, remedy=f"use one of {', '.join(FAVOUR)}")
    if any(characters.values()):
        ratings = {name: {"favour": FAVOUR[view]} if view in FAVOUR else {} for name, view in characters.items()}
        yield Judgement(
            responses=tuple(Response(model=name, ratings=its) for name, its in ratings.items()),
            meta={"unfamiliar": [name for name, view in characters.items() if view == UNFAMILIAR]},
            **who,
        )


def _answers(fields: Fields, question: str) -> dict[str, str]:
    key = next((key for key in fields.left if key.startswith(question)), None)
    if key is None:
        raise BadRow("missing-field", field=question, problem="is not there", remedy="read the survey as published")
    answers: dict[str, str] = fields.left.pop(key)
    return answers


def _attributes(rest: dict[str, Any]) -> dict[str, Any]:
    """What else a respondent answered; of the films, those seen."""
    given = {key: [v for v in value.values() if v] if isinstance(value, dict) else value for key, value in rest.items()}
    return {key: value for key, value in given.items() if value}


def _detect(sample: Sample) -> tuple[int, str] | None:
    found = sample.head.startswith(b"RespondentID,") and RANK.encode() in sample.head
    return (10, f"header '{RANK} ...'") if found else None


FORMAT = Format(
    name="starwars",
    about="the Star Wars survey: two header lines, six films ranked, characters rated in words",
    detect=_detect,
    parse=_parse,
    open=_open,
)
