"""Systems of a weighted comparison graph: dense where small, iterative where large, factored where that is slow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solveh_banded
from scipy.sparse import diags_array
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import splu

from pluralign.rank.pairs import Pairs

Array = NDArray[np.float64]
Solve = Callable[[Array], Array]

DENSE = 600
"""Up to so many items a dense factor costs less than anything clever."""

PATIENCE = 80
"""Conjugate-gradient steps after which the graph counts as hard (long and thin) and gets a factor instead."""


SPARSE = 32
"""Pairs an item up to which a graph may turn out to be long and thin."""


class Laplacian:
    """The matrices sum_k h_k (e_i - e_j)(e_i - e_j)^T + diag(extra) over fixed pairs i < j, sorted, none twice.

    component: [n] connected parts. In those without `extra` constants are in the null space; solutions have mean zero
    there, and right-hand sides are expected to sum to zero.
    """

    def __init__(self, i: NDArray[np.int32], j: NDArray[np.int32], component: NDArray[np.int32]) -> None:
        self.i, self.j, self.component, self.n = i, j, component, len(component)
        self.pairs = Pairs(i, j, self.n)
        self.hard = False
        self._order: NDArray[np.int32] | None = None
        self._sizes = np.bincount(component)
        # The first item of each component.
        one = len(self._sizes) == 1
        self._first = np.zeros(1, dtype=np.intp) if one else np.unique(component, return_index=True)[1]

    @property
    def exact(self) -> bool:
        """Whether solutions are, up to rounding."""
        return self.n <= DENSE or self.hard

    def solver(self, h: Array, extra: Array, tolerance: float) -> Solve:
        """x with (matrix) x = b, for b [n] or [n, q]; relative residual `tolerance` where the solver is iterative."""
        as_i, as_j = self.pairs.sums(h)
        degree = as_i + as_j + extra
        # An item without votes is a component of its own; any positive number keeps it where it is.
        degree[degree == 0] = 1.0
        # One item in each floating component is held at zero; the answer is centred afterwards.
        floating = np.bincount(self.component, extra) == 0
        held = self._first[floating]
        if self.n <= DENSE:
            raw = self._dense(h, degree, held)
        elif self.hard:
            raw = self._factored(h, degree, held)
        else:
            raw = self._iterative(h, degree, held, tolerance)
        return lambda b: self._centred(raw(b), floating)

    def _centred(self, x: Array, floating: NDArray[np.bool_]) -> Array:
        for column in x.T if x.ndim == 2 else [x]:
            mean = np.bincount(self.component, column) / self._sizes
            column -= np.where(floating, mean, 0.0)[self.component]
        return x

    def _dense(self, h: Array, degree: Array, held: NDArray[np.intp]) -> Solve:
        matrix = np.zeros((self.n, self.n))
        matrix[self.i, self.j] = -h
        matrix += matrix.T
        matrix[np.diag_indices(self.n)] = degree
        # Any positive number on a held diagonal leaves a sum-zero system consistent and makes it definite.
        matrix[held, held] += degree[held]
        factor = cho_factor(matrix, overwrite_a=True, check_finite=False)
        return lambda b: np.asarray(cho_solve(factor, b, check_finite=False))

    def settle(self) -> None:
        """Choose a factor at once where that is cheap: on a graph known to be long, where iterations crawl."""
        if self.n > DENSE and len(self.i) <= SPARSE * self.n:
            low, high, _ = self._ordered()
            self.hard = _narrow(low, high)

    def _ordered(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Places of the pairs' items in an order that keeps neighbours near each other, and that order."""
        if self._order is None:
            upper = self.pairs.upper.copy()
            upper.data = np.ones(len(self.i))
            self._order = reverse_cuthill_mckee((upper + upper.T).tocsr(), symmetric_mode=True)
        place = np.empty(self.n, dtype=np.int32)
        place[self._order] = np.arange(self.n, dtype=np.int32)
        i, j = place[self.i], place[self.j]
        return np.minimum(i, j), np.maximum(i, j), self._order

    def _factored(self, h: Array, degree: Array, held: NDArray[np.intp]) -> Solve:
        degree = degree.copy()
        degree[held] *= 2
        low, high, order = self._ordered()
        if _narrow(low, high):
            width = int((high - low).max())
            band = np.zeros((width + 1, self.n))
            band[width] = degree[order]
            band[width - (high - low), high] = -h

            def banded(b: Array) -> Array:
                x = np.empty_like(b)
                x[order] = solveh_banded(band, b[order], check_finite=False)
                return x

            return banded
        upper = self.pairs.upper.copy()
        upper.data = -h
        factor = splu((upper + upper.T + diags_array(degree)).tocsc(), permc_spec="MMD_AT_PLUS_A")
        return lambda b: np.asarray(factor.solve(b))

    def _iterative(self, h: Array, degree: Array, held: NDArray[np.intp], tolerance: float) -> Solve:
        def solve(b: Array) -> Array:
            if b.ndim == 2:
                return np.stack([solve(column) for column in b.T], 1)
            self.pairs.set(h)
            x = np.zeros(self.n)
            residual, scaled = b.copy(), b / degree
            direction, size = scaled.copy(), float(b @ scaled)
            goal = size * tolerance**2
            for _ in range(PATIENCE):
                if size <= goal:
                    return x
                image = degree * direction - self.pairs.neighbours(direction)
                along = size / float(direction @ image)
                x += along * direction
                residual -= along * image
                scaled = residual / degree
                previous, size = size, float(residual @ scaled)
                direction = scaled + (size / previous) * direction
            self.hard = True
            return self._factored(h, degree, held)(b)

        return solve


def _narrow(low: NDArray[np.int32], high: NDArray[np.int32]) -> bool:
    """Whether a band around the diagonal costs about what the pairs themselves do."""
    width = int((high - low).max(initial=0))
    return width * width <= 4 * len(low)
