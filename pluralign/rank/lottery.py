"""Maximal lotteries: the randomised winner where majorities go round in circles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.rank.least_norm import least_norm
from pluralign.rank.pairwise import Pairwise

Array = NDArray[np.float64]

SLACK = 1e-7
"""Chances below this are rounding."""


def maximal_lottery(data: Any) -> Array:
    """[n] chances of each item such that no item is expected to have a majority against the one drawn.

    An optimal strategy of the game whose pay-off are the margins, so the item itself where there is a Condorcet winner,
    and nothing for items outside Smith's set. It does not change when an item is entered twice. Where several
    lotteries are maximal, which takes level majorities, the most even one is taken: items that votes treat alike have
    alike chances. data: anything `Pairwise.of` takes. Raises `NotConverged` where rounding leaves none.

    Kreweras 1965, Fishburn 1984.

    >>> profile = [["a", "b", "c"]] * 4 + [["b", "c", "a"]] * 3 + [["c", "a", "b"]] * 2
    >>> (9 * maximal_lottery(profile)).round(6).tolist()
    [5.0, 1.0, 3.0]
    """
    margins = Pairwise.of(data).margins
    scale = float(np.abs(margins).max(initial=0.0))
    n = len(margins)
    if scale == 0:
        return np.full(n, 1 / n)
    game = margins / scale
    # Not behind any item, no negative chance, and chances that sum to one, as two inequalities.
    ones = np.ones((1, n))
    rows = np.vstack([game.T, np.eye(n), ones, -ones])
    bounds = np.concatenate([np.zeros(2 * n), [1, -1]])
    lottery = least_norm(rows, bounds)
    # The value of a symmetric game is zero (von Neumann 1928), so that there is always a point.
    assert lottery is not None
    lottery = np.where(lottery > SLACK, lottery, 0.0)
    return np.asarray(lottery / lottery.sum())
