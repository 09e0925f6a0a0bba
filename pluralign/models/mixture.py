"""People as members of one of K groups, each with a linear reward of its own: EM."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, logsumexp

from pluralign.errors import OptionError
from pluralign.models.answers import Answers

Array = NDArray[np.float64]


class MixtureModel:
    """A mixture of K logistic rewards, linear in the features; everybody belongs to one group, not known which.

    groups: K. hard: everybody counts for their likeliest group alone (MaxMin-RLHF) instead of for each by its chance.
    ridge: half of it times the squared coefficients is added to each group's loss, so that a fit always exists.
    restarts: searches from other starts, the best kept. tolerance: nats of gain below which the search stops.

    After `fit`: `people_`, `weights_` [N, K] (chances of each group), `shares_` [K], `coefficients_` [K, D], `path_`
    (the penalised log-likelihood, or for hard assignment that of the likeliest groups, which never falls).

    Chakraborty et al. 2024 (MaxMin-RLHF). Raises `OptionError`.

    >>> answers = Answers.of([[1.0]] * 20, [[0.0]] * 20, [1] * 10 + [0] * 10, ["ada"] * 10 + ["ben"] * 10)
    >>> MixtureModel(2).fit(answers).weights_.max(1).round(2).tolist()
    [1.0, 1.0]
    """

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
        self.groups, self.hard, self.ridge, self.restarts = groups, hard, ridge, restarts
        self.tolerance, self.most, self.seed = tolerance, most, seed

    def fit(self, answers: Answers) -> MixtureModel:
        """Fit shares, coefficients and everybody's chances."""
        random = np.random.default_rng(self.seed)
        starts = 1 if self.groups == 1 else self.restarts
        found = [self._climb(answers, random) for _ in range(starts)]
        self.coefficients_, self.shares_, self.path_ = max(found, key=lambda each: each[2][-1])
        self.people_ = answers.people
        self.weights_ = self.localise(answers)
        return self

    def _climb(self, answers: Answers, random: np.random.Generator) -> tuple[Array, Array, list[float]]:
        x, y, person, count = _design(answers)
        belongs = random.dirichlet(np.ones(self.groups), len(answers.people))
        if self.hard:
            belongs = np.eye(self.groups)[belongs.argmax(1)]
        coefficients, path = np.zeros((self.groups, x.shape[1])), [-np.inf]
        for _ in range(self.most):
            shares = np.maximum(belongs.mean(0), 1e-300)
            coefficients = np.stack(
                [_logistic(x, y, count * belongs[person, k], self.ridge, coefficients[k]) for k in range(self.groups)]
            )
            # Hard assignment does not ask how large a group is (classification without shares).
            prior = np.zeros(self.groups) if self.hard else np.log(shares)
            joint = prior + _of_people(x, y, count, person, len(answers.people), coefficients)
            belongs = np.exp(log_softmax(joint, axis=1))
            total = joint.max(1).sum() if self.hard else logsumexp(joint, axis=1).sum()
            if self.hard:
                belongs = np.eye(self.groups)[joint.argmax(1)]
            path.append(float(total) - self.ridge / 2 * float((coefficients**2).sum()))
            if path[-1] - path[-2] < self.tolerance:
                break
        return coefficients, np.maximum(belongs.mean(0), 1e-300), path[1:]

    def localise(self, answers: Answers) -> Array:
        """[N, K]: chances of each group for people with these answers; the shares for who gave none."""
        x, y, person, count = _design(answers)
        said = _of_people(x, y, count, person, len(answers.people), self.coefficients_)
        return np.asarray(np.exp(log_softmax(np.log(self.shares_) + said, axis=1)))

    def predict_proba(self, answers: Answers, weights: Any = None) -> Array:
        """[n]: the chance that left is preferred, over the groups; weights: [N, K] or [K], instead of the people's."""
        x, _, person, _ = _design(answers)
        if weights is None:
            place = {name: i for i, name in enumerate(self.people_)}
            rows = [self.weights_[place[name]] if name in place else self.shares_ for name in answers.people]
            weights = np.stack(rows)
        table = np.broadcast_to(np.asarray(weights, dtype=np.float64), (len(answers.people), self.groups))
        return np.asarray((table[person] * expit(x @ self.coefficients_.T)).sum(1))

    def accuracy(self, answers: Answers, weights: Any = None) -> float:
        """Share of answers whose preferred side is likelier; equal chances count one half, ties are left out."""
        said = answers.probability.double().numpy()
        told = said != 0.5
        sign = np.sign(self.predict_proba(answers, weights) - 0.5) * np.sign(said - 0.5)
        return float(np.average((sign[told] + 1) / 2, weights=answers.weight.numpy()[told]))

    def log_loss(self, answers: Answers, weights: Any = None) -> float:
        """Mean negative log-likelihood of the answers, nats."""
        p, y = self.predict_proba(answers, weights), answers.probability.double().numpy()
        tiny = np.finfo(np.float64).tiny
        each = -(y * np.log(np.maximum(p, tiny)) + (1 - y) * np.log(np.maximum(1 - p, tiny)))
        return float(np.average(each, weights=answers.weight.numpy()))


def _design(answers: Answers) -> tuple[Array, Array, NDArray[np.int64], Array]:
    """Differences of features [n, D], chances of left, people and weights [n]."""
    left, right = answers.features
    x = (left - right).double().numpy()
    return x, answers.probability.double().numpy(), answers.person.numpy(), answers.weight.double().numpy()


def _of_people(x: Array, y: Array, count: Array, person: NDArray[np.int64], people: int, coefficients: Array) -> Array:
    """[N, K]: log-likelihood of everybody's answers under each group."""
    z = x @ coefficients.T
    each = -count[:, None] * (np.logaddexp(0, -z) + (1 - y)[:, None] * z)
    return np.stack([np.bincount(person, weights=column, minlength=people) for column in each.T], axis=1)


def _logistic(x: Array, y: Array, count: Array, ridge: float, start: Array) -> Array:
    """Coefficients [D] of a ridge logistic regression through the origin: Newton's method, halved until it pays."""

    def loss(b: Array) -> float:
        z = x @ b
        return float((count * (np.logaddexp(0, -z) + (1 - y) * z)).sum() + ridge / 2 * b @ b)

    b, value = start, loss(start)
    for _ in range(100):
        p = expit(x @ b)
        slope = x.T @ (count * (p - y)) + ridge * b
        bend = (x * (count * p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(b))
        step = -np.linalg.solve(bend, slope)
        decrement = -float(slope @ step)
        if decrement < 1e-12:
            break
        size = 1.0
        while size > 1e-10 and loss(b + size * step) > value - 1e-4 * size * decrement:
            size /= 2
        b = b + size * step
        value = loss(b)
    return b
