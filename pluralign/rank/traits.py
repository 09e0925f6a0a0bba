"""Scores of items and traits of people as one vector of parameters: what votes and priors say of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse import coo_array, csr_array

from pluralign.errors import FeedbackError
from pluralign.rank.design import outcomes
from pluralign.rank.graph import Graph, graph
from pluralign.rank.judgement import GAP, SHARPNESS, TIE, TRUST, Terms, terms
from pluralign.rank.newton import NotConverged, Penalty
from pluralign.rank.uncertainty import floating, pseudo_inverse
from pluralign.rank.votes import Votes

Array = NDArray[np.float64]

LEAST = 0.05
"""Spread between annotators, in logits, below which they are taken for alike."""
DOUBT = 0.05
"""Votes as the scores say, and against them, that keep the reliability of somebody who never errs finite."""
TRUSTED = 2.0
WIDE = 0.01
Spread = dict[int, float]


class Traits:
    """Parameters [p]: scores [n], then for every trait the crowd's mean and everybody's deviation from it [1 + U].

    Sharpness has no mean of its own, as scores have its factor. Reliabilities are no deviations from a mean: people
    stand alone, and in the mean's place are those whom nobody knows.
    """

    def __init__(self, votes: Votes, traits: list[int], ties: str, virtual: float) -> None:
        assert votes.annotator is not None
        self.n = n = len(votes.items)
        used = np.unique(votes.annotator[votes.annotator >= 0])
        self.people = [str(votes.annotators[u]) if len(votes.annotators) else str(u) for u in used]
        self.vote, self.outcome, self.weight, self.sign = rows_of(votes, ties)
        row, outcome = self.vote, self.outcome
        self.davidson = bool((outcome == 2).any())
        self.owner = np.where(votes.annotator >= 0, np.searchsorted(used, votes.annotator), -1)[row]
        self.graph = _graph(votes.left[row], votes.right[row], outcome, self.weight, n)
        self.penalty = Penalty(np.zeros(n), np.full(n, virtual))
        self.traits = [trait for trait in traits if trait != TIE or self.davidson]
        self.flips = TRUST in traits
        u, m = len(used), len(row)
        self.mean = {trait: n + k * (u + 1) for k, trait in enumerate(self.traits)}
        self.size = n + len(self.traits) * (u + 1)
        entry, known = np.arange(m), np.flatnonzero(self.owner >= 0)
        self.rows: dict[int, csr_array] = {}
        both = np.concatenate([votes.left[row], votes.right[row]])
        self.rows[GAP] = self._sparse(np.repeat([1.0, -1.0], m), np.tile(entry, 2), both)
        for trait, mean in self.mean.items():
            common = np.flatnonzero(self.owner < 0) if trait == TRUST else entry
            places = np.concatenate([np.full(len(common), mean), mean + 1 + self.owner[known]])
            self.rows[trait] = self._sparse(np.ones(len(places)), np.concatenate([common, known]), places)
        self.fixed = np.zeros(self.size, dtype=bool)
        if SHARPNESS in self.mean:
            self.fixed[self.mean[SHARPNESS]] = True
        self.trust = slice(0, 0) if TRUST not in self.mean else slice(self.mean[TRUST], self.mean[TRUST] + 1 + u)
        self.held = np.bincount(self.graph.component, self.penalty.virtual) > 0

    def _sparse(self, values: Array, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> csr_array:
        return coo_array((values, (rows, columns)), shape=(len(self.weight), self.size)).tocsr()

    def own(self, trait: int) -> slice:
        """Where everybody's own part of a trait stands."""
        return slice(self.mean[trait] + 1, self.mean[trait] + 1 + len(self.people))

    @property
    def start(self) -> Array:
        """Equal scores; of the two signs that scores and reliabilities can have, the one by which people are right."""
        x = np.zeros(self.size)
        x[self.trust] = TRUSTED
        return x

    def terms(self, x: Array) -> Terms:
        """Of every vote."""
        z = np.zeros((len(self.weight), 5))
        for trait, row in self.rows.items():
            z[:, trait] = row @ x
        return terms(z, self.sign, self.outcome, self.davidson, self.flips)

    def _stiffness(self, spread: Spread) -> Array:
        """[p] of the normal priors: of own deviations, and a wide one of means, which only sparse votes feel."""
        out = np.zeros(self.size)
        for trait, mean in self.mean.items():
            if trait != TRUST:
                out[mean] = 0.0 if trait == SHARPNESS else WIDE
                out[self.own(trait)] = spread[trait] ** -2
        return out

    def objective(self, x: Array, spread: Spread) -> tuple[float, Array, Callable[[], Array]]:
        """Penalised negative log-likelihood, its slope, and a function that gives Newton's step."""
        found, n = self.terms(x), self.n
        stiffness, trust = self._stiffness(spread), x[self.trust]
        added, pull, _ = self.penalty.terms(x[:n], np.zeros(0))
        value = added - float(self.weight @ found.log) + float(stiffness @ x**2) / 2
        value += DOUBT * float((np.logaddexp(0, trust) + np.logaddexp(0, -trust)).sum())
        slope = stiffness * x
        slope[:n] += pull
        slope[self.trust] += DOUBT * np.tanh(trust / 2)
        for trait, row in self.rows.items():
            slope -= row.T @ (self.weight * found.first[:, trait])
        slope[self.fixed] = 0.0

        def step() -> Array:
            matrix = self.information(x, spread, found)
            lift = floating(self.graph.component, self.held, len(x))
            return _descent(matrix + float(np.mean(np.diag(matrix))) * lift.T @ lift, slope)

        return value, slope, step

    def information(self, x: Array, spread: Spread, found: Terms | None = None) -> Array:
        """Second derivative of the objective, [p, p]; ones for what is held."""
        found = self.terms(x) if found is None else found
        out = np.zeros((self.size, self.size))
        for a, one in self.rows.items():
            for b, other in self.rows.items():
                if a <= b:
                    curve = self.weight * found.second[:, a, b]
                    block = (one.T @ other.multiply(curve[:, None]).tocsr()).toarray()
                    out -= block if a == b else block + block.T
        extra = self._stiffness(spread)
        extra[: self.n] += self.penalty.terms(x[: self.n], np.zeros(0))[2]
        extra[self.trust] += DOUBT / 2 / np.cosh(x[self.trust] / 2) ** 2
        out[np.diag_indices(self.size)] += extra
        out[self.fixed], out[:, self.fixed] = 0.0, 0.0
        out[self.fixed, self.fixed] = 1.0
        return out

    def inverse(self, x: Array, spread: Spread) -> Array:
        """Of the information [p, p]; zero for what is held."""
        found = pseudo_inverse(self.information(x, spread), self.graph.component, self.held)
        found[self.fixed], found[:, self.fixed] = 0.0, 0.0
        return found

    def spread(self, x: Array, spread: Spread) -> Spread:
        """Root of the expected squares of deviations: those found, and how unsure they are."""
        variance = np.diag(self.inverse(x, spread))
        return {t: float(np.sqrt(np.mean(x[self.own(t)] ** 2 + variance[self.own(t)]))) for t in spread}

    def slopes(self, x: Array) -> Array:
        """[G, p] slopes of the log-likelihood by person; a vote of somebody unknown is a person."""
        found = self.terms(x)
        by_vote = sum(row.multiply((self.weight * found.first[:, t])[:, None]).tocsr() for t, row in self.rows.items())
        unit = self.owner.copy()
        unit[unit < 0] = len(self.people) + np.unique(self.vote[unit < 0], return_inverse=True)[1]
        gather = coo_array((np.ones(len(unit)), (unit, np.arange(len(unit))))).tocsr()
        sums = np.asarray((gather @ by_vote).toarray())
        for trait in self.traits:
            # Own parts are where votes and their prior are even.
            sums[:, self.own(trait)] = 0.0
        return sums


