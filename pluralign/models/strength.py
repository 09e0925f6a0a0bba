"""How sure a preference is, by an ensemble, and what to do with pairs whose label looks wrong."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pluralign.errors import OptionError
from pluralign.models.answers import Answers
from pluralign.models.judged import Judged
from pluralign.models.reward_model import RewardModel
from pluralign.models.scores import Score

Array = NDArray[np.float64]


def ensemble(
    score: Score, data: Judged | Answers, members: int = 10, *, bootstrap: bool = True, seed: int = 0, **options: Any
) -> list[RewardModel]:
    """Reward models that differ in their start and order, and with `bootstrap` in the rows drawn, with replacement.

    options: of `RewardModel`. Wang et al. 2024 (Secrets of RLHF II) take ten. Raises `OptionError`.
    """
    if members < 1:
        raise OptionError(f"an ensemble of {members} models says nothing; take 2 or more, such as 10")
    judged, draw, found = Judged.of(data), np.random.default_rng(seed), []
    for i in range(members):
        rows = draw.integers(len(judged), size=len(judged)) if bootstrap else np.arange(len(judged))
        found.append(RewardModel(copy.deepcopy(score), seed=seed + i, **options).fit(judged.take(rows)))
    return found


@dataclass(frozen=True)
class Strength:
    """Of every pair, over M models, the mean and the standard deviation of the margin of preferred over other, [n].

    Far below zero the label is likely wrong, near zero the pair is ambiguous, far above it is easy. Remedies combine:
    `flipped(adapted(data))` turns labels and the signs of their margins, `softened(adapted(data))` softens those.

    >>> from pluralign.models import Head
    >>> good = torch.linspace(-1, 1, 20)[:, None]
    >>> answers = Answers.of(good, -good, [0.0] + [0.0] * 9 + [1.0] * 9 + [0.0])
    >>> strength = Strength.of(ensemble(Head(1), answers, 3, epochs=40, lr=0.1), answers)
    >>> int(strength.mean.argmin())
    19
    """

    mean: Array
    std: Array

    @classmethod
    def of(cls, models: Sequence[RewardModel], data: Judged | Answers) -> Strength:
        """As these models see these pairs. The deviation divides by M."""
        each = []
        for model in models:
            rewards = model.rewards(data)
            each.append(rewards[:, 0] - rewards[:, 1])
        return cls(np.mean(each, 0), np.std(each, 0))

    def flipped(self, data: Judged | Answers, *, below: float = 0.0) -> Judged:
        """The pairs with the labels of those below this mean exchanged."""
        return Judged.of(data).flipped(torch.as_tensor(self.mean < below))

    def softened(self, data: Judged | Answers, *, alpha: float = 0.5, below: float = 0.0) -> Judged:
        """The pairs, those below this mean as right with probability 1 - alpha: at 1/2 they say nothing."""
        if not 0 <= alpha <= 1:
            raise OptionError(f"alpha {alpha} is not a share; give 0 to 1")
        judged = Judged.of(data)
        known = judged.labels.get("probability", torch.ones(len(judged)))
        soft = torch.where(torch.as_tensor(self.mean < below), known * (1 - alpha) + (1 - known) * alpha, known)
        return judged.with_labels(probability=soft)

    def adapted(self, data: Judged | Answers, *, scale: float = 1.0) -> Judged:
        """The pairs with their mean margin, times `scale`, as the margin that `bradley_terry` asks for."""
        judged = Judged.of(data)
        return judged.with_labels(margin=torch.as_tensor(self.mean * scale, dtype=torch.float32))
