"""How sure the scores are: covariances from curvature, from residuals, from clusters of votes, and by resampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import coo_array, csr_array, hstack

from pluralign.errors import OptionError
from pluralign.rank.design import Design
from pluralign.rank.families import Family
from pluralign.rank.newton import Penalty, Problem, Solution

Array = NDArray[np.float64]

LARGEST = 6000
"""Items beyond which the covariance, a number for every pair of them, is refused."""


def covariance(
    made: Design,
    family: Family,
    penalty: Penalty,
    solution: Solution,
    kind: str = "sandwich",
    cluster: NDArray[np.int32] | None = None,
) -> Array:
    """Covariance of scores, covariates and tie parameter together, [n + q, n + q].

    kind: "model" (inverse curvature; right if the model is), "sandwich" (also right where it is not; Huber 1967; White
    1982), or "cluster" (votes of one annotator, prompt or session may agree for reasons of their own; needs `cluster`,
    a number for every row of the fit, and widens by G / (G - 1)). In the gauge of the scores: mean zero in every
    component that no prior holds.
    """
    problem = made.problem
    if problem.n > LARGEST:
        raise OptionError(f"a covariance of {problem.n:,} items does not fit in memory; ask for single contrasts")
    bread = _inverse(information(problem, family, penalty, solution), problem, penalty)
    if kind == "model":
        return bread
    if kind == "cluster":
        if cluster is None or len(cluster) != len(problem.i):
            raise OptionError("clustered intervals need the cluster of every vote")
        meat = _clustered(made, family, solution, cluster)
    else:
        meat = _by_row(made, family, solution)
    return np.asarray(bread @ meat @ bread)


def information(problem: Problem, family: Family, penalty: Penalty, solution: Solution) -> Array:
    """Second derivative of the penalised negative log-likelihood, [n + q, n + q]."""
    d = problem.margin(solution.theta, solution.beta)
    terms = family.terms(d, problem.won, solution.tie)
    x = _rows(problem)
    matrix = (x.T @ x.multiply(terms.dd[:, None]).tocsr()).toarray()
    _, _, stiffness = penalty.terms(solution.theta, solution.beta)
    extra = np.concatenate([stiffness, np.full(len(solution.beta), penalty.covariates)])
    matrix[np.diag_indices(len(matrix))] += extra
    if terms.d_tie is None:
        return np.asarray(matrix)
    edge = x.T @ terms.d_tie
    return np.block([[matrix, edge[:, None]], [edge[None, :], np.array([[terms.tie_tie]])]])


def _rows(problem: Problem) -> csr_array:
    """[m, n + q] derivative of every margin by scores and covariates."""
    m = len(problem.i)
    place, one = np.arange(m), np.ones(m)
    entries = (np.concatenate([one, -one]), (np.concatenate([place, place]), np.concatenate([problem.i, problem.j])))
    items = coo_array(entries, shape=(m, problem.n)).tocsr()
    return hstack([items, csr_array(problem.z)]).tocsr() if problem.z.shape[1] else items


def _inverse(matrix: Array, problem: Problem, penalty: Penalty) -> Array:
    component = problem.laplacian.component
    return pseudo_inverse(matrix, component, np.bincount(component, penalty.ridge + penalty.virtual) > 0)


def pseudo_inverse(matrix: Array, component: NDArray[np.int32], held: NDArray[np.bool_]) -> Array:
    """Moore-Penrose inverse [p, p] of an information matrix whose first rows are items in connected components.

    What the data cannot tell, a constant for every component that nothing holds, is the only null space. held: by
    component, whether a prior or an anchor fixes that constant.
    """
    null = floating(component, held, len(matrix))
    scale = float(np.mean(np.diag(matrix)))
    lifted = matrix + scale * null.T @ null
    return np.asarray(cho_solve(cho_factor(lifted), np.eye(len(matrix))) - null.T @ null / scale)


def floating(component: NDArray[np.int32], held: NDArray[np.bool_], size: int) -> Array:
    """[c, size] unit vectors, constant over the items of each component that nothing holds."""
    directions = []
    for c in np.flatnonzero(~held):
        u = np.zeros(size)
        inside = np.flatnonzero(component == c)
        u[inside] = 1 / np.sqrt(len(inside))
        directions.append(u)
    return np.array(directions).reshape(-1, size)


def _by_row(made: Design, family: Family, solution: Solution) -> Array:
    """Sum over votes of the outer product of their scores."""
    problem = made.problem
    by_d, by_tie = family.scores(problem.margin(solution.theta, solution.beta), solution.tie)
    x = _rows(problem)
    meat = (x.T @ x.multiply((made.squared * by_d**2).sum(1)[:, None]).tocsr()).toarray()
    if by_tie is None:
        return np.asarray(meat)
    edge = x.T @ (made.squared * by_d * by_tie).sum(1)
    corner = float((made.squared * by_tie**2).sum())
    return np.block([[meat, edge[:, None]], [edge[None, :], np.array([[corner]])]])


def _clustered(made: Design, family: Family, solution: Solution, cluster: NDArray[np.int32]) -> Array:
    problem = made.problem
    by_d, by_tie = family.scores(problem.margin(solution.theta, solution.beta), solution.tie)
    columns = [_rows(problem).multiply((problem.won * by_d).sum(1)[:, None]).tocsr()]
    if by_tie is not None:
        columns.append(csr_array((problem.won * by_tie).sum(1)[:, None]))
    _, owner = np.unique(cluster, return_inverse=True)
    groups = int(owner.max()) + 1
    if groups < 2:
        raise OptionError("clustered intervals need at least two clusters")
    gather = coo_array((np.ones(len(owner)), (owner, np.arange(len(owner)))), shape=(groups, len(owner))).tocsr()
    sums = gather @ hstack(columns).tocsr()
    return np.asarray((sums.T @ sums).toarray()) * groups / (groups - 1)
