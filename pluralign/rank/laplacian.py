"""Systems of a weighted comparison graph: dense where small, iterative where large, factored where that is slow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack, solveh_banded
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
        self._band: _Band | None = None
        # Places of pairs in a dense matrix.
        self._at = i.astype(np.intp) * self.n + j if self.n <= DENSE else None
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
        cells = matrix.reshape(-1)
        cells[self._at] = -h
        cells[:: self.n + 1] = degree
        # Any positive number on a held diagonal leaves a sum-zero system consistent and makes it definite.
        matrix[held, held] += degree[held]
        # The upper half, read by columns, is LAPACK's lower one.
        factor, failed = lapack.dpotrf(matrix.T, lower=1, clean=0, overwrite_a=1)
        if failed:
            raise np.linalg.LinAlgError("the graph's matrix is not definite")
        return lambda b: np.asarray(lapack.dpotrs(factor, b, lower=1)[0])

    def settle(self) -> None:
        """Choose a factor at once where that is cheap: on a graph known to be long, where iterations crawl."""
        if self.n > DENSE and len(self.i) <= SPARSE * self.n:
            self.hard = self._banded().narrow

    def _banded(self) -> _Band:
        if self._band is None:
            self._band = _Band(self.pairs)
        return self._band

    def _factored(self, h: Array, degree: Array, held: NDArray[np.intp]) -> Solve:
        degree = degree.copy()
        degree[held] *= 2
        band = self._banded()
        if band.narrow:
            return band.solver(h, degree)
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


class _Band:
    """The matrix of a long and thin graph as a band around its diagonal, items in an order that keeps neighbours near.

    Cuthill and McKee 1969, reversed.
    """

    def __init__(self, pairs: Pairs) -> None:
        n = pairs.n
        upper = pairs.upper.copy()
        upper.data = np.ones(len(pairs.i))
        self._order = reverse_cuthill_mckee((upper + upper.T).tocsr(), symmetric_mode=True)
        place = np.empty(n, dtype=np.intp)
        place[self._order] = np.arange(n)
        i, j = place[pairs.i], place[pairs.j]
        gap = np.abs(i - j)
        self._width = int(gap.max(initial=0))
        self.narrow = self._width**2 <= 4 * len(gap)
        """Whether a band costs about what the pairs themselves do."""
        # The diagonal is the last row, and a pair lies above it in the column of its later item.
        self._at = (self._width - gap) * n + np.maximum(i, j)

    def solver(self, h: Array, degree: Array) -> Solve:
        """See `Laplacian.solver`."""
        order = self._order
        band = np.zeros((self._width + 1, len(order)))
        band.reshape(-1)[self._at] = -h
        band[-1] = degree[order]

        def solve(b: Array) -> Array:
            x = np.empty_like(b)
            x[order] = solveh_banded(band, b[order], check_finite=False)
            return x

        return solve
