"""Who preferred which of two things, with the things as feature vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pluralign.errors import FeedbackError


@dataclass(frozen=True)
class Answers:
    """n comparisons. Features are kept once and pointed at, for the same response is often judged many times.

    items: [M, D] float32, a response each (with its prompt, where a score reads both together). left, right: [n], rows
    of `items`. person: [n], places in `people`. probability: [n], that left is preferred: 1, 0, 1/2 for a tie, or
    between. weight: [n]. prompts: [Q, P] features of prompts alone, and prompt: [n] rows of it; None where no score
    reads them.
    """

    items: Tensor
    left: Tensor
    right: Tensor
    person: Tensor
    people: tuple[str, ...]
    probability: Tensor
    weight: Tensor
    prompts: Tensor | None = None
    prompt: Tensor | None = None

    def __len__(self) -> int:
        return len(self.left)

    @classmethod
    def of(
        cls,
        left: Any,
        right: Any,
        probability: Any,
        person: Sequence[Any] | None = None,
        *,
        weight: Any = None,
        prompt: Any = None,
        people: Sequence[str] | None = None,
    ) -> Answers:
        """From arrays: left, right [n, D] features of the two sides, probability [n] that left is preferred.

        person: [n] names, all the same person where None. prompt: [n, P] features of the prompts. people: every name
        there is, in order, so that answers of some of them keep everybody's place. Raises `FeedbackError` for arrays
        that do not fit together, features that are not finite and chances outside 0 to 1.

        >>> answers = Answers.of([[0.0], [1.0]], [[1.0], [0.0]], [1, 0.5], ["ada", "ben"])
        >>> len(answers), answers.people, answers.probability.tolist()
        (2, ('ada', 'ben'), [1.0, 0.5])
        """
        sides = [torch.as_tensor(np.asarray(side, dtype=np.float32)) for side in (left, right)]
        n = len(sides[0])
        names = [str(name) for name in (["everybody"] * n if person is None else person)]
        known = tuple(people) if people is not None else tuple(sorted(set(names)))
        place = {name: i for i, name in enumerate(known)}
        if strangers := set(names) - set(known):
            raise FeedbackError(f"{sorted(strangers)[0]!r} answered and is not among the people given; add the name")
        chance = torch.as_tensor(np.asarray(probability, dtype=np.float32))
        weights = torch.ones(n) if weight is None else torch.as_tensor(np.asarray(weight, dtype=np.float32))
        texts = None if prompt is None else torch.as_tensor(np.asarray(prompt, dtype=np.float32))
        made = cls(
            items=torch.cat(sides),
            left=torch.arange(n),
            right=torch.arange(n, 2 * n),
            person=torch.tensor([place[name] for name in names], dtype=torch.int64),
            people=known,
            probability=chance,
            weight=weights,
            prompts=texts,
            prompt=None if texts is None else torch.arange(n),
        )
        made._check(sides[1])
        return made

    def _check(self, right: Tensor) -> None:
        n = len(self)
        columns = {"right": right, "probability": self.probability, "weight": self.weight, "person": self.person}
        if self.prompts is not None:
            columns["prompt"] = self.prompts
        for name, values in columns.items():
            if len(values) != n:
                raise FeedbackError(f"there are {n:,} left sides and {len(values):,} of {name}; give one for each")
        rows = {"left": self.items[:n], "right": right, "prompt": self.prompts}
        for name, features in rows.items():
            if features is not None and (bad := _first(~torch.isfinite(features).all(-1))) is not None:
                raise FeedbackError(f"row {bad}: a feature of {name} is not a number; leave the row out")
        if (bad := _first(~((self.probability >= 0) & (self.probability <= 1)))) is not None:
            raise FeedbackError(f"row {bad}: {float(self.probability[bad])} is not a chance; give 0 to 1")
        if (bad := _first(~(self.weight >= 0))) is not None:
            raise FeedbackError(f"row {bad}: the weight is below zero or not a number; give 0 or more")

    def take(self, rows: Tensor | np.ndarray[Any, Any]) -> Answers:
        """The answers in these rows (indices or a mask); people and features stay as they are.

        >>> Answers.of([[0.0], [1.0]], [[1.0], [0.0]], [1, 0], ["ada", "ben"]).take(torch.tensor([1])).person.tolist()
        [1]
        """
        at = torch.as_tensor(rows)
        part = {name: getattr(self, name)[at] for name in ("left", "right", "person", "probability", "weight")}
        return replace(self, **part, prompt=None if self.prompt is None else self.prompt[at])

    @property
    def sizes(self) -> Tensor:
        """[N]: how many answers each person gave.

        >>> Answers.of([[0.0], [1.0]], [[1.0], [0.0]], [1, 0], ["ada", "ada"]).sizes.tolist()
        [2]
        """
        return torch.bincount(self.person, minlength=len(self.people))


def _first(wrong: Tensor) -> int | None:
    return int(wrong.nonzero()[0]) if bool(wrong.any()) else None
