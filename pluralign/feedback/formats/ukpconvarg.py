"""UKPConvArg1 Strict: which of two arguments is more convincing (Habernal and Gurevych 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST, SECOND
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text

RANKS = {"a1": FIRST, "a2": SECOND}


def debate(source: str) -> str:
    """The debate and its side, which the release tells by the name of the file alone.

    >>> debate("UKPConvArg1Strict-CSV/is-porn-wrong-_no-is-is-not.csv")
    'is-porn-wrong-_no-is-is-not'
    """
    return PurePath(source).name.partition(".csv")[0]


def about_debate(source: str) -> dict[str, Any]:
    """The prompt: question and side in words. A table without a file has none."""
    name = debate(source)
    question, joined, side = name.partition("_")
    if not joined:
        return {}
    return {
        "prompt": text(f"{question.replace('-', ' ').strip()}: {side.replace('-', ' ').strip()}"),
        "prompt_id": name,
    }


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    name = fields.text("#id")
    first, joined, second = name.partition("_")
    if not joined:
        problem = f"{name!r} does not join the ids of two arguments"
        raise BadRow("invalid-id", field="#id", problem=problem, remedy="write arg1_arg2")
    yield fields.judgement(
        **about_debate(record.source),
        id=name,
        responses=(Response(text(fields.text("a1")), id=first), Response(text(fields.text("a2")), id=second)),
        ranks=fields.choice("label", RANKS),
        annotator_kind="person",
    )


FORMAT = Format(
    name="ukpconvarg",
    about="UKPConvArg1 Strict: tab-separated #id, label (a1 or a2), a1, a2; the file name is the debate",
    detect=columns("#id", "label", "a1", "a2"),
    parse=_parse,
)
