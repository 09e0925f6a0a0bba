"""People read off their answers by a network, in one pass: what such populations share."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.likelihoods import logistic
from pluralign.models.answers import Answers
from pluralign.models.population import Population
from pluralign.models.reading import Reader, contexts, meta_train
from pluralign.models.scores import Score

Array = NDArray[np.float64]


class ReadingScore(Score):
    """A reward of responses and of a person's weights, and the `reader` of answers that gives the weights.

    features: D. size: K. hidden: width of the hidden layers and of the reader.
    """

    linear = False
    reader: Reader

    def __init__(self, features: int, size: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.settings = {"features": features, "size": size, "hidden": hidden}
        self.groups, self.projector = size, nn.Identity()

    def margin(self, left: Tensor, right: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Reward of left minus reward of right, [...]."""
        margin: Tensor = self(left, weights) - self(right, weights)
        return margin


class Amortised(Population):
    """A reward and a reader of answers learnt together over people: a person's weights are read once, not sought.

    size: weights of a person, 0 for a network without people. hidden: width of the networks. most: answers of a person
    that a step reads at most, and as many are foretold. steps, people, lr: of Adam and how many people a step reads.

    Raises `OptionError`.
    """

    simplex: ClassVar[bool] = False
    network: ClassVar[type[ReadingScore]]

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

    @abstractmethod
    def _drawn(self, score: ReadingScore, read: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Weights [U, K] to foretell with in training, and what is paid for them [U], nats.

        read: [U, hidden], off `answers` [U, 1] pairs.
        """

    def _loss(self, margin: Tensor) -> Tensor:
        """What a margin costs in training, preferred side first, [...]."""
        cost: Tensor = logistic(margin)
        return cost

    @abstractmethod
    def _told(self, answers: Answers) -> Array:
        """[U, K]: everybody's weights, read off their answers."""

    def fit(self, answers: Answers) -> Self:
        """Fit reward and reader over people, then read everybody's answers."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            score = self.network(answers.items.shape[1], self.size, hidden=self.hidden)

            def read(what: Tensor, often: Tensor) -> tuple[Tensor, Tensor]:
                return self._drawn(score, what, often)

            sizes = {"steps": self.steps, "people": self.people, "most": self.most}
            meta_train(answers, score, read, score.reader, of=self._loss, lr=self.lr, **sizes)
        self.scorer = score.requires_grad_(False)
        return self._keep(answers, self._told(answers))

    def _read_off(self, answers: Answers) -> tuple[Tensor, Tensor]:
        """What is read [U, hidden] off how many answers [U, 1] of everybody: twice `most`, for none is foretold."""
        assert isinstance(self.scorer, ReadingScore)
        if not len(answers):
            return torch.zeros(len(answers.people), self.hidden), torch.zeros(len(answers.people), 1)
        context = contexts(answers, 2 * self.most)
        return self.scorer.reader(*context.of(answers)), context.sizes

    def _mean(self) -> Tensor:
        return torch.zeros(self.size)
