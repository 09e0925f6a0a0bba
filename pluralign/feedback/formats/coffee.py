"""The Great American Coffee Taste Test: four coffees rated on three attributes, and favourites (Hoffmann 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import chosen_among
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response

COFFEES = {f"Coffee {letter}": letter for letter in "ABCD"}
ATTRIBUTES = ("bitterness", "acidity", "personal_preference")
CHOICES = {"prefer_abc": "ABC", "prefer_ad": "AD", "prefer_overall": "ABCD"}
ROW_NUMBER = ("column_1", "")


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields({key: None if value == "NA" else value for key, value in record.fields.items()})
    taster = next((name for key in ROW_NUMBER if (name := fields.name(key)) is not None), None)
    ratings = {letter: _ratings(fields, letter) for letter in "ABCD"}
    choices = {key: fields.choice(key, COFFEES) for key in CHOICES if key in fields}
    for key, letter in choices.items():
        if letter not in CHOICES[key]:
            problem = f"Coffee {letter} is not one of {', '.join(CHOICES[key])}"
            raise BadRow("unknown-label", field=key, problem=problem, remedy="name one of those")
    expertise = fields.maybe("expertise")
    attributes = fields.meta() | ({} if expertise is None else {"expertise": expertise})
    who: dict[str, Any] = {"annotator": taster, "annotator_kind": "person", "annotator_attributes": attributes or None}
    if any(ratings.values()) or "prefer_overall" in choices:
        # Ratings and the overall favourite are of the same four cups: one row, so that they can be compared.
        chosen = chosen_among("ABCD".index(choices["prefer_overall"]), 4) if "prefer_overall" in choices else {}
        cups = tuple(Response(model=f"Coffee {letter}", ratings=ratings[letter]) for letter in "ABCD")
        yield Judgement(responses=cups, **chosen, **who, meta={"question": "prefer_overall"})
    for key in ("prefer_abc", "prefer_ad"):
        if key in choices:
            letters = CHOICES[key]
            cups = tuple(Response(model=f"Coffee {letter}") for letter in letters)
            chosen = chosen_among(letters.index(choices[key]), len(letters))
            yield Judgement(responses=cups, **chosen, **who, meta={"question": key})


def _ratings(fields: Fields, letter: str) -> dict[str, float]:
    found = {name: fields.maybe(f"coffee_{letter.lower()}_{name}") for name in ATTRIBUTES}
    return {name: value for name, value in found.items() if value is not None}


FORMAT = Format(
    name="coffee",
    about="Great American Coffee Taste Test: four coffees rated by each taster, and the favourites among them",
    detect=columns(*CHOICES, "coffee_a_personal_preference", also=["expertise", "coffee_d_bitterness"]),
    parse=_parse,
)
