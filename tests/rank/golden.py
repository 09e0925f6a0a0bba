"""The golden sets of the method cards, as votes."""

import numpy as np

from pluralign.rank import Votes

WINS = np.array([[0, 3, 2, 5], [1, 0, 4, 2], [2, 1, 0, 3], [0, 2, 2, 0]])
TIES = {(0, 1): 2, (0, 2): 1, (1, 2): 3, (2, 3): 2}
FIRST = np.array([[0, 2, 1, 3], [1, 0, 2, 1], [1, 1, 0, 2], [0, 1, 1, 0]])
"""Of `WINS`, those of the item shown first."""


def votes(rows, first=None):
    left, right, outcome = (np.array(column) for column in zip(*rows, strict=True))
    return Votes(
        ["0", "1", "2", "3"],
        left.astype(np.int32),
        right.astype(np.int32),
        outcome.astype(np.int8),
        first=None if first is None else np.array(first, dtype=np.int8),
    )


def g1(times=1):
    return votes([(i, j, 0) for i in range(4) for j in range(4) for _ in range(WINS[i, j] * times)])


def g2():
    decided = [(i, j, 0) for i in range(4) for j in range(4) for _ in range(WINS[i, j])]
    return votes(decided + [(i, j, 2) for (i, j), n in TIES.items() for _ in range(n)])


def g3():
    rows, first = [], []
    for i in range(4):
        for j in range(4):
            rows += [(i, j, 0)] * WINS[i, j]
            first += [0] * FIRST[i, j] + [1] * (WINS[i, j] - FIRST[i, j])
    return votes(rows, first)


G4 = [[0, 1, 2, 3], [1, 0, 3], [2, 0, 1], [0, 2], [3, 1, 0], [0, 1, 3, 2], [1, 2, 3], [0, 3, 1]]
"""Rankings, best first."""
