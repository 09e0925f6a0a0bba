"""Scores of resampled votes: the same fit, again and again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import minimum_spanning_tree

from pluralign.rank.bradley_terry import VIRTUAL, BradleyTerry
from pluralign.rank.design import Design
from pluralign.rank.families import Logistic
from pluralign.rank.graph import graph
from pluralign.rank.newton import STEP, Penalty, Problem, newton
from pluralign.rank.uncertainty import information

Array = NDArray[np.float64]
TOGETHER = 64
"""Replicates advanced side by side."""


def bootstrap(
    model: BradleyTerry, replicates: int = 1000, seed: int = 0, cluster: NDArray[np.int32] | None = None
) -> Array:
    """Scores [replicates, n] of votes drawn with replacement, by the very model that was fitted (Efron 1979).

    cluster: a number for every vote; whole clusters are then drawn. A replicate whose votes leave some score infinite
    is treated as the fit treats such votes: by virtual wins and losses, never by leaving it out.
    """
    rng = np.random.default_rng(seed)
    made = model.design_
    if cluster is not None:
        made = made if made.votes is not None else model._design(model.votes_, by_vote=True)
    won = made.problem.won
    cells = np.flatnonzero(won.ravel(order="F") > 0)
    counts = won.ravel(order="F")[cells]
    if cluster is None:
        total = round(float(counts.sum()))

        def draw(size: int) -> Array:
            return rng.multinomial(total, counts / counts.sum(), size=size).astype(np.float64)
    else:
        assert made.votes is not None
        _, owner = np.unique(np.asarray(cluster)[made.votes], return_inverse=True)
        groups = int(owner.max()) + 1
        rows = cells % len(won)
        table = coo_array((counts, (owner[rows], np.arange(len(cells)))), shape=(groups, len(cells))).tocsr()

        def draw(size: int) -> Array:
            return np.asarray(rng.multinomial(groups, np.full(groups, 1 / groups), size=size) @ table)

    out = np.empty((replicates, made.problem.n))
    quick = isinstance(model.family_, Logistic) and made.problem.z.shape[1] == 0 and made.problem.n <= 500
    for start in range(0, replicates, TOGETHER):
        drawn = draw(min(TOGETHER, replicates - start))
        part = out[start : start + len(drawn)]
        done = _together(model, made, cells, drawn, part) if quick else np.zeros(len(drawn), dtype=bool)
        for r in np.flatnonzero(~done):
            part[r] = _alone(model, made, cells, drawn[r])
    return out


def _resampled(made: Design, cells: NDArray[np.intp], drawn: Array) -> Array:
    won = np.zeros(made.problem.won.size)
    won[cells] = drawn
    return won.reshape(made.problem.won.shape, order="F")


def _alone(model: BradleyTerry, made: Design, cells: NDArray[np.intp], drawn: Array) -> Array:
    """One replicate by a fit of its own."""
    problem = replace(made.problem, won=_resampled(made, cells, drawn))
    return newton(problem, model.family_, _penalty(model, problem), model.solution_).theta


def _penalty(model: BradleyTerry, problem: Problem) -> Penalty:
    if model.virtual is not None or model.ridge:
        return model.penalty_
    pairs = problem.laplacian
    won = np.stack([problem.by_pair(column) for column in _from_low(problem).T], 1)
    # A draw may leave out the only votes between two parts of a component; no score then holds the one to the other.
    found = replace(graph(problem.n, pairs.i, pairs.j, won), component=pairs.component)
    return replace(model.penalty_, virtual=np.where(found.infinite, VIRTUAL, 0.0))


def _from_low(problem: Problem) -> Array:
    """Counts as seen from the lower-numbered item of each row."""
    return np.where((problem.i < problem.j)[:, None], problem.won, problem.won[:, [1, 0, 2]])


def _together(
    model: BradleyTerry, made: Design, cells: NDArray[np.intp], drawn: Array, out: Array
) -> NDArray[np.bool_]:
    """Many replicates at once by Newton steps with the curvature of the fit itself; [R] which of them arrived.

    That curvature is nearly every replicate's own, so that the steps close in fast, and it is factored once. The end is
    judged by the replicate's own gradient: the fixed point is the replicate's optimum, whatever the curvature.
    """
    problem, penalty, m = made.problem, model.penalty_, len(made.problem.won)
    matrix = information(problem, model.family_, penalty, model.solution_)
    floating = np.bincount(problem.laplacian.component, penalty.ridge + penalty.virtual) == 0
    if floating.sum() > 1 or penalty.virtual.any():
        return np.zeros(len(drawn), dtype=bool)
    inverse = np.linalg.inv(matrix + (1.0 / problem.n if floating.any() else 0.0))
    # Wins of the row's first item, a tie being half of one, and votes of the row: [R, m].
    place, kind = cells % m, cells // m
    gather = coo_array((np.ones(len(cells)), (np.arange(len(cells)), place)), shape=(len(cells), m)).tocsr()
    total = drawn @ gather
    wins = (drawn * np.array([1.0, 0.0, 0.5])[kind]) @ gather
    ends = coo_array(
        (np.repeat([1.0, -1.0], m), (np.concatenate([problem.i, problem.j]), np.tile(np.arange(m), 2))),
        shape=(problem.n, m),
    ).tocsr()
    theta = np.tile(model.scores_, (len(drawn), 1))
    moving = np.arange(len(drawn))
    for _ in range(40):
        d = theta[moving][:, problem.i] - theta[moving][:, problem.j]
        residual = total[moving] / (1 + np.exp(-d)) - wins[moving]
        gradient = (ends @ residual.T).T + penalty.ridge * theta[moving]
        step = gradient @ inverse
        theta[moving] -= step
        # Steps shrink by a steady factor; what remains after one is at most of its size while that factor is below 1/2.
        moving = moving[np.abs(step).max(1) > STEP]
        if not len(moving):
            break
    out[:] = theta - theta.mean(1, keepdims=True) if floating.any() else theta
    done = (total[:, _tree(problem)] > 0).all(1)
    done[moving] = False
    return np.asarray(done & np.isfinite(out).all(1))


def _tree(problem: Problem) -> NDArray[np.intp]:
    """Rows that connect all items, of those with most votes.

    A replicate in which all of them have votes is connected, so that where its gradient vanishes is its only optimum.
    """
    n, m = problem.n, len(problem.won)
    weight = 1 / problem.won.sum(1)
    chosen = minimum_spanning_tree(csr_array((weight, (problem.i, problem.j)), shape=(n, n))).tocoo()
    row = csr_array((np.arange(m), (problem.i, problem.j)), shape=(n, n))
    return np.asarray(row[chosen.row, chosen.col], dtype=np.intp)
