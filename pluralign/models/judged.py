"""Judgements of one or more responses, the responses as feature vectors: what a reward model is fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pluralign.errors import FeedbackError
from pluralign.models.answers import Answers
from pluralign.objectives import PolicyBatch


@dataclass(frozen=True)
class Judged:
    """n judgements of up to K responses each, the best first.

    items: [M, D]. place: [n, K], rows of items, -1 where there is no response. sign: [n, K], +1 for what was chosen or
    called good, -1 for the rest, 0 where there is none. labels: the other fields of a `PolicyBatch`, [n] or [n, K]
    each (weight, probability, margin, tie, rating). prompts: [Q, P] features of prompts, prompt: [n] rows of them.
    criterion: [n], which attribute (a group of the score) each judgement is about.
    """

    items: Tensor
    place: Tensor
    sign: Tensor
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    prompts: Tensor | None = None
    prompt: Tensor | None = None
    criterion: Tensor | None = None

    def __len__(self) -> int:
        return len(self.place)

    @classmethod
    def of(cls, data: Judged | Answers, *, margin: Any = None, ties: bool = False, both_bad: Any = None) -> Judged:
        """Pairs, the preferred response first. margin: [n], of left over right. ties: chances of 1/2 are ties.

        Otherwise they are soft labels, as all chances between 0 and 1 are. both_bad: [n], of which chances of 1/2 the
        judge said that neither will do.

        >>> answers = Answers.of([[0.0], [1.0]], [[1.0], [2.0]], [1, 0.25])
        >>> judged = Judged.of(answers)
        >>> judged.place.tolist(), judged.labels["probability"].tolist()
        ([[0, 2], [3, 1]], [1.0, 0.75])
        """
        if isinstance(data, Judged):
            return data
        right = data.probability < 0.5
        pair = torch.stack([data.left, data.right], 1)
        labels: dict[str, Tensor] = {"weight": data.weight}
        chance = torch.where(right, 1 - data.probability, data.probability)
        if ties:
            tied = data.probability == 0.5
            labels["tie"], chance = tied.float(), torch.where(tied, 1.0, chance)
        if bool((chance < 1).any()):
            labels["probability"] = chance
        if margin is not None:
            by = torch.as_tensor(np.asarray(margin, dtype=np.float32))
            labels["margin"] = torch.where(right, -by, by)
        sign = torch.tensor([1.0, -1.0]).expand(len(data), 2)
        if both_bad is not None:
            bad = torch.as_tensor(both_bad, dtype=torch.bool)
            if bad.shape != data.probability.shape or bool((bad & (data.probability != 0.5)).any()):
                raise FeedbackError("both_bad is [n], and only where neither is preferred: give those a chance of 0.5")
            sign = torch.where(bad[:, None], -1.0, sign)
        place = torch.where(right[:, None], pair.flip(1), pair)
        return cls(data.items, place, sign, labels, data.prompts, data.prompt)

    @classmethod
    def lists(
        cls,
        items: Any,
        place: Any,
        *,
        rating: Any = None,
        sign: Any = None,
        weight: Any = None,
        prompts: Any = None,
        prompt: Any = None,
        criterion: Any = None,
    ) -> Judged:
        """Judgements of K responses: items [M, D], place [n, K] rows of them, -1 where a list is shorter.

        rating: [n, K], larger is better, equal is a tie; left out, the order given is the order of preference. sign:
        [n, K], +1 for what was chosen or is good and -1 for the rest; left out, the best is chosen. Lists are put best
        first. Raises `FeedbackError` for arrays that do not fit together and numbers that are none.

        >>> Judged.lists([[0.0], [1.0], [2.0]], [[0, 1, 2]], rating=[[1, 3, 2]]).place.tolist()
        [[1, 2, 0]]
        """
        vectors = torch.as_tensor(np.asarray(items, dtype=np.float32))
        at = torch.as_tensor(np.asarray(place, dtype=np.int64))
        if at.ndim != 2 or bool((at >= len(vectors)).any()) or bool((at < -1).any()):
            raise FeedbackError(
                f"place is [n, K] numbers of responses, -1 to {len(vectors) - 1}; these have shape {tuple(at.shape)}"
            )
        if not bool(torch.isfinite(vectors).all()):
            raise FeedbackError("a feature of a response is not a number; leave the response out")
        there, labels = at >= 0, {}
        best = torch.arange(at.shape[1], 0, -1.0).expand(at.shape)
        value = best if rating is None else _like(at, rating, "rating")
        order = torch.where(there, value, -torch.inf).argsort(dim=1, descending=True, stable=True)
        at, there = at.gather(1, order), there.gather(1, order)
        if rating is not None:
            labels["rating"] = torch.where(there, value.gather(1, order), 0.0)
        if sign is None:
            said = torch.where(torch.arange(at.shape[1]) == 0, 1.0, -1.0).expand(at.shape)
        else:
            said = _like(at, sign, "sign").gather(1, order)
        if weight is not None:
            labels["weight"] = torch.as_tensor(np.asarray(weight, dtype=np.float32))
        return cls(
            vectors,
            at,
            torch.where(there, said, 0.0),
            labels,
            None if prompts is None else torch.as_tensor(np.asarray(prompts, dtype=np.float32)),
            None if prompt is None else torch.as_tensor(np.asarray(prompt, dtype=np.int64)),
            None if criterion is None else torch.as_tensor(np.asarray(criterion, dtype=np.int64)),
        )

    def take(self, rows: Any) -> Judged:
        """The judgements in these rows (indices or a mask)."""
        at = torch.as_tensor(rows)
        labels = {name: values[at] for name, values in self.labels.items()}
        prompt, criterion = (None if each is None else each[at] for each in (self.prompt, self.criterion))
        return replace(
            self, place=self.place[at], sign=self.sign[at], labels=labels, prompt=prompt, criterion=criterion
        )

    def with_labels(self, **labels: Any) -> Judged:
        """The same with these labels set, [n] or [n, K] each; None takes one away."""
        made = {name: torch.as_tensor(v, dtype=torch.float32) for name, v in labels.items() if v is not None}
        kept = {name: values for name, values in self.labels.items() if name not in labels}
        return replace(self, labels=kept | made)

    def flipped(self, rows: Any) -> Judged:
        """Pairs with the two responses exchanged in these rows, a mask [n]: as if the other had been preferred."""
        which = torch.as_tensor(rows, dtype=torch.bool)
        labels = dict(self.labels)
        if "margin" in labels:
            labels["margin"] = torch.where(which, -labels["margin"], labels["margin"])
        if "rating" in labels:
            labels["rating"] = torch.where(which[:, None], labels["rating"].flip(1), labels["rating"])
        return replace(self, place=torch.where(which[:, None], self.place.flip(1), self.place), labels=labels)

    @property
    def features(self) -> Tensor:
        """[n, K, D]; of the first response where there is none."""
        return self.items[self.place.clamp(min=0)]

    @property
    def both_bad(self) -> Tensor:
        """[n]: whether no response was good enough."""
        return (self.sign <= 0).all(1)

    @property
    def prompt_features(self) -> Tensor | None:
        """[n, P], None without prompts."""
        return None if self.prompts is None else self.prompts[self.prompt]

    def batch(self, rewards: Tensor, progress: float = 1.0) -> PolicyBatch:
        """The rewards [n, K] with their labels, as an objective reads them."""
        there = self.place >= 0
        mask = None if bool(there.all()) else there
        labels = {name: values.to(rewards.dtype) for name, values in self.labels.items()}
        return rewards_batch(rewards, self.sign.to(rewards.dtype), mask=mask, progress=progress, **labels)


def rewards_batch(rewards: Any, sign: Any, **labels: Any) -> PolicyBatch:
    """Rewards [B, K] in place of log-probs: the reference is zero and every response one token long.

    >>> from pluralign.models.losses import find_loss
    >>> batch = rewards_batch(np.array([[2.0, 0.0]]), np.array([[1.0, -1.0]]))
    >>> find_loss("bradley_terry")(batch).round(4), find_loss("dpo")(batch, beta=1.0).round(4)
    (array([0.1269]), array([0.1269]))
    """
    return PolicyBatch(logp=rewards, length=0 * rewards + 1, sign=sign, ref_logp=0 * rewards, **labels)


def _like(at: Tensor, values: Any, name: str) -> Tensor:
    found = torch.as_tensor(np.asarray(values, dtype=np.float32))
    if found.shape != at.shape:
        raise FeedbackError(f"{name} has shape {tuple(found.shape)} and the lists {tuple(at.shape)}; give one for each")
    if bool((~torch.isfinite(found) & (at >= 0)).any()):
        raise FeedbackError(f"a {name} is not a number; leave the response out")
    return found
