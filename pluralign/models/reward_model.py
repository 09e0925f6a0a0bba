"""A reward model on feature vectors, one crowd's: any head, any loss."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pluralign.errors import OptionError
from pluralign.likelihoods import expected, logistic
from pluralign.models.answers import Answers
from pluralign.models.descent import descend
from pluralign.models.features import Features
from pluralign.models.heads import Head
from pluralign.models.judged import Judged
from pluralign.models.losses import find_loss
from pluralign.models.pairs import PairScore
from pluralign.models.reward import Reward
from pluralign.models.scores import Score
from pluralign.objectives import Objective

Array = NDArray[np.float64]


class RewardModel:
    """A head on feature vectors, trained with a loss over the rewards of each judgement.

    score: a `Score`; of several groups, each judgement is about one of them, its `criterion`. loss: a name, an
    expression (`bradley_terry + 0.01*centring`, `ties(bradley_terry)`, `debiased(bradley_terry, flip_rate=0.2)`) or
    an `Objective`; see `pluralign.models.losses`. epochs, batch, lr, weight_decay: of Adam, whose step falls to zero
    along a cosine. warm: begin from the score as it is, where it is one that was fitted. options: of the loss.

    After `fit`: `scorer` (fitted, frozen), `loss_` (mean over the judgements).

    Raises `OptionError` and `FeedbackError`.

    >>> from pluralign.models import Head
    >>> good = torch.linspace(-1, 1, 40)[:, None]
    >>> answers = Answers.of(good, -good, (good[:, 0] > 0).float())
    >>> RewardModel(Head(1), epochs=20, lr=0.1).fit(answers).accuracy(answers)
    1.0
    """

    def __init__(
        self,
        score: Score,
        loss: str | Objective = "bradley_terry",
        *,
        epochs: int = 100,
        batch: int = 1024,
        lr: float = 0.02,
        weight_decay: float = 0.0,
        warm: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.scorer, self.loss = score, loss if isinstance(loss, Objective) else find_loss(loss)
        self.options = self.loss.checked(options)
        self.epochs, self.batch, self.lr, self.weight_decay = epochs, batch, lr, weight_decay
        self.warm, self.seed = warm, seed
        self.features: Features | None = None

    def fit(self, data: Judged | Answers) -> RewardModel:
        """Fit the head to judgements."""
        judged = Judged.of(data, ties="tie" in self.loss.uses)
        if not len(judged):
            raise OptionError("there is no judgement to fit a reward model to")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            score = copy.deepcopy(self.scorer).requires_grad_(True)
            if not self.warm:
                score = score.apply(begin_again)

            def loss(at: Tensor, progress: float) -> Tensor:
                return mean_loss(score, judged.take(at), self.loss, self.options, progress)

            descend(
                loss,
                score.parameters(),
                len(judged),
                epochs=self.epochs,
                batch=self.batch,
                lr=self.lr,
                weight_decay=self.weight_decay,
            )
        self.scorer = score.requires_grad_(False)
        with torch.no_grad():
            self.loss_ = float(mean_loss(self.scorer, judged, self.loss, self.options, 1.0))
        return self

    @torch.no_grad()
    def rewards(self, data: Judged | Answers) -> Array:
        """[n, K]: rewards of each judgement's responses, the preferred first; of pair scores, the margin and 0."""
        return np.asarray(rewards_of(self.scorer, Judged.of(data)).double().numpy())

    @torch.no_grad()
    def margins(self, answers: Answers) -> Array:
        """[n]: reward of left less reward of right."""
        left, right = answers.features
        one = _tastes(self.scorer, len(answers), None)
        z = self.scorer.margin(left, right, one, answers.prompt_features)
        return np.asarray(z.double().numpy())

    def accuracy(self, answers: Answers) -> float:
        """Share of answers whose preferred side has the higher reward; equal ones count one half, ties are left out."""
        said = answers.probability.double().numpy()
        told, sign = said != 0.5, np.sign(self.margins(answers)) * np.sign(said - 0.5)
        return float(np.average((sign[told] + 1) / 2, weights=answers.weight.numpy()[told]))

    def log_loss(self, answers: Answers) -> float:
        """Mean -log P of the answers under Bradley and Terry's model of the margins, nats."""
        z, p = self.margins(answers), answers.probability.double().numpy()
        return float(np.average(expected(logistic(z), logistic(-z), p), weights=answers.weight.numpy()))

    def export(self, weights: Any = None) -> Reward:
        """An ordinary reward, that of equal weights on the groups, of weights [K], or of one group (its number)."""
        k = self.scorer.groups
        one = torch.full((k,), 1 / k) if weights is None else torch.as_tensor(weights, dtype=torch.float32)
        if isinstance(weights, int):
            one = torch.eye(k)[weights]
        return Reward(self.scorer, one, self.features)


def rewards_of(score: Score, judged: Judged) -> Tensor:
    """[n, K]: what the loss reads. Of a pair score the margin and 0, for its losses see differences only."""
    vectors, prompts = judged.features, judged.prompt_features
    n, k = judged.place.shape
    tastes = _tastes(score, n, judged.criterion)
    if isinstance(score, PairScore):
        if k != 2:
            raise OptionError(f"{type(score).__name__} compares two responses, and these lists have {k}; give pairs")
        z = score.margin(vectors[:, 0], vectors[:, 1], tastes, prompts)
        return torch.stack([z, torch.zeros_like(z)], 1)
    spread = None if prompts is None else prompts[:, None].expand(n, k, -1)
    found: Tensor = score(vectors, tastes[:, None].expand(n, k, -1), spread)
    return found


def mean_loss(
    score: Score,
    judged: Judged,
    loss: Objective,
    options: dict[str, Any],
    progress: float,
) -> Tensor:
    """Weighted mean loss of these judgements, a scalar, and what the score adds to it."""
    batch = judged.batch(rewards_of(score, judged), progress)
    total: Tensor = batch.mean(loss(batch, **options))
    if isinstance(score, (PairScore, Head)) and judged.place.shape[1] == 2:
        total = total + score.penalty(judged.features[:, 0], judged.features[:, 1])
    return total


def _tastes(score: Score, rows: int, criterion: Tensor | None) -> Tensor:
    """[n, K]: which group each judgement is about; equal weights where it is not said."""
    if criterion is None:
        return torch.full((rows, score.groups), 1 / score.groups)
    return torch.eye(score.groups)[criterion.long()]


def begin_again(module: torch.nn.Module) -> None:
    """Draw a module's weights anew, where it knows how."""
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
