"""Rated responses as one pair a prompt: UltraFeedback's binarization, for any rows of rated responses."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pluralign.errors import FeedbackError
from pluralign.feedback.checks import prefers_equal_texts
from pluralign.feedback.convert import converted, ordered_pair, prompt_key
from pluralign.feedback.formats.ultrafeedback import ASPECTS, doubts
from pluralign.feedback.record import Judgement, Response, plain

if TYPE_CHECKING:
    from pluralign.feedback.feedback import Feedback

MEAN = "mean"
TEST_SETS = ("truthful_qa",)
"""Sources inside UltraFeedback that models are tested on: no training pair is made of them."""


def binarized(feedback: Feedback, *, aspect: str = "overall", seed: int = 0) -> Feedback:
    """One pair a row of rated responses: the best one, preferred to another that is drawn under `seed`.

    aspect "overall", or any other rating: the draw is among all the others, as in the first binarization of
    UltraFeedback (Tunstall et al. 2023); where it falls on a response rated equal there is no preference, and the row
    is left out and counted. aspect "mean": responses are ordered by the mean of UltraFeedback's four aspects and the
    draw is among those rated lower, as in the cleaned one. Equal best ratings: the response that stands first.

    An overall score of 10 beside aspects of at most 2 on average reads as 1, the repair of the set's authors. Rows of
    TruthfulQA are left out. The draw depends on the seed and the row's own texts, not on its place in the file. Both
    scores stay in the ratings of the pair.

    >>> import pluralign
    >>> row = Judgement(responses=tuple(Response(model=m, ratings={"overall": r}) for m, r in (("a", 2), ("b", 5))))
    >>> pairs = pluralign.Feedback.from_judgements([row]).binarized()
    >>> [r.model for r in pairs[0].responses], pairs[0].ranks
    (['b', 'a'], (1, 2))
    """
    seen: set[str] = set()

    def rows(j: Judgement, left_out: Counter[str]) -> Iterator[Judgement]:
        seen.update(name for r in j.responses for name in r.ratings)
        scores = [_score(r, aspect) for r in j.responses]
        known = [i for i, score in enumerate(scores) if score is not None]
        if j.meta.get("source") in TEST_SETS:
            left_out["from a set that models are tested on"] += 1
        elif len(known) < 2:
            left_out["fewer than two rated responses"] += 1
        else:
            top = max(known, key=lambda i: (scores[i], -i))
            others = [i for i in known if i != top and (aspect != MEAN or scores[i] < scores[top])]  # type: ignore[operator]
            if not others:
                left_out["equal scores"] += 1
                return
            other = min(others, key=lambda i: _draw(j, i, seed))
            if scores[other] == scores[top]:
                left_out["equal scores"] += 1
            else:
                made = ordered_pair(_rated(j, scores), top, other, ranks=(1, 2))
                if prefers_equal_texts(made):
                    left_out["equal texts"] += 1
                else:
                    yield made

    result = converted(feedback, "binarized", {"aspect": aspect, "seed": seed}, rows)
    if aspect not in seen and not (aspect == MEAN and seen.intersection(ASPECTS)):
        raise FeedbackError(
            f"no response has a rating '{aspect}' to binarize by; the ratings are {', '.join(sorted(seen)) or 'none'}"
        )
    return result


def _score(response: Response, aspect: str) -> float | None:
    if aspect == MEAN:
        values = [response.ratings[name] for name in ASPECTS if name in response.ratings]
        return sum(values) / len(values) if values else None
    value = response.ratings.get(aspect)
    if aspect == "overall" and "overall-10-should-be-1" in doubts(value, response.ratings.get("fine-grained")):
        return 1.0
    return value


def _rated(j: Judgement, scores: list[float | None]) -> Judgement:
    """The judgement with the scores that ordered it as the rating `score`."""
    rated = (
        response if score is None else replace(response, ratings={**response.ratings, "score": score})
        for response, score in zip(j.responses, scores, strict=True)
    )
    return replace(j, responses=tuple(rated))


def _draw(j: Judgement, place: int, seed: int) -> bytes:
    response = j.responses[place]
    words = f"{seed}\x1f{prompt_key(j)}\x1f{place}\x1f{response.model}\x1f{plain(response.messages)}"
    return hashlib.blake2b(words.encode(), digest_size=8).digest()
