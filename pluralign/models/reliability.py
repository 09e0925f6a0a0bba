"""Annotators who err: how reliable each is, learnt with the rewards."""

from __future__ import annotations

import copy
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.likelihoods import expected, logistic, mislabelled
from pluralign.models.answers import Answers
from pluralign.models.descent import descend
from pluralign.models.reward_model import RewardModel, begin_again
from pluralign.models.scores import Score

Array = NDArray[np.float64]
START = -2.0
"""Log odds of a flip that everybody begins with: about one answer in eight."""


class ReliableModel(RewardModel):
    """A reward model of one crowd whose people differ in care, not in taste.

    kind: "flip", everybody u gives the opposite answer with probability e_u, whatever the pair; "temperature",
    everybody's margin is multiplied by t_u, so that the careless err on close pairs. prior: standard deviation of the
    log odds of e_u about their common mean, or of log t_u about zero; the smaller, the more alike people are taken to
    be. The rest as in `RewardModel`, of which the loss is the logistic one.

    After `fit`: `flip_rates_` or `temperatures_` [N], in the order of `people_`, and `people()`, a table.

    Chen et al. 2013 (CrowdBT) for flips. Raises `OptionError`.

    >>> from pluralign.models import Head
    >>> x = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
    >>> said = torch.where(torch.arange(400) < 200, x[:, 0] > 0, x[:, 0] < 0).float()
    >>> answers = Answers.of(x, -x, said, ["ada"] * 200 + ["ben"] * 100 + ["cem"] * 100)
    >>> answers = answers.take(torch.arange(300))
    >>> model = ReliableModel(Head(1), epochs=60, lr=0.1).fit(answers)
    >>> (model.flip_rates_ > 0.5).tolist()
    [False, True, False]
    """

    def __init__(
        self,
        score: Score,
        kind: Literal["flip", "temperature"] = "flip",
        *,
        prior: float = 1.5,
        epochs: int = 100,
        batch: int = 1024,
        lr: float = 0.02,
        weight_decay: float = 0.0,
        seed: int = 0,
    ) -> None:
        if kind not in ("flip", "temperature"):
            raise OptionError(f"kind {kind!r} is not one of flip, temperature")
        if prior <= 0:
            raise OptionError(f"prior {prior} is a standard deviation; give a number above 0")
        super().__init__(score, epochs=epochs, batch=batch, lr=lr, weight_decay=weight_decay, seed=seed)
        self.kind, self.prior = kind, prior

    def fit(self, answers: Any) -> ReliableModel:
        """Fit rewards and everybody's reliability, to `Answers` or, with `features`, any feedback."""
        answers = self.read(answers)
        n, people = len(answers), len(answers.people)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            score = copy.deepcopy(self.scorer).requires_grad_(True).apply(begin_again)
            own = nn.Parameter(torch.zeros(people))
            common = nn.Parameter(torch.tensor(START if self.kind == "flip" else 0.0), self.kind == "flip")
            count = answers.weight / answers.weight.mean()

            def loss(at: Tensor, progress: float) -> Tensor:
                rows = answers.take(at)
                left, right = rows.features
                z = score.margin(left, right, torch.ones(len(at), 1), rows.prompt_features)
                each = self._losses(z, rows, own, common)
                total: Tensor = (count[at] * each).mean() + (own**2).sum() / (2 * self.prior**2 * n)
                return total

            trained = [*score.parameters(), own, *([common] if self.kind == "flip" else [])]
            descend(
                loss,
                trained,
                n,
                epochs=self.epochs,
                batch=self.batch,
                lr=self.lr,
                weight_decay=self.weight_decay,
            )
        self.scorer, self.people_ = score.requires_grad_(False), answers.people
        found = own.detach().double()
        if self.kind == "flip":
            self.flip_rates_ = torch.sigmoid(found + common.detach().double()).numpy()
        else:
            self.temperatures_ = found.exp().numpy()
        self.loss_ = float("nan")
        with torch.no_grad():
            self.loss_ = float(loss(torch.arange(n), 1.0))
        self._answers = answers.sizes.numpy()
        return self

    def _losses(self, z: Tensor, rows: Answers, own: Tensor, common: Tensor) -> Tensor:
        if self.kind == "temperature":
            z = own.exp()[rows.person] * z
            right, wrong = logistic(z), logistic(-z)
        else:
            odds = (own + common)[rows.person]
            right, wrong = mislabelled(z, odds), mislabelled(-z, odds)
        each: Tensor = expected(right, wrong, rows.probability)
        return each

    def people(self) -> pl.DataFrame:
        """A row a person, the least reliable first: their rate of flips or temperature, and how much they answered."""
        name, values = ("flips", self.flip_rates_) if self.kind == "flip" else ("temperature", self.temperatures_)
        table = pl.DataFrame({"person": list(self.people_), name: values, "answers": self._answers})
        return table.sort(name, descending=self.kind == "flip")
