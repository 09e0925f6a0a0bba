"""UltraFeedback binarized, and other sets that give the prompt as text beside whole chats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pluralign.feedback.formats._chat import chat, note_divergence, shared_prompt
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    chats = [chat(fields.require(side), side) for side in ("chosen", "rejected")]
    if fields.left.get("messages") == record.fields["chosen"]:
        del fields.left["messages"]
    prompt, sides = shared_prompt(chats, "rejected")
    fields.notes += note_divergence(sides)
    if prompt and fields.left.get("prompt") == prompt[-1].content:
        del fields.left["prompt"]
    responses = tuple(
        Response(side, model=fields.name(f"{name}_model"), ratings=_scores(fields, name))
        for side, name in zip(sides, ("chosen", "rejected"), strict=True)
    )
    if any(responses[0].ratings.get(aspect) == value for aspect, value in responses[1].ratings.items()):
        fields.note("equal-scores")
    yield fields.judgement(prompt_id=fields.name("prompt_id"), prompt=prompt, responses=responses, ranks=FIRST)


def _scores(fields: Fields, side: str) -> dict[str, float]:
    found = {"score": fields.maybe(f"score_{side}"), "rating": fields.maybe(f"{side}_rating")}
    return {aspect: value for aspect, value in found.items() if value is not None}


def _whole_chats(row: Mapping[str, Any]) -> bool:
    return isinstance(row["prompt"], str) and isinstance(row["chosen"], list) and isinstance(row["rejected"], list)


FORMAT = Format(
    name="ultrafeedback_binarized",
    about="UltraFeedback binarized: prompt as text, chosen and rejected as whole chats, their scores",
    detect=columns(
        "prompt",
        "chosen",
        "rejected",
        also=["prompt_id", "messages", "score_chosen", "score_rejected", "chosen_rating", "rejected_rating"],
        where=_whole_chats,
    ),
    parse=_parse,
)
