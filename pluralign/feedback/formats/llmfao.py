"""LLMFAO: crowd workers and a model compare answers side by side (Ustalov 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats._ranks import FIRST, SECOND, TIE
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text

WINNERS = {"left": FIRST, "right": SECOND, "tie": TIE}


def parse(record: Record) -> Iterator[Judgement]:
    """One vote, or one pair without a vote."""
    fields = Fields(record)
    judged_by = _annotator(fields, record.source)
    key = "golden" if "golden" in fields else "winner"
    ranks = fields.choice(key, WINNERS) if key in fields else None
    if ranks is None:
        fields.note("no-vote")
    prompt = text(fields.text("text")) if "text" in fields.left else ()
    responses = tuple(_response(fields, name, letter) for name, letter in (("left", "x"), ("right", "y")))
    yield fields.judgement(
        **judged_by,
        id=fields.name("id"),
        prompt_id=fields.name("prompt"),
        prompt=prompt,
        responses=responses,
        ranks=ranks,
        rationale=fields.take("reason"),
        positions=(1, 2),
    )


def _annotator(fields: Fields, source: str) -> dict[str, Any]:
    if "worker" in fields:
        return {"annotator": fields.name("worker"), "annotator_kind": "person"}
    # The model's votes have no column for who voted: only the file says so.
    return {"annotator": "gpt4", "annotator_kind": "model"} if PurePath(source).name.startswith("gpt4") else {}


def _response(fields: Fields, side: str, letter: str) -> Response:
    words = fields.left.pop(f"result_{letter}", None)
    name = fields.name(side) or fields.name(f"model_{letter}")
    return Response(() if words is None else text(words), model=name)


def _detect(sample: Sample) -> tuple[int, str] | None:
    votes = columns("id", "prompt", "model_x", "model_y", "winner", "left", "right", also=["worker"])
    texts = columns("id", "prompt", "text", "model_x", "result_x", "model_y", "result_y", also=["golden", "reason"])
    return votes(sample) or texts(sample)


FORMAT = Format(
    name="llmfao",
    about="LLMFAO: votes on pairs (model_x, model_y, winner left, right or tie) or the pairs' texts",
    detect=_detect,
    parse=parse,
)
