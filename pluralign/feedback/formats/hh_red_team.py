"""HH-RLHF red-team attempts: one transcript rated by the person who attacked (Ganguli et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._chat import HUMAN_ASSISTANT, transcript
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt, *rest = transcript(fields.text("transcript"), "transcript")
    names = [name for key in ("model_type", "num_params") if (name := fields.name(key))]
    rating = fields.maybe("rating")
    yield fields.judgement(
        prompt=(prompt,),
        responses=(
            Response(
                tuple(rest),
                model=" ".join(names) or None,
                ratings={} if rating is None else {"attack success": rating},
            ),
        ),
        annotator=fields.name("red_team_member_id"),
        annotator_kind="person",
        annotator_attributes={"is_upworker": fields.take("is_upworker")} if "is_upworker" in fields else None,
    )


FORMAT = Format(
    name="hh_red_team",
    about="HH-RLHF red-team attempts: a transcript and how well the attack went, 0 to 4",
    detect=columns(
        "transcript",
        "rating",
        also=[
            "min_harmlessness_score_transcript",
            "num_params",
            "model_type",
            "task_description",
            "red_team_member_id",
        ],
        where=lambda row: isinstance(row["transcript"], str) and bool(HUMAN_ASSISTANT.match(row["transcript"])),
    ),
    parse=_parse,
)
