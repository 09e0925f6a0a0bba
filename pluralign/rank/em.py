"""Expectation-maximisation for mixtures: any model of one taste, several at once, from several starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from pluralign.rank.newton import NotConverged

Array = NDArray[np.float64]

ROUNDS = 5000
"""Rounds after which a search that is still gaining is an error."""


class Taste(Protocol):
    """Data of U people, and a model of one taste with parameters [p]."""

    people: int

    def log_likelihood(self, x: Array) -> Array:
        """[U], in nats."""

    def prior(self, x: Array) -> float:
        """Log of the prior density, up to a constant."""

    def improved(self, x: Array, weight: Array) -> Array:
        """Parameters no less likely for people weighted [U], prior included; the optimum in the limit."""


@dataclass(frozen=True)
class Mix:
    """x: [k, p] parameters by taste. log_share: [k]. objective: log-likelihood plus priors, in nats. history: the
    objective round by round."""

    x: Array
    log_share: Array
    objective: float
    history: Array


def joint(taste: Taste, x: Array, log_share: Array) -> Array:
    """[U, k] log of the chance of each person's data together with each taste."""
    return np.stack([taste.log_likelihood(row) for row in x], 1) + log_share


def search(taste: Taste, x: Array, log_share: Array, gain: float) -> Mix:
    """Rounds of expectation and maximisation until one gains no more than `gain` nats.

    Dempster, Laird and Rubin 1977, with the squared extrapolation of Varadhan and Roland 2008: where three points in a
    row say that the way is long, the search jumps ahead, and stays where it was if that is no better. Raises
    `NotConverged`.
    """
    k = len(x)

    def pack(x: Array, log_share: Array) -> Array:
        return np.concatenate([x.ravel(), log_share])

    def value(state: Array) -> tuple[float, Array]:
        x, log_share = state[:-k].reshape(k, -1), state[-k:] - logsumexp(state[-k:])
        both = joint(taste, x, log_share)
        total = logsumexp(both, axis=1)
        prior = sum(taste.prior(row) for row in x)
        return float(total.sum()) + prior, np.exp(both - total[:, None])

    def maximised(state: Array, r: Array) -> Array:
        x = state[:-k].reshape(k, -1)
        new = np.stack([taste.improved(x[c], r[:, c]) for c in range(k)])
        # A taste that nobody has left keeps a share too small to matter, so that its logarithm exists.
        return pack(new, np.log(np.maximum(r.mean(0), 1e-12)))

    start = pack(x, log_share)
    found, r = value(start)
    history = [found]
    for _ in range(ROUNDS):
        one = maximised(start, r)
        first, r_one = value(one)
        history.append(first)
        if first - found <= gain:
            return Mix(one[:-k].reshape(k, -1), one[-k:] - logsumexp(one[-k:]), first, np.array(history))
        two = maximised(one, r_one)
        second, r_two = value(two)
        history.append(second)
        step, bend = one - start, two - 2 * one + start
        start, found, r = two, second, r_two
        length = float(np.linalg.norm(step)) / max(float(np.linalg.norm(bend)), 1e-300)
        if length > 1:
            ahead = two - 2 * step - bend + 2 * length * step + length**2 * bend
            # A leap may land where scores overflow; it is then not taken.
            with np.errstate(all="ignore"):
                jumped, r_jumped = value(ahead)
            if np.isfinite(jumped) and jumped > second:
                history.append(jumped)
                start, found, r = ahead, jumped, r_jumped
    raise NotConverged(f"after {ROUNDS:,} rounds the likelihood still rises; ask for fewer groups, or a larger ridge")


def best(
    taste: Taste, draw: Callable[[np.random.Generator], Array], k: int, restarts: int, seed: int, gain: float
) -> tuple[Mix, Array]:
    """The best of several searches, carried on until a round gains no more than `gain` nats, and what each had reached
    where it was left, [restarts].

    draw: a generator -> parameters [k, p] to start from. Every search starts with equal shares.
    """
    mixes = []
    shares = np.full(k, -np.log(k))
    for child in np.random.SeedSequence(seed).spawn(1 if k == 1 else restarts):
        mixes.append(search(taste, draw(np.random.default_rng(child)), shares, gain=1e-5 * taste.people))
    top = max(mixes, key=lambda mix: mix.objective)
    polished = search(taste, top.x, top.log_share, gain)
    history = np.concatenate([top.history, polished.history[1:]])
    return Mix(polished.x, polished.log_share, polished.objective, history), np.array([m.objective for m in mixes])
