"""Stanford Human Preferences: two comments under a post, judged by their votes (Ethayarajh et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST, SECOND, by_value
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt = text(fields.text("history"))
    responses = tuple(_comment(fields, side) for side in "AB")
    ranks = fields.choice("labels", {1: FIRST, 0: SECOND, "1": FIRST, "0": SECOND})
    scores = [r.ratings.get("score") for r in responses]
    if None not in scores and by_value(scores, best="high") != ranks:
        fields.note("label-against-scores")
    yield fields.judgement(prompt_id=fields.name("post_id"), prompt=prompt, responses=responses, ranks=ranks)


def _comment(fields: Fields, side: str) -> Response:
    score = fields.maybe(f"score_{side}")
    return Response(
        text(fields.text(f"human_ref_{side}")),
        id=fields.name(f"c_root_id_{side}"),
        ratings={} if score is None else {"score": score},
    )


FORMAT = Format(
    name="shp",
    about="Stanford Human Preferences 1 and 2: history, human_ref_A, human_ref_B, labels (1 prefers A)",
    detect=columns("history", "human_ref_A", "human_ref_B", "labels", also=["post_id", "score_A", "score_B"]),
    parse=_parse,
)
