"""Learning to learn a person: a reward that reads a few of their answers and answers as they would."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.likelihoods import squared
from pluralign.models.amortised import Amortised, ReadingScore
from pluralign.models.answers import Answers
from pluralign.models.localise import Localised
from pluralign.models.reading import Reader

Array = NDArray[np.float64]


class InContext(ReadingScore):
    """A reward in the context of a person's answers: s(y | C) = s_0(y) + <q(y), c(C)>, with c read off the answers.

    features: D. size: of q and c. hidden: width of the hidden layers and of the reader.

    >>> score = InContext(3, 2, hidden=8)
    >>> torch.allclose(score(torch.ones(3), torch.zeros(2)), score.shared(torch.ones(3))[0])
    True
    """

    def __init__(self, features: int, size: int, *, hidden: int = 64) -> None:
        super().__init__(features, size, hidden=hidden)
        self.shared = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.queries = nn.Sequential(nn.Linear(features, hidden), nn.GELU())
        self.reader = Reader(features, hidden)
        self.query, self.gate, self.told = (nn.Parameter(torch.randn(size, hidden) / hidden**0.5) for _ in range(3))

    def context(self, read: Tensor, answers: Tensor) -> Tensor:
        """c, [U, size], from what was read [U, hidden] off `answers` [U, 1] pairs; zero for none."""
        # The mean over pairs forgets how many there were; one more than their number weighs them against nothing said.
        told: Tensor = read @ self.told.T + read @ self.gate.T * torch.log1p(answers)
        return told

    def forward(self, items: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Rewards [...]."""
        out: Tensor = self.shared(items)[..., 0] + (self.queries(items) @ self.query.T * weights).sum(-1)
        return out


class FewShot(Amortised):
    """Meta-learning over people: a person's few answers are read as context, and their next ones foretold from them.

    FSPO's recipe on features: every step draws people, splits what they said into a context of 0 to `most` answers and
    targets, and fits the whole network to the targets. At use nothing is searched: a new person's answers are read
    once. The weights of a person are what was read, c. loss: "logistic", or "ipo", the paper's (z - 1)^2 of a margin z
    in units of 1 / (2 beta), which without a reference policy is all that beta does; the chance of left is then
    (1 + z) / 2, kept between 0.01 and 0.99. size (of c) and the other options: see `Amortised`.

    As described by Singh et al. 2025; Azar et al. 2023 (IPO). Raises `OptionError`.

    >>> random = np.random.default_rng(0)
    >>> x, likes = random.normal(size=(400, 1)), np.repeat([1.0, -1.0] * 10, 20)
    >>> answers = Answers.of(x, 0 * x, x[:, 0] * likes > 0, np.repeat(np.arange(20), 20))
    >>> FewShot(1, steps=150, lr=0.01).fit(answers).accuracy(answers) > 0.9
    True
    """

    network: ClassVar[type[ReadingScore]] = InContext

    def __init__(self, size: int = 8, *, loss: Literal["logistic", "ipo"] = "logistic", **options: Any) -> None:
        super().__init__(size, **options)
        if loss not in ("logistic", "ipo"):
            raise OptionError(f"loss {loss!r} is not one of logistic, ipo")
        self.loss = loss
        self.settings |= {"loss": loss}

    def _loss(self, margin: Tensor) -> Tensor:
        return squared(margin) if self.loss == "ipo" else super()._loss(margin)

    def _odds(self, margins: Array) -> Array:
        """Log odds of left at these margins."""
        return np.asarray(logit(((1 + margins) / 2).clip(0.01, 0.99))) if self.loss == "ipo" else margins

    def _outcomes(self, margins: Array) -> Array:
        return super()._outcomes(self._odds(margins))

    def _said(self, margins: Array, probability: Array) -> Array:
        return super()._said(self._odds(margins), probability)

    def _drawn(self, score: ReadingScore, read: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(score, InContext)
        return score.context(read, answers), torch.zeros(len(read))

    def localise(self, answers: Any) -> Localised:
        """Contexts of people, their answers read once; zero for who gave none.

        The network gives no uncertainty; covariances are those of the people seen, by how well each explains the
        answers (`alike`).
        """
        answers = self.read(answers)
        return Localised(self._told(answers), self.alike(answers).covariance, np.zeros(len(answers.people)))

    @torch.no_grad()
    def _told(self, answers: Answers) -> Array:
        assert isinstance(self.scorer, InContext)
        return np.asarray(self.scorer.context(*self._read_off(answers)).double().numpy())
