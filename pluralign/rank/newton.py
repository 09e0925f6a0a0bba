"""Newton's method for scores on a comparison graph, with a certificate that it has arrived."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pluralign.errors import PluralignError
from pluralign.rank.families import Family, Logistic, Terms
from pluralign.rank.laplacian import Laplacian
from pluralign.rank.pairs import sums

Array = NDArray[np.float64]

STEP = 1e-7
"""A search by another's value ends with a step no larger than this, in logits."""

LEFT = 1e-9
"""Ours ends when no more than about this is left to go, in logits. Convergence is quadratic: after a short step that
changes margins by r at most, r / 2 times its length remains, and a small multiple of the error in solving for it."""

SAFE = 1.5
"""A full Newton step that changes no margin by more than this improves a logistic likelihood: the curvature along it
grows by no more than exp(r) (Bach 2010), and exp(r) - r - 1 < r^2 up to r = 1.79."""

FAR = 10.0
"""Logits that a score moves in one step at most."""
STEPS = 100


class NotConverged(PluralignError):
    """A fit did not reach its optimum; no scores are returned rather than those of the last step."""


@dataclass(frozen=True)
class Certificate:
    """How a fit ended.

    step: the largest change of any parameter in the last step, in logits. gradient: the largest entry of the gradient
    after it, in votes. steps: how many were taken.
    """

    step: float
    gradient: float
    steps: int


@dataclass(frozen=True)
class Problem:
    """What the votes say: rows k between items i_k and j_k with counts won [m, 3] and covariates z [m, q].

    margin d_k = theta_i - theta_j + z_k beta + offset_k. pairs: the distinct pairs of the rows; owner: [m] the pair of
    each row and sign: [m] +1 where its i is the pair's low item; both None where rows are distinct pairs.
    """

    i: NDArray[np.int32]
    j: NDArray[np.int32]
    won: Array
    z: Array
    laplacian: Laplacian
    owner: NDArray[np.intp] | None = None

    @property
    def n(self) -> int:
        """Items."""
        return self.laplacian.n

    def margin(self, theta: Array, beta: Array) -> Array:
        """[m]"""
        d: Array = self.laplacian.pairs.difference(theta) if self.owner is None else theta[self.i] - theta[self.j]
        return d + self.z @ beta if self.z.shape[1] else d

    def sums(self, values: Array) -> tuple[Array, Array]:
        """Of values [m], over the rows in which an item is i, and over those in which it is j: [n] each."""
        return self.laplacian.pairs.sums(values) if self.owner is None else sums(self.i, self.j, values, self.n)

    def to_items(self, values: Array) -> Array:
        """Sums over rows of values (e_i - e_j): [n]."""
        as_i, as_j = self.sums(values)
        return as_i - as_j

    def by_pair(self, values: Array) -> Array:
        """Sums over the rows of each distinct pair."""
        return (
            values if self.owner is None else np.bincount(self.owner, values, len(self.laplacian.i)).astype(np.float64)
        )


@dataclass(frozen=True)
class Penalty:
    """ridge, virtual: [n]: half a ridge times theta^2, and so many virtual wins and losses against an item at zero.
    covariates: half of it times beta^2."""

    ridge: Array
    virtual: Array
    covariates: float = 0.0

    def terms(self, theta: Array, beta: Array) -> tuple[float, Array, Array]:
        """Value, and first and second derivative by theta."""
        value = float(self.ridge @ theta**2) / 2 + self.covariates * float(beta @ beta) / 2
        if not self.virtual.any():
            return value, self.ridge * theta, self.ridge
        p = expit(theta)
        value += float(self.virtual @ (np.logaddexp(0, theta) + np.logaddexp(0, -theta)))
        return value, self.ridge * theta + self.virtual * (2 * p - 1), self.ridge + 2 * self.virtual * p * (1 - p)


@dataclass(frozen=True)
class Solution:
    """theta [n], beta [q], tie: the tie parameter or None; nll without the penalty, in nats."""

    theta: Array
    beta: Array
    tie: float | None
    nll: float
    certificate: Certificate


