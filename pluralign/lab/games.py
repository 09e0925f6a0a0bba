"""Games of preference with several responses and no best one: their exact equilibria, and how far a policy is from it.

Two players each send a policy; the first wins as often as its response is preferred. Both may pay tau * KL to the
reference. The game is symmetric, so that both players of its equilibrium send the same policy, and its value is 1/2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog
from scipy.special import logsumexp, softmax

from pluralign.errors import OptionError, PluralignError
from pluralign.lab.worlds import Array, World, bandit

CYCLE = ((0.5, 0.9, 0.2), (0.1, 0.5, 0.8), (0.8, 0.2, 0.5))
"""Three responses of which each is preferred to one and beaten by another."""


def game(preference: ArrayLike = CYCLE, reference: ArrayLike | None = None) -> World:
    """A world in which people compare and nothing has a reward: chances [R, R] or [P, R, R] with P_ij + P_ji = 1.

    Without arguments the cycle of three responses with the reference (.6, .3, .1).

    >>> nash(game(), tau=1.0).round(4)
    array([[0.6443, 0.242 , 0.1138]])
    """
    said = np.asarray(preference, dtype=np.float64)
    if not np.allclose(said + np.swapaxes(said, -1, -2), 1):
        raise OptionError("a game has no ties: give it chances with P_ij + P_ji = 1, 1/2 on the diagonal")
    chances = np.array([0.6, 0.3, 0.1]) if reference is None and preference is CYCLE else reference
    return bandit(np.zeros(said.shape[:-1]), reference=chances, preference=said)


def nash(world: World, tau: float = 0.0) -> Array:
    """The equilibrium policy of each prompt, [P, R], exact to rounding.

    tau > 0: the only solution of pi = softmax(log ref + P pi / tau), by damped Newton steps. tau = 0: a solution of the
    linear programme, polished on its support; where there are several equilibria, one of them. Raises
    `PluralignError` where Newton's method does not come to rest (a tau so small that the game is as good as
    unregularised).
    """
    if tau < 0:
        raise OptionError(f"tau is the price of a nat of KL, 0 or more; got {tau}")
    found = [
        _regularised(said, np.log(reference), tau) if tau else _unregularised(said)
        for said, reference in zip(world.preference, world.reference, strict=True)
    ]
    return np.array(found)


def _regularised(said: Array, log_ref: Array, tau: float) -> Array:
    theta, last = log_ref - log_ref.mean(), np.inf
    levels = [level for level in np.geomspace(1, 1e-6, 25) if level > tau] + [tau]
    for level in levels if tau < 0.1 else [tau]:  # from a softer game to a harder one
        theta, last = _newton(said, log_ref, level, theta)
    if last > 1e-9:
        raise PluralignError(f"the equilibrium at tau={tau} was not found: Newton's method stands at a residual {last}")
    return np.asarray(softmax(theta))


def _newton(said: Array, log_ref: Array, tau: float, theta: Array) -> tuple[Array, float]:
    def residual(at: Array) -> Array:
        gap = at - log_ref - said @ softmax(at) / tau
        return np.asarray(gap - gap.mean())

    here = residual(theta)
    for _ in range(100):
        pi = softmax(theta)
        jacobian = np.eye(len(pi)) - (said - 0.5) @ (np.diag(pi) - np.outer(pi, pi)) / tau
        step = np.linalg.solve(jacobian, here)
        step -= step.mean()
        size = next((s for s in 0.5 ** np.arange(40) if _norm(residual(theta - s * step)) < _norm(here)), None)
        if size is None:  # rounding
            break
        theta = theta - size * step
        here = residual(theta)
    return theta, _norm(here) * tau


def _norm(values: Array) -> float:
    return float(np.abs(values).max())


def _unregularised(said: Array) -> Array:
    count = len(said)
    # Who plays p wins at least half the time against every response.
    found = linprog(
        np.zeros(count),
        A_ub=-(said - 0.5).T,
        b_ub=np.zeros(count),
        A_eq=np.ones((1, count)),
        b_eq=[1.0],
        method="highs-ipm",
    )
    if not found.success:
        raise PluralignError(f"no equilibrium was found: {found.message}")
    support = found.x > 1e-6
    size = int(support.sum())
    system = np.vstack([(said - 0.5)[np.ix_(support, support)].T, np.ones(size)])
    polished = np.zeros(count)
    polished[support] = np.linalg.lstsq(system, np.append(np.zeros(size), 1.0), rcond=None)[0]
    holds = polished.min() > -1e-12 and ((said - 0.5).T @ polished).min() > -1e-12
    return polished if holds else np.asarray(found.x)


def duality_gap(world: World, policy: ArrayLike, tau: float = 0.0) -> Array:
    """How much the best answer to a policy gains on it, both ways round; 0 at equilibrium only, [..., P].

    policy: [..., P, R]. max_p J(p, pi) - min_q J(pi, q), J = p'P q - tau KL(p || ref) + tau KL(q || ref).

    >>> duality_gap(game(), [[0.6, 0.3, 0.1]]).round(12), duality_gap(game(), [[0.6, 0.3, 0.1]], tau=0.1).round(10)
    (array([0.18]), array([0.11288758]))
    """
    pi = np.asarray(policy, dtype=np.float64)
    beats = np.einsum("pij,...pj->...pi", world.preference, pi)
    if tau == 0:
        # The chance to lose to a response is one minus that to win: the game is symmetric.
        return np.asarray(2 * beats.max(-1) - 1)
    log_ref = np.log(world.reference)
    divergence = (pi * (np.log(np.where(pi > 0, pi, 1.0)) - log_ref)).sum(-1)
    return np.asarray(2 * tau * (logsumexp(log_ref + beats / tau, axis=-1) + divergence) - 1)


def divergence(target: ArrayLike, policy: ArrayLike) -> Array:
    """KL(target || policy) in nats over the last axis; broadcasts. Infinite where the policy lacks what the target has.

    >>> divergence([0.5, 0.5], [0.25, 0.75]).round(4)
    np.float64(0.1438)
    """
    p, q = np.broadcast_arrays(np.asarray(target, dtype=np.float64), np.asarray(policy, dtype=np.float64))
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(p > 0, p * (np.log(np.where(p > 0, p, 1.0)) - np.log(q)), 0.0).sum(-1))
