"""The bandit of the cards: one prompt, one-token responses, in the words that the cards use."""

from typing import Any

import numpy as np

from pluralign.lab import bandit, bradley_terry, flipped
from pluralign.lab import optimum as solve
from pluralign.objectives import Objective


def optimum(
    objective: Objective,
    reward: np.ndarray,
    reference: np.ndarray,
    *,
    flip_rate: float = 0.0,
    margin: np.ndarray | None = None,
    **options: Any,
) -> np.ndarray:
    """The policy [K]. margin: [K, K]."""
    said = flipped(bradley_terry(reward), flip_rate)
    return solve(objective, bandit(reward, reference=reference, preference=said, margin=margin), **options)[0]


def tilted(reward: np.ndarray, reference: np.ndarray, beta: float) -> np.ndarray:
    """The closed form pi_ref * exp(r / beta) / Z."""
    return bandit(reward, reference=reference).tilted(beta)[0]
