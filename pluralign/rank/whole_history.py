"""Whole-history rating: strengths that drift, estimated from the past and the future together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from pluralign.errors import FeedbackError, OptionError
from pluralign.intervals import critical
from pluralign.rank.chains import Array, chains
from pluralign.rank.design import outcomes
from pluralign.rank.drift import predictive_variance
from pluralign.rank.families import Davidson, Family, Logistic, RaoKupper, averaged, log_half, tie_words
from pluralign.rank.history import History, Problem, whole_history
from pluralign.rank.names import places
from pluralign.rank.newton import Penalty
from pluralign.rank.stream import joined, sides, timed
from pluralign.rank.votes import Votes

JOINT = 3_000_000
"""Items times moments up to which all covariances between items are computed."""


class WholeHistory:
    """Bradley-Terry whose scores are Brownian motions: P(a beats b at t) = sigmoid(r_a(t) - r_b(t)).

    variance: of the change of a score in a day, in squared logits (300 squared Elo points a day, a common setting for
    games, is 0.00994); None chooses the one that predicts the last fifth of the votes best, each part of it from what
    came before (`variance_`). ties, both_bad: as in `BradleyTerry`. order: also estimate the advantage of the item
    shown first. virtual: wins and losses each that every item has at its first moment against one of score zero.
    period: days that count as one moment. grades: known grades of some items, such as climbing routes, which then stay
    as they are: score = slope x (grade - their mean) + a deviation of its own with standard deviation `grade_spread`;
    the slope is estimated ("grade" in `coefficients_`), and exp(slope) says how many times harder one grade is.
    draws, seed: for the bands of long histories.

    After `fit` or `update`: `items_`; `logits_` [n] at the last moment of all votes, around the zero of the prior, and
    `scores_`, the same with mean zero; `coefficients_` ("order", "grade") and `tie_` (nu, or eta); `errors_` of both,
    where "tie" is that of the logarithm of nu, or of eta; `certificate_`, `nll_`.

    Coulom 2008; grades as described by Scarff 2020, here by the mode of everything together and the curvature there in
    place of sampling, which makes the slope a few per cent too small where routes deviate much and are rarely tried.
    Bands are those of the curvature, a little too narrow where an item has a few dozen votes.
    Raises `FeedbackError` where votes have no time, `NotConverged` rather than returning the last step.

    >>> won = {"a": ["x"] * 6, "b": ["y"] * 6, "winner": ["a"] * 3 + ["b"] * 3, "time": [0, 1, 2, 101, 102, 103]}
    >>> model = WholeHistory(variance=0.01).fit(won)
    >>> curve = model.curve("x", [0.0, 103.0])
    >>> bool(curve["rating"][0] > 0.3), bool(curve["rating"][1] < -0.3)
    (True, True)
    """

    def __init__(
        self,
        *,
        variance: float | None = None,
        ties: Literal["half", "davidson", "rao-kupper", "drop"] = "half",
        both_bad: Literal["tie", "drop"] = "tie",
        order: bool = False,
        virtual: float = 1.0,
        period: float = 1.0,
        grades: Mapping[str, float] | None = None,
        grade_spread: float = 0.5,
        draws: int = 64,
        seed: int = 0,
    ) -> None:
        self.variance, self.ties, self.both_bad, self.order = variance, ties, both_bad, order
        self.virtual, self.period, self.grades, self.grade_spread = virtual, period, grades, grade_spread
        self.draws, self.seed = draws, seed

    def fit(self, data: Any) -> WholeHistory:
        """Fit to anything `Votes.of` takes that has a time."""
        self._check()
        votes = Votes.of(data)
        timed(votes)
        if len(votes.items) < 2:
            raise FeedbackError(f"a ranking needs two items, and these votes name only {', '.join(votes.items)}")
        unknown = sorted(set(self.grades or ()) - set(votes.items))
        if unknown:
            raise OptionError(f"'{unknown[0]}' has a grade and no votes; its name may be spelt differently")
        self.variance_ = self._chosen(votes) if self.variance is None else float(self.variance)
        return self._take(votes, whole_history(self._problem(votes, self.variance_), None))

    def update(self, data: Any) -> WholeHistory:
        """Add votes, old or new, and move to the new optimum from the present one; the variance stays."""
        if not hasattr(self, "votes_"):
            return self.fit(data)
        votes = joined(self.votes_, Votes.of(data))
        timed(votes)
        problem = self._problem(votes, self.variance_)
        return self._take(votes, whole_history(problem, self._warm(problem, self._history)))

    def _check(self) -> None:
        if self.virtual <= 0 or self.period <= 0 or self.grade_spread <= 0 or self.draws < 2:
            raise OptionError("virtual, period and grade_spread must be positive, and draws two or more")
        if self.variance is not None and not self.variance >= 0:
            raise OptionError(f"variance must be zero or more squared logits a day, got {self.variance}")

    def _take(self, votes: Votes, history: History) -> WholeHistory:
        self.votes_, self._history = votes, history
        self.items_ = list(votes.items)
        self._places = {item: i for i, item in enumerate(self.items_)}
        self._bands: tuple[Array, Array] | None = None
        self._own = history.system.chain_variance()
        self.nll_, self.certificate_ = history.nll, history.certificate
        names = self._names()
        self.coefficients_ = dict(zip(names, history.beta.tolist(), strict=True))
        names = names + ["tie"] * (history.tie is not None)
        self.errors_ = dict(zip(names, np.sqrt(np.diag(history.shared)).tolist(), strict=True))
        davidson = isinstance(history.problem.family, Davidson)
        self.tie_ = 0.0 if history.tie is None else float(np.exp(history.tie)) if davidson else history.tie
        self.last_ = float(self._moments(votes).max())
        every = np.arange(len(self.items_))
        _, grade = self._graded(self.items_)
        here = self._at(every, np.full(len(every), self.last_), self._own)[0]
        self.logits_: Array = here + self._shared(history, np.zeros(len(every)), grade)
        self.scores_: Array = self.logits_ - self.logits_.mean()
        return self

    def _names(self) -> list[str]:
        return ["order"] * bool(self.order) + ["grade"] * bool(self.grades)

    def _moments(self, votes: Votes) -> Array:
        return np.asarray(np.floor(timed(votes) / self.period) * self.period)

    def _graded(self, items: ArrayLike) -> tuple[NDArray[np.bool_], Array]:
        """[n] whether an item has a grade, and that grade less the mean of all grades."""
        known = self.grades or {}
        centre = float(np.mean(list(known.values()))) if known else 0.0
        names = np.asarray(items, dtype=object).ravel()
        has = np.array([name in known for name in names])
        return has, np.array([known[name] - centre if name in known else 0.0 for name in names])

    def _problem(self, votes: Votes, variance: float) -> Problem:
        graded, grade = self._graded(votes.items)
        time = self._moments(votes)
        made, place = chains(
            np.concatenate([votes.left, votes.right]), np.tile(time, 2), np.where(graded, 0.0, variance)
        )
        won = np.zeros((len(votes), 4))
        won[np.arange(len(votes)), votes.outcome] = 1.0 if votes.weight is None else votes.weight
        won = outcomes(won, self.ties, self.both_bad)
        a, b = place[: len(votes)], place[len(votes) :]
        columns = [sides(votes)] if self.order else []
        if self.grades:
            columns.append(grade[votes.left] - grade[votes.right])
        ridge, virtual = np.zeros(len(made)), np.zeros(len(made))
        ridge[made.first] = np.where(graded, self.grade_spread**-2, 0.0)
        virtual[made.first] = np.where(graded, 0.0, self.virtual)
        z = np.stack(columns, 1) if columns else np.zeros((len(votes), 0))
        return Problem(made, a, b, won, z, self._family(won), Penalty(ridge, virtual))

    def _family(self, won: Array) -> Family:
        if self.ties in ("half", "drop") or not won[:, 2].any():
            return Logistic()
        return Davidson() if self.ties == "davidson" else RaoKupper()

    def _warm(self, problem: Problem, old: History) -> tuple[Array, Array, float | None]:
        """Ratings of another fit, whose items come first, as the start of this one."""
        made, before = problem.chains, old.problem.chains
        known = made.item < len(before.first)
        rating = np.zeros(len(made))
        at = before.before(made.item[known], np.nan_to_num(made.time[known]))
        rating[known] = old.rating[at]
        same = (old.tie is None) == (problem.family.start is None)
        return rating, old.beta, old.tie if same else problem.family.start

    def _chosen(self, votes: Votes) -> float:
        def fit(past: NDArray[np.bool_], variance: float, old: History | None) -> History:
            problem = self._problem(votes.where(past), variance)
            start = None if old is None else self._warm(problem, old)
            return whole_history(problem, start, tolerance=1e-2)

        return predictive_variance(self._moments(votes), fit, lambda past, next_: self._loss(past, votes.where(next_)))

    def _loss(self, history: History, votes: Votes) -> float:
        """Summed negative log-likelihood of later votes, in nats."""
        own, time = history.system.chain_variance(), self._moments(votes)
        mean, variance = self._between(history, votes.left, votes.right, time, own)
        _, grade = self._graded(votes.items)
        mean = mean + self._shared(history, sides(votes), grade[votes.left] - grade[votes.right])
        p = averaged(history.problem.family, history.tie, mean, variance)
        won = np.zeros((len(votes), 4))
        won[np.arange(len(votes)), votes.outcome] = 1.0 if votes.weight is None else votes.weight
        return -float((outcomes(won, self.ties, self.both_bad) * log_half(history.problem.family, p)).sum())

    def _shared(self, history: History, side: Array, grade: Array) -> Array:
        beta = dict(zip(self._names(), history.beta, strict=True))
        return np.asarray(beta.get("order", 0.0) * side + beta.get("grade", 0.0) * grade)

    def _at(
        self, item: NDArray[Any], time: Array, spread: tuple[Array, Array], history: History | None = None
    ) -> tuple[Array, Array]:
        """Mean and variance of items at times; spread: variance of every moment and covariance with the next."""
        history = history or self._history
        rating, variance, following = history.rating, spread[0], np.append(spread[1], 0.0)
        k, after, share, noise = history.problem.chains.bridge(item, time)
        mean = (1 - share) * rating[k] + share * rating[after]
        known = (1 - share) ** 2 * variance[k] + share**2 * variance[after] + 2 * share * (1 - share) * following[k]
        return mean, known + noise

    def _between(
        self, history: History, a: NDArray[Any], b: NDArray[Any], time: Array, spread: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        (one, sure), (other, other_sure) = (self._at(item, time, spread, history) for item in (a, b))
        return one - other, sure + other_sure

    @property
    def about_(self) -> str:
        """Which model this is."""
        points = 400 / np.log(10) * np.sqrt(365 * self.variance_)
        ties = tie_words(self.ties, self.tie_)
        return f"Whole-history rating with a drift of {points:.0f} points in 365 days (one standard deviation), {ties}"

    @property
    def held_(self) -> str:
        """What keeps scores finite."""
        return f"every item starts with {self.virtual:g} virtual wins and as many losses against an average one"

    @property
    def joint_(self) -> bool:
        """Whether the fit is small enough for all covariances between items to be computed."""
        return len(self.items_) * len(self._history.rating) <= JOINT

    def last_covariance(self) -> Array:
        """Covariance of `logits_` and coefficients [n + q, n + q], exact where `joint_`.

        For others, each item by itself: given the coefficients, covariances of ratings are never negative, so that
        differences taken as independent have intervals that are too wide, not too narrow.
        """
        n = len(self.items_)
        q = len(self.coefficients_)
        covariance = np.zeros((n + q, n + q))
        if self.joint_:
            weight, shared, noise = self._weights([{name: 1.0} for name in self.items_], np.full(n, self.last_))
            covariance[:n, :n] = self._history.covariance(weight, shared) + np.diag(noise)
        else:
            if self._bands is None:
                self._bands = self._history.deviation(self.draws, self.seed)
            covariance[:n, :n] = np.diag(self._at(np.arange(n), np.full(n, self.last_), self._bands)[1])
        np.fill_diagonal(covariance[n:, n:], [self.errors_[name] ** 2 for name in self.coefficients_])
        return covariance

    def index(self, names: ArrayLike) -> NDArray[np.intp]:
        """Places of items by name, any shape. Raises `OptionError` for a name that did not take part."""
        return places(self._places, names, "items that were rated")

    def predict_proba(self, a: ArrayLike, b: ArrayLike, time: ArrayLike | None = None, side: ArrayLike = 0.0) -> Array:
        """P(a wins), P(b wins), P(tie) for items by name, [..., 3], averaged over what is not known about the scores.

        What is not known about one item is taken as if the others' scores were known.
        time: in days, the last moment of the votes by default. side: 1 where a is shown first, -1 where b is.
        """
        when = self.last_ if time is None else time
        names_a, names_b, when, side = np.broadcast_arrays(
            np.asarray(a, dtype=object), np.asarray(b, dtype=object), np.asarray(when, dtype=float), side
        )
        i, j = self.index(names_a), self.index(names_b)
        mean, variance = self._between(self._history, i.ravel(), j.ravel(), when.ravel(), self._own)
        grade = self._graded(names_a)[1] - self._graded(names_b)[1]
        mean = mean + self._shared(self._history, np.ravel(side), grade)
        return averaged(self._history.problem.family, self._history.tie, mean, variance).reshape(*when.shape, 3)

    def score(self, data: Any) -> float:
        """Mean log-likelihood a vote, in nats, of other votes between the same items, each at its time."""
        votes = Votes.of(data)
        names = np.array(votes.items, dtype=object)
        p = self.predict_proba(names[votes.left], names[votes.right], self._moments(votes), sides(votes))
        won = np.zeros((len(votes), 4))
        won[np.arange(len(votes)), votes.outcome] = 1.0 if votes.weight is None else votes.weight
        won = outcomes(won, self.ties, self.both_bad)
        return float((won * log_half(self._history.problem.family, p)).sum() / won.sum())

    def curve(self, item: str, times: ArrayLike | None = None, level: float = 0.95) -> pl.DataFrame:
        """Rating of an item over time with its posterior band: `time` (days), `rating`, `deviation`, `low`, `high`.

        times: in days, the item's own moments by default. In logits; graded items include their slope.
        """
        place = int(self.index(item))
        made = self._history.problem.chains
        own = made.time[made.item == place]
        asked = np.asarray(own if times is None else times, dtype=float).ravel()
        if self.grades and item in self.grades:
            return self._combined({item: 1.0}, asked, level)
        if self._bands is None:
            self._bands = self._history.deviation(self.draws, self.seed)
        mean, variance = self._at(np.full(len(asked), place), asked, self._bands)
        return _banded(asked, mean, variance, level)

    def contrast(self, a: str, b: str, times: ArrayLike | None = None, level: float = 0.95) -> pl.DataFrame:
        """Rating of a minus that of b over time, columns as in `curve`: what both share, such as the level of all
        ratings, which only the prior holds, cancels. times: the last moment of the votes by default.
        """
        asked = np.asarray([self.last_] if times is None else times, dtype=float).ravel()
        return self._combined({a: 1.0, b: -1.0}, asked, level)

    def _combined(self, signs: Mapping[str, float], time: Array, level: float) -> pl.DataFrame:
        """A sum of ratings, each times its sign, with its exact variance: one linear system for every time."""
        weight, shared, noise = self._weights([signs] * len(time), time)
        mean = self._history.rating @ weight + self._history.beta @ shared[: len(self.coefficients_)]
        return _banded(time, mean, np.diag(self._history.covariance(weight, shared)) + noise, level)

    def _weights(self, sums: Sequence[Mapping[str, float]], time: Array) -> tuple[Array, Array, Array]:
        """Sums of ratings at times [k]: weights of moments [V, k] and of shared effects [q, k], and free noise [k]."""
        weight, noise = np.zeros((len(self._history.rating), len(time))), np.zeros(len(time))
        shared = np.zeros((len(self.errors_), len(time)))
        for column, (signs, when) in enumerate(zip(sums, time, strict=True)):
            for name, sign in signs.items():
                k, after, share, free = self._history.problem.chains.bridge(self.index([name]), np.array([when]))
                weight[k, column] += sign * (1 - share)
                weight[after, column] += sign * share
                noise[column] += free[0]
            if "grade" in self.coefficients_:
                grade = self._graded(list(signs))[1] @ np.array(list(signs.values()))
                shared[list(self.coefficients_).index("grade"), column] = grade
        return weight, shared, noise


def _banded(time: Array, mean: Array, variance: Array, level: float) -> pl.DataFrame:
    deviation = np.sqrt(variance)
    half = critical(level) * deviation
    return pl.DataFrame({"time": time, "rating": mean, "deviation": deviation, "low": mean - half, "high": mean + half})
