"""Fields that any row may carry, whatever its format, under the names of the record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import Fields, number

NUMBERS = ("weight", "probability", "margin", "beta", "strength")
NAMES = ("annotator", "criterion", "context", "id", "prompt_id", "rationale")
ROW_FIELDS = frozenset((*NUMBERS, *NAMES, "time"))


def row_fields(fields: Fields) -> dict[str, Any]:
    """Values for `Judgement` from the columns named like its fields; columns not there are left out."""
    values: dict[str, Any] = {}
    for name in [name for name in fields.left if name in ROW_FIELDS and name in fields]:
        if name == "time":
            values[name] = moment(fields.take(name), name)
        else:
            values[name] = fields.maybe(name) if name in NUMBERS else fields.name(name)
    return values


def moment(value: Any, field: str) -> datetime:
    """A time from ISO text or seconds since 1970; one without a zone is UTC."""
    if isinstance(value, datetime):
        found = value
    elif isinstance(value, str) and not value.replace(".", "", 1).isdigit():
        try:
            found = datetime.fromisoformat(value.strip())
        except ValueError:
            raise BadRow(
                "not-a-time",
                field=field,
                problem=f"'{value[:40]}' is not a time",
                remedy="write it as 2024-05-31 or 2024-05-31T12:00:00Z",
            ) from None
    else:
        try:
            found = datetime.fromtimestamp(number(value, field), UTC)
        except (OverflowError, OSError, ValueError):
            raise BadRow(
                "not-a-time", field=field, problem=f"{value} is out of range", remedy="give seconds since 1970"
            ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
