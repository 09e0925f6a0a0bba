"""Pairs in rounds, from those far apart to those close together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pluralign.errors import FeedbackError
from pluralign.feedback.recipes._rows import made, pair_of, ratings
from pluralign.feedback.record import Judgement

if TYPE_CHECKING:
    from pluralign.feedback.feedback import Feedback


def curry_dpo(feedback: Feedback, *, rounds: int = 3, aspect: str | None = None) -> list[Feedback]:
    """One part a round: the best response with the worst, then with the next to worst, and so on.

    Responses are ordered by rating, or by rank where rows are ranked only; responses as good as the best make no pair.
    Train round after round, each from the model before, which is also its reference: `pluralign.train.align_rounds`.

    Use it on three or more rated responses a prompt.
    Source: Pattnaik et al. 2024, Curry-DPO: Enhancing Alignment using Curriculum Learning & Ranked Preferences (arXiv
    2403.07230); as recalled.

    >>> from pluralign.feedback import Feedback, Response, text
    >>> four = tuple(Response(text(t)) for t in "abcd")
    >>> parts = curry_dpo(Feedback.from_judgements([Judgement(text("?"), four, ranks=(2, 1, 4, 3))]))
    >>> [[r.messages[0].content for r in next(iter(part)).responses] for part in parts]
    [['b', 'c'], ['b', 'd'], ['b', 'a']]
    """
    if rounds < 1:
        raise FeedbackError(f"rounds is {rounds}; there is at least one")

    def part(place: int) -> Feedback:
        def rows(j: Judgement, left_out: Counter[str]) -> Iterator[Judgement]:
            order = _best_first(j, aspect)
            if order is None:
                left_out["no order of its responses"] += 1
                return
            values, best = _values(j, aspect), order[0]
            worse = [i for i in order[1:] if values[i] != values[best]]
            if place < len(worse):
                yield pair_of(j, j.responses[best], j.responses[worse[-1 - place]])
            else:
                left_out["fewer responses"] += 1

        return made(feedback, "curry_dpo", {"round": place + 1, "rounds": rounds, "aspect": aspect}, rows)

    return [part(place) for place in range(rounds)]


def _values(j: Judgement, aspect: str | None) -> list[float]:
    rated = ratings(j, aspect)
    if None not in rated:
        return [value for value in rated if value is not None]
    return [-float(rank) for rank in j.ranks or () if rank is not None]


def _best_first(j: Judgement, aspect: str | None) -> list[int] | None:
    values = _values(j, aspect)
    if len(values) != len(j.responses) or len(values) < 2 or any(not r.messages for r in j.responses):
        return None
    return sorted(range(len(values)), key=lambda i: -values[i])
