"""Rankings with ties as outcomes of their own: Davidson's model of tied pairs carried over to levels of any size.

From a set A the next level is a subset S of k items with weight delta_k (prod of worths in S)^(1/k), delta_1 = 1, among
all subsets of the sizes that occur (Turner, van Etten, Firth and Kosmidis 2020). Pairs give Davidson's model with
nu = delta_2. The sums over subsets are elementary symmetric polynomials of worths^(1/k).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pluralign.rank.rankings import Rankings

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Stages:
    """Choices from m items left: row [s], items [s, m] with the chosen ones first, size [s] how many these are."""

    row: Ints
    items: Ints
    size: Ints


@dataclass(frozen=True)
class _Part:
    """What a group of stages says: log-likelihood [s]; mean and observed features [s, m] of items and [s, orders] of
    sizes; second moments [s, m, m] and [s, m, orders] where asked for."""

    log: Array
    mean: Array
    seen: Array
    mean_size: Array
    seen_size: Array
    items: Array | None = None
    cross: Array | None = None


class DavidsonLuce:
    """Likelihood of rankings with parameters theta [n], then log delta_k for every size k > 1 that occurs."""

    def __init__(self, rankings: Rankings) -> None:
        self.n, self.rows = rankings.n, len(rankings)
        starts, ends = rankings.blocks()
        owner = rankings.owner[starts]
        finish = rankings.offsets[1:][owner]
        # A last item alone is no choice, nor are candidates that were only left below.
        said = np.where(ends < finish, True, ~rankings.unranked_below[owner] & (ends - starts > 1))
        starts, ends, finish, owner = starts[said], ends[said], finish[said], owner[said]
        self.orders = [int(k) for k in np.unique(ends - starts) if k > 1]
        self.stages = []
        for m in np.unique(finish - starts):
            use = np.flatnonzero(finish - starts == m)
            items = rankings.flat.astype(np.int64)[starts[use][:, None] + np.arange(m)]
            self.stages.append(_Stages(owner[use], items, (ends - starts)[use]))

    def log_likelihood(self, x: Array) -> Array:
        """[R], in nats."""
        out = np.zeros(self.rows)
        for stage in self.stages:
            np.add.at(out, stage.row, self._part(x, stage).log)
        return out

    def gradients(self, x: Array) -> tuple[Ints, Ints, Array]:
        """Derivatives of each ranking's log-likelihood: row, parameter, value."""
        parts = []
        for stage in self.stages:
            part = self._part(x, stage)
            m, orders = stage.items.shape[1], len(self.orders)
            parts.append((np.repeat(stage.row, m), stage.items.ravel(), (part.seen - part.mean).ravel()))
            sizes = np.tile(self.n + np.arange(orders), len(stage.row))
            parts.append((np.repeat(stage.row, orders), sizes, (part.seen_size - part.mean_size).ravel()))
        row, place, value = (np.concatenate(column) for column in zip(*parts, strict=True))
        return row, place, value

    def gradient(self, x: Array, weight: Array) -> tuple[float, Array]:
        """Negative log-likelihood of weighted rankings [R] and its derivative."""
        value, slope = 0.0, np.zeros(len(x))
        for stage in self.stages:
            part, w = self._part(x, stage), weight[stage.row]
            value -= float(w @ part.log)
            pull = w[:, None] * (part.mean - part.seen)
            slope[: self.n] += np.bincount(stage.items.ravel(), pull.ravel(), self.n)
            slope[self.n :] += w @ (part.mean_size - part.seen_size)
        return value, slope

    def hessian(self, x: Array, weight: Array) -> Array:
        """Second derivative of the negative log-likelihood: covariance of the features of what could be chosen."""
        n, q = self.n, len(self.orders)
        out = np.zeros((n + q, n + q))
        for stage in self.stages:
            part, w = self._part(x, stage, second=True), weight[stage.row]
            assert part.items is not None
            assert part.cross is not None
            spread = w[:, None, None] * (part.items - part.mean[:, :, None] * part.mean[:, None])
            pair = stage.items[:, :, None] * n + stage.items[:, None]
            out[:n, :n] += np.bincount(pair.ravel(), spread.ravel(), n * n).reshape(n, n)
            cross = w[:, None, None] * (part.cross - part.mean[:, :, None] * part.mean_size[:, None])
            for k in range(q):
                column = np.bincount(stage.items.ravel(), cross[:, :, k].ravel(), n)
                out[:n, n + k] += column
                out[n + k, :n] += column
            sizes = np.einsum("sk,sl->kl", w[:, None] * part.mean_size, part.mean_size)
            out[n:, n:] += np.diag(w @ part.mean_size) - sizes
        return out

    def _part(self, x: Array, stage: _Stages, second: bool = False) -> _Part:
        s = x[stage.items]
        s = s - s.max(1, keepdims=True)
        count, m = s.shape
        delta = np.exp(x[self.n :])
        places = np.arange(m) < stage.size[:, None]
        seen = np.where(places, 1 / stage.size[:, None], 0.0)
        seen_size = (stage.size[:, None] == np.array(self.orders, dtype=np.int64)).astype(np.float64)
        single = np.exp(s)
        total, mean = single.sum(1), single.copy()
        pairs = np.zeros((count, m, m)) if second else None
        cross = np.zeros((count, m, len(self.orders))) if second else None
        sizes = np.zeros((count, len(self.orders)))
        if pairs is not None:
            pairs[:, np.arange(m), np.arange(m)] = single
        for place, (k, weight) in enumerate(zip(self.orders, delta, strict=True)):
            if k > m:
                break
            worth = np.exp(s / k)
            e = _symmetric(worth, k)
            without = _without(e[:, :, None], worth, k - 1)
            sizes[:, place] = weight * e[:, k]
            chosen = weight / k * worth * without[:, -1]
            total += sizes[:, place]
            mean += chosen
            if pairs is not None and cross is not None:
                cross[:, :, place] = chosen
                both = _without(without[:, :, :, None], worth[:, None], k - 2)[:, -1]
                both = weight / k**2 * worth[:, :, None] * worth[:, None] * both
                both[:, np.arange(m), np.arange(m)] = chosen / k
                pairs += both
        log = (seen * s).sum(1) + seen_size @ x[self.n :] - np.log(total)
        return _Part(
            log,
            mean / total[:, None],
            seen,
            sizes / total[:, None],
            seen_size,
            None if pairs is None else pairs / total[:, None, None],
            None if cross is None else cross / total[:, None, None],
        )


def _symmetric(worth: Array, k: int) -> Array:
    """Elementary symmetric polynomials of degrees 0 to k of [s, m]: [s, k + 1]."""
    e = np.zeros((len(worth), k + 1))
    e[:, 0] = 1.0
    for column in worth.T:
        e[:, 1:] += column[:, None] * e[:, :-1].copy()
    return e


def _without(e: Array, worth: Array, degree: int) -> Array:
    """Polynomials of degrees 0 to `degree` when one more item is left out: [s, degree + 1, ...] from [s, k, ..., 1].

    Worths are at most one, so the differences lose digits only against a total that counts the best item as one.
    """
    out = [np.broadcast_to(1.0, np.broadcast_shapes(e[:, 0].shape, worth.shape))]
    for r in range(1, degree + 1):
        out.append(e[:, r] - worth * out[-1])
    return np.stack(out, 1)
