"""HodgeRank: what part of the votes one score explains, and how much runs in circles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import lsmr

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank.laplacian import Laplacian
from pluralign.rank.newton import NotConverged
from pluralign.rank.pairwise import Pairwise, votes_or_rankings

Array = NDArray[np.float64]

TRIANGLES = 3_000_000
"""The most triangles that circulation is split over."""
PATHS = 20_000_000
"""The most paths over two pairs among which triangles are looked for; more take gigabytes."""


@dataclass(frozen=True)
class Flow:
    """By how much items lead each other, split into three orthogonal parts.

    n: items. low, high: [m] distinct pairs, low < high, sorted. value: [m] by how much low leads high. weight: [m]
    positive. Energies are sums of weight times square. `gradient` [m] is the part that differences of one `potential`
    [n] explain, `curl` the part that runs in circles of three, `harmonic` the part that runs only in longer ones.

    Jiang, Lim, Yao and Ye 2011.

    >>> circle = Flow(3, np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([1.0, -1.0, 1.0]), np.ones(3))
    >>> circle.cyclicity, [round(share, 6) for share in circle.shares]
    (1.0, [0.0, 1.0, 0.0])
    """

    n: int
    low: NDArray[np.int32]
    high: NDArray[np.int32]
    value: Array
    weight: Array

    def __post_init__(self) -> None:
        key = self.low.astype(np.int64) * self.n + self.high
        if not (self.low < self.high).all() or not (key[1:] > key[:-1]).all():
            raise OptionError("a flow takes pairs with the low item first, in order, none twice")

    @cached_property
    def component(self) -> NDArray[np.int32]:
        """[n] items that pairs connect have one number."""
        edges = csr_array((np.ones(len(self.low)), (self.low, self.high)), shape=(self.n, self.n))
        return np.asarray(connected_components(edges, directed=False)[1], dtype=np.int32)

    def potentials(self, value: Array) -> Array:
        """[n] or [n, q]: least-squares scores of flows [m] or [m, q] on these pairs, mean zero in every component."""
        weighted = (self.weight * value.T).T
        net = np.zeros((self.n, *value.shape[1:]))
        np.add.at(net, self.low, weighted)
        np.subtract.at(net, self.high, weighted)
        system = Laplacian(self.low.astype(np.int32), self.high.astype(np.int32), self.component)
        return np.asarray(system.solver(self.weight, np.zeros(self.n), 1e-13)(net))

    @cached_property
    def potential(self) -> Array:
        """[n] scores whose differences come closest to the flow, mean zero in every component."""
        return self.potentials(self.value)

    @cached_property
    def gradient(self) -> Array:
        """[m] differences of the potential."""
        return np.asarray(self.potential[self.low] - self.potential[self.high])

    @property
    def paths(self) -> int:
        """How many paths i < j < k over two pairs there are."""
        return int(np.bincount(self.low, minlength=self.n)[self.high].sum())

    @cached_property
    def triangles(self) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """[t, 3] places of the pairs ij, jk and ik of items i < j < k that all met, and the signs of one turn.

        Raises `OptionError` for more than `PATHS`.
        """
        if self.paths > PATHS:
            raise OptionError(f"{self.paths:,} paths are too many to look for circles in; take fewer items")
        start = np.searchsorted(self.low, np.arange(self.n + 1))
        out = np.diff(start)[self.high]
        total = self.paths
        # All paths i < j < k; those whose ends met as well are triangles.
        first = np.repeat(np.arange(len(self.low)), out)
        second = np.repeat(start[self.high] - np.cumsum(out) + out, out) + np.arange(total)
        key = self.low.astype(np.int64) * self.n + self.high
        ends = self.low[first].astype(np.int64) * self.n + self.high[second]
        third = np.minimum(np.searchsorted(key, ends), len(key) - 1)
        closed = key[third] == ends if total else np.zeros(0, bool)
        sides = np.stack([first[closed], second[closed], third[closed]], axis=1)
        return sides, np.array([1, 1, -1], dtype=np.int8)

    @cached_property
    def curl(self) -> Array:
        """[m] the part of the rest that runs in triangles.

        Raises `OptionError` for more than `TRIANGLES`, `NotConverged` where least squares does not arrive.
        """
        sides, turn = self.triangles
        rest = np.sqrt(self.weight) * (self.value - self.gradient)
        if not len(sides) or not rest.any():
            return np.zeros(len(self.low))
        if len(sides) > TRIANGLES:
            raise OptionError(
                f"{len(sides):,} triangles are too many to tell circles of three from longer ones; the share of both "
                "together is cyclicity"
            )
        # Columns are triangles: the space of all circulations around them, in units where energy is a plain square.
        entries = np.tile(turn, len(sides)) / np.sqrt(self.weight[sides.ravel()])
        column = np.repeat(np.arange(len(sides)), 3)
        turns = csr_array((entries, (sides.ravel(), column)), shape=(len(self.low), len(sides)))
        found = lsmr(turns, rest, atol=1e-14, btol=1e-14, conlim=0, maxiter=20 * sum(turns.shape))[0]
        part = turns @ found
        left = float(np.abs(turns.T @ (rest - part)).max())
        if left > 1e-7 * np.sqrt(float(rest @ rest)):
            raise NotConverged(f"splitting circles left {left:.1e} of circulation in triangles; compare fewer items")
        return np.asarray(part / np.sqrt(self.weight))

    @cached_property
    def harmonic(self) -> Array:
        """[m] the part that no score and no triangle explains."""
        return np.asarray(self.value - self.gradient - self.curl)

    def energy(self, part: Array) -> float:
        """Weighted sum of squares."""
        return float(self.weight @ part**2)

    @property
    def cyclicity(self) -> float:
        """The share of energy that no score explains: 0 where one score explains everything, 1 where none anything."""
        total = self.energy(self.value)
        return max(0.0, 1 - self.energy(self.gradient) / total) if total else 0.0

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of energy of gradient, curl and harmonic part."""
        total = self.energy(self.value) or 1.0
        parts = self.gradient, self.curl, self.harmonic
        return tuple(self.energy(part) / total for part in parts)  # type: ignore[return-value]


