"""Where a person lies among prototypes, from few answers, everything else frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from pluralign.errors import FeedbackError, OptionError

if TYPE_CHECKING:
    from pluralign.models.answers import Answers

Array = NDArray[np.float64]

TOGETHER = 2048
"""People in one array."""
TIGHT = 1e-9
"""Nats by which a solution may lie above the best, at most."""


@dataclass(frozen=True)
class Localised:
    """weights: [U, K] on the simplex. covariance: [U, K, K] of the weights by Laplace's method, rows summing to zero,
    and no wider than weights on the simplex can spread.

    gap: [U], nats by which each solution's objective can lie above the optimum (Frank and Wolfe's bound).
    """

    weights: Array
    covariance: Array
    gap: Array

    @property
    def errors(self) -> Array:
        """[U, K]: standard errors of the weights."""
        return np.asarray(np.sqrt(np.maximum(np.diagonal(self.covariance, axis1=1, axis2=2), 0)))

    def draws(self, answers: Answers, n: int, seed: int = 0) -> Array:
        """[n, K]: weights that the person of these answers may have, from the normal distribution of this spread."""
        who = int(answers.person[0])
        random = np.random.default_rng(seed)
        return np.asarray(random.multivariate_normal(self.weights[who], self.covariance[who], n))


def localise(
    margins: ArrayLike,
    person: ArrayLike,
    people: int,
    *,
    probability: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    prior: ArrayLike | None = None,
) -> Localised:
    """The weights of every person at once, exactly: the logistic loss of margins linear in them is convex.

    margins: [n, K], of left over right under each prototype alone (`Score.prototypes`); the person's margin is their
    weighted mean. person: [n], 0 to people - 1. probability: [n], that left is preferred, 1 where None. weight: [n].
    prior: [K], parameters of a Dirichlet distribution, none where None; somebody who has not answered lies at its mean,
    for it is a density of the weights' logits. Newton's method on the logarithmic barrier, many people in one array.

    Boyd and Vandenberghe 2004, ch. 11 (barriers); Chen et al. 2024 (PAL, localising new users). Raises `OptionError`
    and `FeedbackError`.

    >>> found = localise([[2.0, -2.0]] * 3, [0, 0, 0], 2, prior=[2.0, 2.0])
    >>> found.weights.round(3), bool((found.gap < 1e-8).all())
    (array([[0.698, 0.302],
           [0.5  , 0.5  ]]), True)
    """
    said = np.asarray(margins, dtype=np.float64)
    if said.ndim != 2:
        raise FeedbackError(f"margins have {said.ndim} axes; give one row for each answer and one column a prototype")
    (n, k), at = said.shape, np.asarray(person, dtype=np.int64)
    pull = np.zeros(k) if prior is None else np.asarray(prior, dtype=np.float64)
    if pull.shape != (k,) or (pull < 0).any():
        raise OptionError(f"the prior needs {k} values, none below zero")
    chance = np.ones(n) if probability is None else np.asarray(probability, dtype=np.float64)
    count = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    if len(at) != n or len(chance) != n or len(count) != n:
        raise FeedbackError(f"there are {n:,} margins and not as many people, chances or weights; give one for each")
    if n and (at.min() < 0 or at.max() >= people):
        raise FeedbackError(f"a person is numbered outside 0 to {people - 1}")
    sizes = np.bincount(at, minlength=people)
    rows = np.argsort(at, kind="stable")
    first = np.cumsum(sizes) - sizes
    weights, covariance, gap = np.empty((people, k)), np.empty((people, k, k)), np.empty(people)
    # People of like numbers of answers fill an array with little padding.
    by_size = np.argsort(sizes, kind="stable")
    for some in np.split(by_size, range(TOGETHER, people, TOGETHER)):
        place = np.arange(max(int(sizes[some].max(initial=0)), 1))
        real = place < sizes[some, None]
        at_row = rows[np.where(real, first[some, None] + place, 0)] if n else np.zeros(real.shape, dtype=np.int64)
        if n:
            task = _Task(said[at_row], chance[at_row], np.where(real, count[at_row], 0.0), pull)
        else:
            task = _Task(np.zeros((*real.shape, k)), np.zeros(real.shape), np.zeros(real.shape), pull)
        weights[some], covariance[some], gap[some] = task.solved()
    return Localised(weights, covariance, gap)


@dataclass(frozen=True)
class _Task:
    """The answers of U people, padded to m each with answers that count zero. pull: [K], of the prior."""

    margins: Array  # [U, m, K]
    chance: Array
    count: Array
    pull: Array

    def solved(self) -> tuple[Array, Array, Array]:
        """Weights, their covariance and the bound on what they miss."""
        people, k = len(self.margins), self.margins.shape[2]
        w, barrier = np.full((people, k), 1 / k), 1.0
        while k * barrier > TIGHT:
            w = self.centred(w, barrier, 1e-2 * barrier)
            barrier /= 100
        w = self.centred(w, barrier, 1e-24)
        slope, bend = self.derivatives(w, 0.0)
        gap = (slope * w).sum(1) - slope.min(1)
        covariance = inverse_on_simplex(bend + np.eye(k) * (barrier / w**2)[:, :, None])
        # Where answers and prior leave a direction open, Laplace's method knows of no boundary: weights of this mean
        # spread most where each person has one prototype alone.
        widest = 1 - (w**2).sum(1)
        covariance *= np.minimum(1, widest / np.maximum(covariance.trace(axis1=1, axis2=2), 1e-300))[:, None, None]
        return w, covariance, gap

    def loss(self, w: Array, barrier: float) -> Array:
        """[U], with the barrier; infinite outside the simplex."""
        z = np.matmul(self.margins, w[:, :, None])[:, :, 0]
        total = (self.count * (np.logaddexp(0, -z) + (1 - self.chance) * z)).sum(1)
        held = (np.log(np.maximum(w, 1e-300)) * (self.pull + barrier)).sum(1)
        return np.where((w > 0).all(1), total - held, np.inf)

    def derivatives(self, w: Array, barrier: float) -> tuple[Array, Array]:
        """First [U, K] and second [U, K, K] of the loss."""
        p = expit(np.matmul(self.margins, w[:, :, None])[:, :, 0])
        across = self.margins.transpose(0, 2, 1)
        slope = np.matmul(across, (self.count * (p - self.chance))[:, :, None])[:, :, 0]
        bend = np.matmul(across * (self.count * p * (1 - p))[:, None, :], self.margins)
        k, pulled = w.shape[1], self.pull + barrier
        bend[:, np.arange(k), np.arange(k)] += pulled / w**2
        return slope - pulled / w, bend

    def centred(self, w: Array, barrier: float, enough: float) -> Array:
        """The optimum with this barrier, until Newton's decrement is below `enough` or rounding is all that is left."""
        for _ in range(40):
            slope, bend = self.derivatives(w, barrier)
            # Weights move along the simplex alone; what all slopes share is nothing but rounding in the decrement.
            slope -= slope.mean(1, keepdims=True)
            step = -np.matmul(inverse_on_simplex(bend), slope[:, :, None])[:, :, 0]
            decrement = -(slope * step).sum(1)
            if decrement.max(initial=0.0) <= enough:
                break
            # As far as the boundary allows, then halved until it pays.
            room = np.where(step < 0, w / np.maximum(-step, 1e-300), np.inf).min(1)
            size = np.minimum(1.0, 0.99 * room)
            before = self.loss(w, barrier)
            for _ in range(30):
                bad = self.loss(w + size[:, None] * step, barrier) > before - 1e-4 * size * decrement
                bad &= decrement > 1e-12 * (1 + np.abs(before))
                if not bad.any():
                    break
                size = np.where(bad, size / 2, size)
            w = w + size[:, None] * step
            w /= w.sum(1, keepdims=True)
        return w


def inverse_on_simplex(bend: Array) -> Array:
    """[U, K, K]: the inverse of the second derivative along directions that keep the sum of weights."""
    inverse = np.linalg.inv(bend)
    ones = inverse.sum(2)
    return np.asarray(inverse - ones[:, :, None] * ones[:, None, :] / ones.sum(1)[:, None, None])


def dirichlet(weights: ArrayLike) -> Array:
    """The Dirichlet distribution with the mean and spread of weights [N, K]: a prior.

    By moments: the spread is the median over prototypes of mean (1 - mean) / variance - 1.

    >>> dirichlet(np.random.default_rng(0).dirichlet([3.0, 6.0], 20000)).round(1)
    array([3., 6.])
    """
    w = np.asarray(weights, dtype=np.float64)
    mean, variance = w.mean(0), w.var(0)
    if w.shape[1] == 1:
        return np.zeros(1)
    with np.errstate(divide="ignore"):
        spread = np.median(mean * (1 - mean) / variance) - 1 if (variance > 0).all() else 1e6
    return np.asarray(mean * max(float(spread), 0.0))
