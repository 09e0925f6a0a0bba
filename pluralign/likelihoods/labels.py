"""Label models: how what was recorded relates to what was meant.

Each takes the loss if the recorded label is right and the loss if it is the other way round, so that it applies to
any pairwise loss.
"""

from __future__ import annotations

from array_api_compat import array_namespace

from pluralign.likelihoods.numerics import Array
from pluralign.likelihoods.pairwise import logistic


def expected(loss: Array, flipped: Array, probability: Array | float) -> Array:
    """The mean loss when the recorded label is right with this probability: soft labels and label smoothing.

    All arguments broadcast. Szegedy et al. 2016 (smoothing); Mitchell 2023 (conservative DPO).

    >>> expected(1.0, 3.0, 0.75)
    1.5
    """
    return probability * loss + (1 - probability) * flipped


def debiased(loss: Array, flipped: Array, flip_rate: float) -> Array:
    """The estimator whose mean over labels flipped at `flip_rate` < 1/2 is the loss on clean labels. May be negative.

    Natarajan et al. 2013; Chowdhury et al. 2024.

    >>> clean, other, eps = 1.0, 3.0, 0.2
    >>> seen_right, seen_flipped = debiased(clean, other, eps), debiased(other, clean, eps)
    >>> round((1 - eps) * seen_right + eps * seen_flipped, 12)
    1.0
    """
    return ((1 - flip_rate) * loss - flip_rate * flipped) / (1 - 2 * flip_rate)


def mislabelled(z: Array, log_odds: Array | float) -> Array:
    """-log of (1 - e) * sigmoid(z) + e * sigmoid(-z), broadcasting: the answer was turned round with probability e.

    log_odds: of e, so that it can be learnt without bounds; far below zero nothing is turned. Chen et al. 2013.

    >>> import numpy as np
    >>> np.exp(-mislabelled(np.array([0.0, 100.0]), np.log(0.1 / 0.9))).round(6)
    array([0.5, 0.9])
    """
    xp = array_namespace(z)
    odds = log_odds + xp.zeros_like(z)
    return -xp.logaddexp(-logistic(-odds) - logistic(z), -logistic(odds) - logistic(-z))
