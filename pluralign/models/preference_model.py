"""Whose preference: a score over prototypes, and everybody's weights on them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pluralign.errors import FeedbackError, OptionError
from pluralign.likelihoods import davidson, expected, hinge, logistic, smooth_hinge
from pluralign.models.answers import Answers
from pluralign.models.descent import descend
from pluralign.models.localise import Localised, dirichlet, localise
from pluralign.models.population import Population
from pluralign.models.scores import Score

Array = NDArray[np.float64]
Loss = Callable[[Tensor], Tensor]
LOSSES: dict[str, Loss] = {"logistic": logistic, "hinge": hinge, "smooth-hinge": smooth_hinge}
TRAINING = (
    *("loss", "epochs", "batch", "lr", "weight_decay"),
    *("norm_penalty", "norm_bound", "balance", "apart", "partition", "restarts", "seed"),
)
"""Arguments of a `PreferenceModel` apart from its score."""
FEW = 20
"""Answers of a new person below which the people seen are the better prior (docs/populations.md)."""


class PreferenceModel(Population):
    """A score over K prototypes, and of every person the weights on them (on the simplex).

    score: a `Score`, `IdealPoint` (PAL-A), `TwoTower` (PAL-B) or `LowRank` (LoRe). loss: of a pair's margin,
    "logistic", "hinge", "smooth-hinge", or "davidson", which learns how likely ties are, `log_nu_`, and without which a
    tie counts as half a win. epochs, batch: passes over the answers and how many a step reads. lr: Adam's step, which
    falls to zero along a cosine; weight_decay: of the score's matrices. norm_penalty: times the mean, over the answers,
    of how far what the person wishes for lies beyond norm_bound, is added to the loss. balance: every person counts
    alike, however much they said. apart: everybody is a group of their own, as many groups as people. partition: once
    fitted, everybody belongs to the one prototype that weighs most (PAL's option), and somebody new to that which the
    people seen and their answers make likeliest. restarts: searches from other starts, of which the one with the lowest
    training loss is kept.

    Chen et al. 2024 (PAL); Davidson 1970. Raises `OptionError` and `FeedbackError`.

    >>> likes = torch.tensor([[0.0], [1.0], [2.0], [3.0]] * 10)
    >>> answers = Answers.of(likes, likes.flip(0), [1.0, 1.0, 0.0, 0.0] * 10)
    >>> from pluralign.models import LowRank
    >>> model = PreferenceModel(LowRank(1, 1), epochs=20, lr=0.2).fit(answers)
    >>> model.accuracy(answers)
    1.0
    """

    def __init__(
        self,
        score: Score,
        *,
        loss: str = "logistic",
        epochs: int = 100,
        batch: int = 1024,
        lr: float = 0.02,
        weight_decay: float = 0.0,
        norm_penalty: float = 0.0,
        norm_bound: float = 23.0,
        balance: bool = False,
        apart: bool = False,
        partition: bool = False,
        restarts: int = 1,
        seed: int = 0,
    ) -> None:
        if loss != "davidson" and loss not in LOSSES:
            raise OptionError(f"loss {loss!r} is not one of {', '.join(LOSSES)}, davidson")
        self.scorer, self.loss, self.epochs, self.batch = score, loss, epochs, batch
        self.lr, self.weight_decay, self.balance, self.apart = lr, weight_decay, balance, apart
        self.norm_penalty, self.norm_bound, self.partition = norm_penalty, norm_bound, partition
        self.restarts, self.seed = restarts, seed
        self.settings = {name: getattr(self, name) for name in TRAINING}
        self.log_nu_ = np.array(-np.inf)

    def fit(self, answers: Answers) -> Self:
        """Fit the score and everybody's weights."""
        if self.restarts < 1 or self.epochs < 1 or self.batch < 1:
            raise OptionError("epochs, batch and restarts are at least 1")
        if self.loss == "davidson" and len(np.unique(answers.probability.numpy() == 0.5)) < 2:
            raise FeedbackError("loss davidson needs ties and answers that are none; use logistic here")
        if self.apart and self.scorer.groups != len(answers.people):
            raise OptionError(
                f"apart needs a group for each of {len(answers.people)} people; make the score with as many"
            )
        found: list[tuple[float, int, Score, Tensor, Tensor]] = []
        for start in range(self.restarts):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed + start)
                score = copy.deepcopy(self.scorer).requires_grad_(True).train().apply(_begin_again)
                logits = nn.Parameter(torch.randn(len(answers.people), score.groups))
                if self.apart:
                    # Exactly zero and one after the softmax, and no slope.
                    logits = nn.Parameter(torch.eye(score.groups).log(), requires_grad=False)
                log_nu = nn.Parameter(torch.zeros(()))
                self._descend(answers, score, logits, log_nu)
            weights = torch.softmax(logits.detach(), -1)
            weights = torch.eye(score.groups)[weights.argmax(-1)] if self.partition else weights
            score.eval()
            loss = self._mean_loss(answers, score, weights, log_nu.detach())
            found.append((loss, start, score, weights, log_nu.detach()))
        self.loss_, _, self.scorer, self._weights, nu = min(found, key=lambda each: each[:2])
        self.scorer.requires_grad_(False)
        if self.loss == "davidson":
            self.log_nu_ = np.array(float(nu))
        self.people_ = answers.people
        return self

    def _descend(self, answers: Answers, score: Score, logits: nn.Parameter, log_nu: nn.Parameter) -> None:
        count = answers.weight / answers.weight.mean()
        if self.balance:
            count = count / answers.sizes[answers.person]
            count = count / count.mean()

        def loss(at: Tensor, _: float) -> Tensor:
            rows = answers.take(at)
            # Along the first axis, a softmax of many people is a few long operations, not many short ones.
            weights = torch.softmax(logits.index_select(0, rows.person).T, 0).T
            left, right = rows.features
            margin = score.margin(left, right, weights, rows.prompt_features)
            losses = self._losses(margin, rows.probability, log_nu)
            mean = (count.index_select(0, at) * losses).mean() + score.penalty(left, right)
            if self.norm_penalty:
                beyond = score.wish(weights, rows.prompt_features).norm(dim=-1) - self.norm_bound
                mean = mean + self.norm_penalty * beyond.clamp(min=0).mean()
            return mean

        descend(
            loss,
            score.parameters(),
            len(answers),
            epochs=self.epochs,
            batch=self.batch,
            lr=self.lr,
            weight_decay=self.weight_decay,
            undecayed=(logits, log_nu),
        )

    def _losses(self, margin: Tensor, probability: Tensor, log_nu: Tensor) -> Tensor:
        losses: Tensor
        if self.loss == "davidson":
            losses = _three(margin, probability, log_nu)
        else:
            of = LOSSES[self.loss]
            losses = expected(of(margin), of(-margin), probability)
        return losses

    def _said(self, margins: Array, probability: Array) -> Array:
        if self.loss == "davidson":
            return np.asarray(_three(margins, probability, float(self.log_nu_)))
        return super()._said(margins, probability)

    def _outcomes(self, margins: Array) -> Array:
        if self.loss != "davidson":
            return super()._outcomes(margins)
        log_nu = float(self.log_nu_)
        each = davidson(margins, 0.0, log_nu), davidson(margins, 1.0, log_nu), davidson(-margins, 0.0, log_nu)
        return np.asarray(np.exp(-np.stack(each, axis=-1)))

    @torch.no_grad()
    def _mean_loss(self, answers: Answers, score: Score, weights: Tensor, log_nu: Tensor) -> float:
        total = 0.0
        for at in torch.arange(len(answers)).split(65536):
            rows = answers.take(at)
            margin = score.margin(*rows.features, weights[rows.person], rows.prompt_features)
            total += float((rows.weight * self._losses(margin, rows.probability, log_nu)).sum())
        return total / float(answers.weight.sum())

    def localise(
        self, answers: Any, *, prior: Literal["best", "people"] | Sequence[float] | None = "best"
    ) -> Localised:
        """Weights of new people from their answers, with everything else as it is; all people of `answers` at once.

        prior: "people", the Dirichlet distribution with the mean and spread of the weights seen; its parameters; None;
        or "best", by which those with fewer than 20 answers are placed by `alike`, where the people seen are the prior,
        and the others as with "people". Exact (but for `alike`, which searches nothing) where the score's margins are
        linear in the weights, and otherwise on the margins of the prototypes, then moved downhill on the score itself.
        """
        answers = self.read(answers)
        if self.partition:
            chance = self.alike(answers)
            return replace(chance, weights=np.eye(self.scorer.groups)[chance.weights.argmax(1)])
        if prior == "best":
            return self._best(answers)
        with torch.no_grad():
            left, right = answers.features
            each = self.scorer.prototypes(left, right, answers.prompt_features)
        pull = dirichlet(self.weights_) if isinstance(prior, str) else prior
        found = localise(
            each.double().numpy(),
            answers.person.numpy(),
            len(answers.people),
            probability=answers.probability.double().numpy(),
            weight=answers.weight.double().numpy(),
            prior=pull,
        )
        if self.scorer.linear and self.loss != "davidson":
            return found
        return self._downhill(answers, found, np.asarray(0.0 if pull is None else pull))

    def _best(self, answers: Answers) -> Localised:
        few = (answers.sizes < FEW).numpy()
        if few.all():
            return self.alike(answers)
        many = self.localise(answers, prior="people")
        if few.any():
            # Everybody keeps their place among the people, so that only answers are left out.
            handful = self.alike(answers.take(torch.as_tensor(few)[answers.person]))
            many.weights[few], many.covariance[few] = handful.weights[few], handful.covariance[few]
            many.gap[few] = 0.0
        return many

    def _downhill(self, answers: Answers, found: Localised, pull: Array) -> Localised:
        start = torch.log(torch.as_tensor(np.maximum(found.weights, 1e-6), dtype=torch.float32))
        logits = start.clone().requires_grad_(True)
        prior = torch.as_tensor(pull, dtype=torch.float32)
        log_nu = torch.as_tensor(self.log_nu_, dtype=torch.float32)
        optimizer = torch.optim.Adam([logits], lr=0.05)
        for _ in range(200):
            logs = torch.log_softmax(logits, -1)
            margin = self.scorer.margin(*answers.features, logs.exp()[answers.person], answers.prompt_features)
            losses = self._losses(margin, answers.probability, log_nu)
            optimizer.zero_grad(set_to_none=True)
            ((answers.weight * losses).sum() - (prior * logs).sum()).backward()
            optimizer.step()
        weights = torch.softmax(logits.detach(), -1).double().numpy()
        return Localised(weights, found.covariance, np.full(len(weights), np.nan))


def _three(margins: Any, probability: Any, log_nu: Any) -> Any:
    """Davidson's negative log-likelihood where one half is a tie and any other chance is of which side is preferred."""
    tie = (probability == 0.5) * 1.0
    decided = expected(davidson(margins, 0.0, log_nu), davidson(-margins, 0.0, log_nu), probability)
    return tie * davidson(margins, 1.0, log_nu) + (1 - tie) * decided


def _begin_again(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
