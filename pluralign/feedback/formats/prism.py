"""PRISM: people from many countries talk with several models, score replies and choose one (Kirk et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from pluralign.feedback.formats._fields import Fields, listed, missing, number, truth
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats._ranks import chosen_among
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Message, Response


def parse(record: Record) -> Iterator[Judgement]:
    """One judgement for each turn of a conversation: scores of all replies and the choice of one."""
    fields = Fields(record)
    history = listed(fields.require("conversation_history"), "conversation_history")
    user, conversation = fields.name("user_id"), fields.name("conversation_id")
    survey = fields.take("survey")
    said_so_far: tuple[Message, ...] = ()
    for turn, group in groupby(history, key=lambda m: m["turn"]):
        rows = list(group)
        prompt = (*said_so_far, *(Message(m["content"], "user") for m in rows if m["role"] == "user"))
        replies = [m for m in rows if m["role"] == "model"]
        if not replies:
            continue
        chosen = [i for i, m in enumerate(replies) if truth(m["if_chosen"], "if_chosen")]
        fields.notes.clear()
        yield fields.judgement(
            **_choice(fields, replies, chosen),
            id=f"{conversation}/{turn}",
            prompt=prompt,
            responses=tuple(_response(m) for m in replies),
            annotator=user,
            annotator_kind="person",
            annotator_attributes=survey,
            context=fields.left.get("conversation_type"),
            meta={"turn": turn, "conversation_id": conversation, "replies": [_rest(m) for m in replies]},
        )
        said_so_far = (*prompt, *(Message(replies[i]["content"], "assistant") for i in chosen[:1]))


def _choice(fields: Fields, replies: list[dict[str, Any]], chosen: list[int]) -> dict[str, Any]:
    """The choice of one reply; none where an unchosen one says exactly the same, which then means nothing."""
    if len(chosen) != 1 or len(replies) < 2:
        return {}
    texts = [m["content"] for m in replies]
    if texts.count(texts[chosen[0]]) > 1:
        fields.note("identical-responses")
        return {}
    return chosen_among(chosen[0], len(replies))


def _response(m: Mapping[str, Any]) -> Response:
    score = m.get("score")
    ratings = {} if missing(score) else {"score": number(score, "score")}
    return Response((Message(m["content"], "assistant"),), model=m.get("model_name"), ratings=ratings)


def _rest(m: Mapping[str, Any]) -> dict[str, Any]:
    known = ("turn", "role", "content", "model_name", "score", "if_chosen")
    return {key: value for key, value in m.items() if key not in known and value is not None}


def _conversations(records: Iterable[Record]) -> Iterator[Record]:
    """Rows of the long form (one utterance each) as the conversations they belong to; conversations as they are."""
    for (source, key), run in groupby(records, key=lambda r: (r.source, r.fields.get("conversation_id"))):
        group = list(run)
        if "conversation_history" in group[0].fields:
            yield from group
            continue
        history: list[dict[str, Any]] = []
        for turn, rows in groupby((r.fields for r in group), key=lambda f: f["turn"]):
            for place, row in enumerate(rows):
                if place == 0:
                    history.append({"turn": turn, "role": "user", "content": row["user_prompt"]})
                reply = {k: v for k, v in row.items() if k not in ("user_prompt", "model_response", "user_id")}
                history.append({**reply, "role": "model", "content": row["model_response"]})
        first = {"conversation_id": key, "user_id": group[0].fields["user_id"], "conversation_history": history}
        yield Record(source, group[0].row, first)


def _detect(sample: Sample) -> tuple[int, str] | None:
    whole = columns("conversation_id", "user_id", "conversation_history", also=["conversation_type", "opening_prompt"])
    long = columns(
        "conversation_id", "user_id", "utterance_id", "user_prompt", "model_response", "score", "if_chosen", "turn"
    )
    return whole(sample) or long(sample)


FORMAT = Format(
    name="prism",
    about="PRISM conversations or utterances: replies scored 1 to 100 and one chosen, by identified people",
    detect=_detect,
    parse=parse,
    regroup=_conversations,
)
