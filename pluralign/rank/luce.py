"""Likelihood of rankings by Luce's choices, with derivatives: strict places in closed form, ties as unknown orders.

The best is chosen among all, the next among the rest, and so on. Items on one level were ranked in an order that was
not recorded: the probability is the sum over all orders. With U_i independent exponential times of rates exp(theta_i)
that is the chance that all of a level come before all below it, an integral over the time of the first one below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pluralign.rank.rankings import Rankings

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

# Trapezoids in log time. The integrand is analytic within pi/2 of the real line and falls off at least like exp(x) to
# the left and doubly exponentially to the right, so this spacing and range leave an error near 1e-16 of the value.
_NODES = np.arange(-38.0, 4.01, 0.25)


@dataclass(frozen=True)
class _Strict:
    """Rankings of one length: row [m], items [m, L]; chosen [m, L] where the item is alone on its level and not on the
    last one; place [m, L] of every item, where the rankings hold all of them."""

    row: Ints
    items: Ints
    chosen: NDArray[np.bool_]
    place: Ints | None


@dataclass(frozen=True)
class _Tied:
    """Levels of b items with r below them: row [m], items [m, b + r], those of the level first."""

    row: Ints
    items: Ints
    b: int


class Luce:
    """Plackett-Luce likelihood of R rankings of n items.

    Plackett 1975; ties as in the exact method for survival times (DeLong, Guirguis and So 1994).
    """

    def __init__(self, rankings: Rankings) -> None:
        self.n, self.rows = rankings.n, len(rankings)
        # Value, slope and curvature are asked for at the same scores one after another.
        self._last: tuple[Array, dict[int, tuple[Array, Array, Array]]] | None = None
        flat = rankings.flat.astype(np.int64)
        starts, ends = rankings.blocks()
        owner = rankings.owner[starts] if len(starts) else starts
        finish = rankings.offsets[1:][owner]
        size = np.repeat(ends - starts, ends - starts)
        last = np.repeat(ends == finish, ends - starts)
        chosen = (size == 1) & ~last
        self.strict = []
        for length in np.unique(rankings.lengths):
            row = np.flatnonzero(rankings.lengths == length)
            place = rankings.offsets[row][:, None] + np.arange(length)
            items = flat[place]
            whole = np.argsort(items, 1) if length == self.n else None
            self.strict.append(_Strict(row, items, chosen[place], whole))
        self.tied = []
        several = np.flatnonzero((ends - starts > 1) & (ends < finish))
        shape = np.stack([ends - starts, finish - starts], 1)[several]
        for b, total in np.unique(shape, axis=0):
            block = several[(shape == (b, total)).all(1)]
            place = starts[block][:, None] + np.arange(total)
            self.tied.append(_Tied(owner[block], flat[place], int(b)))

    def log_likelihood(self, theta: Array) -> Array:
        """[R], in nats."""
        out = np.zeros(self.rows)
        for part in self.strict:
            _, rest, s = self._odds(theta, part)
            out[part.row] = (np.where(part.chosen, s - np.log(rest), 0.0)).sum(1)
        for tied in self.tied:
            np.add.at(out, tied.row, _Integral(theta, tied).log)
        return out

    def gradients(self, theta: Array) -> tuple[Ints, Ints, Array]:
        """Derivatives of each ranking's log-likelihood by the scores of its items: row, item, value."""
        parts = []
        for part in self.strict:
            odds, rest, _ = self._odds(theta, part)
            inverse = np.cumsum(part.chosen / rest, 1)
            row = np.repeat(part.row, part.items.shape[1])
            parts.append((row, part.items.ravel(), (part.chosen - odds * inverse).ravel()))
        for tied in self.tied:
            row = np.repeat(tied.row, tied.items.shape[1])
            parts.append((row, tied.items.ravel(), _Integral(theta, tied).gradient().ravel()))
        row, item, value = (np.concatenate(column) for column in zip(*parts, strict=True))
        return row, item, value

    def gradient(self, theta: Array, weight: Array) -> tuple[float, Array]:
        """Negative log-likelihood of weighted rankings [R] and its derivative [n]."""
        value, slope = 0.0, np.zeros(self.n)
        for part in self.strict:
            odds, rest, s = self._odds(theta, part)
            w = weight[part.row][:, None]
            inverse = np.cumsum(part.chosen / rest, 1)
            value -= float((w * np.where(part.chosen, s - np.log(rest), 0.0)).sum())
            slope += gathered(part.items, w * (odds * inverse - part.chosen), self.n)
        for tied in self.tied:
            integral, w = _Integral(theta, tied), weight[tied.row]
            value -= float(w @ integral.log)
            slope -= gathered(tied.items, w[:, None] * integral.gradient(), self.n)
        return value, slope

    def hessian(self, theta: Array, weight: Array) -> Array:
        """Second derivative of the negative log-likelihood, [n, n]: the Laplacian of a graph with positive weights."""
        out = np.zeros(self.n * self.n)
        for part in self.strict:
            odds, rest, _ = self._odds(theta, part)
            seen = np.cumsum(weight[part.row][:, None] * part.chosen / rest**2, 1)
            if part.place is not None:
                out += self._whole(part.place, odds, seen).ravel()
                continue
            # Pairs by their upper place: what they share are the choices down to it.
            for a in range(part.items.shape[1] - 1):
                pair = part.items[:, a : a + 1] * self.n + part.items[:, a + 1 :]
                value = (odds[:, a] * seen[:, a])[:, None] * odds[:, a + 1 :]
                out += np.bincount(pair.ravel(), value.ravel(), self.n * self.n)
        for tied in self.tied:
            i, j = np.triu_indices(tied.items.shape[1], 1)
            mixed = _Integral(theta, tied).mixed()[:, i, j] * weight[tied.row][:, None]
            pair = tied.items[:, i] * self.n + tied.items[:, j]
            out += np.bincount(pair.ravel(), mixed.ravel(), self.n * self.n)
        edges = out.reshape(self.n, self.n)
        edges = edges + edges.T
        return np.asarray(np.diag(edges.sum(1)) - edges)

    def _whole(self, place: Ints, odds: Array, seen: Array) -> Array:
        """Upper half of the edges from rankings of all items, in columns of items."""
        # Sums down to the upper of two places are the smaller of the two, as they never fall.
        odds, seen = (np.asfortranarray(np.take_along_axis(v, place, 1)) for v in (odds, seen))
        out = np.zeros((self.n, self.n))
        for i in range(self.n - 1):
            out[i, i + 1 :] = odds[:, i] @ (np.minimum(seen[:, i : i + 1], seen[:, i + 1 :]) * odds[:, i + 1 :])
        return out

    def products(self, theta: Array, weight: Array) -> Callable[[Array], Array]:
        """A function that multiplies the second derivative by a vector [n], without the matrix."""
        strict = []
        for part in self.strict:
            odds, rest, _ = self._odds(theta, part)
            w = weight[part.row][:, None] * part.chosen
            strict.append((part.items, odds, odds * np.cumsum(w / rest, 1), w / rest**2))
        tied = [(t.items, _Integral(theta, t).mixed() * weight[t.row][:, None, None]) for t in self.tied]

        def product(v: Array) -> Array:
            out = np.zeros(self.n)
            for items, odds, once, twice in strict:
                u = v[items]
                out += gathered(items, u * once - odds * np.cumsum(twice * tails(odds * u), 1), self.n)
            for items, mixed in tied:
                u = v[items]
                out += gathered(items, mixed.sum(2) * u - np.einsum("mij,mj->mi", mixed, u), self.n)
            return out

        return product

    def diagonal(self, theta: Array, weight: Array) -> Array:
        """Diagonal of the second derivative [n]."""
        out = np.zeros(self.n)
        for part in self.strict:
            odds, rest, _ = self._odds(theta, part)
            p = weight[part.row][:, None] * part.chosen
            value = odds * np.cumsum(p / rest, 1) - odds**2 * np.cumsum(p / rest**2, 1)
            out += gathered(part.items, value, self.n)
        for tied in self.tied:
            mixed = _Integral(theta, tied).mixed() * weight[tied.row][:, None, None]
            out += gathered(tied.items, mixed.sum(2), self.n)
        return out

    def _odds(self, theta: Array, part: _Strict) -> tuple[Array, Array, Array]:
        """exp(theta) relative to the best of each ranking, its sums to the end, and its logarithm."""
        if self._last is None or not np.array_equal(self._last[0], theta):
            self._last = (theta.copy(), {})
        known = self._last[1]
        if id(part) not in known:
            s = theta[part.items]
            s -= s.max(1, keepdims=True)
            odds = np.exp(s)
            known[id(part)] = (odds, tails(odds), s)
        return known[id(part)]


