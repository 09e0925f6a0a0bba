"""Annotators with known parameters: how often they say that response i is better than response j.

A preference is an array [..., R, R] of such chances, one R x R table a prompt; its diagonal is one half. Where people
may call two responses equal, what is missing from P_ij + P_ji = 1 is the chance of a tie.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.errors import OptionError

Array = NDArray[np.float64]


def bradley_terry(reward: ArrayLike) -> Array:
    """One crowd that chooses i over j with chance sigmoid(r_i - r_j). reward: [..., R].

    >>> bradley_terry([0.0, 1.0]).round(4)
    array([[0.5   , 0.2689],
           [0.7311, 0.5   ]])
    """
    return _sigmoid(_gaps(reward))


def certain(reward: ArrayLike) -> Array:
    """Everybody always prefers the response of larger reward; of equals either. reward: [..., R].

    >>> certain([0.0, 1.0])
    array([[0.5, 0. ],
           [1. , 0.5]])
    """
    return (np.sign(_gaps(reward)) + 1) / 2


def with_ties(reward: ArrayLike, threshold: float = 0.5) -> Array:
    """People who say "as good" of what is close: Rao and Kupper 1967, P(i wins) = sigmoid(r_i - r_j - threshold).

    >>> said = with_ties([0.0, 0.0], 0.5)
    >>> round(float(1 - said[0, 1] - said[1, 0]), 6)  # the chance of a tie
    0.244919
    """
    if threshold <= 0:
        raise OptionError(f"threshold must be above 0, got {threshold}; without ties use bradley_terry")
    said = _sigmoid(_gaps(reward) - threshold)
    return np.asarray(np.where(np.eye(said.shape[-1], dtype=bool), 0.5, said))


def flipped(preference: ArrayLike, rate: float) -> Array:
    """The same annotators, each answer turned round with chance `rate`; ties stay ties.

    >>> flipped(certain([0.0, 1.0]), 0.1)[1, 0]
    np.float64(0.9)
    """
    if not 0 <= rate <= 1:
        raise OptionError(f"a flip rate is a chance, from 0 to 1; got {rate}")
    said = np.asarray(preference, dtype=np.float64)
    return np.asarray((1 - rate) * said + rate * np.swapaxes(said, -1, -2))


def plural(preferences: Sequence[ArrayLike], shares: ArrayLike) -> Array:
    """A crowd of several groups, each of a share of the people; nobody says to which group they belong.

    >>> plural([certain([0.0, 1.0]), certain([1.0, 0.0])], [0.7, 0.3])[1, 0]
    np.float64(0.7)
    """
    share = np.asarray(shares, dtype=np.float64)
    if share.shape != (len(preferences),) or (share < 0).any() or not np.isclose(share.sum(), 1):
        raise OptionError(
            f"shares must be one a group and sum to 1; got {share.tolist()} for {len(preferences)} groups"
        )
    return np.asarray(np.tensordot(share, np.stack([np.asarray(p, dtype=np.float64) for p in preferences]), 1))


def _gaps(reward: ArrayLike) -> Array:
    r = np.asarray(reward, dtype=np.float64)
    return np.asarray(r[..., :, None] - r[..., None, :])


def _sigmoid(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-z)))
