"""Scores in spite of corrupted or missing comparisons: log-odds as few factors and a few gross errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank.newton import NotConverged
from pluralign.rank.pairwise import Pairwise

Array = NDArray[np.float64]

STEPS = 5000
LEAST = 1e-6


class RobustPCA:
    """Log-odds of all pairs split into a matrix of low rank and a sparse one of gross errors.

    Bradley-Terry scores make log-odds theta_i - theta_j, a skew-symmetric matrix of rank two, whatever some
    comparisons say; so errors, even hostile ones, that touch few pairs of each item can be told apart, and pairs never
    compared filled in. rank: of the first matrix, even; above two it holds circles too. clip: win rates are kept this
    far from 0 and 1. threshold: errors are entries that miss the first matrix by more than so many spreads of the
    rest (their median absolute deviation, as a standard deviation).

    After `fit`: `items_`; `scores_` [n] in logits, mean zero; `low_rank_` and `sparse_` [n, n]; `certificate_`, the
    last change of any entry.

    CURATRON (Nguyen, Naman and Hoang 2024), by alternating projections (Netrapalli et al. 2014). Raises `FeedbackError`
    where pairs do not connect the items often enough, `NotConverged` rather than returning the last step.

    >>> theta = np.linspace(2, -2, 12)
    >>> odds = np.exp(theta[:, None] - theta[None])
    >>> wins = 100 * odds / (1 + odds)
    >>> wins[[0, 11], [11, 0]] = 5, 95  # the best is said to lose to the worst
    >>> np.fill_diagonal(wins, 0)
    >>> model = RobustPCA().fit(Pairwise([*"abcdefghijkl"], wins, np.zeros((12, 12))))
    >>> model.corrupted().row(0)[:2], round(float(np.abs(model.scores_ - theta).max()), 3)
    (('a', 'l'), 0.0)
    """

    def __init__(self, rank: int = 2, *, clip: float = 1e-3, threshold: float = 3.0) -> None:
        self.rank, self.clip, self.threshold = rank, clip, threshold

    def fit(self, data: Any) -> RobustPCA:
        """Fit to anything `Pairwise.of` takes."""
        if self.rank < 2 or self.rank % 2 or not 0 < self.clip < 0.5 or not self.threshold > 0:
            raise OptionError("rank is even and at least 2, clip lies between 0 and 0.5, threshold is above 0")
        table = Pairwise.of(data)
        votes = table.votes
        seen = votes > 0
        if (seen.sum(1) <= self.rank).any():
            item = table.items[int(seen.sum(1).argmin())]
            raise FeedbackError(
                f"'{item}' was compared with {int(seen.sum(1).min())} others, too few to tell errors by: rank "
                f"{self.rank} takes {self.rank + 1} at least; leave it out, or fit BradleyTerry"
            )
        share = np.divide(table.wins + table.ties / 2, votes, out=np.full_like(votes, 0.5), where=seen)
        odds = np.where(seen, logit(np.clip(share, self.clip, 1 - self.clip)), 0.0)
        self.items_ = [str(item) for item in table.items]
        self.low_rank_, self.sparse_, self.certificate_ = self._split(odds, seen)
        self.scores_: Array = self.low_rank_.mean(1)
        self.votes_ = votes
        return self

    def _split(self, odds: Array, seen: NDArray[np.bool_]) -> tuple[Array, Array, float]:
        low, errors = np.zeros_like(odds), np.zeros_like(odds)
        bar = float(np.abs(odds).max(initial=0.0))
        change = np.inf
        for _ in range(STEPS):
            rest = np.where(seen, odds - low, 0.0)
            spread = 1.4826 * float(np.median(np.abs(rest[seen])))
            # The bar falls as the fit improves, and stays above what is noise.
            bar = max(0.9 * bar, self.threshold * spread, LEAST)
            errors = np.where(np.abs(rest) > bar, rest, 0.0)
            # Pairs never compared, and those in error, follow the fit.
            fresh = _truncated(np.where(seen, odds - errors, low), self.rank)
            change, low = float(np.abs(fresh - low).max()), fresh
            if change < 1e-9 * max(1.0, bar) and bar <= max(self.threshold * spread, LEAST) * 1.001:
                return low, errors, change
        raise NotConverged(
            f"after {STEPS:,} steps low-rank log-odds still change by {change:.1e}; too many comparisons are missing "
            "or in error"
        )

    def predict_proba(self, a: ArrayLike, b: ArrayLike) -> Array:
        """P(a is put above b) for items by name, any shape, from the low-rank log-odds."""
        places = {item: i for i, item in enumerate(self.items_)}
        unknown = sorted({str(x) for x in np.ravel([*np.ravel(a), *np.ravel(b)]) if x not in places})
        if unknown:
            raise OptionError(f"'{unknown[0]}' is not among the {len(places):,} items that were ranked")
        i, j = (np.vectorize(places.__getitem__)(np.asarray(side, dtype=object)) for side in (a, b))
        return np.asarray(expit(self.low_rank_[i, j]))

    def corrupted(self) -> pl.DataFrame:
        """Pairs whose comparisons no low-rank log-odds explain, the grossest first: a, b, votes, share, expected.

        share: of votes that a won, as seen; expected: as the rest leads one to think. With few votes a pair, some of
        them are chance: of comparisons without any error a few in a hundred miss by three spreads where odds are long.
        """
        i, j = np.nonzero(np.triu(self.sparse_, 1))
        order = np.argsort(-np.abs(self.sparse_[i, j]), kind="stable")
        i, j = i[order], j[order]
        names = np.array(self.items_, dtype=object)
        return pl.DataFrame(
            {
                "a": pl.Series(names[i].tolist(), dtype=pl.String),
                "b": pl.Series(names[j].tolist(), dtype=pl.String),
                "votes": self.votes_[i, j],
                "share": expit(self.low_rank_ + self.sparse_)[i, j],
                "expected": expit(self.low_rank_)[i, j],
            }
        )


def _truncated(matrix: Array, rank: int) -> Array:
    """The nearest skew-symmetric matrix of this rank to a skew-symmetric one."""
    left, values, right = np.linalg.svd((matrix - matrix.T) / 2)
    low = (left[:, :rank] * values[:rank]) @ right[:rank]
    return np.asarray((low - low.T) / 2)
