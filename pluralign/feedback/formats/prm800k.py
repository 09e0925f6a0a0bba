"""PRM800K: every step of a solution rated, with the alternatives at each step (Lightman et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pluralign.feedback.formats._fields import Fields, listed, mapped, missing, number
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Message, Response, text


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    question = Fields(mapped(fields.require("question"), "question"))
    prompt = text(question.text("problem"))
    label = Fields(mapped(fields.require("label"), "label"))
    steps = [mapped(step, "label.steps") for step in listed(label.require("steps"), "label.steps")]
    who = {"annotator": fields.name("labeler"), "annotator_kind": "person"}
    meta = {"question": question.meta(), "label": label.meta()}
    taken: list[Message] = []
    for step in steps:
        options = [_option(completion) for completion in step.get("completions") or ()]
        if len(options) > 1:
            # The choice at this step: what was written so far belongs to the prompt.
            written = tuple(Message(m.content) for m in taken)
            responses = tuple(
                Response(text(m.content), ratings={} if m.label is None else {"step": m.label}) for m in options
            )
            yield fields.judgement(prompt=prompt + written, responses=responses, **who, meta=meta)
        went_on = _taken(step, options)
        if went_on is None:
            break
        taken.append(went_on)
    if taken:
        yield fields.judgement(prompt=prompt, responses=(Response(tuple(taken)),), **who, meta=meta)


def _option(completion: Mapping[str, Any]) -> Message:
    rating = completion.get("rating")
    return Message(completion["text"], label=None if missing(rating) else number(rating, "rating"))


def _taken(step: Mapping[str, Any], options: list[Message]) -> Message | None:
    """The step that the solution went on with: the chosen one, else the labeler's own; none where it ended."""
    chosen = step.get("chosen_completion")
    if chosen is not None:
        return options[int(chosen)]
    human = step.get("human_completion")
    if human is not None:
        return Message(human["text"] if isinstance(human, Mapping) else human)
    return options[0] if len(options) == 1 else None


def _solved(row: Mapping[str, Any]) -> bool:
    return isinstance(row["label"], Mapping) and "steps" in row["label"]


FORMAT = Format(
    name="prm800k",
    about="PRM800K: question and label with the rated steps (-1, 0, 1) of a solution",
    detect=columns(
        "question", "label", also=["labeler", "timestamp", "generation", "is_quality_control_question"], where=_solved
    ),
    parse=_parse,
)
