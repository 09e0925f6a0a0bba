"""HelpSteer3 preferences: positive scores mean the second response is better (Wang et al. 2025)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._chat import chat, reply
from pluralign.feedback.formats._fields import Fields, listed, mapped
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import by_sign
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt = chat(fields.require("context"), "context")
    responses = tuple(reply(fields.text(key), prompt) for key in ("response1", "response2"))
    overall = fields.take("overall_preference")
    votes = fields.take("individual_preference")
    meta = {"overall_preference": overall} if votes and overall is not None else {}
    for vote in listed(votes or [{"score": overall}], "individual_preference"):
        its = Fields(mapped(vote, "individual_preference"))
        strength = -its.number("score")
        yield fields.judgement(
            prompt=prompt,
            responses=responses,
            ranks=by_sign(strength),
            strength=strength,
            rationale=its.take("reasoning"),
            annotator_kind="person",
            meta=meta | its.meta(),
        )


FORMAT = Format(
    name="helpsteer3",
    about="HelpSteer3 preferences, -3 to 3, one judgement for each annotator's vote",
    detect=columns(
        "context", "response1", "response2", "overall_preference", also=["individual_preference", "domain", "language"]
    ),
    parse=_parse,
)
