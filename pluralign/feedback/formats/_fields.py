"""The fields of one raw record, taken out one by one; what nobody took goes to `meta`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pluralign.errors import BadRow
from pluralign.feedback.formats._format import Record
from pluralign.feedback.record import Judgement

T = TypeVar("T")
NOTES = "import_notes"


def missing(value: Any) -> bool:
    """Whether a cell is empty: null, NaN or no characters."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


class Fields:
    """Takes typed values out of a record and says in one sentence what is wrong with them.

    >>> fields = Fields(Record("votes.csv", 1, {"winner": "left", "score": "3", "shop": "A"}))
    >>> fields.choice("winner", {"left": (1, 2), "right": (2, 1)}), fields.number("score")
    ((1, 2), 3.0)
    >>> fields.meta()
    {'shop': 'A'}
    """

    def __init__(self, record: Record | Mapping[str, Any]) -> None:
        self.left = dict(record.fields if isinstance(record, Record) else record)
        self.notes: list[str] = []

    def __contains__(self, key: str) -> bool:
        return not missing(self.left.get(key))

    def take(self, key: str) -> Any:
        """The value as it is, None where it is missing."""
        value = self.left.pop(key, None)
        return None if missing(value) else value

    def require(self, key: str) -> Any:
        """The value as it is; a missing one is an error."""
        value = self.take(key)
        if value is None:
            raise BadRow("missing-field", field=key, problem="is missing or empty", remedy="give it a value")
        return value

    def given(self, key: str) -> Any:
        """The value as it is, which may be an empty text but must be there."""
        return self.left.pop(key) if self.left.get(key) == "" else self.require(key)

    def text(self, key: str) -> str:
        """A text, which may be empty but must be there."""
        value = self.left.pop(key, None)
        if value is None:
            raise BadRow("missing-field", field=key, problem="is missing", remedy="give it a text")
        if not isinstance(value, str):
            problem = f"holds {type(value).__name__} {str(value)[:40]!r} where a text belongs"
            raise BadRow("wrong-type", field=key, problem=problem, remedy="write it as a text")
        return value

    def name(self, key: str) -> str | None:
        """An identifier as text (numbers become their digits), None where it is missing."""
        value = self.take(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, (Mapping, list, tuple)):
            problem = f"holds {type(value).__name__} where a name belongs"
            raise BadRow("wrong-type", field=key, problem=problem, remedy="write it as a text")
        return None if value is None else str(value)

    def number(self, key: str) -> float:
        """A finite number, also one written as text."""
        return number(self.require(key), key)

    def maybe(self, key: str) -> float | None:
        """A finite number, None where it is missing."""
        value = self.take(key)
        return None if value is None else number(value, key)

    def choice(self, key: str, table: Mapping[Any, T]) -> T:
        """What `table` says of the value; one it does not know is an error that lists those it knows."""
        value = self.require(key)
        if isinstance(value, (str, int, float)) and value in table:
            return table[value]
        known = ", ".join(repr(k) for k in table)
        problem = f"the label {str(value)[:60]!r} is not known"
        raise BadRow("unknown-label", field=key, problem=problem, remedy=f"use one of {known}")

    def flag(self, key: str) -> bool:
        """A truth value, also 0, 1, "true", "FALSE"."""
        value = self.require(key)
        return truth(value, key)

    def seconds(self, key: str, per: float = 1.0) -> datetime | None:
        """A time given as a count since 1970, `per` of them in a second."""
        value = self.maybe(key)
        return None if value is None else datetime.fromtimestamp(value / per, UTC)

    def note(self, slug: str) -> None:
        """Say something about a row that stays."""
        if slug not in self.notes:
            self.notes.append(slug)

    def meta(self) -> dict[str, Any]:
        """What was not taken, and the notes."""
        rest = {key: value for key, value in self.left.items() if value is not None}
        return rest | {NOTES: list(self.notes)} if self.notes else rest

    def judgement(self, meta: Mapping[str, Any] | None = None, **values: Any) -> Judgement:
        """A judgement that keeps all fields not taken so far, and `meta`, in its meta."""
        return Judgement(meta={**self.meta(), **(meta or {})}, **values)


def number(value: Any, field: str) -> float:
    """A finite float from a number or its digits."""
    try:
        result = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        result = float("nan")
    if not math.isfinite(result):
        problem = f"{str(value)[:40]!r} is not a finite number"
        raise BadRow("not-a-number", field=field, problem=problem, remedy="write a number or leave the row out")
    return result


def truth(value: Any, field: str) -> bool:
    """A bool from a bool, 0 or 1, or their names."""
    known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    answer = known.get(str(value).strip().lower())
    if answer is None:
        problem = f"the label {str(value)[:40]!r} is neither true nor false"
        raise BadRow("unknown-label", field=field, problem=problem, remedy="use true or false")
    return answer


def listed(value: Any, field: str, length: int | None = None) -> list[Any]:
    """A list, of `length` entries where that is given."""
    if not isinstance(value, (list, tuple)):
        problem = f"holds {type(value).__name__} where a list belongs"
        raise BadRow("wrong-type", field=field, problem=problem, remedy="write it as a list")
    if length is not None and len(value) != length:
        problem = f"has {len(value)} entries where {length} belong"
        raise BadRow("wrong-length", field=field, problem=problem, remedy="give one entry for each response")
    return list(value)


def mapped(value: Any, field: str) -> dict[str, Any]:
    """An object with named fields."""
    if not isinstance(value, Mapping):
        problem = f"holds {type(value).__name__} where an object with named fields belongs"
        raise BadRow("wrong-type", field=field, problem=problem, remedy="write it as an object")
    return dict(value)
