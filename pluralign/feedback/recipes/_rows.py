"""What recipes share: ratings of one aspect, rows made of rows and counted, weights put beside rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pluralign.errors import FeedbackError
from pluralign.feedback.record import SCHEMA, Judgement, Message, Response

if TYPE_CHECKING:
    from pluralign.feedback.feedback import Feedback

Array = NDArray[np.float64]
Made = Callable[[Judgement, Counter[str]], Iterable[Judgement]]
"""A judgement, and a count of what is left out by reason -> the judgements it becomes."""


def made(feedback: Feedback, name: str, options: dict[str, Any], rows: Made) -> Feedback:
    """Feedback of the rows that each row becomes, with the step and its counts in the history."""
    left_out: Counter[str] = Counter()
    step: dict[str, Any] = {"recipe": name, "options": options, "rows_in": len(feedback)}

    def stream() -> Iterator[Judgement]:
        count = 0
        for j in feedback:
            for row in rows(j, left_out):
                count += 1
                yield row
        step.update(rows_out=count, left_out=dict(left_out))

    return type(feedback).from_judgements(stream(), report=feedback.report, history=[*feedback.history, step])


def weighted(feedback: Feedback, weights: Sequence[float] | Array, name: str, options: dict[str, Any]) -> Feedback:
    """The rows with their weights [N] multiplied by these."""
    before = np.nan_to_num(feedback.table["weight"].to_numpy(zero_copy_only=False).astype(float), nan=1.0)
    column = pa.array(before * np.asarray(weights, dtype=float))
    place = SCHEMA.get_field_index("weight")
    table = feedback.table.set_column(place, SCHEMA.field("weight"), column)
    step = {"recipe": name, "options": options, "mean": float(np.mean(weights)) if len(feedback) else None}
    return type(feedback)(table, report=feedback.report, history=[*feedback.history, step])


def ratings(j: Judgement, aspect: str | None) -> list[float | None]:
    """The rating of each response by this aspect, the only one there is if None; `FeedbackError` if there are more."""
    aspects = sorted({name for r in j.responses for name in r.ratings})
    if aspect is None and len(aspects) > 1:
        raise FeedbackError(f"responses are rated on {', '.join(aspects)}; say which is meant with aspect")
    name = aspect or (aspects[0] if aspects else "")
    return [r.ratings.get(name) for r in j.responses]


def strict_pair(j: Judgement) -> tuple[Response, Response] | None:
    """Preferred and other response of a row that has two and prefers one, else None."""
    if len(j.responses) != 2 or any(not r.messages for r in j.responses):
        return None
    lead = j.strength or 0.0
    if j.ranks is not None and None not in j.ranks:
        lead = float(j.ranks[1] - j.ranks[0])  # type: ignore[operator]
    elif j.probability is not None:
        lead = j.probability - 0.5
    return None if lead == 0 else (j.responses[0], j.responses[1]) if lead > 0 else (j.responses[1], j.responses[0])


def pair_of(j: Judgement, chosen: Response, rejected: Response, **changes: Any) -> Judgement:
    """The row as a plain pair, without what was said of its former responses."""
    gone = dict.fromkeys(("unranked_below", "both_bad", "strength", "probability", "margin", "thumb", "positions"))
    return replace(j, responses=(chosen, rejected), ranks=(1, 2), **{**gone, "id": None, **changes})


def with_words(prompt: tuple[Message, ...], words: str, *, place: str = "system") -> tuple[Message, ...]:
    """A prompt that says `words` first: in its system message, or its first turn; a plain text begins with them."""
    if not prompt or prompt[0].role is None or place == "first turn":
        first, rest = (prompt[0], prompt[1:]) if prompt else (Message(""), ())
        return (replace(first, content=f"{words}\n\n{first.content or ''}"), *rest)
    if prompt[0].role == "system":
        return (replace(prompt[0], content=f"{words}\n\n{prompt[0].content or ''}"), *prompt[1:])
    return (Message(words, "system"), *prompt)
