"""The point of a polyhedron that is nearest to the origin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]


def least_norm(rows: Array, bounds: Array, tolerance: float = 1e-9) -> Array | None:
    """x [d] of least Euclidean norm with rows [m, d] @ x >= bounds [m], or None where no x is.

    Least-distance programming by non-negative least squares, exact up to rounding (Lawson and Hanson 1974, ch. 23).

    >>> least_norm(np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([2.0, 0.0])).round(6).tolist()
    [1.0, 1.0]
    >>> least_norm(np.array([[1.0], [-1.0]]), np.array([1.0, 1.0])) is None
    True
    """
    stacked = np.vstack([rows.T, bounds])
    target = np.zeros(len(stacked))
    target[-1] = 1.0
    factors, left = nnls(stacked, target, maxiter=30 * stacked.shape[1])
    if left <= tolerance:
        return None
    rest = stacked @ factors - target
    return np.asarray(-rest[:-1] / rest[-1])
