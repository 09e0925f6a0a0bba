"""How sure a model is of each of its answers, from comparing answers with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from pluralign.errors import OptionError

Array = NDArray[np.float64]


class Scored(Protocol):
    """A fitted model with names of items and their scores."""

    items_: list[str]
    scores_: Array


def matchups(questions: Sequence[str], each: int = 10, *, seed: int = 0) -> pl.DataFrame:
    """Pairs of questions to ask "of which answer are you surer?", every question meeting `each` others (even).

    Columns left, right; every pair stands in both orders, so that a side that is favoured cancels. No pair comes
    twice, and all questions are connected. Judge them, add a column winner, and fit any model of votes.

    >>> asked = matchups(["q1", "q2", "q3", "q4", "q5"], each=2)
    >>> asked.height, asked["left"].value_counts()["count"].to_list()
    (10, [2, 2, 2, 2, 2])
    """
    n = len(questions)
    if each < 2 or each % 2 or each >= n:
        raise OptionError(f"each: {n:,} questions can meet an even number of others from 2 to {n - 1}, not {each}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    # Neighbours on a circle connect everybody; the other distances are any, each giving two more meetings.
    far = rng.permutation(np.arange(2, (n + 1) // 2))[: each // 2 - 1]
    left = np.tile(order, 1 + len(far))
    right = np.concatenate([np.roll(order, -step) for step in (1, *far)])
    names = np.array([str(question) for question in questions], dtype=object)
    sides = np.concatenate([left, right]), np.concatenate([right, left])
    asked = rng.permutation(len(sides[0]))
    return pl.DataFrame(
        {
            name: pl.Series(names[side[asked]].tolist(), dtype=pl.String)
            for name, side in zip(("left", "right"), sides, strict=True)
        }
    )


def relative_confidence(model: Scored) -> dict[str, float]:
    """Confidence between 0 and 1 by question: its place among all by rating, equal ones sharing theirs.

    model: fitted to the judged `matchups`, `BradleyTerry`, `Elo` or `TrueSkill` (Shrivastava, Kumar and Liang 2025).

    >>> from pluralign.rank import BradleyTerry
    >>> votes = {"left": ["x", "y", "z"], "right": ["y", "z", "x"], "winner": ["left", "left", "right"]}
    >>> {name: round(c, 3) for name, c in relative_confidence(BradleyTerry().fit(votes)).items()}
    {'x': 0.833, 'y': 0.5, 'z': 0.167}
    """
    place = (rankdata(np.asarray(model.scores_).round(9)) - 0.5) / len(model.items_)
    return dict(zip(model.items_, place.tolist(), strict=True))


def accuracy_by_coverage(confidence: ArrayLike, correct: ArrayLike) -> Array:
    """[n] share of correct answers among the k surest, k = 1..n; equally sure ones come in every order alike.

    >>> accuracy_by_coverage([0.9, 0.5, 0.5], [True, False, True]).round(3).tolist()
    [1.0, 0.75, 0.667]
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if sure.shape != right.shape or not sure.size or np.isnan(sure).any():
        raise OptionError("confidence and correct take one number for every answer, and none of them may be missing")
    _, group = np.unique(-sure, return_inverse=True)
    mean = np.bincount(group, right) / np.bincount(group)
    return np.asarray(np.cumsum(mean[np.sort(group)]) / np.arange(1, sure.size + 1))


def selective_auc(confidence: ArrayLike | Mapping[str, float], correct: Any) -> float:
    """Area under accuracy by coverage: how often a model is right when it answers only where it is sure, over all bars.

    Confidence that says nothing gives the accuracy itself. Mappings are joined by question.

    >>> round(selective_auc({"x": 0.9, "y": 0.2}, {"x": True, "y": False}), 3)
    0.75
    """
    if isinstance(confidence, Mapping):
        missing = [name for name in confidence if name not in correct]
        if missing:
            raise OptionError(f"correct does not say whether '{missing[0]}' was answered rightly")
        confidence, correct = list(confidence.values()), [correct[name] for name in confidence]
    return float(accuracy_by_coverage(confidence, correct).mean())
