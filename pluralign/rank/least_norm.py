"""The point of a polyhedron that is nearest to the origin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear, nnls

from pluralign.rank.newton import NotConverged

Array = NDArray[np.float64]

EMPTY = 1e-9
"""Multipliers that add up to a contradiction to this accuracy prove that there is no point."""
SLACK = 1e-7


def least_norm(rows: Array, bounds: Array) -> Array | None:
    """x [d] of least Euclidean norm with rows [m, d] @ x >= bounds [m], or None where no x is.

    Least-distance programming by non-negative least squares (Lawson and Hanson 1974, ch. 23). Both answers are
    checked: a point against all rows, and that there is none by multipliers that contradict each other. Raises
    `NotConverged` where rounding leaves neither.

    >>> least_norm(np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([2.0, 0.0])).round(6).tolist()
    [1.0, 1.0]
    >>> least_norm(np.array([[1.0], [-1.0]]), np.array([1.0, 1.0])) is None
    True
    """
    stacked = np.vstack([rows.T, bounds])
    target = np.zeros(len(stacked))
    target[-1] = 1.0
    # The quick solver loses its way where many rows meet in one point; the other one takes over there.
    for solve in (_quick, _sure):
        factors = solve(stacked, target)
        if factors is None:
            continue
        rest = stacked @ factors - target
        if float(rest @ rest) <= EMPTY**2:
            return None
        if rest[-1] < 0:
            point = -rest[:-1] / rest[-1]
            if (rows @ point >= bounds - SLACK * max(1.0, float(np.abs(bounds).max()))).all():
                return np.asarray(point)
    raise NotConverged("no nearest point was found; numbers of very different size meet in these rows")


def _quick(stacked: Array, target: Array) -> Array | None:
    try:
        return np.asarray(nnls(stacked, target, maxiter=30 * stacked.shape[1])[0])
    except RuntimeError:
        # It gave up on its iterations, which is no answer either way.
        return None


def _sure(stacked: Array, target: Array) -> Array:
    return np.asarray(lsq_linear(stacked, target, bounds=(0, np.inf), method="bvls", tol=1e-15).x)
