"""Summarize from feedback, axis: one summary rated on several qualities (Stiennon et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._fields import Fields, mapped
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.formats.summarize_comparisons import source_text
from pluralign.feedback.record import Judgement, Response, text


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    info = Fields(mapped(fields.require("info"), "info"))
    summary = Fields(mapped(fields.require("summary"), "summary"))
    prompt, name = text(source_text(info)), info.name("id")
    axes = Fields(mapped(summary.require("axes"), "summary.axes"))
    named = [axis for axis, value in axes.left.items() if not isinstance(value, bool)]
    ratings = {axis: value for axis in named if (value := axes.maybe(axis)) is not None}
    response = Response(text(summary.text("text")), model=summary.name("policy"), ratings=ratings)
    left = {"info": info.meta(), "summary": summary.meta(), "axes": axes.meta()}
    yield fields.judgement(
        prompt_id=name,
        prompt=prompt,
        responses=(response,),
        annotator=fields.name("worker"),
        annotator_kind="person",
        meta={key: value for key, value in left.items() if value},
    )


FORMAT = Format(
    name="summarize_axis",
    about="Summarize from feedback, axis: info, summary with ratings 1 to 7, worker",
    detect=columns("info", "summary", also=["worker", "batch", "split"]),
    parse=_parse,
)
