"""What to ask next: the pairs whose votes would say most about a leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import entr, expit

from pluralign.errors import OptionError
from pluralign.rank.bradley_terry import BradleyTerry
from pluralign.rank.families import MASSES, NODES
from pluralign.rank.votes import Votes

Array = NDArray[np.float64]

LARGEST = 3000
"""Items beyond which the pairs, millions of them, are refused."""

FLOOR = 0.1
"""Share of Arena's votes that are drawn evenly, so that every pair stays possible."""

LOOKED = 64
"""Best pairs whose information is computed afresh at a time."""

BLOCK = 1 << 16
"""Pairs whose information is computed together, so that memory stays small."""


@dataclass
class _Board:
    """What is known so far. low, high: [m] all pairs; theta, covariance: the posterior; count, won: [m] votes of each
    pair and points of its low item; part: [n] which items are connected."""

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    theta: Array
    covariance: Array
    count: Array
    won: Array
    part: NDArray[np.int32]

    def joining(self) -> NDArray[np.bool_]:
        """[m] pairs that would connect two groups; all pairs where there is one group only."""
        apart: NDArray[np.bool_] = self.part[self.low] != self.part[self.high]
        return apart if apart.any() else ~apart

    def join(self, pair: int) -> None:
        one, other = self.part[self.low[pair]], self.part[self.high[pair]]
        self.part[self.part == other] = one


def next_pairs(
    data: Any,
    n: int,
    rule: Literal["information", "arena", "uniform"] = "information",
    *,
    items: Sequence[str] = (),
    spread: float = 1.5,
    seed: int = 0,
) -> pl.DataFrame:
    """The next n pairs to ask about, given the votes so far.

    data: anything `Votes.of` takes, or None where there are no votes yet. items: others that want votes, such as a new
    model. Items that votes do not connect are connected first, whatever the rule:

    - "information": pairs whose votes are expected to say most about the scores, in nats (Houlsby, Huszar, Ghahramani
      and Lengyel 2011), under Bradley-Terry with normal scores of standard deviation `spread` in logits. Each takes
      into account the pairs chosen before it, so that a batch is not one pair n times.
    - "arena": drawn with chances in proportion to how much one more vote shortens the interval of the pair's own win
      rate (Chiang and others 2024), one in ten evenly.
    - "uniform": drawn evenly.

    Returns a frame of `left`, `right` (sides by chance, for the first one shown has an advantage), `information` (nats,
    by the first rule), `chance` (of the pair in its draw, by the others: where win rates are averaged, weight votes by
    one over it). Expected information helps where items are many or spread out and votes few, and hardly where every
    pair has been asked often.

    >>> votes = {"winner": ["a", "a", "b", "b"], "loser": ["b", "b", "a", "a"]}
    >>> next_pairs(votes, 2, items=["c"]).select("left", "right").to_numpy().tolist()  # c is new
    [['c', 'a'], ['b', 'c']]
    """
    if n < 1 or spread <= 0:
        raise OptionError(f"n must be one or more and spread positive, got n={n} and spread={spread}")
    if rule not in ("information", "arena", "uniform"):
        raise OptionError(f"there is no rule '{rule}'; take information, arena or uniform")
    votes = None if data is None else Votes.of(data)
    names = [] if votes is None else list(votes.items)
    names += sorted(set(items) - set(names))
    if not 2 <= len(names) <= LARGEST:
        raise OptionError(f"pairs are chosen among 2 to {LARGEST:,} items, and there are {len(names):,}")
    rng = np.random.default_rng(seed)
    board = _board(names, votes, spread if rule == "information" else None)
    told: list[float] | list[None]
    chance: list[float] | list[None]
    if rule == "information":
        (chosen, told), chance = _informative(board, n, rng), [None] * n
    else:
        (chosen, chance), told = _drawn(board, n, rule == "arena", rng), [None] * n
    turned = rng.random(n) < 0.5
    left = np.where(turned, board.high[chosen], board.low[chosen])
    right = np.where(turned, board.low[chosen], board.high[chosen])
    return pl.DataFrame(
        {
            "left": [names[i] for i in left],
            "right": [names[i] for i in right],
            "information": pl.Series(told, dtype=pl.Float64),
            "chance": pl.Series(chance, dtype=pl.Float64),
        }
    )


