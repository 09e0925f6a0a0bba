"""MT-Bench judgements by people and by models (Zheng et al. 2023)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pluralign.feedback.formats._arena import battle, outcome
from pluralign.feedback.formats._fields import Fields, listed
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement

JUDGE = re.compile(r"(expert|author)_\d+|gpt-4.*|claude.*")
INCONSISTENT = "tie (inconsistent)"


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    judge = fields.take("judge")
    person = isinstance(judge, str) and judge.startswith(("expert_", "author_"))
    turn = int(fields.number("turn"))
    first, second = (_until(fields, key, turn) for key in ("conversation_a", "conversation_b"))
    prompt, responses = battle(fields, first, second)
    if fields.left.get("winner") == INCONSISTENT:
        # The judge changed its mind with the order of showing: the source counts that as a tie.
        fields.left["winner"] = "tie"
        fields.note("inconsistent-judge")
    yield fields.judgement(
        **outcome(fields, "winner"),
        prompt_id=fields.name("question_id"),
        prompt=prompt,
        responses=responses,
        annotator=judge if isinstance(judge, str) else "/".join(map(str, judge)) if judge else None,
        annotator_kind="person" if person else "model",
        context=f"turn {turn}",
    )


def _until(fields: Fields, key: str, turn: int) -> Any:
    """The conversation up to the turn that was judged; the rest stays in `meta`."""
    messages = fields.take(key)
    judged = []
    for message in listed(messages, key) if messages is not None else []:
        judged.append(message)
        if sum(m["role"] == "assistant" for m in judged) == turn:
            break
    if messages is not None and len(judged) < len(messages):
        fields.left[key] = messages
    return judged


def _judged(row: Mapping[str, Any]) -> bool:
    judge = row["judge"]
    return bool(JUDGE.fullmatch(str(judge[0] if isinstance(judge, list) and judge else judge)))


FORMAT = Format(
    name="mt_bench",
    about="MT-Bench judgements: question_id, model_a, model_b, winner, judge, turn, conversations",
    detect=columns(
        "question_id",
        "model_a",
        "model_b",
        "winner",
        "judge",
        "turn",
        also=["conversation_a", "conversation_b"],
        where=_judged,
        weight=2,
    ),
    parse=_parse,
)
