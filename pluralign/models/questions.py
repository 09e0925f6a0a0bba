"""What an answer would tell about a person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """row: the candidate that tells most. gain: [n], nats each candidate's answer is expected to tell."""

    row: int
    gain: Array


def gains(outcomes: ArrayLike, chance: ArrayLike) -> Array:
    """[n]: mutual information, in nats, between the answer to each question and who is asked.

    outcomes: [n, S, R], chances of the R answers if it is the s-th; chance: [S], of its being the s-th. The entropy of
    the answer less its mean entropy once it is known who answers.

    Lindley 1956; Houlsby et al. 2011.

    >>> gains([[[1.0, 0.0], [0.0, 1.0]], [[0.9, 0.1], [0.9, 0.1]]], [0.5, 0.5]).round(4)
    array([0.6931, 0.    ])
    """
    given, of = np.asarray(outcomes, dtype=np.float64), np.asarray(chance, dtype=np.float64)
    of = of / of.sum()
    mean = np.einsum("nsr,s->nr", given, of)
    return np.asarray(np.maximum(entr(mean).sum(1) - entr(given).sum(2) @ of, 0.0))
