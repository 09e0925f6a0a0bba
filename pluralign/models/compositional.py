"""Rewards made of named features: a weighted sum that can be read, and what each feature is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from pluralign.errors import OptionError
from pluralign.models.answers import Answers
from pluralign.models.fitted import Fitted, right_share
from pluralign.models.heads import Head
from pluralign.models.reward import Reward
from pluralign.models.ridge_logistic import design, ridge_logistic

Array = NDArray[np.float64]
STRENGTHS = tuple(float(c) for c in np.logspace(-5, 5, 12))


class Compositional(Fitted):
    """A logistic regression, without intercept, on differences of standardised features.

    names: of the features, helpfulness or coherence say, as a language model, a metric or an expert scored them.
    penalty: "l2" or "l1", which leaves features out. strengths: how much the data count against the penalty (C), of
    which the one with the highest accuracy over `folds` folds is kept, the smallest among equals.

    After `fit`: `weights_` [D], what one standard deviation of each feature is worth, `strength_`, and `table`.

    Go et al. 2023 (compositional preference models). Raises `OptionError`.

    >>> x = np.random.default_rng(0).normal(size=(2, 300, 2))
    >>> answers = Answers.of(x[0], x[1], x[0, :, 0] > x[1, :, 0])
    >>> model = Compositional(["helpful", "long"]).fit(answers)
    >>> model.table(answers)["feature"].to_list(), bool(model.accuracy(answers) > 0.95)
    (['helpful', 'long'], True)
    """

    learnt = "weights_"

    def __init__(
        self,
        names: Sequence[str] | None = None,
        *,
        penalty: Literal["l1", "l2"] = "l2",
        strengths: Sequence[float] = STRENGTHS,
        folds: int = 8,
        seed: int = 0,
    ) -> None:
        if penalty not in ("l1", "l2"):
            raise OptionError(f"penalty {penalty!r} is not one of l1, l2")
        if folds < 2 or not strengths or min(strengths) <= 0:
            raise OptionError("folds is 2 or more, and strengths are numbers above 0")
        self.names, self.penalty, self.folds, self.seed = names, penalty, folds, seed
        self.strengths = sorted(strengths)

    def fit(self, answers: Any) -> Compositional:
        """Choose the strength of the penalty and fit the weights, to `Answers` or, with `features`, any feedback."""
        answers = self.read(answers)
        d = answers.items.shape[1]
        if self.names is not None and len(self.names) != d:
            raise OptionError(f"there are {d} features and {len(self.names)} names; give one for each")
        shown = answers.items[torch.cat([answers.left, answers.right]).unique()].double().numpy()
        spread = shown.std(0)
        self.scale_ = np.where(spread > 0, spread, 1.0)
        x, y, _, count = self._design(answers)
        fold = np.random.default_rng(self.seed).permutation(len(y)) % self.folds

        def right(c: float) -> float:
            hits = []
            for i in range(min(self.folds, len(y))):
                out = fold == i
                z = x[out] @ self._weights(x[~out], y[~out], count[~out], c)
                hits.append((np.sign(z) * np.sign(y[out] - 0.5) + 1) / 2)
            return float(np.mean(np.concatenate(hits)))

        scores = {c: right(c) for c in self.strengths} if len(self.strengths) > 1 else {self.strengths[0]: 0.0}
        self.strength_ = max(scores, key=lambda c: (scores[c], -c))
        self.weights_ = self._weights(x, y, count, self.strength_)
        return self

    def _design(self, answers: Answers) -> tuple[Array, Array, NDArray[np.int64], Array]:
        x, y, person, count = design(answers)
        return x / self.scale_, y, person, count

    def _weights(self, x: Array, y: Array, count: Array, c: float) -> Array:
        if self.penalty == "l2":
            return ridge_logistic(x, y, count, 1 / c)
        d = x.shape[1]

        # w = p - q with p, q >= 0, so that |w| = p + q has a slope everywhere.
        def loss(parts: Array) -> tuple[float, Array]:
            z = x @ (parts[:d] - parts[d:])
            slope = x.T @ (count * (expit(z) - y))
            value = (count * (np.logaddexp(0, -z) + (1 - y) * z)).sum() + parts.sum() / c
            return float(value), np.concatenate([slope, -slope]) + 1 / c

        found = minimize(loss, np.zeros(2 * d), jac=True, method="L-BFGS-B", bounds=[(0, None)] * (2 * d)).x
        return np.asarray(found[:d] - found[d:])

    def margins(self, answers: Any) -> Array:
        """[n]: reward of left less reward of right."""
        left, right = self.read(answers).features
        reward = self.export()
        return np.asarray((reward.of(left) - reward.of(right)).numpy())

    def importance(self, answers: Answers, *, repeats: int = 5) -> Array:
        """[D]: by how much accuracy falls where a feature is dealt anew among the responses; mean over `repeats`."""
        draw, whole = np.random.default_rng(self.seed), self.accuracy(answers)
        items, found = answers.items.double().numpy() / self.scale_, np.zeros(len(self.weights_))
        left, right = answers.left.numpy(), answers.right.numpy()
        base = self.margins(answers)
        for j in range(len(found)):
            own = (items[left, j] - items[right, j]) * self.weights_[j]
            for _ in range(repeats):
                dealt = draw.permutation(items[:, j])
                z = base - own + (dealt[left] - dealt[right]) * self.weights_[j]
                found[j] += (whole - right_share(z, answers)) / repeats
        return found

    def table(self, answers: Answers) -> pl.DataFrame:
        """A row a feature, the most important first: its weight, and what accuracy loses without it."""
        names = list(self.names) if self.names is not None else [f"feature {j}" for j in range(len(self.weights_))]
        table = pl.DataFrame({"feature": names, "weight": self.weights_, "importance": self.importance(answers)})
        return table.sort("importance", descending=True, maintain_order=True)

    def export(self, weights: Any = None) -> Reward:
        """An ordinary reward; of these `weights` [D] instead of the fitted ones, where given."""
        worth = self.weights_ if weights is None else np.asarray(weights, dtype=np.float64)
        head = Head(len(worth)).double().requires_grad_(False)
        head.directions[0, :-1] = torch.as_tensor(worth / self.scale_)
        head.directions[0, -1] = 0.0
        return Reward(head, torch.ones(1, dtype=torch.float64), self.features)
