"""What several sources have in common: one reward, to which each source counts as far as it opposes none."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls
from scipy.special import expit
from torch import Tensor

from pluralign.errors import OptionError
from pluralign.models.answers import Answers
from pluralign.models.localise import Localised
from pluralign.models.population import Population
from pluralign.models.ridge_logistic import design
from pluralign.models.scores import LowRank, Score

Array = NDArray[np.float64]


def min_norm(slopes: ArrayLike) -> Array:
    """[S]: the shares of the slopes [S, D] whose mean is shortest: no source's loss rises along it.

    Exact, by least squares without negative coefficients: min |G'x|^2 + (sum x - 1)^2 has the direction of the answer,
    whatever its length. Desideri 2012.

    >>> min_norm([[1.0, 0.0], [0.5, 1.0]]).round(6)
    array([0.6, 0.4])
    """
    given = np.asarray(slopes, dtype=np.float64)
    size = np.abs(given).max(initial=0.0)
    if size == 0:
        return np.full(len(given), 1 / len(given))
    found, _ = nnls(np.vstack([given.T / size, np.ones(len(given))]), np.r_[np.zeros(given.shape[1]), 1.0])
    return np.asarray(found / found.sum())


class MultiSource(Population):
    """MORE: one reward for what all sources (here, the people) share, linear in the features; one group.

    Each step draws `batch` answers of every source, smooths every source's slope (a share `smooth` of it is new), and
    goes down their shortest mean (`min_norm`); with `plain` the ordinary mean, each source counting alike. steps, lr:
    of Adam. lr falls to zero along a cosine. After `fit` also `shares_` [S], the mean share of each source.

    Zeng et al. 2024. Raises `OptionError`.

    >>> x = np.random.default_rng(0).normal(size=(400, 2))
    >>> likes = np.where(np.arange(400) < 200, x[:, 0] + x[:, 1], x[:, 0] - x[:, 1])
    >>> answers = Answers.of(x, 0 * x, likes > 0, ["ada"] * 200 + ["ben"] * 200)
    >>> both, one_only = MultiSource(steps=200).fit(answers).export().of(torch.eye(2)).tolist()
    >>> both > 4 * abs(one_only)
    True
    """

    shares_: Array

    def __init__(
        self,
        *,
        plain: bool = False,
        smooth: float = 0.1,
        batch: int = 32,
        steps: int = 400,
        lr: float = 0.05,
        seed: int = 0,
    ) -> None:
        if min(batch, steps) < 1 or not 0 < smooth <= 1:
            raise OptionError("batch and steps are at least 1, and smooth is above 0 and at most 1")
        self.plain, self.smooth, self.batch = plain, smooth, batch
        self.steps, self.lr, self.seed = steps, lr, seed
        self.settings = {"plain": plain, "smooth": smooth, "batch": batch, "steps": steps, "lr": lr, "seed": seed}

    def fit(self, answers: Answers) -> Self:
        """Fit the reward."""
        x, y, person, count = design(answers)
        rows = [np.flatnonzero(person == source) for source in np.unique(person)]
        random, size = np.random.default_rng(self.seed), x.shape[1]
        head = torch.zeros(size, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([head], lr=self.lr)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        smoothed, shares = np.zeros((len(rows), size)), np.zeros(len(rows))
        for step in range(self.steps):
            b, slopes = head.detach().numpy(), np.empty_like(smoothed)
            for source, own in enumerate(rows):
                at = random.choice(own, min(self.batch, len(own)), replace=False)
                pull = count[at] * (expit(x[at] @ b) - y[at])
                slopes[source] = pull @ x[at] / max(count[at].sum(), 1e-300)
            share = self.smooth if step else 1.0
            smoothed = (1 - share) * smoothed + share * slopes
            weights = np.full(len(rows), 1 / len(rows)) if self.plain else min_norm(smoothed)
            head.grad = torch.as_tensor(weights @ slopes)
            optimizer.step()
            falling.step()
            shares += weights / self.steps
        score = LowRank(size, 1)
        score.directions.data = head.detach().float()[None]
        self.scorer: Score = score.requires_grad_(False)
        self.shares_ = np.zeros(len(answers.people))
        self.shares_[np.unique(person)] = shares
        return self._keep(answers, np.ones((len(answers.people), 1)))

    def localise(self, answers: Any) -> Localised:
        """Everybody has the one reward there is."""
        people = len(self.read(answers).people)
        return Localised(np.ones((people, 1)), np.zeros((people, 1, 1)), np.zeros(people))

    def _mean(self) -> Tensor:
        return torch.ones(1)
