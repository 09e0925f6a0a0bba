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
        sides = [np.asarray(side, dtype=np.float32) for side in (left, right)]
        n = len(sides[0])
        if len(sides[1]) != n:
            raise FeedbackError(f"there are {n:,} left sides and {len(sides[1]):,} of right; give one for each")
        for name, side in zip(("left", "right"), sides, strict=True):
            if (bad := _first(~torch.as_tensor(np.isfinite(side)).all(-1))) is not None:
                raise FeedbackError(f"row {bad}: a feature of {name} is not a number; leave the row out")
        return cls.indexed(
            np.concatenate(sides),
            np.arange(n),
            np.arange(n, 2 * n),
            probability,
            ["everybody"] * n if person is None else person,
            weight=weight,
            prompts=prompt,
            prompt=None if prompt is None else np.arange(len(prompt)),
            people=people,
        )

    @classmethod
    def indexed(
        cls,
        items: Any,
        left: Any,
        right: Any,
        probability: Any,
        person: Sequence[Any],
        *,
        weight: Any = None,
        prompts: Any = None,
        prompt: Any = None,
        people: Sequence[str] | None = None,
    ) -> Answers:
        """As `of`, with the features of each response once: items [M, D], and left, right, prompt as rows of them."""
        names = [str(name) for name in person]
        known = tuple(people) if people is not None else tuple(sorted(set(names)))
        place = {name: i for i, name in enumerate(known)}
        if strangers := set(names) - set(known):
            raise FeedbackError(f"{sorted(strangers)[0]!r} answered and is not among the people given; add the name")
        made = cls(
            items=torch.as_tensor(np.asarray(items, dtype=np.float32)),
            left=torch.as_tensor(np.asarray(left, dtype=np.int64)),
            right=torch.as_tensor(np.asarray(right, dtype=np.int64)),
            person=torch.tensor([place[name] for name in names], dtype=torch.int64),
            people=known,
            probability=torch.as_tensor(np.asarray(probability, dtype=np.float32)),
            weight=torch.ones(len(left)) if weight is None else torch.as_tensor(np.asarray(weight, dtype=np.float32)),
            prompts=None if prompts is None else torch.as_tensor(np.asarray(prompts, dtype=np.float32)),
            prompt=None if prompt is None else torch.as_tensor(np.asarray(prompt, dtype=np.int64)),
        )
        made._check()
        return made

    def _check(self) -> None:
        n = len(self)
        columns = {"right": self.right, "probability": self.probability, "weight": self.weight, "person": self.person}
        if self.prompt is not None:
            columns["prompt"] = self.prompt
        for name, values in columns.items():
            if len(values) != n:
                raise FeedbackError(f"there are {n:,} left sides and {len(values):,} of {name}; give one for each")
        for name, features in {"response": self.items, "prompt": self.prompts}.items():
            if features is not None and (bad := _first(~torch.isfinite(features).all(-1))) is not None:
                raise FeedbackError(f"{name} {bad}: a feature is not a number; leave it out")
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
        at = at.nonzero()[:, 0] if at.dtype == torch.bool else at
        names = ("left", "right", "person", "probability", "weight")
        part = {name: getattr(self, name).index_select(0, at) for name in names}
        return replace(self, **part, prompt=None if self.prompt is None else self.prompt.index_select(0, at))

    @property
    def features(self) -> tuple[Tensor, Tensor]:
        """[n, D] of the left sides and of the right ones."""
        return self.items.index_select(0, self.left), self.items.index_select(0, self.right)

    @property
    def prompt_features(self) -> Tensor | None:
        """[n, P], None where answers have no prompts."""
        return None if self.prompts is None or self.prompt is None else self.prompts.index_select(0, self.prompt)

    @property
    def sizes(self) -> Tensor:
        """[N]: how many answers each person gave.

        >>> Answers.of([[0.0], [1.0]], [[1.0], [0.0]], [1, 0], ["ada", "ada"]).sizes.tolist()
        [2]
        """
        return torch.bincount(self.person, minlength=len(self.people))


def _first(wrong: Tensor) -> int | None:
    return int(wrong.nonzero()[0]) if bool(wrong.any()) else None
