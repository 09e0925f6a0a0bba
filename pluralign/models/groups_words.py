"""Groups in sentences, and as a page."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pluralign.errors import OptionError
from pluralign.feedback.storage import whole_file
from pluralign.report.page import render

if TYPE_CHECKING:
    from pluralign.models.groups import Groups

EACH = 3


def paragraph(found: Groups, row: dict[str, Any]) -> str:
    """One group: how large, what it likes, what sets it apart, who it is."""
    alone = len(found.table) == 1
    head = f"{row['people']:,} people" if alone else f"{row['share']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"
    said = [f"Everybody: {head}." if alone else f"Group {row['group']}: {head}, {row['people']:,} people."]
    if row.get("alike") is not None and not alone:
        said[0] = f"{said[0][:-1]} ({row['alike']:.0%} of them are put here by half of their answers too)."
    if found.likes is None:
        return " ".join(said)
    own = found.likes.filter(pl.col("group") == row["group"]).sort("value", descending=True)
    best = own.filter(pl.col("low") > 0.5).head(EACH).to_dicts()
    worst = own.filter(pl.col("high") < 0.5).tail(EACH).reverse().to_dicts()
    unit = "of comparisons" if found.things == "items" else "of answers in which the sides differ in it"
    if best:
        said.append(f"Prefers {_listed(best, 'thing', unit)}.")
    if worst:
        said.append(f"Does not prefer {_listed(worst, 'thing', unit)}.")
    if not best and not worst:
        said.append("Prefers nothing that was counted clearly.")
    if not alone:
        said += _apart(found, row["group"])
    return " ".join(said)


def _listed(rows: list[dict[str, Any]], name: str, unit: str) -> str:
    first, *rest = [f"{row[name]} ({row['value']:.0%} [{row['low']:.0%}, {row['high']:.0%}]" for row in rows]
    return ", ".join([f"{first} {unit})", *(f"{one})" for one in rest)])


def _apart(found: Groups, group: int) -> list[str]:
    """What differs from everybody else's, of what it likes and of who it is."""
    said = []
    likes = found.apart(group, found.likes).to_dicts()
    for up, says in ((True, "More than the others it prefers"), (False, "Less than the others")):
        rows = [row for row in likes if (row["gap"] > 0) == up][:EACH]
        if rows:
            said.append(f"{says} {', '.join(_against(row, row['thing']) for row in rows)}.")
    if not likes:
        said.append("Nothing that was counted sets what it prefers apart from what the others prefer.")
    who = found.apart(group, found.who).to_dicts()
    for up, says in ((True, "More of its people than of the others"), (False, "Fewer of its people")):
        rows = [row for row in who if (row["gap"] > 0) == up][:EACH]
        if rows:
            said.append(f"{says}: {', '.join(_against(row, row['attribute'] + ' ' + row['is']) for row in rows)}.")
    if found.who is not None and not who:
        said.append("Nothing that is known of its people sets them apart.")
    return said


def _against(row: dict[str, Any], name: str) -> str:
    return f"{name} ({row['value']:.0%}, others {row['others']:.0%})"


def page(found: Groups, path: str | Path, title: str) -> Path:
    """See `Groups.write`."""
    path = Path(path)
    if path.suffix != ".html":
        raise OptionError(f"{path} does not end in .html")
    buffer = BytesIO()
    found.plot().savefig(buffer, dpi=144, format="png")
    text = render(
        Path(__file__).with_name("groups.html"),
        heading=title,
        words=found.words(),
        table=found.table.to_dicts(),
        likes=[] if found.likes is None else found.likes.sort("group", "value", descending=[False, True]).to_dicts(),
        who=[] if found.who is None else found.who.sort("group", "gap", descending=[False, True]).to_dicts(),
        pairs=[] if found.pairs is None else found.pairs.to_dicts(),
        things=found.things,
        picture=b64encode(buffer.getvalue()).decode(),
    )
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
