"""Rules of voting on a table of all pairs: Borda, Copeland, minimax, Condorcet's winner, Smith's set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from pluralign.rank.pairwise import Pairwise

Array = NDArray[np.float64]


def borda(table: Pairwise) -> Array:
    """[n] votes won over all others, a tie half: how many items each voter put below, summed over voters.

    For ballots that hold all items; where items were met unequally often, `win_share` counts every opponent alike.
    Borda 1784.

    >>> borda(Pairwise.of([["a", "b", "c"]] * 4 + [["b", "c", "a"]] * 3 + [["c", "a", "b"]] * 2)).tolist()
    [10.0, 10.0, 7.0]
    """
    return np.asarray((table.wins + table.ties / 2).sum(1))


def win_share(table: Pairwise) -> Array:
    """[n] share of votes won, a tie half, averaged over the opponents that an item met; NaN where it met none.

    Borda's order on ballots that hold all items, and on votes of which every two items have equally many.

    >>> win_share(Pairwise.of([["a", "b", "c"], ["a", "c"]])).tolist()
    [1.0, 0.5, 0.0]
    """
    votes = table.votes
    met = votes > 0
    share = np.divide(table.wins + table.ties / 2, votes, out=np.zeros_like(votes), where=met)
    opponents = met.sum(1)
    return np.asarray(np.divide(share.sum(1), opponents, out=np.full(table.n, np.nan), where=opponents > 0))


def copeland(table: Pairwise) -> Array:
    """[n] others that a majority puts below, and half of those with which it is level or that it never met.

    Copeland 1951.

    >>> copeland(Pairwise.of([["a", "b", "c"], ["b", "a", "c"]])).tolist()
    [1.5, 1.5, 0.0]
    """
    margins = table.margins
    return np.asarray((margins > 0).sum(1) + ((margins == 0).sum(1) - 1) / 2)


def minimax(table: Pairwise) -> Array:
    """[n] votes of the worst defeat: the most that any other item has over each; the smallest is best.

    Simpson 1969, Kramer 1977; by votes against, not by margins.

    >>> minimax(Pairwise.of([["a", "b", "c"]] * 4 + [["b", "c", "a"]] * 3 + [["c", "a", "b"]] * 2)).tolist()
    [5.0, 6.0, 7.0]
    """
    return np.asarray(table.wins.max(0))


def condorcet_winner(table: Pairwise) -> str | None:
    """The item that a majority puts above each other one, if there is one.

    >>> condorcet_winner(Pairwise.of([["a", "b", "c"], ["b", "a", "c"], ["a", "c", "b"]]))
    'a'
    """
    beats = (table.margins > 0).sum(1) == table.n - 1
    return str(table.items[int(beats.argmax())]) if beats.any() else None


def smith_set(table: Pairwise) -> list[str]:
    """The smallest group of items of which each is put by a majority above every item outside it.

    One item if there is a Condorcet winner; items that go round in circles, or are level, stand in it together.
    Smith 1973.

    >>> smith_set(Pairwise.of([["a", "b", "c", "d"], ["b", "c", "a", "d"], ["c", "a", "b", "d"]]))
    ['a', 'b', 'c']
    """
    margins = table.margins
    not_beaten = margins >= 0
    np.fill_diagonal(not_beaten, False)
    _, circle = connected_components(csr_array(not_beaten), directed=True, connection="strong")
    # Whoever wins most majorities cannot be beaten from outside the group, so belongs to it.
    inside = circle == circle[int(copeland(table).argmax())]
    return [str(item) for item, there in zip(table.items, inside, strict=True) if there]
