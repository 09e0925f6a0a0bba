"""How much strengths drift: the variance whose past predicts its future best."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from pluralign.errors import FeedbackError
from pluralign.rank.history import History

Mask = NDArray[np.bool_]

BLOCKS = 5
"""Stretches of the last votes, each of which is predicted from all votes before it."""

HELD = 0.2
"""Share of the votes that these stretches hold."""


def predictive_variance(
    time: NDArray[np.float64],
    fit: Callable[[Mask, float, History | None], History],
    loss: Callable[[History, Mask], float],
) -> float:
    """The variance with the least loss on the last fifth of the votes, each part of it from what came before.

    time: [N]. fit: from votes, a variance and the fit of the same votes with another one, if there is one. loss: of
    later votes, summed. Raises `FeedbackError` where all votes are of one moment.
    """
    edges = np.unique(np.quantile(time, 1 - HELD * np.arange(BLOCKS, -1, -1) / BLOCKS, method="higher"))
    edges[-1] = np.inf
    span = float(np.ptp(time))
    if span == 0 or len(edges) < 2:
        raise FeedbackError("all votes are of one moment and show no drift; give a variance, or use BradleyTerry")
    known: dict[float, History] = {}

    def total(log_variance: float) -> float:
        summed = 0.0
        for low, high in pairwise(edges):
            known[low] = fit(time < low, float(np.exp(log_variance)), known.get(low))
            summed += loss(known[low], (time >= low) & (time < high))
        return summed

    # From no drift to speak of, to a new start every hundredth of the time.
    bounds = (np.log(1e-3 / span), np.log(1e2 / span))
    found = minimize_scalar(total, bounds=bounds, method="bounded", options={"xatol": 0.1, "maxiter": 20})
    return float(np.exp(found.x))
