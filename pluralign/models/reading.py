"""Reading a person off their answers: a network that takes a set of answered pairs, in any order and number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pluralign.errors import FeedbackError
from pluralign.likelihoods import expected, logistic
from pluralign.models.answers import Answers
from pluralign.models.descent import descend
from pluralign.models.scores import Score


class Reader(nn.Module):
    """Answered pairs [U, N, D] of U people -> [U, hidden], the mean over them of one self-attention.

    Each pair, preferred response first, is encoded by a network of one hidden layer; answers that say neither count
    both ways round. Who has answered nothing is zero. features: D.

    >>> reader, side, real = Reader(2, 8), torch.randn(1, 3, 2), torch.ones(1, 3, dtype=torch.bool)
    >>> turned = reader(-side, side, torch.zeros(1, 3), real)
    >>> torch.allclose(reader(side, -side, torch.ones(1, 3), real), turned, atol=1e-6)
    True
    >>> reader(side, side, torch.ones(1, 3), ~real).abs().sum().item()
    0.0
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.pair = nn.Sequential(nn.Linear(2 * features, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.query, self.key, self.value = (nn.Linear(hidden, hidden, bias=False) for _ in range(3))

    def forward(self, left: Tensor, right: Tensor, probability: Tensor, real: Tensor) -> Tensor:
        """probability: [U, N], that left is preferred. real: [U, N], false for padding."""
        chance = probability[..., None]
        pair = chance * self.pair(torch.cat([left, right], -1))
        pair = pair + (1 - chance) * self.pair(torch.cat([right, left], -1))
        scores = self.query(pair) @ self.key(pair).transpose(-1, -2) / pair.shape[-1] ** 0.5
        # Padding gets no attention, and one finite value a row keeps the softmax of nobody's answers defined.
        scores = scores.masked_fill(~real[:, None, :], -1e9)
        read = torch.softmax(scores, -1) @ self.value(pair)
        total: Tensor = (read * real[..., None]).sum(1)
        return total / real.sum(1, keepdim=True).clamp(min=1)


@dataclass(frozen=True)
class Contexts:
    """Rows of answers [U, N], a person each, with `real` [U, N] false where there is none."""

    rows: Tensor
    real: Tensor

    def of(self, answers: Answers) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `Reader` takes."""
        at = self.rows
        return answers.items[answers.left[at]], answers.items[answers.right[at]], answers.probability[at], self.real

    @property
    def sizes(self) -> Tensor:
        """[U, 1]: answers of each."""
        return self.real.sum(1, keepdim=True).float()


def contexts(answers: Answers, most: int) -> Contexts:
    """Everybody's answers, up to `most`, drawn under a fixed seed where somebody gave more."""
    rows = torch.randperm(len(answers), generator=torch.Generator().manual_seed(0))
    person, people = answers.person[rows], len(answers.people)
    by_person = torch.argsort(person, stable=True)
    sizes = torch.bincount(person, minlength=people)
    place = torch.arange(len(rows)) - (sizes.cumsum(0) - sizes)[person[by_person]]
    keep = place < most
    table = torch.zeros(people, max(min(int(sizes.max()) if people else 0, most), 1), dtype=torch.int64)
    real = torch.zeros(table.shape, dtype=torch.bool)
    at = person[by_person][keep], place[keep]
    table[at], real[at] = rows[by_person][keep], True
    return Contexts(table, real)


def meta_train(
    answers: Answers,
    score: Score,
    read: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    reader: Reader,
    *,
    of: Callable[[Tensor], Tensor] = logistic,
    steps: int,
    people: int,
    most: int,
    lr: float,
) -> float:
    """Fits score and reader so that some answers of a person foretell others of theirs, in place.

    Every step draws `people` people, of each a context of 0 to `most` answers, the same number for all, and as targets
    what is left, up to as many. read: what was read [U, hidden] and numbers of answers [U, 1] -> weights [U, K] and a
    penalty [U] in nats. of: what a margin costs, preferred side first. lr: of Adam, with a cosine to zero. The mean
    loss of the last tenth of the steps.
    """
    if int(answers.sizes.max()) < 2:
        raise FeedbackError("nobody answered twice, so that no answer foretells another; use another population")
    kept: list[float] = []
    named = torch.argsort(answers.person, stable=True)
    sizes = answers.sizes
    start = sizes.cumsum(0) - sizes
    able = (sizes >= 2).nonzero()[:, 0]

    def loss(who: Tensor, _: float) -> Tensor:
        half = _drawn(named, start, sizes, who, 2 * most)
        given = int(torch.randint(0, most + 1, ()))
        # Where there are few answers, at least one is left to foretell.
        within = torch.minimum(torch.full_like(half.sizes, given), half.sizes - 1)
        place = torch.arange(half.rows.shape[1])
        context = Contexts(half.rows, half.real & (place < within))
        target = half.real & (place >= within)
        weights, penalty = read(reader(*context.of(answers)), context.sizes)
        at, which = half.rows[target], target.nonzero()[:, 0]
        margin = score.margin(answers.items[answers.left[at]], answers.items[answers.right[at]], weights[which])
        losses: Tensor = expected(of(margin), of(-margin), answers.probability[at])
        count = answers.weight[at]
        mean = (count * losses).sum() / count.sum() + penalty.mean()
        kept.append(float(mean.detach()))
        return mean

    def some(_: int) -> Tensor:
        return able[torch.randperm(len(able))[:people]]

    descend(loss, score.parameters(), min(people, len(able)), epochs=steps, batch=people, lr=lr, order=some)
    last = kept[-max(steps // 10, 1) :]
    return sum(last) / len(last)


def _drawn(named: Tensor, start: Tensor, sizes: Tensor, who: Tensor, most: int) -> Contexts:
    """Rows of these people in random order, at most `most` each."""
    own = sizes[who, None]
    keys = torch.rand(len(who), int(own.max()))
    keys[torch.arange(keys.shape[1]) >= own] = 2.0  # beyond what they said, hence last
    order = keys.argsort(1)[:, :most]
    real = torch.arange(order.shape[1]) < own
    return Contexts(named[torch.where(real, start[who, None] + order, 0)], real)
