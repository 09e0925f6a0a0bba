"""Elo: one number an item, moved a little after every vote."""

from __future__ import annotations

from math import exp, log

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from pluralign.errors import OptionError
from pluralign.rank.stream import Array, Batch, Stream


class Elo(Stream):
    """P(a beats b) = 1 / (1 + 10^((R_b - R_a) / scale)); after a vote R_a += k (points - P), and R_b loses as much.

    k: the most that one vote moves a rating; 4 is steady, 16 to 32 is quick. start: of items that join. order: points
    that the item shown first has over its rating (home advantage). A vote of weight w counts as w votes in a row, the
    steps being of equal size: ten times the weight pulls ten times as often, never ten times beyond the mark.

    Ratings depend on the order of votes; for a fixed set of them `BradleyTerry` is the better estimate. One update is
    one step of stochastic gradient descent on its loss. After `fit` or `update`: `ratings_` [n], whose sum only
    joining items change. Elo 1978.

    >>> games = {"a": ["x", "y", "x", "z"], "b": ["y", "z", "z", "x"], "winner": ["a", "a", "tie", "a"]}
    >>> board = Elo(k=4).fit(games)
    >>> dict(zip(board.items_, board.ratings_.round(4).tolist()))
    {'x': 999.9541, 'y': 1000.0115, 'z': 1000.0344}
    >>> board.update({"a": ["y"], "b": ["z"], "winner": ["a"]}).ratings_.round(2).tolist()
    [999.95, 1002.01, 998.03]
    """

    def __init__(self, *, k: float = 4.0, start: float = 1000.0, scale: float = 400.0, order: float = 0.0) -> None:
        self.k, self.start, self.scale, self.order = k, start, scale, order

    def _start(self) -> None:
        if self.k <= 0 or self.scale <= 0:
            raise OptionError(f"k and scale must be positive, got k={self.k} and scale={self.scale}")
        self.ratings_: Array = np.zeros(0)

    def _join(self, n: int) -> None:
        self.ratings_ = np.concatenate([self.ratings_, np.full(n, self.start)])

    @property
    def logits_(self) -> Array:
        """[n], in logits; items that join start at zero."""
        return np.asarray((self.ratings_ - self.start) * (log(10) / self.scale))

    @property
    def logit_deviations_(self) -> None:
        """Elo does not say how sure it is."""
        return

    @property
    def about_(self) -> str:
        """Which model this is."""
        return f"Elo with k = {self.k:g}, a tie as half a win each, votes in their order"

    def _follow(self, batch: Batch) -> Array:
        times = np.ceil(batch.weight).astype(np.intp)
        once = bool((times == 1).all())
        first = np.arange(len(times)) if once else np.repeat(np.arange(len(times)), times)
        step = (self.k * batch.weight / times)[first].tolist()
        left, right, points = batch.left[first].tolist(), batch.right[first].tolist(), batch.points[first].tolist()
        edge = (self.order * batch.side)[first].tolist()
        # Each vote needs the ratings that the one before it left, so this is a loop; over lists it is a quick one.
        ratings, unit, expected = self.ratings_.tolist(), log(10) / self.scale, [0.0] * len(left)
        for i, (a, b) in enumerate(zip(left, right, strict=True)):
            gap = (ratings[b] - ratings[a] - edge[i]) * unit
            expected[i] = p = 1 / (1 + exp(gap)) if gap < 700 else 0.0
            move = step[i] * (points[i] - p)
            ratings[a] += move
            ratings[b] -= move
        self.ratings_ = np.array(ratings)
        return np.asarray(np.array(expected)[np.cumsum(times) - times])

    def predict_proba(self, a: ArrayLike, b: ArrayLike) -> Array:
        """P(a wins), P(b wins), P(tie) for items by name, [..., 3]; Elo knows no ties, so the last is zero."""
        i, j = np.broadcast_arrays(self.index(a), self.index(b))
        p = expit((self.ratings_[i] - self.ratings_[j]) * (log(10) / self.scale))
        return np.stack([p, 1 - p, np.zeros_like(p)], -1)