def rows_of(votes: Votes, ties: str) -> tuple[NDArray[np.intp], NDArray[np.int8], Array, Array]:
    """Votes as the likelihood takes them: number, outcome, weight, and +1 where the left item has the side's bonus.

    A tie that is half a win each is two rows of one vote. Raises `FeedbackError` where none is left.
    """
    won = np.zeros((len(votes), 4))
    won[np.arange(len(votes)), votes.outcome] = 1.0 if votes.weight is None else votes.weight
    won = outcomes(won, ties, "tie")
    if ties == "half":
        won[:, :2] += won[:, 2:] / 2
        won[:, 2] = 0
    row, outcome = np.nonzero(won)
    if not len(row):
        raise FeedbackError("no votes are left to rank by")
    sign = np.where(votes.first[row] == 1, -1.0, 1.0) if votes.first is not None else np.ones(len(row))
    return row, outcome.astype(np.int8), won[row, outcome], sign


def _graph(
    left: NDArray[np.int32], right: NDArray[np.int32], outcome: NDArray[np.int8], weight: Array, n: int
) -> Graph:
    low, high = np.minimum(left, right), np.maximum(left, right)
    pair, place = np.unique(low.astype(np.int64) * n + high, return_inverse=True)
    won = np.zeros((len(pair), 3))
    np.add.at(won, (place, np.where((left > right) & (outcome < 2), 1 - outcome, outcome)), weight)
    return graph(n, (pair // n).astype(np.int32), (pair % n).astype(np.int32), won)


def _descent(matrix: Array, slope: Array) -> Array:
    """Newton's step where the curvature is positive; where it is not, with as much added as makes it so."""
    added, scale = 0.0, float(np.abs(np.diag(matrix)).mean())
    for _ in range(40):
        try:
            return np.asarray(cho_solve(cho_factor(matrix + added * np.eye(len(matrix))), slope))
        except LinAlgError:
            added = max(2 * added, 1e-3 * scale)
    raise NotConverged("the likelihood curves the wrong way everywhere; there may be too few votes for these traits")
