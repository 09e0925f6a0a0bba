"""A reward linear in the features, of one crowd or one person: ridge logistic regression of differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pluralign.models.answers import Answers

Array = NDArray[np.float64]


def design(answers: Answers) -> tuple[Array, Array, NDArray[np.int64], Array]:
    """Differences of features [n, D], chances of left, people and weights [n], in double precision."""
    left, right = answers.features
    x = (left - right).double().numpy()
    return x, answers.probability.double().numpy(), answers.person.numpy(), answers.weight.double().numpy()


def curvature(x: Array, count: Array, ridge: float, coefficients: Array) -> Array:
    """[D, D]: second derivative of the loss of `ridge_logistic`."""
    p = expit(x @ coefficients)
    return np.asarray((x * (count * p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(coefficients)))


def ridge_logistic(
    x: Array, y: Array, count: Array, ridge: float, *, centre: Array | float = 0.0, start: Array | None = None
) -> Array:
    """Coefficients [D] of a logistic regression through the origin: Newton's method, halved until it pays.

    x: [n, D], differences of features. y: [n], chances of left. count: [n], weights. Half of `ridge` times the squared
    distance of the coefficients from `centre` [D] is added to the loss.

    >>> ridge_logistic(np.ones((4, 1)), np.array([1.0, 1, 1, 0]), np.ones(4), 1e-9).round(4)
    array([1.0986])
    """

    def loss(b: Array) -> float:
        z = x @ b
        return float((count * (np.logaddexp(0, -z) + (1 - y) * z)).sum() + ridge / 2 * ((b - centre) ** 2).sum())

    b = np.zeros(x.shape[1]) + centre if start is None else start
    value = loss(b)
    for _ in range(100):
        slope = x.T @ (count * (expit(x @ b) - y)) + ridge * (b - centre)
        step = -np.linalg.solve(curvature(x, count, ridge, b), slope)
        decrement = -float(slope @ step)
        if decrement < 1e-12:
            break
        size = 1.0
        while size > 1e-10 and loss(b + size * step) > value - 1e-4 * size * decrement:
            size /= 2
        b = b + size * step
        value = loss(b)
    return b
