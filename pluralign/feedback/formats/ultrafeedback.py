"""UltraFeedback as published: four completions rated by a model on four aspects (Cui et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluralign.feedback.formats._fields import Fields, listed, mapped, missing, number
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    completions = listed(fields.require("completions"), "completions")
    prompt = text(fields.text("instruction"))
    responses, left = [], []
    for completion in completions:
        its = Fields(mapped(completion, "completions"))
        ratings = _ratings(its)
        for slug in doubts(ratings.get("overall"), ratings.get("fine-grained")):
            fields.note(slug)
        responses.append(Response(text(its.text("response")), model=its.name("model"), ratings=ratings))
        left.append(its.meta())
    yield fields.judgement(
        meta={"completions": left}, prompt=prompt, responses=tuple(responses), annotator_kind="model"
    )


def _ratings(completion: Fields) -> dict[str, float]:
    annotations = mapped(completion.left.get("annotations") or {}, "annotations")
    found = {aspect: rating for aspect in ASPECTS if (rating := _rating(annotations.get(aspect))) is not None}
    for aspect, key in (("overall", "overall_score"), ("fine-grained", "fine-grained_score")):
        value = completion.maybe(key)
        if value is not None:
            found[aspect] = value
    return found


def _rating(annotation: Any) -> float | None:
    """The rating of one aspect; before the authors' clean-up it is a list of several, whose mean counts."""
    if isinstance(annotation, list):
        known = [rating for one in annotation if (rating := _rating(one)) is not None]
        return sum(known) / len(known) if known else None
    value = (annotation or {}).get("Rating")
    return None if missing(value) or value == "N/A" else number(value, "Rating")


def doubts(overall: float | None, fine: float | None) -> list[str]:
    """What to note about an overall score (1 to 10) beside the mean of the aspects (1 to 5).

    The first release gave 10 to 2,628 bad completions; its authors' repair: where the aspects are at most 2 read 1,
    where they are at most 4 rate again.

    >>> doubts(10, 1.5), doubts(10, 3.5), doubts(8, 4)
    (['overall-10-should-be-1', 'overall-against-aspects'], ['overall-10-to-rate-again'], [])
    """
    if overall is None or fine is None:
        return []
    slugs = []
    if overall == 10 and fine <= 4:
        slugs.append("overall-10-should-be-1" if fine <= 2 else "overall-10-to-rate-again")
    return slugs + (["overall-against-aspects"] if abs(overall / 2 - fine) > 2 else [])


FORMAT = Format(
    name="ultrafeedback",
    about="UltraFeedback as published: instruction, completions with ratings on four aspects",
    detect=columns("instruction", "completions", also=["models", "correct_answers", "incorrect_answers", "source"]),
    parse=_parse,
)
