"""Rewards that keep telling responses apart: a contrastive term, and steps that look where the policy has moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.likelihoods import choice, log_softmax
from pluralign.models.heads import Head
from pluralign.models.judged import Judged
from pluralign.models.reward_model import RewardModel, learnt, mean_loss


def contrast(first: Tensor, second: Tensor, temperature: float = 0.05) -> Tensor:
    """Mean over i of -log of the share of exp(cos(h_i, t_i) / tau) among all exp(cos(h_i, t_j) / tau); a scalar.

    first, second: [n, d], two views of the same n things. Gao et al. 2021 (SimCSE).

    >>> round(contrast(torch.eye(2), torch.eye(2), 1.0).item(), 4)
    0.3133
    """
    alike = nn.functional.cosine_similarity(first[:, None], second[None], dim=-1) / temperature
    each: Tensor = choice(alike, torch.eye(len(first), dtype=first.dtype))
    return each.mean()


@torch.no_grad()
def codes(alike: Tensor, epsilon: float = 0.05, rounds: int = 3) -> Tensor:
    """[n, P]: to which of P prototypes each of n things belongs, likenesses [n, P], all prototypes alike often.

    exp(likeness / epsilon), scaled by turns until columns sum to n / P and rows to one (Sinkhorn and Knopp 1967), a few
    `rounds` of it. Caron et al. 2020 (SwAV).

    >>> codes(torch.tensor([[0.5, 0.4], [0.9, 0.1]]), rounds=20).round(decimals=2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    log = alike / epsilon
    for _ in range(rounds):
        log = log_softmax(log.T).T
        log = log_softmax(log)
    return log.exp()


def swapped(
    first: Tensor, second: Tensor, prototypes: Tensor, temperature: float = 0.1, epsilon: float = 0.05
) -> Tensor:
    """Each view foretells to which prototype the other belongs, by softmax of cosine / temperature; a scalar, nats.

    first, second: [n, d], two views of the same n things. prototypes: [P, d]. Caron et al. 2020 (SwAV).

    >>> round(swapped(torch.eye(2), torch.eye(2), torch.eye(2), 1.0).item(), 4)
    0.3133
    """
    ends = nn.functional.normalize(prototypes, dim=-1)
    one, other = (nn.functional.normalize(view, dim=-1) @ ends.T for view in (first, second))
    each: Tensor = choice(one / temperature, codes(other, epsilon)) + choice(other / temperature, codes(one, epsilon))
    return each.mean() / 2


class ContrastiveHead(Head):
    """A head with hidden layers whose representations of a batch's responses are also told apart from each other.

    Two passes with dropout are two views of each pair's difference, compared with those of the other pairs
    (`contrast`), or, with `prototypes`, as many of which are learnt, by the one to which each belongs (`swapped`).
    `weight` of that is added to the loss. 0 is a plain head.

    Wang et al. 2024 (Secrets of RLHF II). Raises `OptionError`.
    """

    def __init__(
        self,
        features: int,
        groups: int = 1,
        *,
        hidden: int = 32,
        weight: float = 0.1,
        temperature: float = 0.05,
        dropout: float = 0.1,
        prototypes: int = 0,
    ) -> None:
        super().__init__(features, groups, hidden=hidden)
        if not 0 <= dropout < 1 or weight < 0 or temperature <= 0 or prototypes < 0:
            raise OptionError("dropout is a share below 1, weight and prototypes are 0 or more and temperature above 0")
        self.settings |= {"weight": weight, "temperature": temperature, "dropout": dropout, "prototypes": prototypes}
        self.weight, self.temperature, self.dropout = weight, temperature, dropout
        self.ends = nn.Parameter(torch.randn(prototypes, hidden)) if prototypes else None

    def reset_parameters(self) -> None:
        """Begin again, prototypes in random directions."""
        super().reset_parameters()
        ends: nn.Parameter | None = getattr(self, "ends", None)
        if ends is not None:
            ends.data = torch.randn_like(ends)

    def penalty(self, left: Tensor, right: Tensor) -> Tensor:
        """The contrastive term of these pairs [n, D], on differences of their representations."""
        if not self.weight or len(left) < 2:
            return torch.zeros(())

        def view() -> Tensor:
            both = self.projector(torch.stack([left, right]))
            return nn.functional.dropout(both[0] - both[1], self.dropout)

        if self.ends is not None:
            return self.weight * swapped(view(), view(), self.ends, self.temperature)
        return self.weight * contrast(view(), view(), self.temperature)


def ahead(
    loss: Callable[[], Tensor], difference: Callable[[], Tensor], parameters: Sequence[nn.Parameter], eta: float
) -> list[Tensor]:
    """Slopes of the loss at parameters that were first moved by eta along the slope of `difference`, which rises.

    The parameters themselves end as they began. To first order this adds eta * <slope of loss, slope of difference>
    to the loss. eta = 0 is the plain slope.

    >>> x = nn.Parameter(torch.tensor(1.0))
    >>> [slope] = ahead(lambda: x**2, lambda: 3 * x, [x], eta=0.5)
    >>> slope.item(), x.item()
    (5.0, 1.0)
    """
    moves = torch.autograd.grad(difference(), parameters, allow_unused=True)
    before = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, move in zip(parameters, moves, strict=True):
            if move is not None:
                p.add_(move, alpha=eta)
    slopes = torch.autograd.grad(loss(), parameters, allow_unused=True)
    with torch.no_grad():
        for p, value in zip(parameters, before, strict=True):
            p.copy_(value)
    return [torch.zeros_like(p) if s is None else s for p, s in zip(parameters, slopes, strict=True)]


def spread(rewards: Tensor) -> Tensor:
    """Mean over rows of (2 / k^2) times the sum over i < j of sigmoid(|r_i - r_j|), rewards [m, k]; a scalar.

    How well responses to one prompt are told apart. Wang et al. 2024 (MetaRM).
    """
    k = rewards.shape[1]
    i, j = torch.triu_indices(k, k, 1)
    return (2 / k**2) * torch.sigmoid((rewards[:, i] - rewards[:, j]).abs()).sum(1).mean()


class MetaRewardModel(RewardModel):
    """A reward model that learns from pairs as it would after telling a policy's new responses further apart.

    Each step: theta' = theta + eta * slope of `spread` on unlabelled responses; then the slope of the loss of pairs at
    theta', taken from theta. The rest as in `RewardModel`.

    Wang et al. 2024 (Secrets of RLHF II).
    """

    def __init__(self, *given: Any, eta: float = 0.1, **options: Any) -> None:
        super().__init__(*given, **options)
        self.eta = eta

    def fit(self, data: Any, unlabelled: Tensor | None = None) -> MetaRewardModel:
        """Fit to judgements. unlabelled: [m, k, D], vectors of k responses of the policy to each of m prompts."""
        if unlabelled is None:
            raise OptionError("meta steps look at responses without labels; give unlabelled=[m, k, D], or RewardModel")
        judged = self.judged(data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            score, of = self.begun()
            parameters = learnt(score, of)
            optimizer = torch.optim.Adam(parameters, lr=self.lr, weight_decay=self.weight_decay)
            size = min(self.batch, len(judged))
            one = torch.full((*unlabelled.shape[:2], score.groups), 1 / score.groups)

            def of_pairs(rows: Judged) -> Tensor:
                return mean_loss(score, rows, of, self.options, 1.0)

            def of_policy() -> Tensor:
                return spread(score(unlabelled, one))

            for _ in range(self.epochs):
                for at in torch.randperm(len(judged)).split(size):
                    slopes = ahead(partial(of_pairs, judged.take(at)), of_policy, parameters, self.eta)
                    for p, slope in zip(parameters, slopes, strict=True):
                        p.grad = slope
                    optimizer.step()
        self.settle(score, of, judged)
        return self
