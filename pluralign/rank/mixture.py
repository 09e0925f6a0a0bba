"""Mixtures: several tastes, each with scores of its own, found from what every person said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag
from scipy.special import expit, logsumexp

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank.em import Mix, best, joint
from pluralign.rank.names import places
from pluralign.rank.newton import Certificate
from pluralign.rank.tastes import People, Scores

Array = NDArray[np.float64]

FEW = 5
"""Comparisons by the middle person below which tastes are hardly told apart."""


class Mixture:
    """Each person has one of k tastes, scores of all items, and votes by Bradley-Terry or ranks by Plackett-Luce.

    k: how many tastes; None takes the number, up to `most`, that best foretells people left out of the fit: the
    smallest whose log-loss is within one standard error, person by person, of the lowest over `folds` folds. of:
    "plackett-luce" (anything `Rankings.of` takes; a vote is a ranking of two, and a tie an order that was not told) or
    "bradley-terry" (anything `Votes.of` takes; a tie is half a win each). restarts: searches from random people's
    tastes, of which the best is kept. ridge: half of it times the squared scores is added to the negative
    log-likelihood of each taste, so that scores stay finite.

    After `fit`: `items_`; `scores_` [k, n], in logits, each taste's with mean zero; `shares_` [k], largest first;
    `people_`, names; `responsibilities_` [U, k], the chance that each has each taste; `nll_` in nats; `history_`, the
    penalised log-likelihood round by round, never falling; `starts_`, what each search reached; `held_out_`, a frame of
    `k`, `loss` (nats a person, left out), `above` (the lowest) and its `error`, None where k was given; `certificate_`.

    Comparisons by expectation-maximisation: Dempster, Laird and Rubin 1977; of rankings: Gormley and Murphy 2008. One
    comparison a person cannot tell tastes apart. Raises `FeedbackError`, `OptionError` and `NotConverged`.

    >>> orders = [["a", "b", "c"]] * 6 + [["a", "c", "b"]] * 3 + [["c", "b", "a"]] * 6 + [["b", "c", "a"]] * 3
    >>> model = Mixture(2, restarts=3).fit(orders)
    >>> sorted(np.array(model.items_)[model.scores_.argmax(1)].tolist())
    ['a', 'c']
    """

    def __init__(
        self,
        k: int | None = None,
        *,
        of: Literal["plackett-luce", "bradley-terry"] = "plackett-luce",
        most: int = 6,
        folds: int = 5,
        restarts: int = 10,
        ridge: float = 1e-3,
        seed: int = 0,
    ) -> None:
        self.k, self.of, self.most, self.folds = k, of, most, folds
        self.restarts, self.ridge, self.seed = restarts, ridge, seed

    def fit(self, data: Any) -> Mixture:
        """Fit to anything `Rankings.of` or `Votes.of` takes."""
        if self.of not in ("plackett-luce", "bradley-terry"):
            raise OptionError(f"a mixture is of 'plackett-luce' or 'bradley-terry', not '{self.of}'")
        if self.ridge <= 0:
            raise OptionError("a mixture needs a ridge above zero: a taste of few people has no finite scores without")
        if self.restarts < 1 or (self.k if self.k is not None else self.most) < 1:
            raise OptionError("a mixture needs one taste and one start at least")
        people = People.of(data, self.of == "plackett-luce")
        self.data_, self.items_, self.people_ = people, list(people.said.items), people.names
        self.held_out_ = None if self.k is not None else self._held_out(people)
        k = self.k if self.held_out_ is None else _fewest(self.held_out_)
        if k is None or k > len(people):
            raise FeedbackError(f"{len(people):,} people cannot have {k} tastes; ask for fewer")
        self.taste_ = people.taste(self.ridge)
        self._take(*self._search(people, self.taste_, k, 1e-8))
        return self

    def _search(self, people: People, taste: Scores, k: int, gain: float) -> tuple[Mix, Array]:
        # So many people at a time that each item takes part in a few comparisons.
        several = max(1, round(2 * taste.n / max(1.0, float(taste.comparisons.mean()))))
        ground = np.full(taste.people, 2 / taste.people)
        centre = np.zeros(taste.n)
        for _ in range(8):
            centre = taste.improved(centre, np.ones(taste.people))

        def draw(rng: np.random.Generator) -> Array:
            if k == 1:
                return centre[None]
            tastes = []
            for _ in range(k):
                weight, x = ground.copy(), centre
                weight[rng.integers(taste.people, size=several)] += 1
                for _ in range(4):
                    x = taste.improved(x, weight)
                tastes.append(x)
            return np.stack(tastes)

        return best(taste, draw, k, self.restarts, self.seed, gain)

    def _take(self, mix: Mix, starts: Array) -> None:
        order = np.argsort(-mix.log_share, kind="stable")
        self._x, self._log_share = mix.x[order], mix.log_share[order]
        self.scores_: Array = self._x - self._x.mean(1, keepdims=True)
        self.shares_: Array = np.exp(self._log_share)
        self.history_, self.starts_ = mix.history, starts
        both = joint(self.taste_, self._x, self._log_share)
        total = logsumexp(both, axis=1)
        self.responsibilities_: Array = np.exp(both - total[:, None])
        self.nll_ = -float(total.sum())
        self.comparisons_ = self.taste_.comparisons
        # Slope of the penalised likelihood by scores, and Newton's step for each taste by itself.
        slope, step = 0.0, 0.0
        for x, r in zip(self._x, self.responsibilities_.T, strict=True):
            pull, matrix = self.taste_.derivatives(x, r)
            pull = pull + self.ridge * x
            slope = max(slope, float(np.abs(pull).max()))
            step = max(step, float(np.abs(np.linalg.solve(matrix + self.ridge * np.eye(len(x)), pull)).max()))
        self.certificate_ = Certificate(step, slope, len(mix.history) - 1)

    def _held_out(self, people: People) -> pl.DataFrame:
        """Log-loss of people left out, for every number of tastes."""
        folds = min(self.folds, len(people))
        if folds < 2:
            raise FeedbackError("the number of tastes is chosen by people left out, and there are fewer than two")
        fold = np.random.default_rng(self.seed).permutation(len(people)) % folds
        loss = np.empty((min(self.most, int((fold > 0).sum())), len(people)))
        for f in range(folds):
            train, test = people.where(fold != f), people.where(fold == f)
            taste, left_out = train.taste(self.ridge), test.taste(self.ridge)
            for k in range(1, len(loss) + 1):
                mix, _ = self._search(train, taste, k, 1e-5 * taste.people)
                loss[k - 1, fold == f] = -logsumexp(joint(left_out, mix.x, mix.log_share), axis=1)
        above = loss - loss[loss.mean(1).argmin()]
        return pl.DataFrame(
            {
                "k": np.arange(1, len(loss) + 1),
                "loss": loss.mean(1),
                "above": above.mean(1),
                "error": above.std(1, ddof=1) / np.sqrt(len(people)),
            }
        )

    @property
    def tastes_(self) -> list[Taste]:
        """Each taste as a model of its own."""
        return [Taste(self, c) for c in range(len(self.shares_))]

    @property
    def warnings_(self) -> list[str]:
        """What stands against believing the tastes."""
        found = []
        if (middle := float(np.median(self.comparisons_))) < FEW:
            found.append(f"The middle person made {middle:.0f} comparisons: so few hardly tell tastes apart.")
        if self.held_out_ is not None and len(self.shares_) == self.most and self.most > 1:
            found.append(f"More than {self.most} tastes were not tried, and that many foretell best.")
        return found

    def covariance(self, kind: Literal["sandwich", "model"] = "sandwich") -> Array:
        """Covariance of all scores, taste by taste, [k n, k n], in the gauge of `scores_`; shares are estimated too.

        From the information of what was observed, which knows that tastes are not (Louis 1982). "sandwich" stays right
        where the model is not quite; people are its units.
        """
        if kind not in ("sandwich", "model"):
            raise OptionError(f"a mixture knows the covariances sandwich and model, not '{kind}'")
        k, n = self._x.shape
        r = self.responsibilities_
        slopes = [self.taste_.gradients(x) for x in self._x]
        blocks = [self.taste_.derivatives(x, r[:, c])[1] + self.ridge * np.eye(n) for c, x in enumerate(self._x)]
        shares = len(r) * (np.diag(self.shares_) - np.outer(self.shares_, self.shares_))
        whole = block_diag(*blocks, shares)
        for c in range(k):
            # The complete-data slope of somebody with taste c: their scores' slope, and e_c - shares.
            own = np.eye(k)[c] - self.shares_
            inside, last = slice(c * n, (c + 1) * n), slice(k * n, None)
            whole[inside, inside] -= slopes[c].T @ (slopes[c] * r[:, c : c + 1])
            cross = np.outer(slopes[c].T @ r[:, c], own)
            whole[inside, last] -= cross
            whole[last, inside] -= cross.T
            whole[last, last] -= r[:, c].sum() * np.outer(own, own)
        seen = np.concatenate([*(slopes[c] * r[:, c : c + 1] for c in range(k)), r - self.shares_], 1)
        whole += seen.T @ seen
        # Log shares are told up to a constant.
        lift = np.zeros(k * n + k)
        lift[k * n :] = 1.0
        bread = np.linalg.inv(whole + len(r) * np.outer(lift, lift))
        found = bread if kind == "model" else bread @ (seen.T @ seen) @ bread
        centre = block_diag(*[np.eye(n) - 1 / n] * k)
        return np.asarray(centre @ found[: k * n, : k * n] @ centre)

    def index(self, names: ArrayLike) -> NDArray[np.intp]:
        """Places of items by name, any shape. Raises `OptionError` for a name that did not take part."""
        return places(self.items_, names)

    def predict_proba(self, a: ArrayLike, b: ArrayLike, person: str | None = None) -> Array:
        """P(a above b), P(b above a), [..., 2]: for somebody unknown, or for a person of the fit."""
        i, j = np.broadcast_arrays(self.index(a), self.index(b))
        share = (
            self.shares_
            if person is None
            else self.responsibilities_[places(self.people_, person, "people of the fit")]
        )
        p = np.tensordot(share, expit(self.scores_[:, i] - self.scores_[:, j]), 1)
        return np.stack([p, 1 - p], -1)

    def responsibilities(self, data: Any) -> tuple[list[str], Array]:
        """Names of people and the chance that each has each taste [U, k], for other data on the same items."""
        people = People.of(data, self.of == "plackett-luce", self.items_)
        both = joint(people.taste(self.ridge), self._x, self._log_share)
        return people.names, np.exp(both - logsumexp(both, axis=1, keepdims=True))

    def score(self, data: Any) -> float:
        """Mean log-likelihood a person, in nats."""
        people = People.of(data, self.of == "plackett-luce", self.items_)
        return float(logsumexp(joint(people.taste(self.ridge), self._x, self._log_share), axis=1).mean())


@dataclass(frozen=True)
class Taste:
    """One taste of a mixture: scores of its own."""

    mixture: Mixture
    number: int

    @property
    def items_(self) -> list[str]:
        """Names."""
        return self.mixture.items_

    @property
    def scores_(self) -> Array:
        """[n], in logits."""
        return np.asarray(self.mixture.scores_[self.number])

    @property
    def coefficients_(self) -> dict[str, float]:
        """None: tastes have no covariates."""
        return {}

    @property
    def certificate_(self) -> Certificate:
        """That of the mixture."""
        return self.mixture.certificate_

    @property
    def about_(self) -> str:
        """Which model this is."""
        of = {"plackett-luce": "Plackett-Luce", "bradley-terry": "Bradley-Terry"}[self.mixture.of]
        k, share = len(self.mixture.shares_), self.mixture.shares_[self.number]
        return f"taste {self.number + 1} of {k}, that of {share:.1%} of people; mixture of {of}"

    @property
    def held_(self) -> str:
        """What keeps scores finite."""
        return f"a ridge of {self.mixture.ridge:g} holds the scores of every taste"

    def index(self, names: ArrayLike) -> NDArray[np.intp]:
        """Places of items by name, any shape."""
        return self.mixture.index(names)

    def predict_proba(self, a: ArrayLike, b: ArrayLike) -> Array:
        """P(a above b), P(b above a), P(tie), [..., 3], by people of this taste."""
        i, j = np.broadcast_arrays(self.index(a), self.index(b))
        p = expit(self.scores_[i] - self.scores_[j])
        return np.stack([p, 1 - p, np.zeros_like(p)], -1)


def _fewest(held_out: pl.DataFrame) -> int:
    good = held_out.filter(pl.col("above") <= pl.col("error"))
    return int(good["k"].to_numpy().min())
