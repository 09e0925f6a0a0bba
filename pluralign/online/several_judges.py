"""Several judges as one: ensembles that are wary of what members disagree on, and the group that is served worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from pluralign.errors import OptionError
from pluralign.models.decisions import pessimistic
from pluralign.online.judges import Array, Asked, Judge, Rewarding, bradley_terry
from pluralign.online.rewards import worst_first

How = Literal["mean", "worst", "uncertainty", "median"]


class _Members:
    """Rewards of several judges, each on the scale that `standardise` found."""

    def __init__(self, judges: Sequence[Any]) -> None:
        if not judges:
            raise OptionError("there is no judge to make one of")
        for judge in judges:
            # A recorded judge has the method whatever it wraps.
            if not isinstance(getattr(judge, "judge", judge), Rewarding):
                raise OptionError(f"the judge '{judge.name}' compares and gives no rewards, which are needed of all")
        self.judges = list(judges)
        self.centre, self.scale = np.zeros(len(judges)), np.ones(len(judges))

    def standardise(self, prompts: Asked, responses: Sequence[str]) -> None:
        """Bring all members to mean 0 and spread 1 on these responses, once: their scales need not be alike."""
        raw = self._raw(prompts, responses)
        spread = np.nanstd(raw, axis=0)
        if not np.isfinite(raw).any(0).all():
            raise OptionError("a judge has no answer to any of these responses, so its scale cannot be known")
        self.centre, self.scale = np.nanmean(raw, axis=0), np.where(spread > 0, spread, 1.0)

    def _raw(self, prompts: Asked, responses: Sequence[str]) -> Array:
        return np.stack([np.asarray(judge.reward(prompts, responses)) for judge in self.judges], axis=-1)

    def rewards(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """[n, K]: standardised rewards of all members; nan where one has no answer."""
        return (self._raw(prompts, responses) - self.centre) / self.scale

    def reward(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """Rewards [n]; nan where a member has no answer."""
        raise NotImplementedError

    def prob(self, prompts: Asked, first: Sequence[str], second: Sequence[str]) -> Array:
        """sigmoid(r(first) - r(second)), [n]."""
        return bradley_terry(self.reward(prompts, first), self.reward(prompts, second))

    @property
    def _said(self) -> str:
        scales = ", ".join(f"{j.name} ({c:g}, {s:g})" for j, c, s in zip(self.judges, self.centre, self.scale))  # noqa: B905
        return f"[{scales}]"


class Ensemble(_Members):
    """K rewards as one: their mean, the worst of them, mean - penalty * variance ("uncertainty"), or the median.

    Give recorded judges: answers are then kept member by member. Call `standardise` first where members are not on one
    scale. Coste et al. 2023: wariness delays over-optimisation as far as members err apart.

    >>> from pluralign.online.judges import Scored
    >>> members = [Scored(lambda x, y: len(y), name="length"), Scored(lambda x, y: 1.0, name="one")]
    >>> [Ensemble(members, how).reward(["q"], ["four"]).item() for how in ("mean", "worst", "median")]
    [2.5, 1.0, 2.5]
    >>> Ensemble(members, "uncertainty", penalty=0.5).reward(["q"], ["four"]).item()
    1.375
    """

    def __init__(self, judges: Sequence[Any], how: How = "mean", *, penalty: float = 1.0) -> None:
        if how not in ("mean", "worst", "uncertainty", "median"):
            raise OptionError(f"an ensemble is by mean, worst, uncertainty or median, not by {how!r}")
        super().__init__(judges)
        self.how, self.penalty = how, penalty

    @property
    def name(self) -> str:
        """The rule, the members and their scales."""
        return f"{self.how} {self.penalty:g} of {self._said}"

    def reward(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """Rewards [n]; nan where a member has no answer."""
        members = self.rewards(prompts, responses)
        if self.how == "median":
            return np.asarray(np.median(members, -1))
        penalty = {"mean": 0.0, "worst": np.inf, "uncertainty": self.penalty}[self.how]
        return pessimistic(members, penalty)


class Panel:
    """Several judges by name as one who compares: the chance is the mean of theirs, each counting alike.

    >>> from pluralign.online.judges import Matrix
    >>> sure, unsure = Matrix([[0.5, 1.0], [0.0, 0.5]], ["a", "b"]), Matrix([[0.5, 0.6], [0.4, 0.5]], ["a", "b"])
    >>> Panel({"sure": sure, "unsure": unsure}).prob(["q"], ["a"], ["b"]).tolist()
    [0.8]
    """

    def __init__(self, judges: Mapping[str, Judge]) -> None:
        self.judges = dict(judges)

    @property
    def name(self) -> str:
        """All of them."""
        return f"mean of [{', '.join(judge.name for judge in self.judges.values())}]"

    def prob(self, prompts: Asked, first: Sequence[str], second: Sequence[str]) -> Array:
        """Mean chance [n] that first is preferred; nan where a judge has no answer."""
        return np.asarray(np.mean([judge.prob(prompts, first, second) for judge in self.judges.values()], axis=0))


class MaxMin(_Members):
    """The groups' rewards weighted towards whom the policy serves worst: max over policies of min over groups.

    judges: one a group. weights: [K], start alike. `observe` moves them by what the policy's samples are worth to each
    group: w_k exp(-step * v_k) / Z (exponentiated gradient), or with an infinite step to the worst group alone. Rewards
    must be on one scale (`standardise`), or the group with the smallest numbers rules.

    For a loop of one's own: `online.run` moves no judge's weights, but those of the learner `maxmin`, which takes the
    groups' judges themselves. Chakraborty et al. 2024 (MaxMin-RLHF).

    >>> from pluralign.online.judges import Scored
    >>> groups = [Scored(lambda x, y: len(y), name="long"), Scored(lambda x, y: -len(y), name="short")]
    >>> judge = MaxMin(groups, step=float("inf"))
    >>> judge.observe(["q", "q"], ["a long one", "short"]).tolist(), judge.weights.tolist()
    ([7.5, -7.5], [0.0, 1.0])
    """

    def __init__(self, judges: Sequence[Any], *, step: float = np.inf, weights: ArrayLike | None = None) -> None:
        super().__init__(judges)
        if step <= 0:
            raise OptionError(f"a step of {step:g} would not move to the group that is served worst; give one above 0")
        k = len(self.judges)
        self.step = step
        self.weights = np.full(k, 1 / k) if weights is None else np.asarray(weights, dtype=np.float64)
        if self.weights.shape != (k,) or (self.weights < 0).any() or not np.isclose(self.weights.sum(), 1):
            raise OptionError(f"weights are one a group, not below 0, and sum to 1; got {self.weights.tolist()}")

    @property
    def name(self) -> str:
        """The groups, their scales and their weights now."""
        return f"max-min {[round(w, 6) for w in self.weights.tolist()]} of {self._said}"

    def observe(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """Mean rewards [K] of the policy's samples, by which the weights are moved; nan answers take no part."""
        values = np.nanmean(self.rewards(prompts, responses), axis=0)
        if not np.isfinite(values).all():
            raise OptionError("a group's judge has no answer to any sample, so who is served worst cannot be known")
        if np.isinf(self.step):
            self.weights = np.eye(len(values))[int(values.argmin())]
        else:
            self.weights = worst_first(self.weights, values, self.step)
        return np.asarray(values)

    def reward(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """Weighted rewards [n]; nan where a group has no answer."""
        return np.asarray(self.rewards(prompts, responses) @ self.weights)
