"""Scores from random walks that move from losers to winners: one linear system, no iteration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import OptionError
from pluralign.rank.design import outcomes
from pluralign.rank.graph import graph
from pluralign.rank.votes import Counts

Array = NDArray[np.float64]

LARGEST = 2000
"""Items beyond which a walk, whose cost grows with their cube, is refused."""


def lsr(counts: Counts, alpha: float = 0.0) -> Array:
    """Luce spectral ranking: scores [n] in logits, mean zero; one step towards the maximum-likelihood scores.

    The walk leaves a loser for each of its winners at the rate of the votes between them over two. Ties are half wins
    each. alpha: a rate added for every pair of items, which also connects what votes do not. Maystre and Grossglauser
    2015. Raises `OptionError` where, without alpha, some item cannot be reached from another.

    >>> votes = Counts(["x", "y"], np.array([0]), np.array([1]), np.array([[3.0, 1.0, 0.0, 0.0]]))
    >>> lsr(votes).round(4)  # half of ln 3 each
    array([ 0.5493, -0.5493])
    """
    up, down = _wins(counts, alpha)
    return _scores(counts, up / 2, down / 2, alpha)


def rank_centrality(counts: Counts, alpha: float = 0.0) -> Array:
    """Rank centrality: as `lsr`, at the rate of the share of votes between the two that the winner got.

    Every pair that met counts alike, however often it met. Negahban, Oh and Shah 2012.

    >>> votes = Counts(["x", "y"], np.array([0]), np.array([1]), np.array([[3.0, 1.0, 0.0, 0.0]]))
    >>> rank_centrality(votes).round(4)
    array([ 0.5493, -0.5493])
    """
    up, down = _wins(counts, alpha)
    votes = np.maximum(up + down, np.finfo(float).tiny)
    return _scores(counts, up / votes, down / votes, alpha)


def _wins(counts: Counts, alpha: float) -> tuple[Array, Array]:
    if counts.n > LARGEST:
        raise OptionError(f"a walk over {counts.n:,} items takes too long; take Newton's method")
    if alpha < 0:
        raise OptionError(f"alpha is a rate and cannot be {alpha}")
    won = outcomes(counts.won, "half", "tie")
    if alpha == 0 and len(np.unique(graph(counts.n, counts.low, counts.high, won).block)) > 1:
        raise OptionError(
            "some items never lost to others, directly or through others, so the walk never leaves them; "
            "give alpha, such as 0.01, or take BradleyTerry, which names them"
        )
    half = won[:, 2] / 2
    return won[:, 0] + half, won[:, 1] + half


def _scores(counts: Counts, to_low: Array, to_high: Array, alpha: float) -> Array:
    rates = np.full((counts.n, counts.n), float(alpha))
    rates[counts.high, counts.low] += to_low
    rates[counts.low, counts.high] += to_high
    logs = np.log(stationary(rates))
    return np.asarray(logs - logs.mean())


def stationary(rates: Array) -> Array:
    """The distribution [n] that a walk leaving a for b at rate [a, b] settles into; the diagonal is ignored.

    By elimination of one state after another (Grassmann, Taksar and Heyman 1985): no subtraction, hence no
    cancellation, so that each entry is exact to rounding however small it is.

    >>> stationary(np.array([[0.0, 1.0], [3.0, 0.0]]))
    array([0.75, 0.25])
    """
    walk = rates.astype(np.float64, copy=True)
    np.fill_diagonal(walk, 0.0)
    n = len(walk)
    for k in range(n - 1, 0, -1):
        walk[:k, k] /= walk[k, :k].sum()
        walk[:k, :k] += np.outer(walk[:k, k], walk[k, :k])
    p = np.zeros(n)
    p[0] = 1.0
    for k in range(1, n):
        p[k] = p[:k] @ walk[:k, k]
    return np.asarray(p / p.sum())
