"""Reward-augmented relabelling: pairs that say which score is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pluralign.errors import FeedbackError
from pluralign.feedback.recipes._rows import made, pair_of, ratings, with_words
from pluralign.feedback.record import Judgement

if TYPE_CHECKING:
    from pluralign.feedback.feedback import Feedback

GOAL = "Give an answer whose overall quality is {score:g} on a scale from 1 to 10."


def ra_dpo(
    feedback: Feedback,
    *,
    aspect: str | None = None,
    text: str = GOAL,
    place: Literal["system", "first turn"] = "system",
) -> Feedback:
    """Two rows a rated pair: asked for the high score, y_w > y_l; asked for the low one, y_l > y_w.

    A policy trained on these does not unlearn a good answer because a better one stood beside it; ask it for the
    highest score. text: how a score is asked for. place: where; "first turn" for models without a system role. The
    rating decides which response is which; pairs rated alike are left out and counted.

    Use it on pairs with ratings where rejected answers are often good.
    Source: Zhang et al. 2024, Reward-Augmented Data Enhances Direct Preference Alignment of LLMs (arXiv 2410.08067).

    >>> from pluralign.feedback import Feedback, Response, text as words
    >>> good, bad = (Response(words(t), ratings={"overall": r}) for t, r in (("4", 9.0), ("five", 2.0)))
    >>> feedback = Feedback.from_judgements([Judgement(words("2+2?"), (good, bad), ranks=(1, 2))])
    >>> rows = ra_dpo(feedback, text="{score:g}!")
    >>> [(j.prompt[0].content, j.responses[0].messages[0].content) for j in rows]
    [('9!\\n\\n2+2?', '4'), ('2!\\n\\n2+2?', 'five')]
    """
    if "{score" not in text:
        raise FeedbackError("text names no {score}, so both rows of a pair would ask for the same")

    def rows(j: Judgement, left_out: Counter[str]) -> Iterator[Judgement]:
        if len(j.responses) != 2:
            left_out["not a pair"] += 1
            return
        first, second = ratings(j, aspect)
        if first is None or second is None:
            left_out["a response without a rating"] += 1
        elif first == second:
            left_out["rated alike"] += 1
        else:
            order = j.responses if first > second else j.responses[::-1]
            for score, (chosen, rejected) in ((max(first, second), order), (min(first, second), order[::-1])):
                prompt = with_words(j.prompt, text.format(score=score), place=place)
                yield pair_of(j, chosen, rejected, prompt=prompt, prompt_id=None)

    return made(feedback, "ra_dpo", {"aspect": aspect, "text": text, "place": place}, rows)