class HodgeRank:
    """Scores by least squares on how far pairs lead each other, and how far the votes are from having any.

    flow: how far a pair leads, "margin" (wins less losses over votes) or "logit" (log-odds of winning, ties half, with
    half a win and half a loss added). Every pair weighs as much as it has votes.

    After `fit`: `items_`; `scores_` [n], mean zero in every component, in the unit of the flow; `flow_`, a `Flow`;
    `cyclicity_`, the share of the flow's energy that runs in circles. Votes are few, so some of it is always noise:
    `cyclicity.cyclicity_test` says how much one would see without any circle.

    >>> model = HodgeRank().fit([["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]])
    >>> round(model.cyclicity_, 6), model.circles(1).row(0)[:3]
    (1.0, ('a', 'b', 'c'))
    """

    def __init__(self, flow: Literal["margin", "logit"] = "margin") -> None:
        self.flow = flow

    def fit(self, data: Any) -> HodgeRank:
        """Fit to anything `Pairwise.of` takes."""
        if self.flow not in ("margin", "logit"):
            raise OptionError(f"flow is 'margin' or 'logit', not '{self.flow}'")
        self.data_ = data if isinstance(data, Pairwise) else votes_or_rankings(data)
        table = Pairwise.of(self.data_)
        self.items_ = list(table.items)
        low, high = (side.astype(np.int32) for side in np.nonzero(np.triu(table.votes, 1)))
        if not len(low):
            raise FeedbackError("no two items were compared, so there is nothing to rank by")
        value = lead(self.flow, table.wins[low, high], table.wins[high, low], table.ties[low, high])
        self.flow_ = Flow(table.n, low, high, value, table.votes[low, high])
        self.scores_: Array = self.flow_.potential
        self.cyclicity_: float = self.flow_.cyclicity
        return self

    def circles(self, most: int = 20) -> pl.DataFrame:
        """Items that beat each other in circles of three, those whose leads add up to most first.

        Columns a, b, c (a leads b leads c leads a); turn, the sum of the three leads, of which a score explains
        nothing; weakest, the smallest of them; votes, those of the pair with the fewest.
        """
        sides, _ = self.flow_.triangles
        value = self.flow_.value[sides] * np.array([1.0, 1.0, -1.0])
        cyclic = (value > 0).all(1) | (value < 0).all(1)
        sides, value = sides[cyclic], value[cyclic]
        order = np.argsort(-np.abs(value.sum(1)), kind="stable")[:most]
        sides, value = sides[order], value[order]
        corner = np.stack([self.flow_.low[sides[:, 0]], self.flow_.high[sides[:, 0]], self.flow_.high[sides[:, 1]]], 1)
        backwards = value.sum(1) < 0
        corner[backwards] = corner[backwards][:, [0, 2, 1]]
        names = np.array(self.items_, dtype=object)[corner]
        columns = {name: pl.Series(names[:, i].tolist(), dtype=pl.String) for i, name in enumerate("abc")}
        return pl.DataFrame(
            {
                **columns,
                "turn": np.abs(value.sum(1)),
                "weakest": np.abs(value).min(1, initial=np.inf),
                "votes": self.flow_.weight[sides].min(1, initial=np.inf),
            }
        )


def lead(flow: str, wins: Array, losses: Array, ties: Array) -> Array:
    """By how much the first item of each pair leads the second, from weighted counts of any shape."""
    if flow == "margin":
        return np.asarray((wins - losses) / (wins + losses + ties))
    return np.asarray(np.log((wins + ties / 2 + 0.5) / (losses + ties / 2 + 0.5)))
