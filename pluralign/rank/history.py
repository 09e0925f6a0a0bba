"""The optimum of a whole history: ratings of every item at every moment at once, with what is known about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pluralign.rank.chains import Array, Chains, System
from pluralign.rank.families import Family, Terms
from pluralign.rank.newton import STEP, STEPS, Certificate, NotConverged, Penalty

Start = tuple[Array, Array, float | None]
"""Ratings, beta and tie parameter to begin with."""

EXACT = 800
"""Moments up to which the covariance is inverted in full."""


@dataclass(frozen=True)
class Problem:
    """Votes between moments a and b [m] with outcomes won [m, 3] and covariates z [m, q].

    margin d_k = rating_a - rating_b + z_k beta. penalty: on ratings [V], by moment.
    """

    chains: Chains
    a: NDArray[np.intp]
    b: NDArray[np.intp]
    won: Array
    z: Array
    family: Family
    penalty: Penalty

    def margin(self, rating: Array, beta: Array) -> Array:
        """[m]"""
        return np.asarray(rating[self.a] - rating[self.b] + self.z @ beta)

    def to_moments(self, values: Array) -> Array:
        """Sums over votes of values (e_a - e_b), [V]."""
        v = len(self.chains)
        return np.asarray(np.bincount(self.a, values, v) - np.bincount(self.b, values, v), dtype=np.float64)


@dataclass(frozen=True)
class History:
    """rating: [V] in logits; beta [q]; tie: the tie parameter or None. nll: of the votes, in nats, without priors.
    shared: [q (+ 1)] covariance of beta and the tie parameter."""

    problem: Problem
    rating: Array
    beta: Array
    tie: float | None
    nll: float
    certificate: Certificate
    system: System
    cross: Array
    shared: Array

    def deviation(self, draws: int, seed: int) -> tuple[Array, Array]:
        """Posterior variance of every rating [V] and its covariance with the next [V - 1], curvature at the optimum.

        Exact for few moments. For many: the variance of a chain when the others stand still, which is exact, plus that
        of what the others tell it, over `draws` samples from the posterior (Siden, Lindgren, Bolin and Villani 2018).
        """
        if len(self.rating) <= EXACT:
            inverse = np.linalg.inv(self.system.dense())
            variance, following = np.diag(inverse).copy(), np.diag(inverse, 1).copy()
        else:
            variance, following = self.system.chain_variance()
            told = self._told(draws, seed)
            variance += (told**2).mean(1)
            following += (told[1:] * told[:-1]).mean(1)
        if self.shared.size:
            spread = self.cross @ np.linalg.cholesky(self.shared)
            variance += (spread**2).sum(1)
            following += (spread[1:] * spread[:-1]).sum(1)
        return variance, np.where(self.problem.chains.link > 0, following, 0.0)

    def covariance(self, weight: Array, shared: Array) -> Array:
        """[k, k] of sums of ratings with weights [V, k], plus beta and tie parameter times shared [q (+ 1), k]."""
        left = shared - self.cross.T @ weight
        return np.asarray(weight.T @ self.system.solve(weight, 1e-6) + left.T @ self.shared @ left)

    def _told(self, draws: int, seed: int) -> Array:
        """[V, draws] conditional means of every chain given a sample of the others."""
        rng, problem, made = np.random.default_rng(seed), self.problem, self.problem.chains
        h = self.problem.family.terms(problem.margin(self.rating, self.beta), problem.won, self.tie).dd
        _, _, stiffness = problem.penalty.terms(self.rating, self.beta)
        told = np.empty((len(made), draws))
        for k in range(draws):
            noise = problem.to_moments(np.sqrt(h) * rng.standard_normal(len(h)))
            noise += np.sqrt(stiffness) * rng.standard_normal(len(made))
            step = np.sqrt(made.link) * rng.standard_normal(len(made.link))
            noise[1:] += step
            noise[:-1] -= step
            told[:, k] = self.system.solve(noise, 1e-3) - self.system.chain_solve(noise)
        return told


def whole_history(problem: Problem, start: Start | None, tolerance: float = STEP) -> History:
    """Newton's method on all ratings together. Raises `NotConverged` rather than returning the last step.

    tolerance: the last step is no larger, in logits.
    """
    q = problem.z.shape[1]
    rating, beta, tie = start or (np.zeros(len(problem.chains)), np.zeros(q), problem.family.start)
    state = _State(problem, rating, beta, tie)
    size, cross = np.inf, None
    for steps in range(1, STEPS + 1):  # noqa: B007
        # Looser while far away, as in `newton.newton`; the last step decides how exact the result is.
        accuracy = min(1e-2, max(1e-6, 1e-2 * size * size)) if tolerance <= STEP else 1e-2
        move, step, cross, shared = _step(state, accuracy, cross)
        length = 1.0
        while True:
            changed = state.moved(move, step, length)
            if changed.total <= state.total + 1e-12 * abs(state.total) + 1e-9:
                break
            length /= 2
            if length < 1e-8:
                raise NotConverged("no step improves the whole history; some ratings may be infinite")
        state = changed
        size = length * float(max(np.abs(move).max(), np.abs(step).max(initial=0.0)))
        if size <= tolerance and length == 1:
            break
    else:
        raise NotConverged(f"after {STEPS} Newton steps ratings still move by {size:.3g} logits")
    certificate = Certificate(size, float(np.abs(state.gradient).max()), steps)
    return History(
        problem, state.rating, state.beta, state.tie, state.terms.nll, certificate, state.system(), cross, shared
    )


class _State:
    """Ratings with the value of what is minimised and its derivatives."""

    def __init__(self, problem: Problem, rating: Array, beta: Array, tie: float | None) -> None:
        self.problem, self.rating, self.beta, self.tie = problem, rating, beta, tie
        self.terms: Terms = problem.family.terms(problem.margin(rating, beta), problem.won, tie)
        value, pull, self.stiffness = problem.penalty.terms(rating, beta)
        flow = problem.chains.flow(rating)
        self.total = self.terms.nll + value + float(flow @ np.diff(rating)) / 2
        gradient = problem.to_moments(self.terms.d) + pull
        gradient[1:] += flow
        gradient[:-1] -= flow
        self.gradient = gradient

    def moved(self, move: Array, step: Array, length: float) -> _State:
        q = len(self.beta)
        tie = None if self.tie is None else self.tie - length * float(step[q])
        return _State(self.problem, self.rating - length * move, self.beta - length * step[:q], tie)

    def system(self) -> System:
        return System(self.problem.chains, self.problem.a, self.problem.b, self.terms.dd, self.stiffness)


def _step(state: _State, accuracy: float, guess: Array | None) -> tuple[Array, Array, Array, Array]:
    """Newton's step for ratings and for what they share; H^-1 (cross) [V, q], and the covariance of what is shared.

    guess: of H^-1 (cross), such as that of the step before.
    """
    problem, terms, q = state.problem, state.terms, len(state.beta)
    system = state.system()
    columns = [problem.to_moments(terms.dd * column) for column in problem.z.T]
    if terms.d_tie is not None:
        columns.append(problem.to_moments(terms.d_tie))
    if not columns:
        none = np.zeros((len(state.rating), 0))
        return system.solve(state.gradient, accuracy), np.zeros(0), none, np.zeros((0, 0))
    cross = np.stack(columns, 1)
    curvature = np.zeros((len(columns), len(columns)))
    curvature[:q, :q] = problem.z.T @ (terms.dd[:, None] * problem.z)
    slope = problem.z.T @ terms.d
    if terms.d_tie is not None:
        slope = np.append(slope, terms.tie)
        curvature[q, q] = terms.tie_tie
        curvature[:q, q] = curvature[q, :q] = problem.z.T @ terms.d_tie
    solved, inner = system.solve(state.gradient, accuracy), system.solve(cross, accuracy, guess)
    schur = curvature - cross.T @ inner
    shared = np.asarray(np.linalg.inv((schur + schur.T) / 2), dtype=np.float64)
    step = shared @ (slope - cross.T @ solved)
    return solved - inner @ step, step, inner, shared