def information(margin: Array, variance: Array) -> Array:
    """Nats that a vote is expected to tell about normal margins [m]: entropy of the vote less its mean entropy.

    >>> information(np.array([0.0, 0.0, 3.0]), np.array([0.01, 4.0, 4.0])).round(3).tolist()
    [0.001, 0.231, 0.126]
    """
    p = expit(margin[:, None] + np.sqrt(variance)[:, None] * NODES)
    mean = p @ MASSES
    return np.asarray(entr(mean) + entr(1 - mean) - (entr(p) + entr(1 - p)) @ MASSES)


def _board(names: list[str], votes: Votes | None, spread: float | None) -> _Board:
    """spread: of the prior; None leaves the posterior out."""
    n = len(names)
    low, high = np.triu_indices(n, 1)
    zero, prior = np.zeros(len(low)), (spread or 0.0) ** 2 * np.eye(n)
    board = _Board(low, high, np.zeros(n), prior, zero, zero.copy(), np.arange(n, dtype=np.int32))
    if votes is None or not len(votes):
        return board
    counts = votes.counts()
    i, j = counts.low.astype(np.intp), counts.high.astype(np.intp)
    pair = i * n - i * (i + 1) // 2 + j - i - 1
    board.count[pair] = counts.won.sum(1)
    board.won[pair] = counts.won[:, 0] + counts.won[:, 2:].sum(1) / 2
    edges = coo_array((np.ones(len(i)), (i, j)), shape=(n, n))
    board.part = connected_components(edges, directed=False)[1].astype(np.int32)
    if spread is not None:
        fitted = BradleyTerry(ridge=spread**-2).fit(replace(votes, items=names))
        board.theta, board.covariance = fitted.scores_, fitted.covariance("model")[:n, :n]
    return board


def _informative(board: _Board, n: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], list[float]]:
    """Pairs that tell most, one after another, as if each had been voted on, and what each tells."""
    low, high, c = board.low, board.high, board.covariance
    margin = board.theta[low] - board.theta[high]
    # Equal pairs are taken in random order.
    shuffle = 1 + 1e-9 * rng.random(len(low))

    def gain(pairs: NDArray[np.intp]) -> Array:
        i, j = low[pairs], high[pairs]
        return information(margin[pairs], c[i, i] + c[j, j] - 2 * c[i, j]) * shuffle[pairs]

    # More votes never make a pair tell more: what it told before is a bound, and only the best need a fresh look.
    bound = np.concatenate([gain(part) for part in np.array_split(np.arange(len(low)), len(low) // BLOCK + 1)])
    looked = min(LOOKED, len(low) - 1)
    chosen, told = np.empty(n, dtype=np.intp), []
    for k in range(n):
        possible = np.where(board.joining(), bound, -np.inf)
        while True:
            order = np.argpartition(-possible, looked)
            top = order[: looked + 1]
            top = top[np.isfinite(possible[top])]
            bound[top] = possible[top] = gain(top)
            best = int(top[np.argmax(possible[top])])
            if possible[best] >= possible[order[looked + 1 :]].max(initial=-np.inf):
                break
        chosen[k] = best
        told.append(float(bound[best]))
        board.join(best)
        i, j = low[best], high[best]
        along, p = c[i] - c[j], expit(margin[best])
        c -= np.outer(along, along) * (p * (1 - p) / (1 + p * (1 - p) * (along[i] - along[j])))
    return chosen, told


def _drawn(board: _Board, n: int, arena: bool, rng: np.random.Generator) -> tuple[NDArray[np.intp], list[float]]:
    """Pairs drawn evenly or by Arena's rule, and the chance that each had."""
    weight = np.ones(len(board.low))
    if arena:
        # Smoothed, so that pairs never asked about have a variance and a count.
        share, count = (board.won + 1) / (board.count + 2), board.count + 1
        weight = np.sqrt(share * (1 - share)) * (1 / np.sqrt(count) - 1 / np.sqrt(count + 1))
    chosen, chances = np.empty(n, dtype=np.intp), []
    apart = True
    for k in range(n):
        if apart:
            possible = board.joining()
            apart = not possible.all()
            chance = np.where(possible, weight, 0) / weight[possible].sum()
            if arena:
                chance = (1 - FLOOR) * chance + FLOOR * possible / possible.sum()
            edges = chance.cumsum()
        pair = int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))
        chosen[k] = pair
        chances.append(float(chance[pair]))
        board.join(pair)
    return chosen, chances
