"""Self-play in closed form: what learners of games do to a table of probabilities when every round is fitted exactly.

Each function gives the policies of all rounds, [rounds + 1, P, R], the first being the reference or `start`. `eta` is
the size of a step, save where a paper calls its inverse so; a function of the round t = 1, 2, ... may stand for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pluralign.lab.worlds import Array, World

Size = float | Callable[[int], float]


def mwu(world: World, rounds: int, *, eta: Size, start: ArrayLike | None = None) -> Array:
    """pi_{t+1} = pi_t exp(eta P(y > pi_t)) / Z: multiplicative weights, which SPO, SPPO and DNO fit (Swamy 2024).

    >>> from pluralign.lab.games import game
    >>> mwu(game(), 1, eta=2.0)[1].round(5)
    array([[0.69393, 0.19042, 0.11565]])
    """
    return _trace(lambda t, theta: theta + _at(eta, t) * _wins(world, np.exp(theta)), world, rounds, start)


def nash_md(world: World, rounds: int, *, tau: float, eta: Size, start: ArrayLike | None = None) -> Array:
    """pi_{t+1} = mix exp(eta P(y > mix)) / Z,  mix = pi_t^(1 - eta tau) ref^(eta tau) / Z (Munos et al. 2023)."""
    log_ref = np.log(world.reference)

    def step(t: int, theta: Array) -> Array:
        size = _at(eta, t)
        mix = (1 - size * tau) * theta + size * tau * log_ref
        return mix + size * _wins(world, np.exp(_normal(mix)))

    return _trace(step, world, rounds, start)


def inpo(world: World, rounds: int, *, tau: float, eta: Size, start: ArrayLike | None = None) -> Array:
    """pi_{t+1} = ref^(tau/eta) pi_t^(1 - tau/eta) exp(P(y > pi_t)/eta) / Z; eta is the inverse step (Zhang 2024)."""
    log_ref = np.log(world.reference)

    def step(t: int, theta: Array) -> Array:
        share = tau / _at(eta, t)
        return share * log_ref + (1 - share) * theta + _wins(world, np.exp(theta)) / _at(eta, t)

    return _trace(step, world, rounds, start)


def onpo(world: World, rounds: int, *, eta: Size, start: ArrayLike | None = None) -> Array:
    """a_{t+1} = a_t e^{eta r_t} / Z, pi_{t+1} = a_{t+1} e^{eta r_t} / Z,  r_t = P(y > pi_t) (Zhang et al. 2025)."""
    kept: dict[str, Array] = {}

    def step(t: int, theta: Array) -> Array:
        gain = _at(eta, t) * _wins(world, np.exp(theta))
        kept["auxiliary"] = _normal(kept.get("auxiliary", theta) + gain)
        return kept["auxiliary"] + gain

    return _trace(step, world, rounds, start)


def egpo(world: World, rounds: int, *, tau: float, eta: Size, start: ArrayLike | None = None) -> Array:
    """half = (1 - eta tau) th + eta tau (th_ref + P pi / tau); th' the same with P pi_half (Zhou et al. 2025)."""
    log_ref = np.log(world.reference)

    def step(t: int, theta: Array) -> Array:
        size, opponent = _at(eta, t), theta
        for _ in range(2):
            opponent = (1 - size * tau) * theta + size * (tau * log_ref + _wins(world, np.exp(_normal(opponent))))
        return opponent

    return _trace(step, world, rounds, start)


def mixture(policies: ArrayLike) -> Array:
    """The mixture of all rounds up to each: what a checkpoint picked at random says, shape as given.

    >>> mixture([[1.0, 0.0], [0.0, 1.0]]).tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """
    found = np.asarray(policies, dtype=np.float64)
    count = np.arange(1, len(found) + 1).reshape(-1, *[1] * (found.ndim - 1))
    return np.asarray(np.cumsum(found, axis=0) / count)


def _wins(world: World, policy: Array) -> Array:
    """P(y > policy) of each response, [P, R]."""
    return np.asarray((world.preference @ policy[..., None])[..., 0])


def _normal(theta: Array) -> Array:
    """Logits as log-probs. Not scipy's: its checks cost more than a small table's numbers."""
    top = theta - theta.max(-1, keepdims=True)
    return np.asarray(top - np.log(np.exp(top).sum(-1, keepdims=True)))


def _at(size: Size, t: int) -> float:
    return size(t) if callable(size) else size


def _trace(step: Callable[[int, Array], Array], world: World, rounds: int, start: Any) -> Array:
    began = world.reference if start is None else np.broadcast_to(np.asarray(start, float), world.reference.shape)
    logits = [np.log(began)]
    for t in range(1, rounds + 1):
        logits.append(_normal(step(t, logits[-1])))
    return np.asarray(np.exp(np.array(logits)))
