"""What leaderboards that depend on the prompt are for: one for many prompts, and which model to ask."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog
from scipy.special import expit

from pluralign.errors import OptionError

Array = NDArray[np.float64]


def aggregated(boards: ArrayLike) -> Array:
    """Mean win rate [M] of each model against a random other one, over the leaderboards [N, M] of N prompts.

    Frick et al. 2025 (P2L), which simulates what is computed here.

    >>> aggregated([[1.0, 0.0], [0.0, 1.0]])
    array([0.5, 0.5])
    """
    theta = np.asarray(boards, dtype=np.float64)
    wins = expit(theta[:, :, None] - theta[:, None, :]).mean(0)
    m = theta.shape[1]
    return np.asarray((wins.sum(1) - 0.5) / (m - 1))


def route(scores: ArrayLike, *, costs: ArrayLike, budget: float) -> Array:
    """How often to ask each of M models, [M], for the highest mean score within a mean cost.

    A linear programme whose optimum mixes two models at most. scores: of the models for this prompt, win rates against
    what they compete with, say. Raises `OptionError` where no model is cheap enough.

    Frick et al. 2025 (P2L).

    >>> route([0.5, 0.9], costs=[1, 3], budget=2).round(3)
    array([0.5, 0.5])
    """
    worth, price = np.asarray(scores, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    if worth.shape != price.shape or worth.ndim != 1:
        raise OptionError(f"there are {worth.size} scores and {price.size} costs; give one of each for every model")
    if price.min() > budget:
        raise OptionError(f"the cheapest model costs {price.min():g}, more than the budget of {budget:g}")
    found = linprog(-worth, A_ub=price[None], b_ub=[budget], A_eq=np.ones((1, len(worth))), b_eq=[1], method="highs-ds")
    return np.asarray(found.x)
