"""DICES: many raters of different groups judge whether a conversation is safe (Aroyo et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text

# Yes means unsafe for that reason; "Unsure" is an answer, and no thumb.
SAFE = {"Yes": False, "No": True, "Unsure": None}
OVERALL = "Q_overall"


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    answers = {key: fields.take(key) for key in record.fields if key.startswith("Q") and "_" in key}
    safe = Fields({OVERALL: answers.get(OVERALL)}).choice(OVERALL, SAFE)
    profile = {key: fields.take(key) for key in record.fields if key.startswith("rater_") and key != "rater_id"}
    rater = fields.name("rater_id")
    yield fields.judgement(
        id=fields.name("id"),
        prompt_id=fields.name("item_id"),
        prompt=text(fields.text("context")),
        responses=(Response(text(fields.text("response"))),),
        thumb=safe,
        criterion="safe",
        annotator=rater,
        annotator_kind="person",
        annotator_attributes={key: value for key, value in profile.items() if value is not None} or None,
        meta={"answers": {key: value for key, value in answers.items() if value is not None}},
    )


FORMAT = Format(
    name="dices",
    about="DICES 350 and 990: a conversation judged by one rater on many safety questions (Yes, No, Unsure)",
    detect=columns("rater_id", "item_id", "context", "response", OVERALL, also=["rater_gender", "rater_age"]),
    parse=_parse,
)
