"""A reward model on feature vectors, one crowd's: any head, any loss."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pluralign.errors import OptionError
from pluralign.feedback import Feedback, read
from pluralign.likelihoods import expected, logistic
from pluralign.models.answers import Answers
from pluralign.models.descent import descend
from pluralign.models.fitted import Fitted
from pluralign.models.heads import Head
from pluralign.models.judged import Judged
from pluralign.models.losses import find_loss
from pluralign.models.pairs import PairScore
from pluralign.models.reward import Reward
from pluralign.models.scores import Score
from pluralign.models.ties import Ties
from pluralign.objectives import Objective

Array = NDArray[np.float64]


class RewardModel(Fitted):
    """A head on feature vectors, trained with a loss over the rewards of each judgement.

    score: a `Score`; of several groups, each judgement is about one of them, its `criterion`. loss: a name, an
    expression (`bradley_terry + 0.01*centring`, `ties(bradley_terry)`, `debiased(bradley_terry, flip_rate=0.2)`) or
    an `Objective`; see `pluralign.models.losses`. epochs, batch, lr, weight_decay: of Adam, whose step falls to zero
    along a cosine. warm: begin from the score as it is, where it is one that was fitted. options: of the loss.

    Set `features` to a `Features` and `fit`, `margins` and the rest read feedback as well as `Answers`.

    After `fit`: `scorer` (fitted, frozen, as `loss` is where it learns), `loss_` (mean over the judgements).

    Raises `OptionError` and `FeedbackError`.

    >>> from pluralign.models import Answers, Head
    >>> good = torch.linspace(-1, 1, 40)[:, None]
    >>> answers = Answers.of(good, -good, (good[:, 0] > 0).float())
    >>> RewardModel(Head(1), epochs=20, lr=0.1).fit(answers).accuracy(answers)
    1.0
    """

    def __init__(
        self,
        score: Score,
        loss: str | Objective | Ties = "bradley_terry",
        *,
        epochs: int = 100,
        batch: int = 1024,
        lr: float = 0.02,
        weight_decay: float = 0.0,
        warm: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.scorer, self.loss = score, find_loss(loss) if isinstance(loss, str) else loss
        if isinstance(self.loss, Ties) and options:
            raise OptionError(f"a model of ties has no option '{next(iter(options))}'")
        self.options = {} if isinstance(self.loss, Ties) else self.loss.checked(options)
        self.epochs, self.batch, self.lr, self.weight_decay = epochs, batch, lr, weight_decay
        self.warm, self.seed = warm, seed

    def fit(self, data: Any) -> RewardModel:
        """Fit the head to judgements: `Judged`, `Answers` or, with `features`, any feedback."""
        judged = self.judged(data)
        if not len(judged):
            raise OptionError("there is no judgement to fit a reward model to")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            score, of = self.begun()

            def loss(at: Tensor, progress: float) -> Tensor:
                return mean_loss(score, judged.take(at), of, self.options, progress)

            descend(
                loss,
                learnt(score, of),
                len(judged),
                epochs=self.epochs,
                batch=self.batch,
                lr=self.lr,
                weight_decay=self.weight_decay,
            )
        self.settle(score, of, judged)
        return self

    def judged(self, data: Any) -> Judged:
        """The judgements as the loss reads them: chances of 1/2 are ties where it knows ties, or "both are bad"."""
        if isinstance(data, Judged):
            return data
        bad = None
        if isinstance(self.loss, Ties) and self.loss.kind == "grounded" and not isinstance(data, Answers):
            data = data if isinstance(data, Feedback) else read(data)
            bad = [] if self.features is None else [bool(j.both_bad) for j in self.features.pairs(data)]
        ties = isinstance(self.loss, Ties) or "tie" in self.loss.uses
        return Judged.of(self.read(data), ties=ties, both_bad=bad)

    def begun(self) -> tuple[Score, Objective | Ties]:
        """Copies of score and loss to be trained, drawn anew but where `warm`."""
        score = copy.deepcopy(self.scorer).requires_grad_(True)
        of = copy.deepcopy(self.loss).requires_grad_(True) if isinstance(self.loss, Ties) else self.loss
        if not self.warm:
            for each in (score, of):
                if isinstance(each, torch.nn.Module):
                    each.apply(begin_again)
        return score, of

    def settle(self, score: Score, of: Objective | Ties, judged: Judged) -> None:
        """Take what was trained."""
        self.scorer = score.requires_grad_(False)
        self.loss = of.requires_grad_(False) if isinstance(of, Ties) else of
        with torch.no_grad():
            self.loss_ = float(mean_loss(self.scorer, judged, self.loss, self.options, 1.0))

    @torch.no_grad()
    def rewards(self, data: Any) -> Array:
        """[n, K]: rewards of each judgement's responses, the preferred first; of pair scores, the margin and 0."""
        return np.asarray(rewards_of(self.scorer, self.judged(data)).double().numpy())

    @torch.no_grad()
    def margins(self, answers: Any) -> Array:
        """[n]: reward of left less reward of right."""
        answers = self.read(answers)
        left, right = answers.features
        one = _tastes(self.scorer, len(answers), None)
        z = self.scorer.margin(left, right, one, answers.prompt_features)
        return np.asarray(z.double().numpy())

    def predict_proba(self, answers: Any, *, outcomes: bool = False) -> Array:
        """[n]: the chance that left is preferred; with `outcomes` [n, 3] of left, a tie, and right.

        The chance of a tie is zero unless the loss knows ties. With `Ties("grounded")` there is a fourth outcome, that
        both are bad.
        """
        answers = self.read(answers)
        sides = torch.stack([answers.left, answers.right], 1)
        sign = torch.tensor([1.0, -1.0]).expand(len(answers), 2)
        each = np.exp(self._log_outcomes(Judged(answers.items, sides, sign, {}, answers.prompts, answers.prompt)))
        return each if outcomes else each[:, 0]

    @torch.no_grad()
    def _log_outcomes(self, judged: Judged) -> Array:
        """[n, 3], of grounded ties [n, 4]: log-chances of the first, a tie, the second, and that both are bad."""
        rewards = rewards_of(self.scorer, judged).double()
        if isinstance(self.loss, Ties):
            return np.asarray(-self.loss.losses(rewards, judged.prompt_features).numpy())
        if "tie" not in self.loss.uses:
            z = rewards[:, 0] - rewards[:, 1]
            none = torch.full_like(z, -torch.inf)
            return np.asarray(torch.stack([-logistic(z), none, -logistic(-z)], 1).numpy())
        bare = judged.with_labels(probability=None, margin=None, weight=None)
        ways = ((rewards, 0.0), (rewards, 1.0), (rewards.flip(1), 0.0))
        losses = [
            self.loss(bare.with_labels(tie=torch.full((len(judged),), tie)).batch(r), **self.options) for r, tie in ways
        ]
        # Terms that are the same for every outcome, such as centring, say nothing about which it is.
        return np.asarray(torch.log_softmax(-torch.stack(losses, 1), 1).numpy())

    def log_loss(self, data: Any) -> float:
        """Mean -log P of what was said, nats: under Bradley and Terry's model of the margins, or the loss's of ties."""
        judged = self.judged(data)
        each, labels = self._log_outcomes(judged), {name: v.double().numpy() for name, v in judged.labels.items()}
        chance = labels.get("probability", np.ones(len(each)))
        found = expected(-each[:, 0], -each[:, 2], chance)
        if "tie" in labels:
            found = np.where(labels["tie"] > 0, -each[:, 1], found)
        if each.shape[1] == 4:
            found = np.where(judged.both_bad.numpy(), -each[:, 3], found)
        return float(np.average(found, weights=labels.get("weight")))

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


