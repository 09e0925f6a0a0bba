"""Ranks from what sources write: a winner, the best of several, a score of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.record import Judgement, Response

FIRST, SECOND, TIE = (1, 2), (2, 1), (1, 1)


def by_sign(value: float) -> tuple[int, int]:
    """Ranks of a pair from a number that is positive where the first is preferred; 0 is a tie."""
    return FIRST if value > 0 else SECOND if value < 0 else TIE


def by_value(values: Sequence[float | None], *, best: str = "low") -> tuple[int | None, ...]:
    """Each value's place, equal values sharing the better one; None stays unranked.

    >>> by_value([2.5, 1.0, 2.5, None])
    (2, 1, 2, None)
    """
    given = [v if best == "low" else -v for v in values if v is not None]
    keys = [None if v is None else (v if best == "low" else -v) for v in values]
    return tuple(None if k is None else 1 + sum(other < k for other in given) for k in keys)


def chosen_among(index: int, count: int) -> dict[str, Any]:
    """The judgement fields of a choice of one response among `count`."""
    if count == 2:
        return {"ranks": (FIRST, SECOND)[index]}
    return {"ranks": tuple(1 if i == index else None for i in range(count)), "unranked_below": True}


def winner_loser(j: Judgement) -> tuple[Response, Response]:
    """The preferred and the other response of a strict pair; anything else is a `BadRow`."""
    if len(j.responses) == 2 and j.ranks in (FIRST, SECOND):
        first, second = j.responses
        return (first, second) if j.ranks == FIRST else (second, first)
    problem = f"holds {len(j.responses)} responses with ranks {j.ranks}, not one preferred over another"
    raise BadRow("not-a-pair", field="ranks", problem=problem, remedy="turn the judgements into strict pairs first")
