"""Summarize from feedback, comparisons: two summaries of a post or an article (Stiennon et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._fields import Fields, listed, mapped
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST, SECOND
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text


def source_text(info: Fields) -> str:
    """What was to be summarised: a post in the template of the paper, or an article under its title."""
    if "post" in info:
        subreddit, title, post = (info.take(key) for key in ("subreddit", "title", "post"))
        return f"SUBREDDIT: r/{subreddit}\n\nTITLE: {title}\n\nPOST: {post}\n\nTL;DR:"
    title, article = info.take("title"), info.require("article")
    return "\n\n".join(part for part in (title, article, "TL;DR:") if part)


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    info = Fields(mapped(fields.require("info"), "info"))
    prompt, name = text(source_text(info)), info.name("id")
    responses, left = [], []
    for summary in listed(fields.require("summaries"), "summaries", 2):
        its = Fields(mapped(summary, "summaries"))
        responses.append(Response(text(its.text("text")), model=its.name("policy")))
        left.append(its.meta())
    yield fields.judgement(
        ranks=fields.choice("choice", {0: FIRST, 1: SECOND}),
        prompt_id=name,
        prompt=prompt,
        responses=tuple(responses),
        annotator=fields.name("worker"),
        annotator_kind="person",
        meta={"info": info.meta()} | ({"summaries": left} if any(left) else {}),
    )


FORMAT = Format(
    name="summarize_comparisons",
    about="Summarize from feedback, comparisons: info, summaries, choice, worker",
    detect=columns("info", "summaries", "choice", also=["worker", "batch", "split", "extra"]),
    parse=_parse,
)
