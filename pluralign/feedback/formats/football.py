"""Football results: two teams, their goals and the date."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import by_sign
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response


def when(written: str) -> datetime:
    """The day of a match, as its first instant in UTC."""
    try:
        return datetime.combine(date.fromisoformat(written), time.min, UTC)
    except ValueError:
        problem = f"{written!r} is not a date like 1872-11-30"
        raise BadRow("invalid-time", field="date", problem=problem, remedy="write year-month-day") from None


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    goals = [fields.number(f"{side}_score") for side in ("home", "away")]
    teams = [fields.text(f"{side}_team") for side in ("home", "away")]
    strength = goals[0] - goals[1]
    neutral = {"neutral": fields.flag("neutral")} if "neutral" in fields else {}
    yield fields.judgement(
        responses=tuple(Response(model=team, ratings={"goals": g}) for team, g in zip(teams, goals, strict=True)),
        ranks=by_sign(strength),
        strength=strength,
        time=when(fields.text("date")),
        context=fields.name("tournament"),
        meta=neutral,
    )


FORMAT = Format(
    name="football",
    about="football results: date, home_team, away_team, home_score, away_score; strength is the goal difference",
    detect=columns(
        "date", "home_team", "away_team", "home_score", "away_score", also=["tournament", "city", "country", "neutral"]
    ),
    parse=_parse,
)
