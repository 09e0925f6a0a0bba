"""From one crowd to everybody alone by one knob: people differ from the crowd as far as their answers bear out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor, nn

from pluralign.errors import FeedbackError, OptionError
from pluralign.models.answers import Answers
from pluralign.models.choosing import fewest
from pluralign.models.localise import Localised
from pluralign.models.population import Population
from pluralign.models.ridge_logistic import curvature, design, ridge_logistic
from pluralign.models.scores import Score

Array = NDArray[np.float64]
SPREADS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)


class OwnReward(Score):
    """A reward linear in the features, whose coefficients are the weights themselves.

    features: D, and as many weights.

    >>> OwnReward(2)(torch.eye(2), torch.tensor([3.0, -1.0])).tolist()
    [3.0, -1.0]
    """

    linear = True

    def __init__(self, features: int) -> None:
        super().__init__()
        self.settings = {"features": features}
        self.groups, self.projector = features, nn.Identity()

    def wish(self, weights: Tensor, prompts: Tensor | None) -> Tensor:
        """The weights."""
        return weights

    def nearness(self, place: Tensor, wish: Tensor) -> Tensor:
        """The inner product."""
        return (place * wish).sum(-1)


class Hierarchical(Population):
    """Everybody has a reward linear in the features, theta_u = mu + delta_u with delta_u ~ N(0, spread^2 I).

    The weights of a person are theta_u [D]. spread: the knob, in logits a feature: 0 is one crowd, and the larger it is
    the more everybody is alone; several to choose from, by the log-loss of a quarter of everybody's answers, the least
    within a standard error of the best. ridge: half of it times mu^2 is added to the loss, so that a fit always exists.
    tolerance: of the slope, at which the search ends, or else where rounding allows no lower loss. most: its iterations
    at most; a `RuntimeWarning` says where that was too few, and how many nats above the minimum the loss can then lie.

    mu and all delta are those of the highest posterior density, which is unique. After `fit` also `spread_`, `mean_`
    [D] and, until saved, `path_`, the held-out log-loss of each spread tried (empty for one).

    Raises `OptionError` and `FeedbackError`.

    >>> likes, random = np.repeat([1.0, -1.0], 40), np.random.default_rng(0)
    >>> x = random.normal(size=(80, 1))
    >>> answers = Answers.of(x, 0 * x, x[:, 0] * likes > 0, ["ada"] * 40 + ["ben"] * 40)
    >>> one, own = (Hierarchical(spread).fit(answers).accuracy(answers) for spread in (0, 3))
    >>> round(one, 1), own
    (0.5, 1.0)
    """

    simplex: ClassVar[bool] = False
    spread_: Array
    mean_: Array
    path_: dict[float, float]

    def __init__(
        self,
        spread: float | Sequence[float] = SPREADS,
        *,
        ridge: float = 1e-2,
        tolerance: float = 1e-6,
        most: int = 5000,
        seed: int = 0,
    ) -> None:
        self.tried = [float(spread)] if isinstance(spread, int | float) else sorted(float(s) for s in spread)
        if not self.tried or self.tried[0] < 0 or not np.isfinite(self.tried[-1]) or ridge <= 0 or most < 1:
            raise OptionError("spread is one or more finite numbers from 0 on, ridge is above zero and most at least 1")
        self.ridge, self.tolerance, self.most, self.seed = ridge, tolerance, most, seed
        self.settings = {"spread": self.tried, "ridge": ridge, "tolerance": tolerance, "most": most, "seed": seed}

    def fit(self, answers: Answers) -> Self:
        """Choose the spread, then fit everybody's coefficients."""
        self.scorer: Score = OwnReward(answers.items.shape[1])
        self.people_, self.path_ = answers.people, {}
        spread = self.tried[0]
        if len(self.tried) > 1:
            rows = np.random.default_rng(self.seed).permutation(len(answers))
            order = rows[np.argsort(answers.person.numpy()[rows], kind="stable")]
            sizes = answers.sizes.numpy()
            place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            held = place % 4 == 3
            if not held.any():
                raise FeedbackError("nobody answered four times, so none can be held out to choose spread; give one")
            others, losses = answers.take(order[held]), {}
            for tried in self.tried:
                self._solve(answers.take(order[~held]), tried)
                losses[tried] = self.log_losses(others)
                self.path_[tried] = float(np.average(losses[tried], weights=others.weight.numpy()))
            weight = others.weight.double().numpy() / float(others.weight.double().mean())
            spread = fewest({tried: each * weight for tried, each in losses.items()}, others.person.numpy())
        self._solve(answers, spread)
        self.loss_ = self.log_loss(answers)
        return self

    def _solve(self, answers: Answers, spread: float) -> None:
        """Sets `spread_`, `mean_` and the weights. In units of the spread, so that the search is well scaled."""
        x, y, person, count = design(answers)
        people, size = len(answers.people), x.shape[1]

        def loss(flat: Array) -> tuple[float, Array]:
            mean, own = flat[:size], flat[size:].reshape(-1, size)
            theta = mean + spread * own if spread else mean[None]
            z = (x * theta[person if spread else np.zeros(len(x), dtype=np.int64)]).sum(1)
            total = (count * (np.logaddexp(0, -z) + (1 - y) * z)).sum()
            total += self.ridge / 2 * (mean @ mean) + (own**2).sum() / 2
            pull = (count * (expit(z) - y))[:, None] * x
            by_person = np.zeros((people, size))
            np.add.at(by_person, person, pull)
            slope = spread * by_person + own if spread else own
            return float(total), np.concatenate([pull.sum(0) + self.ridge * mean, slope.ravel()])

        start = np.zeros(size * (1 + people * (spread > 0)))
        # Without ftol=0 it would end where the loss falls by less than a billionth, long before the slope is small.
        limits = {"maxiter": self.most, "maxfun": 2 * self.most, "ftol": 0.0, "gtol": self.tolerance}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=limits)
        if not found.success:
            # The loss bends by one along each deviation and by ridge along the mean, at least.
            above = float(found.jac @ found.jac) / (2 * min(1.0, self.ridge))
            warnings.warn(
                f"the search at spread {spread:g} ended after {found.nit:,} iterations before its slope was within "
                f"{self.tolerance:g}, and the loss can lie {above:.2g} nats above its minimum; raise most, standardise "
                "the features, or raise ridge",
                RuntimeWarning,
                stacklevel=3,
            )
        self.mean_, self.spread_ = found.x[:size], np.array(spread)
        own = found.x[size:].reshape(-1, size) if spread else np.zeros((people, size))
        self._weights = torch.as_tensor(self.mean_ + spread * own, dtype=torch.float32)

    def localise(self, answers: Any) -> Localised:
        """Coefficients of new people: the mode of their posterior, with its curvature for covariance (Laplace)."""
        answers = self.read(answers)
        x, y, person, count = design(answers)
        people, size, spread = len(answers.people), x.shape[1], float(self.spread_)
        weights = np.tile(self.mean_, (people, 1))
        covariance = np.zeros((people, size, size)) + spread**2 * np.eye(size)
        for who in np.unique(person) if spread else []:
            rows = person == who
            own, said, often = x[rows], y[rows], count[rows]
            weights[who] = ridge_logistic(own, said, often, spread**-2, centre=self.mean_)
            covariance[who] = np.linalg.inv(curvature(own, often, spread**-2, weights[who]))
        return Localised(weights, covariance, np.zeros(people))

    def sample_people(self, n: int, seed: int = 0) -> Array:
        """[n, D]: coefficients drawn from N(mu, spread^2 I)."""
        drawn = np.random.default_rng(seed).normal(size=(n, len(self.mean_)))
        return np.asarray(self.mean_ + float(self.spread_) * drawn)

    def _mean(self) -> Tensor:
        return torch.as_tensor(self.mean_, dtype=torch.float32)

    def _believed(self, answers: Answers | None) -> tuple[Array, Array]:
        return self._by_draws(answers)
