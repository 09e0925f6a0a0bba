"""A leaderboard as one self-contained HTML page."""

from __future__ import annotations

import math
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from pluralign.errors import OptionError
from pluralign.feedback.storage import whole_file
from pluralign.report.page import render

if TYPE_CHECKING:
    from pluralign.rank.leaderboard import Leaderboard
    from pluralign.rank.social_choice import SocialChoice

PAIRS = 40
"""Pairs shown whose votes are furthest from what the ratings expect."""

CIRCLES = 10
"""Circles of three items shown."""


def write(board: Leaderboard, path: Path, rules: SocialChoice | None = None) -> Path:
    """Write the page, with a section on other rules where they are given, and return its path."""
    if path.suffix != ".html":
        raise OptionError(f"{path} does not end in .html")
    rows = board.table.to_dicts()
    ends = [row[name] for row in rows for name in ("rating", "low", "high") if row[name] is not None]
    pairs = board.win_rates()
    surprise = (pairs["share"] - pairs["expected"]).abs() * pairs["votes"].sqrt()
    odd = pairs.with_columns(surprise.alias("surprise")).sort("surprise", descending=True).head(PAIRS)
    text = render(
        Path(__file__).with_name("leaderboard.html"),
        rows=rows,
        notes=board.notes,
        least=math.floor(min(ends)),
        most=max(math.ceil(max(ends)), math.floor(min(ends)) + 1),
        digits=0 if board.elo else 3,
        pairs=odd.to_dicts(),
        votes=round(board.votes.total),
        rules=rules,
        circles=[] if rules is None or rules.circles is None else rules.circles.head(CIRCLES).to_dicts(),
        picture="" if board.history is None else _picture(board),
        parts=len(set(board.graph.component)),
    )
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _picture(board: Leaderboard) -> str:
    """Ratings over time as a PNG in base64."""
    buffer = BytesIO()
    board.plot("time").savefig(buffer, dpi=144, format="png")
    return b64encode(buffer.getvalue()).decode()
