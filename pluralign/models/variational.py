"""Everybody has a taste that cannot be seen: a code inferred from their answers, with its uncertainty."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.models.answers import Answers
from pluralign.models.localise import Localised
from pluralign.models.population import SUPPORT, Population
from pluralign.models.reading import Reader, contexts, meta_train
from pluralign.models.scores import Score

Array = NDArray[np.float64]


class LatentReward(Score):
    """A reward that is a network of the features and a person's code z, with what reads the code off answers.

    features: D. size: of z. hidden: width of the two hidden layers, and of the reader.

    >>> score = LatentReward(3, 2, hidden=8)
    >>> score(torch.zeros(5, 3), torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    linear = False

    def __init__(self, features: int, size: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.settings = {"features": features, "size": size, "hidden": hidden}
        self.groups, self.projector = size, nn.Identity()
        self.reward = nn.Sequential(
            nn.Linear(features + size, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 1)
        )
        self.reader = Reader(features, hidden)
        self.mean, self.log_variance = (nn.Parameter(torch.randn(size, hidden) / hidden**0.5) for _ in range(2))

    def posterior(self, read: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance [U, size] of z from what was read [U, hidden] off `answers` [U, 1] pairs.

        Without answers these are those of the prior, N(0, I). The mean over pairs forgets how many there were, so that
        the log-variance is told.
        """
        spread = read @ self.log_variance.T * torch.log1p(answers)
        return read @ self.mean.T, spread.clamp(-8.0, 2.0)

    def forward(self, items: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Rewards [...]."""
        out: Tensor = self.reward(torch.cat([items, weights.expand(*items.shape[:-1], -1)], -1))[..., 0]
        return out

    def margin(self, left: Tensor, right: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Reward of left minus reward of right, [...]."""
        margin: Tensor = self(left, weights) - self(right, weights)
        return margin


class Variational(Population):
    """VPL: a code z of every person, inferred from their answers by a network, on which the reward depends.

    The evidence bound is maximised over people: some of a person's answers, 0 to `most`, give N(m, diag s^2); a draw z
    foretells other answers of theirs; beta times the divergence from N(0, I) is paid. The weights of a person are m.
    size: of z, 0 for a network without people. hidden: width of the networks. steps, people, lr: of Adam and how many
    people a step reads. The codes are not scaled to a fixed length as in the published program, for that would take
    their uncertainty away.

    Poddar et al. 2024. Raises `OptionError`.

    >>> random = np.random.default_rng(0)
    >>> x, likes = random.normal(size=(400, 1)), np.repeat([1.0, -1.0] * 10, 20)
    >>> answers = Answers.of(x, 0 * x, x[:, 0] * likes > 0, np.repeat(np.arange(20), 20))
    >>> Variational(1, steps=150, lr=0.01).fit(answers).accuracy(answers) > 0.9
    True
    """

    simplex: ClassVar[bool] = False

    def __init__(
        self,
        size: int = 8,
        *,
        hidden: int = 64,
        beta: float = 1e-3,
        most: int = 16,
        steps: int = 1000,
        people: int = 32,
        lr: float = 3e-3,
        seed: int = 0,
    ) -> None:
        if size < 0 or min(hidden, most, steps, people) < 1 or beta < 0:
            raise OptionError("hidden, most, steps and people are at least 1, and size and beta not below zero")
        self.size, self.hidden, self.beta, self.most = size, hidden, beta, most
        self.steps, self.people, self.lr, self.seed = steps, people, lr, seed
        self.settings = {"size": size, "hidden": hidden, "beta": beta, "most": most}
        self.settings |= {"steps": steps, "people": people, "lr": lr, "seed": seed}

    def fit(self, answers: Answers) -> Self:
        """Fit reward and reader, then read everybody's code."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            score = LatentReward(answers.items.shape[1], self.size, hidden=self.hidden)

            def read(what: Tensor, often: Tensor) -> tuple[Tensor, Tensor]:
                mean, spread = score.posterior(what, often)
                paid = -0.5 * (1 + spread - mean**2 - spread.exp()).sum(-1)
                return mean + (spread / 2).exp() * torch.randn_like(mean), self.beta * paid

            meta_train(
                *(answers, score, read, score.reader), steps=self.steps, people=self.people, most=self.most, lr=self.lr
            )
        self.scorer = score.requires_grad_(False)
        self.people_ = answers.people
        self._weights = torch.as_tensor(self.localise(answers).weights, dtype=torch.float32)
        self.loss_ = self.log_loss(answers)
        return self

    @torch.no_grad()
    def localise(self, answers: Any) -> Localised:
        """Codes of people from their answers, read once: means and variances; the prior for who gave none."""
        answers = self.read(answers)
        assert isinstance(self.scorer, LatentReward)
        context = contexts(answers, 2 * self.most)
        if len(answers):
            mean, spread = self.scorer.posterior(self.scorer.reader(*context.of(answers)), context.sizes)
        else:
            mean = spread = torch.zeros(len(answers.people), self.size)
        variance = spread.exp().double().numpy()
        return Localised(mean.double().numpy(), variance[:, :, None] * np.eye(self.size), np.zeros(len(mean)))

    def sample_people(self, n: int, seed: int = 0) -> Array:
        """[n, size]: codes drawn from the prior, N(0, I)."""
        return np.random.default_rng(seed).normal(size=(n, self.size))

    def _mean(self) -> Tensor:
        return torch.zeros(self.size)

    def _believed(self, answers: Answers | None) -> tuple[Array, Array]:
        drawn = self.sample_people(SUPPORT) if answers is None else self.localise(answers).draws(answers, SUPPORT)
        return drawn, np.full(SUPPORT, 1 / SUPPORT)
