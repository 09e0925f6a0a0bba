"""Bradley-Terry and its kin: one score an item from who beat whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank import solvers, uncertainty
from pluralign.rank.design import Design, design
from pluralign.rank.families import Davidson, Family, Logistic, Probit, RaoKupper, tie_words
from pluralign.rank.names import places
from pluralign.rank.newton import Certificate, Penalty, Solution, newton
from pluralign.rank.votes import TIE, Counts, Votes

Array = NDArray[np.float64]

VIRTUAL = 0.5
"""Virtual wins and losses an item against one of average strength, where votes alone leave some score infinite."""


class BradleyTerry:
    """P(i beats j) = sigmoid(score_i - score_j), fitted by maximum likelihood.

    link: "logit", or "probit" for Thurstone's case V. ties: "half" a win and half a loss each, "davidson", "rao-kupper"
    (models with a tie parameter), or "drop". both_bad: count such votes as "tie", or "drop" them. order:
    also estimate the advantage of the item shown first (the left one, where the votes do not say). covariates:
    columns of the votes, differences of left and right or pairs `name_a`, `name_b`, whose effect is estimated and
    taken out (style control). weights: "votes" (a row stands for so many votes), "importance" (a row counts so
    much), "inverse-pair" (every pair of items counts alike, as arenas do), or "strength" (much better counts for
    more than slightly better). virtual: wins and losses added for every item against one of average strength; None
    adds `VIRTUAL` only in components where some score would be infinite. ridge: half of it times the squared scores
    is added to the negative log-likelihood (a Gaussian prior of variance 1 / ridge); covariate_ridge: the same for
    covariates. Neither grows with the number of votes. solver: "newton", or a classic iteration that finds the same
    scores, see `solvers.solve`.

    After `fit`: `items_`; `scores_` [n], in logits (or probits), with mean zero in every component without a prior;
    `tie_` (nu of Davidson, eta of Rao and Kupper) and `coefficients_` (by covariate, a unit of spread each; "order" in
    logits); `graph_`; `penalised_` [n]; `nll_` in nats; `certificate_`.

    Zermelo 1929; Bradley and Terry 1952. Raises `FeedbackError` where there is nothing to rank, `NotConverged` rather
    than returning the last step.

    >>> votes = {"model_a": ["x", "x", "y"], "model_b": ["y", "y", "x"], "winner": ["model_a"] * 3}
    >>> model = BradleyTerry().fit(votes)
    >>> float((model.scores_[0] - model.scores_[1]).round(6))  # ln 2: two wins against one
    0.693147
    """

    def __init__(
        self,
        *,
        link: Literal["logit", "probit"] = "logit",
        ties: Literal["half", "davidson", "rao-kupper", "drop"] = "half",
        both_bad: Literal["tie", "drop"] = "tie",
        order: bool = False,
        covariates: Sequence[str] = (),
        weights: Literal["votes", "importance", "inverse-pair", "strength"] = "votes",
        virtual: float | None = None,
        ridge: float = 0.0,
        covariate_ridge: float = 0.0,
        solver: Literal["newton", "mm", "newman", "ilsr"] = "newton",
    ) -> None:
        self.link, self.ties, self.both_bad, self.order = link, ties, both_bad, order
        self.covariates, self.weights = covariates, weights
        self.virtual, self.ridge, self.covariate_ridge = virtual, ridge, covariate_ridge
        self.solver = solver

    def fit(self, data: Any) -> BradleyTerry:
        """Fit to anything `Votes.of` takes, or to `Counts`."""
        votes = data if isinstance(data, (Votes, Counts)) else Votes.of(data)
        self.items_ = list(votes.items)
        if len(self.items_) < 2:
            raise FeedbackError(f"a ranking needs two items, and these votes name only {', '.join(self.items_)}")
        self.votes_ = votes
        self.design_ = self._design(votes)
        self.graph_ = self.design_.graph
        self.family_ = self._family(self.design_)
        self.penalty_ = self._penalty(self.design_)
        self.penalised_ = (self.penalty_.virtual > 0) & self.graph_.infinite
        parts = self.design_.problem, self.family_, self.penalty_
        self._take(newton(*parts) if self.solver == "newton" else solvers.solve(self.solver, *parts))
        return self

    def _take(self, solution: Solution) -> None:
        self.solution_ = solution
        self.scores_: Array = solution.theta
        self.nll_: float = solution.nll
        self.certificate_: Certificate = solution.certificate
        tie = solution.tie
        davidson = isinstance(self.family_, Davidson)
        self.tie_ = 0.0 if tie is None else float(np.exp(tie)) if davidson else tie
        self.coefficients_ = dict(zip(self.design_.names, solution.beta.tolist(), strict=True))

    def _design(self, votes: Votes | Counts, by_vote: bool = False) -> Design:
        return design(
            votes,
            ties=self.ties,
            both_bad=self.both_bad,
            weights=self.weights,
            order=self.order,
            covariates=self.covariates,
            by_vote=by_vote,
        )

    def _family(self, made: Design) -> Family:
        if self.link == "probit":
            if self.ties in ("davidson", "rao-kupper"):
                raise OptionError(f"ties='{self.ties}' is a model for the logit link; use 'half' or 'drop' with probit")
            return Probit()
        if self.ties in ("half", "drop") or not made.problem.won[:, 2].any():
            # Without a single tie both tie models are Bradley-Terry with a tie parameter of zero.
            return Logistic()
        return Davidson() if self.ties == "davidson" else RaoKupper()

    def _penalty(self, made: Design) -> Penalty:
        n = made.problem.n
        virtual = np.full(n, 0.0 if self.virtual is None else self.virtual)
        if self.virtual is None and self.ridge == 0:
            virtual[made.graph.infinite] = VIRTUAL
        return Penalty(np.full(n, self.ridge), virtual, self.covariate_ridge)

    @property
    def about_(self) -> str:
        """Which model this is."""
        name = "Thurstone's case V" if self.link == "probit" else "Bradley-Terry"
        votes = self.votes_
        tied = votes.won[:, TIE:].any() if isinstance(votes, Counts) else (votes.outcome >= TIE).any()
        return f"{name}, {tie_words(self.ties, self.tie_) if tied else 'no ties'}"

    @property
    def held_(self) -> str:
        """What keeps scores finite."""
        return held(self.virtual)

    def index(self, names: ArrayLike) -> NDArray[np.intp]:
        """Places of items by name, any shape. Raises `OptionError` for a name that did not take part."""
        return places(self.items_, names)

    def predict_proba(self, a: ArrayLike, b: ArrayLike) -> Array:
        """P(a wins), P(b wins), P(tie) for items by name, [..., 3]; NaN for items that votes do not connect.

        At covariates and order that favour neither side.
        """
        i, j = np.broadcast_arrays(self.index(a), self.index(b))
        p = self.family_.probabilities(self.scores_[i] - self.scores_[j], self.solution_.tie)
        return np.asarray(np.where((self.graph_.component[i] == self.graph_.component[j])[..., None], p, np.nan))

    def score(self, data: Any) -> float:
        """Mean log-likelihood a vote, in nats, of other votes between the same items."""
        votes = data if isinstance(data, (Votes, Counts)) else Votes.of(data)
        made = self._design(votes)
        place = self.index(votes.items)
        theta = self.scores_[place]
        terms = self.family_.terms(
            made.problem.margin(theta, self.solution_.beta), made.problem.won, self.solution_.tie
        )
        return -terms.nll / float(made.problem.won.sum())

    def covariance(self, kind: str = "sandwich", cluster: NDArray[np.int32] | None = None) -> Array:
        """Covariance of scores, covariates and tie parameter, [n + q, n + q]; see `uncertainty.covariance`.

        cluster: a number for every vote, for kind "cluster".
        """
        made = self.design_
        if kind == "cluster":
            made = made if made.votes is not None else self._design(self.votes_, by_vote=True)
            assert made.votes is not None
            cluster = None if cluster is None else np.asarray(cluster)[made.votes]
        return uncertainty.covariance(made, self.family_, self.penalty_, self.solution_, kind, cluster)


def held(virtual: float | None) -> str:
    """What virtual votes keep finite, as part of a sentence."""
    if virtual is None:
        return "items of such groups were given half a virtual win and loss, and their intervals are wide"
    return f"every item was given {virtual:g} virtual wins and as many losses against one of average strength"
