"""People as members of one of K groups, each with a linear reward of its own: EM."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp
from torch import Tensor

from pluralign.errors import OptionError
from pluralign.models.answers import Answers
from pluralign.models.localise import Localised
from pluralign.models.population import Population
from pluralign.models.ridge_logistic import design, ridge_logistic
from pluralign.models.scores import LowRank, Score

Array = NDArray[np.float64]


def mixed(margins: Tensor, weights: Tensor) -> Tensor:
    """[...]: log odds where the chance of left is the mean, by weights [..., K], of those at margins [..., K].

    >>> mixed(torch.tensor([2.0, -2.0]), torch.tensor([0.5, 0.5])).round(decimals=6).abs().item()
    0.0
    """
    shares = weights.log()
    left = torch.logsumexp(shares + torch.nn.functional.logsigmoid(margins), -1)
    return left - torch.logsumexp(shares + torch.nn.functional.logsigmoid(-margins), -1)


class MixedRewards(LowRank):
    """K rewards linear in the features, of which a person has one, not known which: chances are mixed, not rewards.

    features: D. groups: K. The score is the mean reward over the groups, whose differences are the margins of somebody
    of one group.

    >>> MixedRewards(2, 3).margin(torch.ones(2), torch.ones(2), torch.full((3,), 1 / 3)).item()
    0.0
    """

    linear = False

    def margin(self, left: Tensor, right: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Log odds of left, [...]."""
        return mixed(self.prototypes(left, right, prompts), weights)


class MixtureModel(Population):
    """A mixture of K logistic rewards, linear in the features; everybody belongs to one group, not known which.

    groups: K. hard: everybody counts for their likeliest group alone (MaxMin-RLHF) instead of for each by its chance.
    ridge: half of it times the squared coefficients is added to each group's loss, so that a fit always exists.
    restarts: searches from other starts, the best kept. tolerance: nats of gain below which the search stops. most:
    rounds of a search at most; a `RuntimeWarning` says where that was too few for the best one.

    The weights of a person are their chances of each group, and chances of an answer are mixed by them. After `fit`
    also `shares_` [K], `coefficients_` [K, D] and, until saved, `path_`
    (the penalised log-likelihood, or for hard assignment that of the likeliest groups, which never falls).

    Chakraborty et al. 2024 (MaxMin-RLHF). Raises `OptionError`.

    >>> answers = Answers.of([[1.0]] * 20, [[0.0]] * 20, [1] * 10 + [0] * 10, ["ada"] * 10 + ["ben"] * 10)
    >>> MixtureModel(2).fit(answers).weights_.max(1).round(2).tolist()
    [1.0, 1.0]
    """

    shares_: Array
    path_: list[float]

    def __init__(
        self,
        groups: int,
        *,
        hard: bool = False,
        ridge: float = 1e-3,
        restarts: int = 10,
        tolerance: float = 1e-7,
        most: int = 200,
        seed: int = 0,
    ) -> None:
        if groups < 1 or restarts < 1 or ridge <= 0:
            raise OptionError("groups and restarts are at least 1, and ridge is above zero")
        self.k, self.hard, self.ridge, self.restarts = groups, hard, ridge, restarts
        self.tolerance, self.most, self.seed = tolerance, most, seed
        self.settings = {"groups": groups, "hard": hard, "ridge": ridge, "restarts": restarts}
        self.settings |= {"tolerance": tolerance, "most": most, "seed": seed}

    def fit(self, answers: Answers) -> Self:
        """Fit shares, coefficients and everybody's chances."""
        random = np.random.default_rng(self.seed)
        starts = 1 if self.k == 1 else self.restarts
        found = [self._climb(answers, random) for _ in range(starts)]
        coefficients, self.shares_, self.path_ = max(found, key=lambda each: each[2][-1])
        if len(self.path_) == self.most > 1 and (gain := self.path_[-1] - self.path_[-2]) >= self.tolerance:
            warnings.warn(
                f"the best search ended after {self.most:,} rounds, the last of which still gained {gain:.2g} nats; "
                "raise most, or tolerance where that is little",
                RuntimeWarning,
                stacklevel=2,
            )
        self.scorer: Score = MixedRewards(coefficients.shape[1], self.k)
        self.scorer.directions.data = torch.as_tensor(coefficients, dtype=torch.float32)
        self.scorer.requires_grad_(False)
        return self._keep(answers, self.localise(answers).weights)

    @property
    def coefficients_(self) -> Array:
        """[K, D]: each group's reward."""
        return np.asarray(self.scorer.state_dict()["directions"].double().numpy())

    def _climb(self, answers: Answers, random: np.random.Generator) -> tuple[Array, Array, list[float]]:
        x, y, person, count = design(answers)
        belongs = random.dirichlet(np.ones(self.k), len(answers.people))
        if self.hard:
            belongs = np.eye(self.k)[belongs.argmax(1)]
        coefficients, path = np.zeros((self.k, x.shape[1])), [-np.inf]
        for _ in range(self.most):
            shares = np.maximum(belongs.mean(0), 1e-300)
            coefficients = np.stack(
                [
                    ridge_logistic(x, y, count * belongs[person, k], self.ridge, start=coefficients[k])
                    for k in range(self.k)
                ]
            )
            # Hard assignment does not ask how large a group is (classification without shares).
            prior = np.zeros(self.k) if self.hard else np.log(shares)
            joint = prior + _of_people(x, y, count, person, len(answers.people), coefficients)
            belongs = np.exp(log_softmax(joint, axis=1))
            total = joint.max(1).sum() if self.hard else logsumexp(joint, axis=1).sum()
            if self.hard:
                belongs = np.eye(self.k)[joint.argmax(1)]
            path.append(float(total) - self.ridge / 2 * float((coefficients**2).sum()))
            if path[-1] - path[-2] < self.tolerance:
                break
        return coefficients, np.maximum(belongs.mean(0), 1e-300), path[1:]

    def localise(self, answers: Any) -> Localised:
        """Chances of each group for people with these answers; the shares for who gave none."""
        answers = self.read(answers)
        x, y, person, count = design(answers)
        said = _of_people(x, y, count, person, len(answers.people), self.coefficients_)
        chance = np.exp(log_softmax(np.log(self.shares_) + said, axis=1))
        # Who belongs to one group and not to the others: a multinomial draw of one.
        spread = chance[:, :, None] * (np.eye(self.k) - chance[:, None, :])
        return Localised(chance, spread, np.zeros(len(chance)))

    def sample_people(self, n: int, seed: int = 0) -> Array:
        """[n, K]: each of one group, as often as its share."""
        drawn = np.random.default_rng(seed).choice(self.k, size=n, p=self.shares_ / self.shares_.sum())
        return np.asarray(np.eye(self.k)[drawn])

    def _mean(self) -> Tensor:
        return torch.as_tensor(self.shares_ / self.shares_.sum(), dtype=torch.float32)

    def _prior(self) -> tuple[Array, Array]:
        return np.eye(self.k), np.log(self.shares_ / self.shares_.sum())


def _of_people(x: Array, y: Array, count: Array, person: NDArray[np.int64], people: int, coefficients: Array) -> Array:
    """[N, K]: log-likelihood of everybody's answers under each group."""
    z = x @ coefficients.T
    each = -count[:, None] * (np.logaddexp(0, -z) + (1 - y)[:, None] * z)
    return np.stack([np.bincount(person, weights=column, minlength=people) for column in each.T], axis=1)