def newton(problem: Problem, family: Family, penalty: Penalty, start: Solution | None = None) -> Solution:
    """The optimum. Raises `NotConverged` where it is not reached.

    Scores have mean zero in every component without a penalty.
    """
    theta = _start(problem) if start is None else start.theta.copy()
    beta = np.zeros(problem.z.shape[1]) if start is None else start.beta.copy()
    tie = family.start if start is None else start.tie
    # Values are only needed where a step may not improve them; for the logistic model they cost most of a pass.
    quick = isinstance(family, Logistic) and not len(beta)
    d = problem.margin(theta, beta)
    terms = family.terms(d, problem.won, tie, value=not quick)
    value, pull, stiffness = penalty.terms(theta, beta)
    size, accuracy = np.inf, 1e-2
    for steps in range(1, STEPS + 1):
        step = newton_step(problem, penalty, terms, pull, stiffness, beta, tie, accuracy)
        size = float(max(np.abs(step[0]).max(), np.abs(step[1]).max(initial=0), abs(step[2])))
        by_covariates = float(np.abs(problem.z @ step[1]).max(initial=0)) if len(beta) else 0.0
        reach = max(float(np.ptp(step[0])) + by_covariates, size)
        if steps == 1 and start is None and reach > FAR:
            # Odds taken as if everybody had met everybody are no start for few votes: where they are wrong with
            # certainty, the likelihood is flat and a step has no length.
            theta = np.zeros_like(theta)
            d = problem.margin(theta, beta)
            terms = family.terms(d, problem.won, tie, value=not quick)
            value, pull, stiffness = penalty.terms(theta, beta)
            continue
        # An iterative solution is off by a small multiple of the residual that was asked for.
        last = size * (reach / 2 + (0 if problem.laplacian.exact else 10 * accuracy)) <= LEFT
        safe = quick and reach <= SAFE
        previous = -np.inf if safe else terms.nll + value
        if np.isnan(previous):
            previous = family.terms(d, problem.won, tie).nll + value
        length = min(1.0, FAR / size) if size > 0 else 1.0
        while True:
            new = (theta - length * step[0], beta - length * step[1], None if tie is None else tie - length * step[2])
            d = problem.margin(new[0], new[1])
            terms = family.terms(d, problem.won, new[2], value=last or not safe)
            value, pull, stiffness = penalty.terms(new[0], new[1])
            # Rounding in a sum of many terms is no ascent.
            if safe or terms.nll + value <= previous + 1e-12 * abs(previous) + 1e-9:
                break
            length /= 2
            if length < 1e-8:
                raise NotConverged(
                    "no step along Newton's direction improves the likelihood; some scores may be infinite"
                )
        theta, beta, tie = new
        if last and length == 1:
            gradient = problem.to_items(terms.d) + pull
            return Solution(theta, beta, tie, terms.nll, Certificate(size, float(np.abs(gradient).max()), steps))
        size *= length
        # Looser while far away (Dembo, Eisenstat and Steihaug 1982); a step costs more than the digits of its solution.
        accuracy = min(1e-2, max(1e-6, size * size / 100))
    raise NotConverged(f"after {STEPS} Newton steps scores still move by {size:.3g} logits")


def _start(problem: Problem) -> Array:
    """Scores to begin with, from counts alone."""
    ties = problem.won[:, 2]
    tied = ties.any()
    wins, losses = (problem.won[:, k] + 0.5 * ties if tied else problem.won[:, k] for k in (0, 1))
    laplacian = problem.laplacian
    if laplacian.hard and problem.owner is None:
        # Few steps lead from an item to those it met and many to all others, so that every pair is asked for its own
        # log odds, and these are put together by least squares.
        total = wins + losses + 1
        weight = (wins + 0.5) * (losses + 0.5) / total
        odds = np.log((wins + 0.5) / (losses + 0.5))
        theta = laplacian.solver(weight, np.zeros(problem.n), 1e-2)(problem.to_items(weight * odds))
        return np.asarray(theta - theta.mean())
    (won_i, won_j), (lost_i, lost_j) = problem.sums(wins), problem.sums(losses)
    won, lost = won_i + lost_j, lost_i + won_j
    # As if everybody had met everybody.
    theta = np.log((won + 0.5) / (lost + 0.5))
    theta -= theta.mean()
    # Opponents are as spread as the items are, which flattens a logistic curve like this.
    theta /= np.sqrt(max(0.25, 1 - np.pi / 8 * float(theta.var())))
    if not laplacian.exact:
        # By how strong those were whom each item met; where steps are dear, this saves one.
        laplacian.pairs.set(problem.by_pair(wins + losses))
        theta += laplacian.pairs.neighbours(theta) / np.maximum(won + lost, 1)
        theta -= theta.mean()
    return np.asarray(theta)


def newton_step(
    problem: Problem,
    penalty: Penalty,
    terms: Terms,
    pull: Array,
    stiffness: Array,
    beta: Array,
    tie: float | None,
    accuracy: float,
) -> tuple[Array, Array, float]:
    """Newton's step for items, covariates and the tie parameter; the last two by the Schur complement of the first."""
    gradient = problem.to_items(terms.d) + pull
    q = len(beta) + (tie is not None)
    # The Schur complement is a difference of solutions, so it needs more of their digits.
    solve = problem.laplacian.solver(problem.by_pair(terms.dd), stiffness, accuracy if q == 0 else 1e-8)
    if q == 0:
        return solve(gradient), beta, 0.0
    z, weighted = problem.z, terms.dd[:, None] * problem.z
    small = np.zeros((q, q))
    small[: len(beta), : len(beta)] = z.T @ weighted + penalty.covariates * np.eye(len(beta))
    slope = np.concatenate([z.T @ terms.d + penalty.covariates * beta, [terms.tie] * (tie is not None)])
    columns = [problem.to_items(w) for w in weighted.T]
    if terms.d_tie is not None:
        columns.append(problem.to_items(terms.d_tie))
        small[-1, -1] = terms.tie_tie
        small[-1, :-1] = small[:-1, -1] = z.T @ terms.d_tie
    cross = np.stack(columns, 1)
    inner = solve(np.column_stack([gradient, cross]))
    change = np.asarray(
        np.linalg.solve(small - cross.T @ inner[:, 1:], slope - cross.T @ inner[:, 0]), dtype=np.float64
    )
    k = len(beta)
    return inner[:, 0] - inner[:, 1:] @ change, change[:k], float(change[k]) if tie is not None else 0.0
