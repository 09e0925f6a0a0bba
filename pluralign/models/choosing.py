"""Choosing how much a model may say from losses held out."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pluralign.intervals import clustered_t

ONE_ERROR = 0.6827
"""Level of an interval of one standard error either way."""

Number = TypeVar("Number", int, float)


def fewest(losses: dict[Number, NDArray[np.float64]], who: NDArray[np.int64]) -> Number:
    """The smallest number within one standard error of the lowest mean loss, of the difference, people as the units.

    losses: [n] of the same held-out answers for each number tried; who: [n], whose they are.

    >>> who = np.arange(4)
    >>> fewest({1: np.array([1.0, 2, 3, 4]), 2: np.array([0.0, 1, 2, 3]), 3: np.array([0.1, 0.8, 2.0, 3.0])}, who)
    2
    """
    best = min(losses, key=lambda k: float(losses[k].mean()))
    for k in sorted(losses):
        if k == best or (len(np.unique(who)) > 1 and clustered_t(losses[k] - losses[best], who, ONE_ERROR)[0] <= 0):
            return k
    return best
