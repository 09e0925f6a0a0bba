"""Who can be compared with whom: what the votes must connect before scores exist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from pluralign.rank.votes import LEFT, RIGHT, TIE

ROUNDS = 6

LARGE = 1 << 17
"""Pairs from which a round with all of them costs more than choosing."""


@dataclass(frozen=True)
class Graph:
    """component: [n] items with one number met each other, directly or through others; scores of different components
    cannot be compared. block: [n] items with one number beat each other in a circle; a component of several blocks has
    no finite maximum-likelihood scores. unbeaten, winless: [n] items that never lost or tied, or never won or tied.
    """

    component: NDArray[np.int32]
    block: NDArray[np.int32]
    unbeaten: NDArray[np.bool_]
    winless: NDArray[np.bool_]
    near: bool = False
    """Whether a few steps, from loser to winner or back, lead from the first item to every other."""

    @property
    def infinite(self) -> NDArray[np.bool_]:
        """[n] items of components in which some maximum-likelihood scores would be infinite (Ford 1957)."""
        # A block lies in one component, so that the first item of each block counts it once.
        _, first = np.unique(self.block, return_index=True)
        return np.asarray(np.bincount(self.component[first])[self.component] > 1)

    @property
    def outside(self) -> NDArray[np.bool_]:
        """[n] items of such components that are not of its one largest block: what keeps their scores finite beside
        that block's is no vote."""
        size = np.bincount(self.block)[self.block]
        largest = np.zeros(int(self.component.max()) + 1, dtype=int)
        np.maximum.at(largest, self.component, size)
        at_top = size == largest[self.component]
        blocks = np.unique(np.stack([self.component, self.block])[:, at_top], axis=1)
        several = np.bincount(blocks[0], minlength=len(largest)) > 1
        return np.asarray(self.infinite & (~at_top | several[self.component]))


def graph(n: int, low: NDArray[np.int32], high: NDArray[np.int32], counts: NDArray[np.float64]) -> Graph:
    """The graph with an edge from loser to winner for every pair with such a vote, both ways for ties.

    low, high: pairs, sorted, none twice; counts: [m, 3] wins of low, wins of high, ties.
    """
    tied = counts[:, TIE] > 0
    up, down = (counts[:, LEFT] > 0) | tied, (counts[:, RIGHT] > 0) | tied
    to_low = _sparse(n, low, high, up)
    to_high = _sparse(n, low, high, down)
    # Where one circle of wins holds all, everybody beat somebody and lost to somebody.
    one, nobody = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=bool)
    if _reaches_all(to_low, to_high) and _reaches_all(to_high, to_low):
        return Graph(one, one, nobody, nobody, near=True)
    edges = (to_low + to_high.T).tocsr()
    blocks, block = connected_components(edges, directed=True, connection="strong")
    if blocks == 1:
        return Graph(one, one, nobody, nobody)
    _, component = connected_components(edges, directed=False)
    won = (np.bincount(low, up, n) + np.bincount(high, down, n)) > 0
    lost = (np.bincount(high, up, n) + np.bincount(low, down, n)) > 0
    return Graph(component, block, won & ~lost, lost & ~won)


def _sparse(n: int, low: NDArray[np.int32], high: NDArray[np.int32], edge: NDArray[np.bool_]) -> csr_array:
    """[n, n] with 1 at (low, high) where there is an edge; pairs are sorted, so that nothing is."""
    starts = np.searchsorted(low, np.arange(n + 1, dtype=low.dtype)).astype(np.int32)
    return csr_array((edge.astype(np.float32), high, starts), shape=(n, n))


def _reaches_all(one: csr_array, other: csr_array) -> bool:
    """Whether everything is reached from the first item in a few rounds, along the edges of one and those of other
    turned round.

    Well-mixed graphs, which are the large ones, answer at once. False also means that it would take longer.
    """
    n = one.shape[0]
    reached = np.zeros(n, dtype=np.float32)
    reached[0] = 1
    if one.nnz > LARGE:
        # What the first items were in leads nearly everywhere, and one round with all pairs does the rest.
        rows = n // 8
        part, back = one[:rows], other[:rows].T
        for _ in range(ROUNDS // 2):
            reached[:rows] += part @ reached
            reached += back @ reached[:rows]
            reached = np.minimum(reached, 1)
    back = other.T
    for _ in range(ROUNDS):
        more = np.minimum(reached + one @ reached + back @ reached, 1)
        if more.all():
            return True
        if (more == reached).all():
            return False
        reached = more
    return False
