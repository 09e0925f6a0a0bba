"""Items as chains of moments: who is linked to whom over time, and systems of such chains joined by votes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import coo_array

from pluralign.rank.newton import NotConverged

Array = NDArray[np.float64]
Solve = Callable[[Array, float], Array]

TINY = 1e-10
"""Moments between which an item drifts by less variance than this, in squared logits, are one moment."""

PATIENCE = 2000
"""Conjugate-gradient steps before a system counts as unsolvable."""


@dataclass(frozen=True)
class Chains:
    """V moments, sorted by item and time; every item has one at least.

    item: [V]. time: [V], NaN for items without votes. link: [V - 1] inverse of the variance of the change between a
    moment and the next, 0 where the next belongs to another item. first: [n] place of every item's first moment.
    variance: [n] of the change of each item in a unit of time.
    """

    item: NDArray[np.intp]
    time: Array
    link: Array
    first: NDArray[np.intp]
    variance: Array

    def __len__(self) -> int:
        return len(self.item)

    def before(self, item: NDArray[np.intp], time: Array) -> NDArray[np.intp]:
        """The last moment of an item that is not after the time, or its first one where all are."""
        known = np.nan_to_num(self.time, nan=0.0)
        low, span = known.min(), max(float(np.ptp(known)), 1.0)
        # Items lie end to end on one axis, so that one search serves all of them.
        axis = self.item * (2 * span) + (known - low)
        asked = item * (2 * span) + np.clip(time - low, -span / 2, span)
        return np.asarray(np.maximum(np.searchsorted(axis, asked, side="right") - 1, self.first[item]))

    def bridge(self, item: NDArray[np.intp], time: Array) -> tuple[NDArray[np.intp], NDArray[np.intp], Array, Array]:
        """Items at times [m] as (1 - share) * rating[k] + share * rating[after] + noise: k, after, share, variance.

        Between two moments the noise is that of a Brownian bridge, beyond them that of free motion.
        """
        k = self.before(item, time)
        after = np.minimum(k + 1, len(self) - 1)
        inside = (self.item[after] == self.item[k]) & (after > k) & (time > self.time[k])
        gap = np.where(inside, self.time[after] - self.time[k], 1.0)
        share = np.where(inside, (time - self.time[k]) / gap, 0.0)
        # Items without votes have no moment from which they could drift.
        away = np.where(inside, gap * share * (1 - share), np.nan_to_num(np.abs(time - self.time[k])))
        return k, after, share, self.variance[self.item[k]] * away

    def flow(self, rating: Array) -> Array:
        """[V - 1] pull between neighbours."""
        return np.asarray(self.link * (rating[1:] - rating[:-1]))

    def add_links(self, values: Array) -> Array:
        """Values [V] plus the links on both sides of every moment."""
        values = values.copy()
        values[1:] += self.link
        values[:-1] += self.link
        return values


def chains(item: NDArray[np.int32], time: Array, variance: Array) -> tuple[Chains, NDArray[np.intp]]:
    """Chains of n = len(variance) items that are met at these times [M], and the moment of each meeting [M]."""
    n = len(variance)
    absent = np.setdiff1d(np.arange(n), item)
    who, when = np.concatenate([item, absent]), np.concatenate([time, np.full(len(absent), np.nan)])
    order = np.lexsort((when, who))
    who, when = who[order], when[order]
    start = np.concatenate(([True], who[1:] != who[:-1]))
    since = np.nan_to_num(when - when[start][np.cumsum(start) - 1])
    bucket = np.floor(since * variance[who] / TINY)
    fresh = start | np.concatenate(([False], bucket[1:] != bucket[:-1]))
    place = np.empty(len(who), dtype=np.intp)
    place[order] = np.cumsum(fresh) - 1
    who, when = who[fresh], when[fresh]
    same = who[1:] == who[:-1]
    gap = np.where(same, np.diff(when) * variance[who[1:]], 1.0)
    link = np.where(same, 1 / np.maximum(gap, TINY), 0.0)
    made = Chains(who.astype(np.intp), when, link, np.searchsorted(who, np.arange(n)), variance)
    return made, place[: len(item)]


class System:
    """The matrices sum_k h_k (e_a - e_b)(e_a - e_b)^T + links + diag(own) over the moments of chains.

    a, b: [m] moments that votes join. own: [V], positive on at least one moment of every connected part.
    """

    def __init__(self, made: Chains, a: NDArray[np.intp], b: NDArray[np.intp], h: Array, own: Array) -> None:
        v = len(made)
        self.chains, self.own = made, own + np.bincount(a, h, v) + np.bincount(b, h, v)
        rows, columns = np.concatenate([a, b]), np.concatenate([b, a])
        self._votes = coo_array((np.concatenate([h, h]), (rows, columns)), shape=(v, v)).tocsr()
        self._diagonal = made.add_links(self.own)
        pivots, ratios, info = lapack.dpttrf(self._diagonal, -made.link)
        if info != 0:
            raise NotConverged("the curvature of the whole history is not positive; some ratings may be infinite")
        self._pivots, self._ratios = pivots, ratios

    def chain_solve(self, b: Array) -> Array:
        """Every chain solved by itself, as if the others stood still; b [V]."""
        return np.asarray(lapack.dpttrs(self._pivots, self._ratios, b)[0])

    def apply(self, x: Array) -> Array:
        """The matrix times x [V]."""
        y = self._diagonal * x
        y -= self._votes @ x
        y[1:] -= self.chains.link * x[:-1]
        y[:-1] -= self.chains.link * x[1:]
        return np.asarray(y)

    def dense(self) -> Array:
        """The matrix [V, V]."""
        matrix = np.diag(self._diagonal) - self._votes.toarray()
        matrix -= np.diag(self.chains.link, 1) + np.diag(self.chains.link, -1)
        return np.asarray(matrix)

    def solve(self, b: Array, tolerance: float, start: Array | None = None) -> Array:
        """x with (matrix) x = b for b [V] or [V, q], by conjugate gradients from chains solved one by one.

        tolerance: of the residual relative to b, measured by the chains' own inverse. start: a guess of x. Raises
        `NotConverged`.
        """
        if b.ndim == 2:
            guesses: list[Array | None] = [None] * b.shape[1] if start is None else list(start.T)
            return np.stack([self.solve(one, tolerance, x) for one, x in zip(b.T, guesses, strict=True)], 1)
        x = np.zeros(len(b)) if start is None else start.copy()
        goal = float(b @ self.chain_solve(b)) * tolerance**2
        residual = b.copy() if start is None else b - self.apply(x)
        scaled = self.chain_solve(residual)
        direction, size = scaled.copy(), float(residual @ scaled)
        for _ in range(PATIENCE):
            if size <= goal:
                return x
            image = self.apply(direction)
            along = size / float(direction @ image)
            x += along * direction
            residual -= along * image
            scaled = self.chain_solve(residual)
            previous, size = size, float(residual @ scaled)
            direction *= size / previous
            direction += scaled
        raise NotConverged(f"conjugate gradients did not solve a system of {len(b):,} moments in {PATIENCE} steps")

    def chain_variance(self) -> tuple[Array, Array]:
        """Diagonal [V] and next-to-diagonal [V - 1] of the inverse of every chain by itself."""
        own, link = self.own.tolist(), self.chains.link.tolist()
        v = len(own)
        # What the past and the future say about each moment, as precisions: sums of positive numbers lose no digits.
        past, future = [0.0] * v, [0.0] * v
        for i in range(1, v):
            told = past[i - 1] + own[i - 1]
            past[i] = link[i - 1] * told / (link[i - 1] + told) if link[i - 1] else 0.0
        for i in range(v - 2, -1, -1):
            told = future[i + 1] + own[i + 1]
            future[i] = link[i] * told / (link[i] + told) if link[i] else 0.0
        before, after = np.array(past), np.array(future)
        variance = 1 / (self.own + before + after)
        told = (self.own + before)[:-1]
        share = np.divide(self.chains.link, self.chains.link + told, out=np.zeros(v - 1), where=self.chains.link > 0)
        return variance, variance[1:] * share
