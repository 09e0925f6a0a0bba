"""HelpSteer2 preferences: positive strength means the second response is better (Wang et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._chat import reply
from pluralign.feedback.formats._fields import Fields, listed, number
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import by_sign
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.formats.helpsteer import turns
from pluralign.feedback.record import Judgement


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt = turns(fields.text("prompt"))
    responses = tuple(reply(fields.text(key), prompt) for key in ("response_1", "response_2"))
    overall = {key: fields.take(f"preference_{key}") for key in ("strength", "statement", "elaboration")}
    votes = fields.left.get("all_preferences_unprocessed") or [overall]
    meta = {} if votes == [overall] else {"overall": overall}
    for vote in listed(votes, "all_preferences_unprocessed"):
        strength = -number(vote["strength"], "preference_strength")
        said = [words for key in ("statement", "elaboration") if (words := vote.get(key))]
        yield fields.judgement(
            meta=meta,
            prompt=prompt,
            responses=responses,
            ranks=by_sign(strength),
            strength=strength,
            rationale="\n\n".join(said) or None,
            annotator_kind="person",
        )


FORMAT = Format(
    name="helpsteer2_preference",
    about="HelpSteer2 preferences, -3 to 3, one judgement for each annotator's vote",
    detect=columns(
        "prompt",
        "response_1",
        "response_2",
        "preference_strength",
        also=["preference_statement", "preference_elaboration", "all_preferences_unprocessed"],
    ),
    parse=_parse,
)
