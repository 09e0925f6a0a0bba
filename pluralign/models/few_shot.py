"""Learning to learn a person: a reward that reads a few of their answers and answers as they would."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.models.answers import Answers
from pluralign.models.localise import Localised
from pluralign.models.population import Population
from pluralign.models.reading import Reader, contexts, meta_train
from pluralign.models.scores import Score

Array = NDArray[np.float64]


class InContext(Score):
    """A reward in the context of a person's answers: s(y | C) = s_0(y) + <q(y), c(C)>, with c read off the answers.

    features: D. size: of q and c. hidden: width of the hidden layers and of the reader.

    >>> score = InContext(3, 2, hidden=8)
    >>> torch.allclose(score(torch.ones(3), torch.zeros(2)), score.shared(torch.ones(3))[0])
    True
    """

    linear = False

    def __init__(self, features: int, size: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.settings = {"features": features, "size": size, "hidden": hidden}
        self.groups, self.projector = size, nn.Identity()
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

    def margin(self, left: Tensor, right: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Reward of left minus reward of right, [...]."""
        margin: Tensor = self(left, weights) - self(right, weights)
        return margin


class FewShot(Population):
    """Meta-learning over people: a person's few answers are read as context, and their next ones foretold from them.

    FSPO's recipe on features: every step draws people, splits what they said into a context of 0 to `most` answers and
    targets, and fits the whole network to the targets (logistic loss). At use nothing is searched: a new person's
    answers are read once. The weights of a person are what was read, c. size: of c, 0 for a network without people.
    hidden: width of the networks. steps, people, lr: of Adam and how many people a step reads.

    As described by Singh et al. 2025. Raises `OptionError`.

    >>> random = np.random.default_rng(0)
    >>> x, likes = random.normal(size=(400, 1)), np.repeat([1.0, -1.0] * 10, 20)
    >>> answers = Answers.of(x, 0 * x, x[:, 0] * likes > 0, np.repeat(np.arange(20), 20))
    >>> FewShot(1, steps=150, lr=0.01).fit(answers).accuracy(answers) > 0.9
    True
    """

    simplex: ClassVar[bool] = False

    def __init__(
        self,
        size: int = 8,
        *,
        hidden: int = 64,
        most: int = 16,
        steps: int = 1000,
        people: int = 32,
        lr: float = 3e-3,
        seed: int = 0,
    ) -> None:
        if size < 0 or min(hidden, most, steps, people) < 1:
            raise OptionError("hidden, most, steps and people are at least 1, and size is not below zero")
        self.size, self.hidden, self.most = size, hidden, most
        self.steps, self.people, self.lr, self.seed = steps, people, lr, seed
        self.settings = {"size": size, "hidden": hidden, "most": most}
        self.settings |= {"steps": steps, "people": people, "lr": lr, "seed": seed}

    def fit(self, answers: Answers) -> Self:
        """Fit the network over people, then read everybody's answers."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            score = InContext(answers.items.shape[1], self.size, hidden=self.hidden)

            def read(what: Tensor, often: Tensor) -> tuple[Tensor, Tensor]:
                return score.context(what, often), torch.zeros(len(what))

            meta_train(
                *(answers, score, read, score.reader), steps=self.steps, people=self.people, most=self.most, lr=self.lr
            )
        self.scorer = score.requires_grad_(False)
        self.people_ = answers.people
        self._weights = torch.as_tensor(self._told(answers), dtype=torch.float32)
        self.loss_ = self.log_loss(answers)
        return self

    def localise(self, answers: Any) -> Localised:
        """Contexts of people, their answers read once; zero for who gave none.

        The network gives no uncertainty; covariances are those of the people seen, by how well each explains the
        answers (`alike`).
        """
        answers = self.read(answers)
        return Localised(self._told(answers), self.alike(answers).covariance, np.zeros(len(answers.people)))

    @torch.no_grad()
    def _told(self, answers: Answers) -> Array:
        """[U, size]: everybody's context."""
        assert isinstance(self.scorer, InContext)
        if not len(answers):
            return np.zeros((len(answers.people), self.size))
        context = contexts(answers, 2 * self.most)
        told = self.scorer.context(self.scorer.reader(*context.of(answers)), context.sizes)
        return np.asarray(told.double().numpy())

    def _mean(self) -> Tensor:
        return torch.zeros(self.size)
