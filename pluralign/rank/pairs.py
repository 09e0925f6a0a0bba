"""Sums over the pairs of a comparison graph, quick for millions of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Array = NDArray[np.float64]

BLOCK = 1 << 14
"""Pairs gathered at a time, so that they stay in the cache."""

FEW = 1 << 14
"""Up to so many pairs a product costs less than its call."""


class Pairs:
    """Fixed pairs i < j of n items, sorted by i, none twice: [m] each.

    As rows of a sparse matrix, whose products are the quickest sums at hand that take pairs in any order of j.
    """

    def __init__(self, i: NDArray[np.int32], j: NDArray[np.int32], n: int) -> None:
        self.i, self.j, self.n = i, j, n
        starts = np.searchsorted(i, np.arange(n + 1, dtype=np.int32)).astype(np.int32)
        self.upper = csr_array((np.zeros(len(i)), j, starts), shape=(n, n))
        self._lower = self.upper.T
        self._lengths = np.diff(starts)
        self._one = np.ones(n)

    def difference(self, values: Array) -> Array:
        """values of i minus those of j: [m]."""
        difference = np.repeat(values, self._lengths)
        for start in range(0, len(difference), BLOCK):
            inside = slice(start, start + BLOCK)
            # Places are in range, and clipping them costs less than asking.
            difference[inside] -= values.take(self.j[inside], mode="clip")
        return difference

    def sums(self, values: Array) -> tuple[Array, Array]:
        """Of values [m], over the pairs in which an item is i, and over those in which it is j: [n] each."""
        if len(values) < FEW:
            return sums(self.i, self.j, values, self.n)
        self.set(values)
        return self.upper @ self._one, self._lower @ self._one

    def set(self, values: Array) -> None:
        """Values [m] for `neighbours`."""
        self.upper.data = values
        self._lower.data = values

    def neighbours(self, x: Array) -> Array:
        """For every item the sum over its pairs of the pair's value times x of the other item: [n]."""
        return np.asarray(self.upper @ x + self._lower @ x)


def sums(i: NDArray[np.int32], j: NDArray[np.int32], values: Array, n: int) -> tuple[Array, Array]:
    """Of values [m], over the rows in which an item is i, and over those in which it is j: [n] each."""
    return np.asarray(np.bincount(i, values, n), float), np.asarray(np.bincount(j, values, n), float)