def tails(values: Array) -> Array:
    """[m, L] sums from each place to the end."""
    return np.asarray(np.cumsum(values[:, ::-1], 1)[:, ::-1])


def gathered(items: Ints, values: Array, n: int) -> Array:
    """[n] sums of values by item."""
    return np.asarray(np.bincount(items.ravel(), values.ravel(), n), dtype=np.float64)


class _Integral:
    """P(all b of a level before all below) = integral of A exp(-A t) prod_i (1 - exp(-a_i t)) dt, A the sum below."""

    def __init__(self, theta: Array, tied: _Tied) -> None:
        s = theta[tied.items]
        b = tied.b
        top = s[:, b:].max(1, keepdims=True)
        below = np.exp(s[:, b:] - top)
        total = below.sum(1, keepdims=True)
        self.share = below / total  # [m, r]
        # Time in units of 1 / A: x = log(A t).
        t = np.exp(_NODES)
        rate = np.exp(np.minimum(s[:, :b] - top - np.log(total), 700.0))[:, :, None] * t  # [m, b, nodes]
        self.t = t
        logs = np.where(rate > 1e-300, np.log(-np.expm1(-np.maximum(rate, 1e-300))), -700.0)
        log = _NODES - t + logs.sum(1)
        peak = log.max(1, keepdims=True)
        mass = np.exp(log - peak)
        sums = mass.sum(1, keepdims=True)
        self.log = (peak + np.log(sums * (_NODES[1] - _NODES[0])))[:, 0]
        self.p = mass / sums  # [m, nodes]
        # Derivative of log(1 - exp(-a t)) by log a.
        self.pull = np.where(rate < 1e-12, 1.0, rate / np.expm1(np.clip(rate, 1e-12, 700.0)))

    def gradient(self) -> Array:
        """[m, b + r]"""
        level = np.einsum("mbk,mk->mb", self.pull, self.p)
        return np.concatenate([level, self.share * (self.p @ (1 - self.t))[:, None]], 1)

    def mixed(self) -> Array:
        """[m, b + r, b + r] second derivatives of the log-probability by two different scores; diagonal zero."""
        b = self.pull.shape[1]
        mean = np.einsum("mbk,mk->mb", self.pull, self.p)
        off = self.pull - mean[:, :, None]
        slack = 1 - self.t[None] - (self.p @ (1 - self.t))[:, None]
        size = b + self.share.shape[1]
        out = np.empty((len(self.p), size, size))
        weighted = off * self.p[:, None]
        out[:, :b, :b] = weighted @ off.transpose(0, 2, 1)
        cross = (weighted @ slack[:, :, None])[:, :, 0]
        out[:, :b, b:] = cross[:, :, None] * self.share[:, None]
        out[:, b:, :b] = out[:, :b, b:].transpose(0, 2, 1)
        # A log-probability falls with A like log A - A t, whose second derivative by two shares is -1.
        spread = (self.p * slack**2).sum(1) - 1
        out[:, b:, b:] = spread[:, None, None] * self.share[:, :, None] * self.share[:, None]
        out[:, np.arange(size), np.arange(size)] = 0.0
        return out
