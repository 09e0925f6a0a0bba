"""Kemeny's order: the one that fewest votes contradict. Exact where circles are small or easy, else with a bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from pluralign.rank.linear_ordering import LARGEST, linear_order

Array = NDArray[np.float64]
Order = NDArray[np.intp]

EXACT = 16
"""Items that stand in one circle of majorities up to which all orders are compared, by subsets."""
STARTS = 20


@dataclass(frozen=True)
class Kemeny:
    """order: [n] items, best first. cost: votes of pairs that contradict it. bound: no order has fewer."""

    order: Order
    cost: float
    bound: float

    @property
    def exact(self) -> bool:
        """Whether no order is better."""
        return self.cost <= self.bound * (1 + 1e-12) + 1e-9


def kemeny(above: ArrayLike, exact: int = EXACT, seed: int = 0) -> Kemeny:
    """The order of n items that contradicts the fewest of the votes above [n, n], of the row over the column.

    Items whom majorities do not connect in circles stand as majorities say (Truchon 1998); the order within a circle is
    found among all where it has up to `exact` items (Held and Karp 1962), else by moving single items while that helps,
    from several starts, and then by linear programs (`linear_ordering`), which mostly prove it best. The bound of
    circles too large for those counts the smaller side of each pair, and for circles of three majorities, no margin
    used twice, the least margin.

    >>> kemeny([[0, 3, 2], [1, 0, 3], [2, 1, 0]])
    Kemeny(order=array([0, 1, 2]), cost=4.0, bound=4.0)
    """
    votes = np.array(above, dtype=np.float64)
    np.fill_diagonal(votes, 0.0)
    order: list[Order] = []
    bound = float(np.minimum(votes, votes.T).sum() / 2)
    rng = np.random.default_rng(seed)
    for inside in _circles(votes):
        part = votes[np.ix_(inside, inside)]
        if len(inside) <= exact:
            found = _by_subsets(part)
            bound += cost(part, found) - float(np.minimum(part, part.T).sum() / 2)
        else:
            found = _by_moves(part, rng)
            if 2 < len(inside) <= LARGEST:
                found, least = linear_order(part, found)
                bound += least - float(np.minimum(part, part.T).sum() / 2)
            else:
                bound += _circle_bound(part)
        order.append(inside[found])
    whole = np.concatenate(order)
    return Kemeny(whole, cost(votes, whole), bound)


def cost(above: Array, order: Order) -> float:
    """Votes that put a later item above an earlier one."""
    return float(np.tril(above[np.ix_(order, order)], -1).sum())


def _circles(votes: Array) -> list[Order]:
    """Groups of items that beat each other in circles, in an order that no majority is against."""
    count, label = connected_components(csr_array(votes > votes.T), directed=True, connection="strong")
    beats = np.zeros((count, count), dtype=bool)
    i, j = np.nonzero(votes > votes.T)
    beats[label[i], label[j]] = True
    np.fill_diagonal(beats, False)
    # Where nothing decides between groups, those that lead by more votes stand higher.
    lead = np.bincount(label, votes.sum(1) - votes.sum(0)) / np.bincount(label)
    above, waiting, groups = beats.sum(0), np.ones(count, dtype=bool), []
    for _ in range(count):
        free = np.flatnonzero(waiting & (above == 0))
        group = int(free[lead[free].argmax()])
        waiting[group] = False
        above = above - beats[group]
        groups.append(np.flatnonzero(label == group))
    return groups


def _by_subsets(votes: Array) -> Order:
    """The best order of every subset from those of its subsets with one item less."""
    n = len(votes)
    subsets = np.arange(1 << n)
    size = np.zeros(1 << n, dtype=np.int8)
    for i in range(n):
        size += ((subsets >> i) & 1).astype(np.int8)
    best = np.full(1 << n, np.inf)
    last = np.zeros(1 << n, dtype=np.int8)
    best[0] = 0.0
    # Votes for each item over the subset before it.
    over = np.zeros((n, 1 << n))
    for i in range(n):
        bit = 1 << i
        over[:, bit : 2 * bit] = over[:, :bit] + votes[:, i : i + 1]
    for k in range(n):
        now = subsets[size == k]
        for j in range(n):
            free = now[(now >> j) & 1 == 0]
            grown = free | (1 << j)
            total = best[free] + over[j, free]
            better = total < best[grown]
            best[grown[better]], last[grown[better]] = total[better], j
    order, left = [], (1 << n) - 1
    while left:
        order.append(int(last[left]))
        left ^= 1 << order[-1]
    return np.array(order[::-1], dtype=np.intp)


def _by_moves(votes: Array, rng: np.random.Generator) -> Order:
    """The best of several orders that moving one item cannot improve."""
    won = votes.sum(1) - votes.sum(0)
    spread = float(won.std())
    found = [_moved(votes, np.argsort(-won, kind="stable"))]
    found += [_moved(votes, np.argsort(-(won + spread * rng.normal(size=len(won))))) for _ in range(STARTS - 1)]
    return min(found, key=lambda order: cost(votes, order))


def _moved(votes: Array, order: Order) -> Order:
    gap = votes - votes.T
    moved = True
    while moved:
        moved = False
        for item in order.copy():
            rest = order[order != item]
            at = int(np.flatnonzero(order == item)[0])
            # Votes gained over standing last, by where the item is put.
            gain = np.append(np.cumsum(gap[item, rest][::-1])[::-1], 0.0)
            best = int(gain.argmax())
            if gain[best] > gain[at] + 1e-9:
                order = np.insert(rest, best, item)
                moved = True
    return order


def _circle_bound(votes: Array) -> float:
    """What circles of three majorities cost any order, over the smaller side of every pair."""
    margin = np.maximum(votes - votes.T, 0.0)
    total = 0.0
    for i, j in np.argwhere(margin > 0):
        while margin[i, j] > 0:
            way = np.minimum(margin[j], margin[:, i])
            k = int(way.argmax())
            least = min(float(way[k]), float(margin[i, j]))
            if least <= 0:
                break
            total += least
            margin[i, j] -= least
            margin[j, k] -= least
            margin[k, i] -= least
    return total
