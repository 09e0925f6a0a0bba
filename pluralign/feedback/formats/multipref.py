"""MultiPref: pairs judged on four criteria by several crowd workers and experts (Miranda et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._fields import Fields, mapped
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import by_sign
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text

CRITERIA = {
    "overall_pref": "overall",
    "helpful_pref": "helpful",
    "truthful_pref": "truthful",
    "harmless_pref": "harmless",
}
# Slightly and clearly, as 1 and 2; positive prefers completion A.
STRENGTH = {
    "A-is-clearly-better": 2.0,
    "A-is-slightly-better": 1.0,
    "Tie": 0.0,
    "B-is-slightly-better": -1.0,
    "B-is-clearly-better": -2.0,
}


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt = text(fields.text("text"))
    responses = tuple(
        Response(text(fields.text(f"completion_{side}")), model=fields.name(f"model_{side}")) for side in "ab"
    )
    name, prompt_id = fields.name("comparison_id"), fields.name("prompt_id")
    for pool in ("normal", "expert"):
        for row in fields.take(f"{pool}_worker_annotations") or ():
            its = Fields(mapped(row, f"{pool}_worker_annotations"))
            annotator = its.name("evaluator")
            said = {criterion: its.choice(key, STRENGTH) for key, criterion in CRITERIA.items() if key in its}
            for criterion, strength in said.items():
                yield fields.judgement(
                    id=name,
                    prompt_id=prompt_id,
                    prompt=prompt,
                    responses=responses,
                    ranks=by_sign(strength),
                    strength=strength,
                    criterion=criterion,
                    annotator=annotator,
                    annotator_kind="person",
                    annotator_attributes={"pool": pool},
                    meta=its.meta(),
                )


FORMAT = Format(
    name="multipref",
    about="MultiPref: completion_a, completion_b, annotations of several workers on four criteria",
    detect=columns(
        "text",
        "completion_a",
        "completion_b",
        "normal_worker_annotations",
        "expert_worker_annotations",
        also=["comparison_id", "prompt_id", "model_a", "model_b"],
    ),
    parse=_parse,
)
