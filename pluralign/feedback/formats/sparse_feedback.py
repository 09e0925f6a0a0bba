"""Ratings and rankings of the same outputs, collected apart (Bansal, Dang and Grover 2023)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats._ranks import FIRST, SECOND, TIE
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text

RANKING = {"(a)": FIRST, "(b)": SECOND, "equal": TIE}


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    request = [fields.text("instruction"), str(fields.left.get("input") or "")]
    prompt = text("\n\n".join(part for part in request if part))
    if "rating" in record.fields:
        response = Response(text(fields.text("output")), ratings={"rating": fields.number("rating")})
        yield fields.judgement(prompt=prompt, responses=(response,))
        return
    responses = tuple(Response(text(fields.text(key))) for key in ("output1", "output2"))
    yield fields.judgement(prompt=prompt, responses=responses, ranks=fields.choice("ranking", RANKING))


def _detect(sample: Sample) -> tuple[int, str] | None:
    rated = columns("instruction", "input", "output", "rating")
    ranked = columns("instruction", "input", "output1", "output2", "ranking")
    return rated(sample) or ranked(sample)


FORMAT = Format(
    name="sparse_feedback",
    about="ratings (output, rating 1 to 7) or rankings (output1, output2, (a), (b) or equal) of instructions",
    detect=_detect,
    parse=_parse,
)