def each_loss(
    rewards: Tensor, judged: Judged, loss: Objective | Ties, options: dict[str, Any], progress: float
) -> Tensor:
    """[n]: what rewards [n, K] cost."""
    if isinstance(loss, Ties):
        found: Tensor = loss(rewards, judged)
    else:
        found = loss(judged.batch(rewards, progress), **options)
    return found


def mean_loss(
    score: Score,
    judged: Judged,
    loss: Objective | Ties,
    options: dict[str, Any],
    progress: float,
) -> Tensor:
    """Weighted mean loss of these judgements, a scalar, and what the score adds to it."""
    rewards = rewards_of(score, judged)
    if isinstance(loss, Ties) and loss.kind == "grounded" and isinstance(score, PairScore):
        raise OptionError(f"{type(score).__name__} has no rewards of single responses, which grounded ties need")
    total: Tensor = judged.batch(rewards).mean(each_loss(rewards, judged, loss, options, progress))
    if isinstance(score, (PairScore, Head)) and judged.place.shape[1] == 2:
        total = total + score.penalty(judged.features[:, 0], judged.features[:, 1])
    return total


def _tastes(score: Score, rows: int, criterion: Tensor | None) -> Tensor:
    """[n, K]: which group each judgement is about; equal weights where it is not said."""
    if criterion is None:
        return torch.full((rows, score.groups), 1 / score.groups)
    return torch.eye(score.groups)[criterion.long()]


def learnt(score: Score, loss: Objective | Ties) -> list[torch.nn.Parameter]:
    """What training changes."""
    return [*score.parameters(), *(loss.parameters() if isinstance(loss, Ties) else ())]


def begin_again(module: torch.nn.Module) -> None:
    """Draw a module's weights anew, where it knows how."""
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
