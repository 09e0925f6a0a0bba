"""Football shootouts: who won after a draw."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST, SECOND
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.formats.football import when
from pluralign.feedback.record import Judgement, Response


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    teams = [fields.text(f"{side}_team") for side in ("home", "away")]
    ranks = fields.choice("winner", {teams[0]: FIRST, teams[1]: SECOND})
    yield fields.judgement(
        responses=tuple(Response(model=team) for team in teams),
        ranks=ranks,
        time=when(fields.text("date")),
        context="shootout",
    )


FORMAT = Format(
    name="football_shootouts",
    about="football shootouts: date, home_team, away_team, winner",
    detect=columns("date", "home_team", "away_team", "winner", also=["first_shooter"]),
    parse=_parse,
)
