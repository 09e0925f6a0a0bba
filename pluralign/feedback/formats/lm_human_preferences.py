"""LM human preferences: the best of four samples, all of them as token numbers (Ziegler et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._fields import Fields, listed
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import chosen_among
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Message, Response

COUNT = 4


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt = _tokens(fields, "query")
    responses = tuple(Response(_tokens(fields, f"sample{n}")) for n in range(COUNT))
    best = fields.choice("best", {n: n for n in range(COUNT)})
    yield fields.judgement(**chosen_among(best, COUNT), prompt=prompt, responses=responses, annotator_kind="person")


def _tokens(fields: Fields, key: str) -> tuple[Message, ...]:
    """The source has no text, only GPT-2's token numbers; they are kept as they are."""
    return (Message(None, extra={"tokens": listed(fields.require(key), key)}),)


FORMAT = Format(
    name="lm_human_preferences",
    about="LM human preferences: query, sample0 to sample3 as token numbers, best",
    detect=columns("query", "sample0", "sample1", "sample2", "sample3", "best"),
    parse=_parse,
)
