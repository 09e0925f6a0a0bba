"""Feedback turned towards somebody: labels of one reward, weights and names of people's groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from pluralign.errors import FeedbackError
from pluralign.feedback.recipes._rows import made, pair_of, weighted
from pluralign.feedback.record import Judgement, plain

if TYPE_CHECKING:
    from pluralign.feedback.feedback import Feedback

Reward = Callable[[str, Sequence[str]], Any]
"""(prompt, responses [n]) -> how good they are, [n], in logits."""


def relabel(feedback: Feedback, reward: Reward, *, name: str = "reward") -> Feedback:
    """p = sigma(r(x, y_1) - r(x, y_2)): the same pairs as somebody of this reward would judge them, likelier first.

    reward: that of a person, of a group or of a compromise, such as `pluralign.fit(...).export(weights)`. Who judged
    before, and how, is left behind; `annotator` becomes the name, so that nobody is said to have judged what they did
    not. Rows of other than two texts are left out and counted.

    Use it to align a model with a group, or with a compromise, that few have spoken for.
    Source: Chakraborty et al. 2024, MaxMin-RLHF: Alignment with Diverse Human Preferences (arXiv 2402.08925).

    >>> import pluralign
    >>> rows = pluralign.read([{"prompt": "2+2?", "chosen": "four, I am sure", "rejected": "4"}])
    >>> [j] = relabel(rows, lambda prompt, responses: [-len(r) for r in responses], name="brief")
    >>> j.responses[0].messages[0].content, j.annotator, round(j.probability, 4)
    ('4', 'brief', 1.0)
    """

    def rows(j: Judgement, left_out: Counter[str]) -> Iterator[Judgement]:
        if len(j.responses) != 2 or any(not r.messages for r in j.responses):
            left_out["not two texts"] += 1
            return
        values = np.asarray(reward(plain(j.prompt), [plain(r.messages) for r in j.responses]), dtype=np.float64)
        if values.shape != (2,) or not np.isfinite(values).all():
            raise FeedbackError(
                f"the reward gave {values} for two responses to '{plain(j.prompt)[:60]}'; give a number each"
            )
        first, second = j.responses if values[0] >= values[1] else j.responses[::-1]
        chance = float(expit(abs(values[0] - values[1])))
        gone = {"annotator_kind": "model", "annotator_attributes": None, "weight": None}
        yield pair_of(j, first, second, annotator=name, probability=chance, id=j.id, **gone)

    return made(feedback, "relabel", {"name": name}, rows)


def weigh_people(feedback: Feedback, weights: Mapping[str, float]) -> Feedback:
    """Each row's weight times that of its annotator: feedback as one group gave it, without cutting people apart.

    weights: by annotator, such as everybody's weight on one prototype. Use it to align a model with a group by what its
    own people said. Raises `FeedbackError` for a row of somebody without a weight.
    Source: Chakraborty et al. 2024, MaxMin-RLHF: Alignment with Diverse Human Preferences (arXiv 2402.08925).

    >>> import pluralign
    >>> rows = pluralign.read([{"prompt": "", "chosen": "a", "rejected": "b", "annotator": "ada"}])
    >>> weigh_people(rows, {"ada": 0.25}).table["weight"].to_pylist()
    [0.25]
    """
    found = [_of(j, i, weights) for i, j in enumerate(feedback)]
    if any(w < 0 or not np.isfinite(w) for w in found):
        raise FeedbackError("a person's weight is below zero or not a number; give 0 or more")
    return weighted(feedback, found, "weigh_people", {"people": len(weights)})


def name_groups(feedback: Feedback, groups: Mapping[str, Any], *, column: str = "group") -> Feedback:
    """Each row with its annotator's group in meta: `evaluate(run, data, slices=["meta.group"])` tells them apart.

    groups: by annotator. Raises `FeedbackError` for a row of somebody without one.

    Use it before `evaluate`, `audit` or `split` where who is in which group was learnt, not asked.
    Source: this project's own.

    >>> import pluralign
    >>> rows = pluralign.read([{"prompt": "", "chosen": "a", "rejected": "b", "annotator": "ada"}])
    >>> next(iter(name_groups(rows, {"ada": "brief"}))).meta["group"]
    'brief'
    """
    count = 0

    def rows(j: Judgement, left_out: Counter[str]) -> Iterator[Judgement]:
        nonlocal count
        yield replace(j, meta={**j.meta, column: _of(j, count, groups)})
        count += 1

    return made(feedback, "name_groups", {"column": column}, rows)


def _of(j: Judgement, row: int, people: Mapping[str, Any]) -> Any:
    if j.annotator is None or j.annotator not in people:
        who = "nobody is named" if j.annotator is None else f"{j.annotator!r} is not among the people given"
        raise FeedbackError(f"row {row + 1}: {who}; give everybody who judged, new people too (localise them)")
    return people[j.annotator]
