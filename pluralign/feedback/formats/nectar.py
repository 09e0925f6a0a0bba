"""Nectar: seven answers ranked by a model, the ranks averaged over orders of showing (Zhu et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._chat import reply, transcript
from pluralign.feedback.formats._fields import Fields, listed, mapped
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import by_value
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Message


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt = _prompt(fields.text("prompt"))
    responses, places, left = [], [], []
    for answer in listed(fields.require("answers"), "answers"):
        its = Fields(mapped(answer, "answers"))
        responses.append(reply(its.text("answer"), prompt, model=its.name("model")))
        places.append(its.maybe("rank"))
        left.append(its.meta())
    meta = {"source_ranks": places} | ({"answers": left} if any(left) else {})
    yield fields.judgement(
        meta=meta, prompt=prompt, responses=tuple(responses), ranks=by_value(places), annotator_kind="model"
    )


def _prompt(words: str) -> tuple[Message, ...]:
    messages = transcript(words, "prompt")
    # The last marker invites the answer; it is not a turn.
    return messages[:-1] if messages[-1].role == "assistant" and not (messages[-1].content or "").strip() else messages


FORMAT = Format(
    name="nectar",
    about="Nectar: a prompt and answers with their ranks",
    detect=columns("prompt", "answers", also=["turns", "num_responses", "source", "good_natured"]),
    parse=_parse,
)
