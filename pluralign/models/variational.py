"""Everybody has a taste that cannot be seen: a code inferred from their answers, with its uncertainty."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.models.amortised import Amortised, ReadingScore
from pluralign.models.answers import Answers
from pluralign.models.localise import Localised
from pluralign.models.reading import Reader

Array = NDArray[np.float64]


class LatentReward(ReadingScore):
    """A reward that is a network of the features and a person's code z, with what reads the code off answers.

    features: D. size: of z. hidden: width of the two hidden layers, and of the reader.

    >>> score = LatentReward(3, 2, hidden=8)
    >>> score(torch.zeros(5, 3), torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    def __init__(self, features: int, size: int, *, hidden: int = 64) -> None:
        super().__init__(features, size, hidden=hidden)
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


class Variational(Amortised):
    """VPL: a code z of every person, inferred from their answers by a network, on which the reward depends.

    The evidence bound is maximised over people: some of a person's answers, 0 to `most`, give N(m, diag s^2); a draw z
    foretells other answers of theirs; beta times the divergence from N(0, I) is paid. The weights of a person are m.
    size (of z) and the other options: see `Amortised`. The codes are not scaled to a fixed length as in the published
    program, for that would take their uncertainty away.

    Poddar et al. 2024. Raises `OptionError`.

    >>> random = np.random.default_rng(0)
    >>> x, likes = random.normal(size=(400, 1)), np.repeat([1.0, -1.0] * 10, 20)
    >>> answers = Answers.of(x, 0 * x, x[:, 0] * likes > 0, np.repeat(np.arange(20), 20))
    >>> Variational(1, steps=150, lr=0.01).fit(answers).accuracy(answers) > 0.9
    True
    """

    network: ClassVar[type[ReadingScore]] = LatentReward

    def __init__(self, size: int = 8, *, beta: float = 1e-3, **options: Any) -> None:
        super().__init__(size, **options)
        if beta < 0:
            raise OptionError(f"beta is {beta}; give 0 or more")
        self.beta = beta
        self.settings |= {"beta": beta}

    def _drawn(self, score: ReadingScore, read: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(score, LatentReward)
        mean, spread = score.posterior(read, answers)
        paid = -0.5 * (1 + spread - mean**2 - spread.exp()).sum(-1)
        return mean + (spread / 2).exp() * torch.randn_like(mean), self.beta * paid

    @torch.no_grad()
    def localise(self, answers: Any) -> Localised:
        """Codes of people from their answers, read once: means and variances; the prior for who gave none."""
        assert isinstance(self.scorer, LatentReward)
        mean, spread = self.scorer.posterior(*self._read_off(self.read(answers)))
        variance = spread.exp().double().numpy()
        return Localised(mean.double().numpy(), variance[:, :, None] * np.eye(self.size), np.zeros(len(mean)))

    def _told(self, answers: Answers) -> Array:
        return self.localise(answers).weights

    def sample_people(self, n: int, seed: int = 0) -> Array:
        """[n, size]: codes drawn from the prior, N(0, I)."""
        return np.random.default_rng(seed).normal(size=(n, self.size))

    def _believed(self, answers: Answers | None) -> tuple[Array, Array]:
        return self._by_draws(answers)
