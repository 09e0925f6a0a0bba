"""Two reward models that review each other's pairs: each learns from those that the other finds easy."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pluralign.errors import OptionError
from pluralign.models.descent import descend
from pluralign.models.fitted import Fitted
from pluralign.models.judged import Judged
from pluralign.models.reward_model import RewardModel, each_loss, learnt, mean_loss, rewards_of
from pluralign.models.scores import Score

Array = NDArray[np.float64]


class PeerReview(Fitted):
    """Collaborative reward models. In every batch each hands the other the pairs of smallest loss, and no others.

    The share handed over falls from 1 to 1 - noise over the first `warm` part of training. noise: share of labels taken
    to be wrong. curriculum: pairs come from easy to hard by the present margins of both. It is off because it hurts
    where a batch is smaller than the data: the last batches then hold wrong labels only, and a share of each is learnt.
    options: of `RewardModel`. As described by reviews of the paper; the schedule is that of co-teaching.

    After `fit`: `models` (two), `kept_` (how often each pair was handed over in the last epoch, of 2), and `margins`,
    `accuracy` of their mean.

    Zhang et al. 2025 (CRM); Han et al. 2018 (co-teaching). Raises `OptionError`.
    """

    learnt = "kept_"

    def __init__(
        self, score: Score, *, noise: float, warm: float = 0.5, curriculum: bool = False, seed: int = 0, **options: Any
    ) -> None:
        if not 0 <= noise < 1 or not 0 < warm <= 1:
            raise OptionError(f"noise {noise} is a share from 0 to below 1, and warm {warm} one above 0")
        self.noise, self.warm, self.curriculum, self.seed = noise, warm, curriculum, seed
        self.models = [RewardModel(copy.deepcopy(score), seed=seed + i, **options) for i in range(2)]

    def fit(self, data: Any) -> PeerReview:
        """Fit both to pairs: `Judged`, `Answers` or, with `features`, any feedback."""
        first = self.models[0]
        judged = first.judged(data if isinstance(data, Judged) else self.read(data))
        n = len(judged)
        kept = torch.zeros(2, n)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            pairs = []
            for model in self.models:
                torch.manual_seed(model.seed)
                pairs.append(model.begun())

            def easy_first(epoch: int) -> Tensor:
                kept.zero_()
                if not self.curriculum or epoch == 0:
                    return torch.randperm(n)
                with torch.no_grad():
                    margins = sum(r[:, 0] - r[:, 1] for r in (rewards_of(score, judged) for score, _ in pairs))
                return torch.as_tensor(margins).argsort(descending=True)

            def loss(at: Tensor, progress: float) -> Tensor:
                rows = judged.take(at)
                share = 1 - self.noise * min(progress / self.warm, 1.0)
                count = max(1, round(share * len(at)))
                with torch.no_grad():
                    chosen = []
                    for score, of in pairs:
                        each = each_loss(rewards_of(score, rows), rows, of, first.options, progress)
                        chosen.append(each.argsort()[:count])
                total = torch.zeros(())
                for i, (score, of) in enumerate(pairs):
                    mine = chosen[1 - i]
                    kept[i, at[mine]] += 1
                    total = total + mean_loss(score, rows.take(mine), of, first.options, progress)
                return total

            descend(
                loss,
                [p for score, of in pairs for p in learnt(score, of)],
                n,
                epochs=first.epochs,
                batch=first.batch,
                lr=first.lr,
                weight_decay=first.weight_decay,
                order=easy_first,
            )
        for model, (score, of) in zip(self.models, pairs, strict=True):
            model.settle(score, of, judged)
        self.kept_ = kept.sum(0).numpy()
        return self

    def margins(self, answers: Any) -> Array:
        """[n]: mean margin of both, left over right."""
        answers = self.read(answers)
        return np.asarray(np.mean([model.margins(answers) for model in self.models], 0))

    def predict_proba(self, answers: Any, *, outcomes: bool = False) -> Array:
        """[n]: the chance that left is preferred, the mean of both models'; outcomes: as of `RewardModel`."""
        answers = self.read(answers)
        return np.asarray(np.mean([model.predict_proba(answers, outcomes=outcomes) for model in self.models], 0))
