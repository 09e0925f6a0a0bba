"""How well people are foretold: those seen, and those not seen by how much they have said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pluralign.errors import FeedbackError
from pluralign.evaluate.figures import Array, Figure, mean, preferred

if TYPE_CHECKING:
    from pluralign.models import Answers

COUNTS = (0, 1, 2, 5, 10, 20)


def right(model: Any, answers: Answers, weights: Any = None) -> tuple[Array, Any]:
    """[n] whether each answer that prefers a side is foretold (1, 0, or one half), and their people [n].

    weights: [N, K] or [K], in place of everybody's own.
    """
    said = answers.probability.double().numpy()
    told = said != 0.5
    found = preferred(model.margins(answers, weights)[told] * np.sign(said[told] - 0.5))
    return found, answers.person.numpy()[told]


def each(values: Array, person: Any) -> Array:
    """[M]: mean of each person's values, people who have any."""
    names, place = np.unique(person, return_inverse=True)
    return np.asarray(np.bincount(place, values) / np.bincount(place, minlength=len(names)))


def of_people(values: Array, person: Any, seed: int = 0) -> Figure:
    """The mean of values [n] with people [n] as the units, everybody alike however much they said."""
    found = each(values, person)
    return mean(found, np.arange(len(found)), seed)


def by_answers(
    model: Any, answers: Answers, counts: Sequence[int] = COUNTS, repeats: int = 1, seed: int = 0
) -> pl.DataFrame:
    """Accuracy for people not seen, localised by so many of their answers: a row for each count.

    The same last answers of each person are foretold for every count, so that rows can be compared; which answers come
    first is drawn under the seed, `repeats` times. Columns: answers, accuracy, low, high (people are the units), worst
    (the tenth of people foretold least), gain over no answers with its own interval, people. Those with fewer than the
    largest count and one are left out. Raises `FeedbackError` where nobody is left.
    """
    most = max(counts)
    sizes = np.bincount(answers.person.numpy(), minlength=len(answers.people))
    able = np.flatnonzero(sizes > most)
    if not len(able):
        raise FeedbackError(f"nobody gave more than {most} answers; ask for fewer")
    rows = np.flatnonzero(np.isin(answers.person.numpy(), able))
    person, random = answers.person.numpy()[rows], np.random.default_rng(seed)
    found: dict[int, list[Array]] = {count: [] for count in counts}
    for _ in range(repeats):
        order = np.lexsort([random.random(len(rows)), person])
        place = np.empty(len(rows), dtype=np.int64)
        starts = np.cumsum(sizes[able]) - sizes[able]
        place[order] = np.arange(len(rows)) - np.repeat(starts, sizes[able])
        rest = answers.take(rows[place >= most])
        for count in counts:
            some = answers.take(rows[place < count])
            weights = model.localise(some).weights if count else model.weights_.mean(0)
            values, who = right(model, rest, weights)
            found[count].append(each(values, who))
    table: list[dict[str, Any]] = []
    none = np.mean(found[min(counts)], 0)
    for count in counts:
        per = np.mean(found[count], 0)
        figure, gain = mean(per, np.arange(len(per)), seed), mean(per - none, np.arange(len(per)), seed)
        table.append(
            {
                "answers": count,
                "accuracy": figure.value,
                "low": figure.low,
                "high": figure.high,
                "worst": float(np.sort(per)[: max(1, len(per) // 10)].mean()),
                "gain": gain.value,
                "gain_low": gain.low,
                "gain_high": gain.high,
                "people": len(per),
            }
        )
    return pl.DataFrame(table)
