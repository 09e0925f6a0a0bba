"""Community Alignment: one of four replies chosen at each turn, by people of five countries (Zhang et al. 2025)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._chat import reply
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import chosen_among
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Message

TURNS = ("first", "second", "third", "fourth", "fifth")
SLOTS = "abcd"
CHOSEN = {f"response_{slot}": i for i, slot in enumerate(SLOTS)}


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    annotator = fields.name("annotator_id")
    profile = {key: fields.take(key) for key in record.fields if key.startswith("annotator_") and key in fields}
    conversation = fields.name("conversation_id")
    said: tuple[Message, ...] = ()
    turns = [turn for turn in TURNS if f"{turn}_turn_prompt" in fields]
    taken = {turn: _turn(fields, turn) for turn in turns}
    for turn, (asked, replies, chosen, feedback) in taken.items():
        prompt = (*said, Message(asked, "user"))
        yield fields.judgement(
            **({} if chosen is None else chosen_among(chosen, len(replies))),
            id=f"{conversation}/{turn}",
            prompt=prompt,
            responses=tuple(reply(words, prompt) for words in replies),
            rationale=feedback,
            annotator=annotator,
            annotator_kind="person",
            annotator_attributes={key.removeprefix("annotator_"): value for key, value in profile.items()} or None,
            positions=tuple(range(1, len(replies) + 1)),
            meta={"turn": turn, "conversation_id": conversation},
        )
        if chosen is None:
            return
        said = (*prompt, Message(replies[chosen], "assistant"))


def _turn(fields: Fields, turn: str) -> tuple[str, list[str], int | None, str | None]:
    key = f"{turn}_turn_preferred_response"
    return (
        fields.text(f"{turn}_turn_prompt"),
        [fields.text(f"{turn}_turn_response_{slot}") for slot in SLOTS],
        fields.choice(key, CHOSEN) if key in fields else None,
        fields.name(f"{turn}_turn_feedback"),
    )


FORMAT = Format(
    name="community_alignment",
    about="Community Alignment: four replies a turn, one preferred, with the annotator's profile",
    detect=columns(
        "conversation_id",
        "annotator_id",
        "first_turn_prompt",
        "first_turn_response_a",
        "first_turn_preferred_response",
        also=["assigned_lang", "annotator_country", "first_turn_feedback"],
    ),
    parse=_parse,
)
