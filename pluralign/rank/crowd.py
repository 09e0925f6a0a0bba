"""Scores from votes of people who differ: in reliability or sharpness, in the side they like, in how often they tie."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtri

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank.bradley_terry import VIRTUAL, held
from pluralign.rank.judgement import GAP, SHARPNESS, SIDE, TIE, TRUST, terms
from pluralign.rank.minimise import minimise
from pluralign.rank.names import places
from pluralign.rank.newton import Certificate, NotConverged
from pluralign.rank.traits import LEAST, Spread, Traits, rows_of
from pluralign.rank.uncertainty import LARGEST
from pluralign.rank.votes import TIE as VOTED_TIE
from pluralign.rank.votes import Votes

Array = NDArray[np.float64]

ROUNDS = 200
NAMES = {SHARPNESS: "temperature", SIDE: "side", TIE: "tie", TRUST: "reliability"}
SCALES: dict[int, Callable[[Array], Array]] = {
    SHARPNESS: lambda v: np.exp(-v),
    SIDE: lambda v: v,
    TIE: np.exp,
    TRUST: expit,
}


class Crowd:
    """Bradley-Terry scores that are everybody's, and traits that are each annotator's own.

    noise: "reliability" (CrowdBT: an annotator votes as the scores say with a chance of their own, and otherwise the
    other way round, so that somebody may be inverted), "temperature" (everybody's own sharpness: scores are divided by
    it), or "none". side: whether everybody has a bonus of their own for the item shown first (the left one, where
    votes do not say). ties: "davidson" (everybody's own propensity), "half" a win each, or "drop". virtual: wins and
    losses of every item against one of average strength. spread: standard deviation of temperature, side and ties
    between annotators, in logits, by which single ones are drawn to the crowd's mean; None estimates one for each from
    the votes. Reliability is not drawn to a mean: good and inverted annotators have none in common.

    After `fit`: `items_`; `scores_` [n], in logits of somebody typical; `people_`, names; `reliability_`,
    `temperature_`, `side_` (logits for the first item) and `tie_` (Davidson's nu), [U] or None where not estimated;
    `typical_` (the crowd's mean, or the middle reliability) and `spread_`, by trait; `nll_` in nats
    without priors; `certificate_`.

    Chen, Bennett, Collins-Thompson and Horvitz 2013. The spread of traits is found by the expectation of their
    squares under a normal approximation (Laplace). Raises `FeedbackError` where nobody is known,
    `NotConverged` rather than returning the last step.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> won = rng.random(600) < np.where(np.arange(600) % 3 == 0, 0.1, 0.9)  # one of three says the opposite
    >>> votes = {"model_a": ["x"] * 600, "model_b": ["y"] * 600, "winner": np.where(won, "model_a", "model_b")}
    >>> model = Crowd().fit({**votes, "annotator": [f"p{k % 3}" for k in range(600)]})
    >>> (model.reliability_ > 0.5).tolist()
    [False, True, True]
    """

    def __init__(
        self,
        *,
        noise: Literal["reliability", "temperature", "none"] = "reliability",
        side: bool = False,
        ties: Literal["davidson", "half", "drop"] = "half",
        virtual: float = VIRTUAL,
        spread: float | None = None,
    ) -> None:
        self.noise, self.side, self.ties = noise, side, ties
        self.virtual, self.spread = virtual, spread

    def fit(self, data: Any) -> Crowd:
        """Fit to anything `Votes.of` takes. Somebody unknown is taken for typical."""
        self._check()
        votes = Votes.of(data)
        if votes.annotator is None or not (votes.annotator >= 0).any():
            raise FeedbackError("a model of annotators needs to know who voted; give a column annotator")
        wanted = {SHARPNESS: self.noise == "temperature", SIDE: self.side, TIE: self.ties == "davidson"}
        wanted[TRUST] = self.noise == "reliability"
        model = Traits(votes, [trait for trait, asked in wanted.items() if asked], self.ties, self.virtual)
        if model.size > LARGEST:
            raise OptionError(f"{model.size:,} scores and traits do not fit in memory; rank without traits")
        self.votes_, self.items_, self.people_, self.model_ = votes, list(votes.items), model.people, model
        self.graph_ = model.graph
        self.penalised_ = (model.penalty.virtual > 0) & model.graph.infinite
        self._x, self._spread, self.certificate_ = self._search(model)
        self._unpack()
        return self

    def _check(self) -> None:
        if self.noise not in ("reliability", "temperature", "none"):
            raise OptionError(f"noise is 'reliability', 'temperature' or 'none', not '{self.noise}'")
        if self.ties not in ("davidson", "half", "drop"):
            raise OptionError(f"ties of annotators are 'davidson', 'half' or 'drop', not '{self.ties}'")
        if self.virtual < 0 or (self.spread is not None and self.spread <= 0):
            raise OptionError("virtual is zero or more, and a spread above zero")

    def _search(self, model: Traits) -> tuple[Array, Spread, Certificate]:
        spread: Spread = {t: 1.0 if self.spread is None else self.spread for t in model.traits if t != TRUST}
        before = dict.fromkeys(spread, 0.0)
        x = model.start
        for _ in range(ROUNDS):
            x, certificate = minimise(partial(model.objective, spread=dict(spread)), x)
            if self.spread is not None or not spread:
                return x, spread, certificate
            change = {t: float(np.log(max(s, LEAST) / spread[t])) for t, s in model.spread(x, spread).items()}
            if max(map(abs, change.values())) < 1e-3:
                return x, spread, certificate
            # Rounds shrink the way that is left by a steady factor; every other one goes all of it.
            for t, c in change.items():
                factor = c / before[t] if before[t] else 0.0
                leap = c / (1 - factor) if 0 < factor < 0.95 else c
                before[t] = c if leap == c else 0.0
                spread[t] = max(LEAST, spread[t] * float(np.exp(leap)))
        raise NotConverged("the spread between annotators does not settle; give it by `spread`")

    def _unpack(self) -> None:
        model, n = self.model_, len(self.items_)
        component = model.graph.component
        self.scores_: Array = self._x[:n] - (np.bincount(component, self._x[:n]) / np.bincount(component))[component]
        found = {t: self._x[model.own(t)] + (0.0 if t == TRUST else self._x[model.mean[t]]) for t in model.traits}
        values = {NAMES[t]: np.asarray(SCALES[t](value)) for t, value in found.items()}
        self.reliability_, self.temperature_ = values.get("reliability"), values.get("temperature")
        self.side_, self.tie_ = values.get("side"), values.get("tie")
        self._typical = {t: float(np.median(found[t]) if t == TRUST else self._x[model.mean[t]]) for t in found}
        self.typical_ = {NAMES[t]: float(SCALES[t](np.asarray(value))) for t, value in self._typical.items()}
        self.spread_ = {NAMES[t]: value for t, value in self._spread.items()}
        self.nll_ = -float(model.weight @ model.terms(self._x).log)

    @property
    def coefficients_(self) -> dict[str, float]:
        """What being shown first is worth to somebody typical, in logits, where that was estimated."""
        return {"order": self.typical_["side"]} if "side" in self.typical_ else {}

    @property
    def about_(self) -> str:
        """Which model this is."""
        name = {
            "reliability": "CrowdBT, Bradley-Terry with everybody's own reliability",
            "temperature": "Bradley-Terry with everybody's own temperature",
            "none": "Bradley-Terry",
        }[self.noise]
        tied = {
            "davidson": "own propensity to ties",
            "half": "a tie counts as half a win each",
            "drop": "ties left out",
        }
        return f"{name}, {tied[self.ties] if (self.votes_.outcome >= VOTED_TIE).any() else 'no ties'}"

    @property
    def held_(self) -> str:
        """What keeps scores finite."""
        return held(self.virtual)

    def annotators(self, level: float = 0.95) -> pl.DataFrame:
        """Everybody's votes and traits, with intervals (NAME_low, NAME_high) that are normal on the scale of logits."""
        model, joint = self.model_, self.model_.inverse(self._x, self._spread)
        known = model.owner >= 0
        votes = np.bincount(model.owner[known], model.weight[known], len(self.people_))
        table: dict[str, Any] = {"annotator": self.people_, "votes": votes}
        for trait, mean in model.mean.items():
            own = np.arange(len(joint))[model.own(trait)]
            centre, variance = self._x[own], np.diag(joint)[own]
            if trait != TRUST:
                centre = centre + self._x[mean]
                variance = variance + joint[mean, mean] + 2 * joint[mean, own]
            half = -ndtri((1 - level) / 2) * np.sqrt(variance)
            ends = np.sort(np.stack([SCALES[trait](centre - half), SCALES[trait](centre + half)]), axis=0)
            name = NAMES[trait]
            table |= {name: SCALES[trait](centre), f"{name}_low": ends[0], f"{name}_high": ends[1]}
        return pl.DataFrame(table)

    def covariance(self, kind: Literal["sandwich", "model"] = "sandwich") -> Array:
        """Covariance of the scores [n, n], in their gauge; traits are estimated too.

        "model": inverse curvature. "sandwich": with people, whole, as units; a vote of somebody unknown is a unit.
        """
        if kind not in ("sandwich", "model"):
            raise OptionError(f"a model of annotators knows the covariances sandwich and model, not '{kind}'")
        found = self.model_.inverse(self._x, self._spread)
        if kind == "sandwich":
            slopes = self.model_.slopes(self._x)
            found = found @ (slopes.T @ slopes) @ found * len(slopes) / max(1, len(slopes) - 1)
        component = self.model_.graph.component
        same = component[:, None] == component[None]
        centre = np.eye(len(same)) - same / same.sum(1, keepdims=True)
        return np.asarray(centre @ found[: len(same), : len(same)] @ centre)

    def score(self, data: Any) -> float:
        """Mean log-likelihood a vote, in nats, of other votes on the same items; people who are new are typical."""
        votes = Votes.of(data).renumbered(self.items_)
        row, outcome, weight, sign = rows_of(votes, self.ties)
        if not self.model_.davidson and (outcome == 2).any():
            raise OptionError("ties did not occur in the fit, so it gives them no probability; ties='half' or 'drop'")
        known = {name: u for u, name in enumerate(self.people_)}
        numbers = np.array([known.get(str(name), -1) for name in votes.annotators] + [-1])
        person = numbers[-1] if votes.annotator is None else numbers[votes.annotator][row]
        z = np.zeros((len(row), 5))
        z[:, GAP] = self.scores_[votes.left[row]] - self.scores_[votes.right[row]]
        for trait, mean in self.model_.mean.items():
            own = self._x[self.model_.own(trait)] + (0.0 if trait == TRUST else self._x[mean])
            z[:, trait] = np.append(own, self._typical[trait])[person]
        log = terms(z, sign, outcome, self.model_.davidson, self.model_.flips).log
        return float(weight @ log / weight.sum())

    def index(self, names: ArrayLike) -> NDArray[np.intp]:
        """Places of items by name, any shape. Raises `OptionError` for a name that did not take part."""
        return places(self.items_, names)

    def predict_proba(self, a: ArrayLike, b: ArrayLike, person: str | None = None) -> Array:
        """P(a wins), P(b wins), P(tie), [..., 3], by somebody typical or a person of the fit; no side is favoured.

        NaN for items that no votes connect. Somebody typical votes as the scores say: only a person may be inverted.
        """
        model, (i, j) = self.model_, np.broadcast_arrays(self.index(a), self.index(b))
        z = np.zeros((i.size, 5))
        z[:, GAP] = (self.scores_[i] - self.scores_[j]).ravel()
        u = None if person is None else int(places(self.people_, person, "people of the fit"))
        for trait, mean in model.mean.items():
            if trait != SIDE:
                z[:, trait] = 0.0 if trait == TRUST else self._x[mean]
                z[:, trait] += 0.0 if u is None else self._x[model.own(trait)][u]
        one = np.ones(len(z))
        flips = model.flips and u is not None
        wins = [terms(z, one, np.full(len(z), y, dtype=np.int8), model.davidson, flips).log for y in (0, 1)]
        p = np.exp(np.stack(wins, -1))
        p = np.concatenate([p, np.maximum(1 - p.sum(-1, keepdims=True), 0.0)], -1).reshape(*i.shape, 3)
        together = model.graph.component[i] == model.graph.component[j]
        return np.asarray(np.where(together[..., None], p, np.nan))
