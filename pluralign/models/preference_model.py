"""Whose preference: a score over prototypes, and everybody's weights on them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.likelihoods import expected, hinge, logistic, sigmoid
from pluralign.models import saving
from pluralign.models.answers import Answers
from pluralign.models.features import Features
from pluralign.models.localise import Localised, dirichlet, localise
from pluralign.models.reward import Reward
from pluralign.models.scores import Score

if TYPE_CHECKING:
    from pluralign.models.fitting import Plurality

Array = NDArray[np.float64]
Loss = Callable[[Tensor], Tensor]


class PreferenceModel:
    """A score over K prototypes, and of every person the weights on them (on the simplex).

    score: a `Score`, `IdealPoint` (PAL-A), `TwoTower` (PAL-B) or `LowRank` (LoRe). loss: of a pair's margin, "logistic"
    or "hinge". epochs, batch: passes over the answers and how many a step reads. lr: Adam's step, which falls to zero
    along a cosine; weight_decay: of the score's matrices. balance: every person counts alike, however much they said.
    restarts: searches from other starts, of which the one with the lowest training loss is kept.

    features: what reads feedback (`pluralign.fit` sets it). plurality_: held-out losses by groups (so does it).

    After `fit`: `people_`, `weights_` [N, K], `loss_` (mean over the answers, nats for the logistic loss).

    Chen et al. 2024 (PAL). Raises `OptionError` and `FeedbackError`.

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
        balance: bool = False,
        restarts: int = 1,
        seed: int = 0,
    ) -> None:
        if loss not in ("logistic", "hinge"):
            raise OptionError(f"loss {loss!r} is not one of logistic, hinge")
        self.scorer, self.loss, self.epochs, self.batch = score, loss, epochs, batch
        self.lr, self.weight_decay, self.balance = lr, weight_decay, balance
        self.restarts, self.seed = restarts, seed
        self.features: Features | None = None
        self.plurality_: Plurality | None = None

    def fit(self, answers: Answers) -> PreferenceModel:
        """Fit the score and everybody's weights."""
        if self.restarts < 1 or self.epochs < 1 or self.batch < 1:
            raise OptionError("epochs, batch and restarts are at least 1")
        found: list[tuple[float, int, Score, Tensor]] = []
        for start in range(self.restarts):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed + start)
                score = copy.deepcopy(self.scorer).requires_grad_(True).apply(_begin_again)
                logits = nn.Parameter(torch.randn(len(answers.people), score.groups))
                self._descend(answers, score, logits)
            weights = torch.softmax(logits.detach(), -1)
            found.append((self._mean_loss(answers, score, weights), start, score, weights))
        self.loss_, _, self.scorer, self._weights = min(found, key=lambda each: each[:2])
        self.scorer.requires_grad_(False)
        self.people_ = answers.people
        return self

    def _descend(self, answers: Answers, score: Score, logits: nn.Parameter) -> None:
        count = answers.weight / answers.weight.mean()
        if self.balance:
            count = count / answers.sizes[answers.person]
            count = count / count.mean()
        decayed = [p for p in score.parameters() if p.ndim > 1]
        rest = [p for p in score.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": [*rest, logits]},
        ]
        optimizer = torch.optim.Adam(groups, lr=self.lr)
        n, size = len(answers), min(self.batch, len(answers))
        steps = self.epochs * -(-n // size)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(self.epochs):
            for at in torch.randperm(n).split(size):
                rows = answers.take(at)
                losses = self._losses(rows, score, torch.softmax(logits[rows.person], -1))
                optimizer.zero_grad(set_to_none=True)
                (count[at] * losses).mean().backward()
                optimizer.step()
                falling.step()

    def _losses(self, rows: Answers, score: Score, weights: Tensor) -> Tensor:
        margin = score.margin(*rows.features, weights, rows.prompt_features)
        of: Loss = logistic if self.loss == "logistic" else hinge
        losses: Tensor = expected(of(margin), of(-margin), rows.probability)
        return losses

    @torch.no_grad()
    def _mean_loss(self, answers: Answers, score: Score, weights: Tensor) -> float:
        total = 0.0
        for at in torch.arange(len(answers)).split(65536):
            rows = answers.take(at)
            total += float((rows.weight * self._losses(rows, score, weights[rows.person])).sum())
        return total / float(answers.weight.sum())

    def read(self, data: Any) -> Answers:
        """Comparisons in any feedback, as this model's features say them."""
        if isinstance(data, Answers):
            return data
        if self.features is None:
            raise OptionError("this model was fitted to vectors; give Answers, or fit feedback by pluralign.fit")
        return self.features.answers(data)

    def _of(self, people: Sequence[str]) -> Tensor:
        """[N, K]: the weights of these people, everybody's mean for those not seen."""
        if tuple(people) == self.people_:
            return self._weights
        place = {name: i for i, name in enumerate(self.people_)}
        mean = self._weights.mean(0)
        return torch.stack([self._weights[place[name]] if name in place else mean for name in people])

    def weights(self, annotator: str) -> Array:
        """[K]: the weights of somebody seen in fitting. Raises `OptionError` for anybody else."""
        if annotator not in self.people_:
            raise OptionError(f"{annotator!r} did not answer when this was fitted; localise their answers first")
        return np.asarray(self._of([annotator])[0].double().numpy())

    def export(self, weights: Any = None) -> Reward:
        """An ordinary reward: that of a person (a name), of weights [K], of a prototype (its number), or the mean."""
        if weights is None:
            one = self._weights.mean(0)
        elif isinstance(weights, str):
            one = self._of([weights])[0] if weights in self.people_ else torch.as_tensor(self.weights(weights))
        elif isinstance(weights, int):
            one = torch.eye(self.scorer.groups)[weights]
        else:
            one = torch.as_tensor(np.asarray(weights, dtype=np.float32))
        return Reward(self.scorer, one, self.features)

    def score(self, prompt: str, responses: Sequence[str], annotator: Any = None) -> Array:
        """[n]: scores of responses to a prompt, for a person (a name, or weights [K]) or the mean."""
        return self.export(annotator)(prompt, responses)

    def groups(self) -> pl.DataFrame:
        """A row a prototype: its share (mean weight), how many people it describes best, and those nearest to it."""
        best = self._weights.argmax(1).numpy()
        rows = []
        for k, share in enumerate(self._weights.mean(0).tolist()):
            nearest = self._weights[:, k].argsort(descending=True, stable=True)[:5].tolist()
            typical = [self.people_[i] for i in nearest if best[i] == k]
            rows.append({"group": k, "share": share, "people": int((best == k).sum()), "typical": typical})
        return pl.DataFrame(rows, schema_overrides={"typical": pl.List(pl.String)})

    def likes(self, prompt: str, responses: Sequence[str]) -> pl.DataFrame:
        """Each prototype's scores of these responses, [n] rows of a table, less the prototype's mean."""
        scores = {f"group {k}": self.export(k)(prompt, responses) for k in range(self.scorer.groups)}
        return pl.DataFrame({"response": list(responses)} | {name: s - s.mean() for name, s in scores.items()})

    def save(self, folder: str | Path) -> Path:
        """Write to a folder that `PreferenceModel.load` reads."""
        return saving.save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, encoder: Any = None) -> PreferenceModel:
        """A saved model. encoder: the function that was given to `fit`, where it was one."""
        return saving.load(Path(folder), encoder)

    @property
    def weights_(self) -> Array:
        """[N, K]: everybody's weights, in the order of `people_`."""
        return self._weights.double().numpy()

    @torch.no_grad()
    def margins(self, answers: Any, weights: Any = None) -> Array:
        """[n]: score of left minus score of right, each person with their own weights, or with these, [N, K] or [K].

        Somebody not seen in fitting has everybody's mean weights. answers: `Answers` or, after `pluralign.fit`,
        whatever it reads.
        """
        answers = self.read(answers)
        table = self._of(answers.people) if weights is None else torch.as_tensor(np.asarray(weights, dtype=np.float32))
        table = table.expand(len(answers.people), -1) if table.ndim == 1 else table
        out = []
        for at in torch.arange(len(answers)).split(65536):
            rows = answers.take(at)
            left, right = rows.features
            out.append(self.scorer.margin(left, right, table[rows.person], rows.prompt_features))
        return torch.cat(out).double().numpy() if out else np.zeros(0)

    def predict_proba(self, answers: Any, weights: Any = None) -> Array:
        """[n]: the chance that left is preferred."""
        return np.asarray(sigmoid(self.margins(answers, weights)))

    def accuracy(self, answers: Any, weights: Any = None) -> float:
        """Share of answers whose preferred side scores higher; equal scores count one half, ties are left out."""
        answers = self.read(answers)
        told = answers.probability.numpy() != 0.5
        sign = np.sign(self.margins(answers, weights)) * np.sign(answers.probability.numpy() - 0.5)
        return float(np.average((sign[told] + 1) / 2, weights=answers.weight.numpy()[told]))

    def log_loss(self, answers: Any, weights: Any = None) -> float:
        """Mean negative log-likelihood of the answers, nats."""
        answers = self.read(answers)
        return float(np.average(self.log_losses(answers, weights), weights=answers.weight.numpy()))

    def log_losses(self, answers: Any, weights: Any = None) -> Array:
        """[n]: negative log-likelihood of each answer, nats."""
        answers = self.read(answers)
        z = self.margins(answers, weights)
        each: Array = expected(logistic(z), logistic(-z), answers.probability.double().numpy())
        return each

    def localise(self, answers: Any, *, prior: Literal["people"] | Sequence[float] | None = "people") -> Localised:
        """Weights of new people from their answers, with everything else as it is; all people of `answers` at once.

        prior: "people", the Dirichlet distribution with the mean and spread of the weights seen; its parameters; or
        None. Exact where the score's margins are linear in the weights, and otherwise on the margins of the
        prototypes, then moved downhill on the score itself. From a handful of answers `alike` predicts better.
        """
        answers = self.read(answers)
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
        return (
            found if self.scorer.linear else self._downhill(answers, found, np.asarray(0.0 if pull is None else pull))
        )

    def alike(self, answers: Any) -> Localised:
        """Weights of new people as the mean of those seen, each by how likely it makes the new person's answers.

        The posterior mean where the people seen are the prior: it keeps their groups apart, which the one Dirichlet
        distribution of `localise` does not, and so needs fewer answers. Covariances are the posterior's; every gap is
        zero, for nothing is searched. Exact for every score; N margins are computed for each answer.
        """
        answers = self.read(answers)
        people, person = len(answers.people), answers.person.numpy()
        count = answers.weight.double().numpy()
        seen = self.weights_
        said = np.stack(
            [np.bincount(person, count * -self.log_losses(answers, one), minlength=people) for one in seen], axis=1
        )
        chance = np.exp(said - said.max(1, keepdims=True))
        chance /= chance.sum(1, keepdims=True)
        mean = chance @ seen
        second = np.einsum("un,nk,nl->ukl", chance, seen, seen)
        return Localised(mean, second - mean[:, :, None] * mean[:, None, :], np.zeros(people))

    def _downhill(self, answers: Answers, found: Localised, pull: Array) -> Localised:
        start = torch.log(torch.as_tensor(np.maximum(found.weights, 1e-6), dtype=torch.float32))
        logits = start.clone().requires_grad_(True)
        prior = torch.as_tensor(pull, dtype=torch.float32)
        optimizer = torch.optim.Adam([logits], lr=0.05)
        for _ in range(200):
            logs = torch.log_softmax(logits, -1)
            losses = self._losses(answers, self.scorer, logs.exp()[answers.person])
            optimizer.zero_grad(set_to_none=True)
            ((answers.weight * losses).sum() - (prior * logs).sum()).backward()
            optimizer.step()
        weights = torch.softmax(logits.detach(), -1).double().numpy()
        return Localised(weights, found.covariance, np.full(len(weights), np.nan))


def _begin_again(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
