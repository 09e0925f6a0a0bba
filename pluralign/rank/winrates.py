"""What share of its votes each item won against each other one, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from pluralign.intervals import score_intervals
from pluralign.rank.votes import LEFT, RIGHT, TIE, Votes

Array = NDArray[np.float64]

SHARE = np.array([1.0, 0.0, 0.5, 0.5])
"""What a vote gives the left item, by outcome."""


def win_rates(data: Any, *, level: float = 0.95) -> pl.DataFrame:
    """One row for every pair of items that met.

    Columns a, b; a_wins, b_wins, ties (both bad among them), votes; share, that of its votes that a won, a tie being
    half; low, high, its Wilson interval. Votes of one annotator on one pair are not independent: where the votes know
    who cast them and somebody did so again, whole annotators are the units, as in `intervals.clustered_wilson`.
    data: anything `Votes.of` takes.

    >>> board = {"model_a": ["x", "x", "y"], "model_b": ["y"] * 2 + ["x"], "winner": ["x", "tie", "x"]}
    >>> win_rates(board).select("a", "b", "votes", "share").row(0)
    ('x', 'y', 3.0, 0.8333333333333334)
    """
    votes = Votes.of(data)
    counts = votes.counts()
    won = counts.won
    total, ties = won.sum(1), won[:, TIE:].sum(1)
    share = (won[:, LEFT] + ties / 2) / total
    n, groups = total.copy(), np.full(len(total), np.inf)
    if votes.annotator is not None:
        n, groups = _effective(votes, counts.low.astype(np.int64) * counts.n + counts.high, share, total)
    tail = (1 - level) / 2
    few = np.isfinite(groups) & (groups > 1)
    z = np.where(few, -stdtrit(np.where(few, groups - 1, 1), tail), -ndtri(tail))
    low, high = score_intervals(share * n, n, z)
    names = np.array(list(counts.items), dtype=object)
    return pl.DataFrame(
        {
            "a": pl.Series(names[counts.low].tolist(), dtype=pl.String),
            "b": pl.Series(names[counts.high].tolist(), dtype=pl.String),
            "a_wins": won[:, LEFT],
            "b_wins": won[:, RIGHT],
            "ties": ties,
            "votes": total,
            "share": share,
            "low": low,
            "high": high,
        }
    )


def _effective(votes: Votes, pairs: NDArray[np.int64], share: Array, total: Array) -> tuple[Array, Array]:
    """[m] independent votes that each pair's are worth, and annotators behind them, infinite where all are different.

    pairs: [m] their keys, sorted; share, total: [m] what a won and of how many votes.
    """
    assert votes.annotator is not None
    n = len(votes.items)
    low, high = np.minimum(votes.left, votes.right).astype(np.int64), np.maximum(votes.left, votes.right)
    pair = np.searchsorted(pairs, low * n + high)
    value = SHARE[votes.outcome]
    value = np.where(votes.left > votes.right, 1 - value, value)
    weight = np.ones(len(votes)) if votes.weight is None else votes.weight
    # An annotator who is not known stands for themselves.
    unknown = votes.annotator < 0
    who = np.where(unknown, votes.annotator.max() + 1 + np.arange(len(votes)), votes.annotator).astype(np.int64)
    _, group = np.unique(pair * (int(who.max()) + 1) + who, return_inverse=True)
    first = np.zeros(int(group.max()) + 1, dtype=np.int64)
    first[group] = pair
    groups = np.bincount(first, minlength=len(pairs)).astype(np.float64)
    residual = np.bincount(group, weight * (value - share[pair]))
    between = np.bincount(first, residual**2, len(pairs))
    within = np.bincount(pair, weight * (value - share[pair]) ** 2, len(pairs))
    alone = groups == total
    seen = (groups > 1) & (within > 0)
    ratio = np.divide(between, within, out=np.ones(len(pairs)), where=within > 0)
    effect = np.maximum(1.0, ratio * groups / np.maximum(groups - 1, 1))
    worth = np.where(seen, total / effect, np.minimum(groups, total))
    return np.where(alone, total, worth), np.where(alone | ~seen, np.inf, groups)
