"""Plackett-Luce: one score an item from rankings, whole or partial, with or without ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import coo_array
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import expit

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank.bradley_terry import VIRTUAL, held
from pluralign.rank.davidson_luce import DavidsonLuce
from pluralign.rank.graph import Graph, graph
from pluralign.rank.laplacian import DENSE
from pluralign.rank.luce import Luce
from pluralign.rank.luce_solvers import iterate, minorise, walk
from pluralign.rank.minimise import minimise
from pluralign.rank.names import places
from pluralign.rank.newton import Certificate, NotConverged, Penalty
from pluralign.rank.rankings import Rankings
from pluralign.rank.uncertainty import LARGEST, floating, pseudo_inverse

Array = NDArray[np.float64]


class PlackettLuce:
    """The best is chosen among all with chances proportional to exp(score), the next among the rest, and so on.

    ties: items on one place stood in an "orders" that was not recorded, so that all orders are summed over (exactly,
    whatever their number), or ties are outcomes of their own with a parameter for each size, "davidson-luce".
    Candidates left below a top list are always the former. solver: "newton", "mm" (Hunter 2004) or "ilsr" (Maystre and
    Grossglauser 2015), the last two for rankings without ties above the last place. weights: "votes" (a row stands for
    so many rankings) or "importance" (a row counts so much). virtual: wins and losses added for every item against one
    of average strength; None adds `VIRTUAL` only in components where some score would be infinite. ridge: half of it
    times the squared scores is added to the negative log-likelihood.

    After `fit`: `items_`; `scores_` [n], in logits, with mean zero in every component without a prior; `tie_`, delta by
    size of tie; `graph_`; `penalised_` [n]; `nll_` in nats; `certificate_`. Two items make it Bradley-Terry.

    Plackett 1975; ties by Turner, van Etten, Firth and Kosmidis 2020. Raises `FeedbackError` where there is nothing to
    rank, `NotConverged` rather than returning the last step.

    >>> model = PlackettLuce().fit([["a", "b", "c"], ["b", "a", "c"], ["a", "c", "b"], ["c", "a"]])
    >>> dict(zip(model.items_, model.scores_.round(3).tolist()))
    {'a': 0.523, 'b': -0.098, 'c': -0.425}
    """

    def __init__(
        self,
        *,
        ties: Literal["orders", "davidson-luce"] = "orders",
        solver: Literal["newton", "mm", "ilsr"] = "newton",
        weights: Literal["votes", "importance"] = "votes",
        virtual: float | None = None,
        ridge: float = 0.0,
    ) -> None:
        self.ties, self.solver, self.weights = ties, solver, weights
        self.virtual, self.ridge = virtual, ridge

    def fit(self, data: Any) -> PlackettLuce:
        """Fit to anything `Rankings.of` takes."""
        if self.ties not in ("orders", "davidson-luce") or self.solver not in ("newton", "mm", "ilsr"):
            raise OptionError("ties is 'orders' or 'davidson-luce', and solver 'newton', 'mm' or 'ilsr'")
        rankings = Rankings.of(data)
        self.rankings_, self.items_ = rankings, list(rankings.items)
        self.likelihood_ = DavidsonLuce(rankings) if self.ties == "davidson-luce" else Luce(rankings)
        self.graph_ = above_graph(rankings, tied=self.ties == "davidson-luce")
        if self.graph_.component.max() + 1 == rankings.n:
            raise FeedbackError("every ranking is one big tie, so there is nothing to rank by")
        self.penalty_ = self._penalty()
        self.penalised_ = (self.penalty_.virtual > 0) & self.graph_.infinite
        x, self.certificate_ = self._solve()
        self._x = self._centred(x)
        self.scores_: Array = self._x[: rankings.n]
        self.tie_ = {}
        if isinstance(self.likelihood_, DavidsonLuce):
            self.tie_ = dict(zip(self.likelihood_.orders, np.exp(self._x[rankings.n :]).tolist(), strict=True))
        self.nll_ = -float(rankings.weights @ self.likelihood_.log_likelihood(self._x))
        return self

    @property
    def coefficients_(self) -> dict[str, float]:
        """None: rankings have no covariates."""
        return {}

    @property
    def about_(self) -> str:
        """Which model this is."""
        if self.ties == "davidson-luce" and self.tie_:
            delta = ", ".join(f"{value:.3f} for {k}" for k, value in self.tie_.items())
            return f"Plackett-Luce, ties by Davidson and Luce's model (delta {delta})"
        tied = self.rankings_.ties()[0].size > 0
        return f"Plackett-Luce, {'ties are orders that were not recorded' if tied else 'no ties'}"

    @property
    def held_(self) -> str:
        """What keeps scores finite."""
        return held(self.virtual)

    def _penalty(self) -> Penalty:
        n = len(self.items_)
        virtual = np.full(n, 0.0 if self.virtual is None else self.virtual)
        if self.virtual is None and self.ridge == 0:
            virtual[self.graph_.infinite] = VIRTUAL
        return Penalty(np.full(n, self.ridge), virtual)

    @property
    def _held(self) -> NDArray[np.bool_]:
        """By component, whether a prior fixes its mean."""
        return np.bincount(self.graph_.component, self.penalty_.ridge + self.penalty_.virtual) > 0

    def _centred(self, x: Array) -> Array:
        """Mean zero in every component that no prior holds."""
        component, held = self.graph_.component, self._held
        mean = np.bincount(component, x[: len(component)]) / np.bincount(component)
        x = x.copy()
        x[: len(component)] -= np.where(held, 0.0, mean)[component]
        return x

    def _solve(self) -> tuple[Array, Certificate]:
        n, weight = len(self.items_), self.rankings_.weights
        likelihood = self.likelihood_
        extra = len(likelihood.orders) if isinstance(likelihood, DavidsonLuce) else 0
        if self.solver != "newton":
            if extra or not isinstance(likelihood, Luce) or likelihood.tied:
                raise OptionError(f"solver='{self.solver}' is for rankings without ties; use solver='newton'")
            if self.ridge:
                raise OptionError(f"solver='{self.solver}' knows no ridge; use virtual, or solver='newton'")
            virtual = self.penalty_.virtual
            if self.solver == "mm":
                sweep = minorise(likelihood, weight, virtual)
            else:
                sweep = walk(likelihood, weight, virtual, self.graph_.component)
            theta, left, rounds = iterate(sweep, self._centred, lambda x: self._objective(x)[2](), n)
            return theta, Certificate(left, float(np.abs(self._objective(theta)[1]).max()), rounds)
        return minimise(self._objective, np.zeros(n + extra))

    def _objective(self, x: Array) -> tuple[float, Array, Callable[[], Array]]:
        n, weight = len(self.items_), self.rankings_.weights
        value, slope = self.likelihood_.gradient(x, weight)
        added, pull, stiffness = self.penalty_.terms(x[:n], np.zeros(0))
        slope[:n] += pull

        def step() -> Array:
            if isinstance(self.likelihood_, Luce) and n > DENSE:
                return self._iterative(self.likelihood_, x, slope, stiffness)
            matrix = self._information(x)
            null = floating(self.graph_.component, self._held, len(x))
            lifted = matrix + float(np.mean(np.diag(matrix))) * null.T @ null
            return np.asarray(cho_solve(cho_factor(lifted), slope))

        return value + added, slope, step

    def _iterative(self, likelihood: Luce, x: Array, slope: Array, stiffness: Array) -> Array:
        """Newton's step by conjugate gradients: a number for every two of many items would not fit in memory."""
        n, weight = len(x), self.rankings_.weights
        diagonal = likelihood.diagonal(x, weight) + stiffness
        diagonal[diagonal <= 0] = 1.0
        product = likelihood.products(x, weight)
        matrix = LinearOperator((n, n), matvec=lambda v: product(v.ravel()) + stiffness * v.ravel(), dtype=np.float64)
        inverse = LinearOperator((n, n), matvec=lambda v: v.ravel() / diagonal, dtype=np.float64)
        step, failed = cg(matrix, slope, rtol=1e-3, atol=0.0, maxiter=10 * n, M=inverse)
        if failed:
            raise NotConverged("the linear system of a Newton step was not solved; some scores are hardly determined")
        return self._centred(np.asarray(step))

    def _information(self, x: Array) -> Array:
        n = len(self.items_)
        matrix = self.likelihood_.hessian(x, self.rankings_.weights)
        _, _, stiffness = self.penalty_.terms(x[:n], np.zeros(0))
        matrix[np.arange(n), np.arange(n)] += stiffness
        return matrix

    def covariance(self, kind: str = "sandwich", cluster: ArrayLike | None = None) -> Array:
        """Covariance of scores, then of log tie parameters, in the gauge of the scores.

        kind: "model", "sandwich", or "cluster" (rankings of one person; `cluster` [R], or the annotators).
        """
        if len(self.items_) > LARGEST:
            raise OptionError(f"a covariance of {len(self.items_):,} items does not fit in memory")
        bread = pseudo_inverse(self._information(self._x), self.graph_.component, self._held)
        if kind == "model":
            return bread
        if kind not in ("sandwich", "cluster"):
            raise OptionError(f"there is no covariance '{kind}'; choose model, sandwich or cluster")
        row, place, value = self.likelihood_.gradients(self._x)
        weight = self.rankings_.weights
        slopes = coo_array((value, (row, place)), shape=(len(weight), len(self._x))).tocsr()
        if kind == "cluster":
            cluster = self.rankings_.annotator if cluster is None else np.asarray(cluster)
            if cluster is None or len(cluster) != len(weight):
                raise OptionError("clustered intervals need the cluster of every ranking")
            _, owner = np.unique(cluster, return_inverse=True)
            groups = int(owner.max()) + 1
            if groups < 2:
                raise OptionError("clustered intervals need at least two clusters")
            slopes = coo_array((weight, (owner, np.arange(len(weight)))), shape=(groups, len(weight))).tocsr() @ slopes
            weight = np.full(groups, groups / (groups - 1))
        elif self.weights == "importance":
            weight = weight**2
        meat = (slopes.T @ slopes.multiply(weight[:, None]).tocsr()).toarray()
        return np.asarray(bread @ meat @ bread)

    def index(self, names: ArrayLike) -> NDArray[np.intp]:
        """Places of items by name, any shape. Raises `OptionError` for a name that did not take part."""
        return places(self.items_, names)

    def predict_proba(self, a: ArrayLike, b: ArrayLike) -> Array:
        """P(a above b), P(b above a), P(tie) for items by name, [..., 3]; NaN for items that nothing connects."""
        i, j = np.broadcast_arrays(self.index(a), self.index(b))
        d = self.scores_[i] - self.scores_[j]
        nu = self.tie_.get(2, 0.0)
        tied = nu / (nu + 2 * np.cosh(d / 2))
        p = np.stack([(1 - tied) * expit(d), (1 - tied) * expit(-d), tied], -1)
        return np.asarray(np.where((self.graph_.component[i] == self.graph_.component[j])[..., None], p, np.nan))

    def log_likelihood(self, data: Any) -> Array:
        """[R] of other rankings of the same items, in nats."""
        rankings = Rankings.of(data).renumbered(self.items_)
        if isinstance(self.likelihood_, Luce):
            return Luce(rankings).log_likelihood(self.scores_)
        made = DavidsonLuce(rankings)
        unseen = sorted(set(made.orders) - self.tie_.keys())
        if unseen:
            raise OptionError(f"ties of {unseen[0]} items did not occur in the fit, so it gives them no probability")
        return made.log_likelihood(np.append(self.scores_, [np.log(self.tie_[k]) for k in made.orders]))

    def score(self, data: Any) -> float:
        """Mean log-likelihood a ranking, in nats."""
        rankings = Rankings.of(data)
        return float(np.average(self.log_likelihood(rankings), weights=rankings.weights))


def above_graph(rankings: Rankings, tied: bool = False) -> Graph:
    """The graph of who stood above whom at least once; with `tied`, ties connect both ways (Hunter 2004)."""
    n = rankings.n
    upper, lower, _ = rankings.above(everything=False)
    pairs = [np.unique(upper * n + lower)]
    if tied:
        flat, owner = rankings.flat.astype(np.int64), rankings.owner
        same = (rankings.level[1:] == rankings.level[:-1]) & (owner[1:] == owner[:-1])
        last = rankings.level == rankings.level[rankings.offsets[1:] - 1][owner]
        same &= ~(last & rankings.unranked_below[owner])[1:]
        a, b = flat[:-1][same], flat[1:][same]
        pairs += [a * n + b, b * n + a]
    above = np.unique(np.concatenate(pairs))
    i, j = np.divmod(above, n)
    key = np.minimum(i, j) * n + np.maximum(i, j)
    distinct, place = np.unique(key, return_inverse=True)
    won = np.zeros((len(distinct), 3))
    won[place, (i > j).astype(np.int64)] = 1.0
    low, high = np.divmod(distinct, n)
    return graph(n, low.astype(np.int32), high.astype(np.int32), won)
