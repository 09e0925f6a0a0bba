"""WebGPT comparisons: two answers with quotes, scores that sum to zero (Nakano et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._fields import Fields, mapped
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import by_sign
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    question = Fields(mapped(fields.require("question"), "question"))
    scores = [fields.number("score_0"), fields.number("score_1")]
    if abs(sum(scores)) > 1e-9:
        fields.note("scores-do-not-sum-to-zero")
    answers = (fields.text("answer_0"), fields.text("answer_1"))
    responses = tuple(Response(text(a), ratings={"score": s}) for a, s in zip(answers, scores, strict=True))
    prompt = text(question.text("full_text"))
    yield fields.judgement(
        prompt_id=question.name("id"),
        prompt=prompt,
        responses=responses,
        ranks=by_sign(scores[0]),
        strength=scores[0],
        annotator_kind="person",
        meta={"question": left} if (left := question.meta()) else {},
    )


FORMAT = Format(
    name="webgpt",
    about="WebGPT comparisons: question, answer_0, answer_1, score_0 (positive prefers it), score_1",
    detect=columns("question", "answer_0", "answer_1", "score_0", "score_1", also=["quotes_0", "tokens_0"]),
    parse=_parse,
)
