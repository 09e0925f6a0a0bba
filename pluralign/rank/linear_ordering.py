"""The linear ordering problem by linear programs with cutting planes: orders with a proof of how good they are."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

Array = NDArray[np.float64]
Order = NDArray[np.intp]

LARGEST = 60
"""Items up to which programs are made; a number for every three of more takes minutes."""
WHOLE = 30
"""Items up to which a program that fractions do not settle is solved in whole numbers."""
ROUNDS, CUTS, NODES = 25, 2000, 300


def linear_order(votes: Array, order: Order) -> tuple[Order, float]:
    """An order of n items that contradicts few votes [n, n] of the row over the column, and a bound for all orders.

    order: one to start from. Programs are over x_ij = 1 where i stands above j, i < j; only circles that appeared so
    far are forbidden (Groetschel, Juenger and Reinelt 1984), so that every program's value is a lower bound. First in
    fractions, then, where these do not settle it and items are few, in whole numbers.

    >>> linear_order(np.array([[0.0, 3, 2], [1, 0, 3], [2, 1, 0]]), np.array([2, 1, 0]))
    (array([0, 1, 2]), 4.0)
    """
    n = len(votes)
    low, high = np.triu_indices(n, 1)
    # Standing above costs the votes of the other.
    price, base = votes[high, low] - votes[low, high], float(votes[low, high].sum())
    place = np.zeros((n, n), dtype=np.intp)
    place[low, high] = np.arange(len(low))
    i, j, k = np.array(list(combinations(range(n), 3)), dtype=np.intp).reshape(-1, 3).T
    sides = np.stack([place[i, j], place[j, k], place[i, k]], axis=1)
    forbidden = np.zeros(len(sides), dtype=bool)
    paid, bound = _cost(votes, order), 0.0
    whole = bool(np.array_equal(votes, np.round(votes)))
    for integral in (False, True) if n <= WHOLE else (False,):
        for _ in range(ROUNDS):
            least, x = _program(price, sides[forbidden], integral)
            bound = max(bound, float(np.ceil(least + base - 1e-6)) if whole else least + base)
            if x is None:
                return order, bound
            above = np.zeros((n, n))
            above[low, high], above[high, low] = x, 1 - x
            rounded = np.argsort(-above.sum(1), kind="stable")
            if _cost(votes, rounded) < paid:
                order, paid = rounded, _cost(votes, rounded)
            if paid <= bound + 1e-9 * max(1.0, paid):
                return order, paid
            turn = x[sides] @ TURN
            broken = np.maximum(turn - 1, -turn)
            worst = np.argsort(-broken, kind="stable")[:CUTS]
            worst = worst[broken[worst] > 1e-6]
            if not len(worst):
                break
            forbidden[worst] = True
    return order, bound


TURN = np.array([1.0, 1.0, -1.0])
"""x_ij + x_jk - x_ik is 0 or 1 in every order, 2 or -1 in a circle."""


def _program(price: Array, cuts: NDArray[np.intp], integral: bool) -> tuple[float, Array | None]:
    """A lower bound of the program with these circles forbidden, and its solution, None where none was found."""
    rows = csr_array((np.tile(TURN, len(cuts)), cuts.ravel(), 3 * np.arange(len(cuts) + 1)), (len(cuts), len(price)))
    found = milp(
        price,
        integrality=np.full(len(price), int(integral)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(rows, 0, 1)],
        options={"node_limit": NODES},
    )
    least = found.mip_dual_bound if integral else found.fun
    return (-np.inf if least is None else float(least)), found.x


def _cost(votes: Array, order: Order) -> float:
    return float(np.tril(votes[np.ix_(order, order)], -1).sum())
