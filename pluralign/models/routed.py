"""Groups whose share depends on the prompt: rewards that a router mixes, and Hedge for who is asked."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.likelihoods import expected, logistic
from pluralign.models.answers import Answers
from pluralign.models.descent import descend
from pluralign.models.localise import Localised, inverse_on_simplex
from pluralign.models.mixture import mixed
from pluralign.models.population import Population
from pluralign.models.scores import Score

Array = NDArray[np.float64]


def hedge(shares: ArrayLike, losses: ArrayLike, temperature: float = 1.0) -> Array:
    """[..., K]: shares [..., K] after seeing losses [..., K]: each times exp(-loss / temperature), summing to one.

    The minimum of expected loss plus temperature times the divergence from the old shares. Freund and Schapire 1997.

    >>> hedge([0.5, 0.5], [0.1, 1.1]).round(6)
    array([0.731059, 0.268941])
    """
    loss = np.asarray(losses, dtype=np.float64)
    made = np.asarray(shares) * np.exp(-(loss - loss.min(-1, keepdims=True)) / temperature)
    return np.asarray(made / made.sum(-1, keepdims=True))


class RoutedRewards(Score):
    """K rewards linear in the features, mixed by a router that reads the prompt: f_k(x), times a person's weights.

    features: D of responses. prompt_features: P. groups: K. hidden: width of the router's one hidden layer. Shares are
    f_k(x) w_k over their sum: equal weights leave the router as it is. The score is the mean reward under them.

    >>> RoutedRewards(2, 3, prompt_features=1).shares(torch.full((3,), 1 / 3), torch.zeros(1)).sum().item()
    1.0
    """

    linear = False

    def __init__(self, features: int, groups: int, *, prompt_features: int, hidden: int = 128) -> None:
        super().__init__()
        self.settings = {"features": features, "groups": groups, "prompt_features": prompt_features, "hidden": hidden}
        self.groups, self.projector = groups, nn.Identity()
        self.heads = nn.Linear(features, groups, bias=False)
        self.router = nn.Sequential(nn.Linear(prompt_features, hidden), nn.ReLU(), nn.Linear(hidden, groups))

    def shares(self, weights: Tensor, prompts: Tensor | None) -> Tensor:
        """[..., K]: what each group's reward counts for people of these weights under these prompts."""
        if prompts is None:
            raise OptionError("a router reads prompts; give the features of each prompt")
        made: Tensor = torch.softmax(self.router(prompts) + weights.clamp(min=1e-30).log(), -1)
        return made

    def prototypes(self, left: Tensor, right: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Margins [..., K] of each group alone."""
        margins: Tensor = self.heads(left - right)
        return margins

    def forward(self, items: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Mean rewards [...]."""
        mean: Tensor = (self.heads(items) * self.shares(weights, prompts)).sum(-1)
        return mean

    def margin(self, left: Tensor, right: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Log odds of left, [...]: chances are mixed, not rewards."""
        return mixed(self.prototypes(left, right, prompts), self.shares(weights, prompts))


class RoutedMixture(Population):
    """MiCRo: K rewards and a router of prompts learnt from all answers together, then Hedge for each person.

    First -ln sum_k f_k(x) sigmoid(r_k margin) + alpha sum_k f_k ln f_k is minimised over rewards and router, whoever
    answered. Then, with those frozen, every person's weights w (the router's answer is f_k(x) w_k, normalised) are
    fitted to the targets of Hedge, `rounds` times. groups: K. hidden: width of the router. alpha: how far shares are
    pulled to be equal. The paper has 0.5, at which the share f of the one reward that a prompt leaves is held at 0.902
    (where alpha ln(f / (1 - f)) = 1 / f), a tenth of a nat an answer; at 0.1 it is 0.99995, and answers are foretold
    better (docs/populations.md). At 0 one reward may do all. temperature: of Hedge; at 1 a round is a step of EM.
    epochs, batch, lr: of Adam, with a cosine to zero. restarts: searches from other starts, the best kept.

    The weights of a person are on the simplex; equal ones follow the router, as does somebody of whom nothing is known.
    Shen et al. 2025, with a person for the context. Raises `OptionError`.

    >>> x, on = torch.randn(60, 1, generator=torch.manual_seed(0)), torch.arange(60)[:, None] % 2
    >>> answers = Answers.of(x, 0 * x, ((x > 0) == (on == 1))[:, 0], prompt=on)
    >>> RoutedMixture(2, epochs=60, lr=0.05).fit(answers).accuracy(answers) > 0.9
    True
    """

    def __init__(
        self,
        groups: int,
        *,
        hidden: int = 128,
        alpha: float = 0.1,
        temperature: float = 1.0,
        rounds: int = 5,
        epochs: int = 60,
        batch: int = 256,
        lr: float = 0.01,
        restarts: int = 1,
        seed: int = 0,
    ) -> None:
        if groups < 1 or min(epochs, batch, restarts, hidden) < 1 or rounds < 0 or temperature <= 0:
            raise OptionError("groups, epochs, batch, restarts and hidden are at least 1, the temperature above zero")
        self.k, self.hidden, self.alpha, self.temperature, self.rounds = groups, hidden, alpha, temperature, rounds
        self.epochs, self.batch, self.lr, self.restarts, self.seed = epochs, batch, lr, restarts, seed
        self.settings = {"groups": groups, "hidden": hidden, "alpha": alpha, "temperature": temperature}
        self.settings |= {"rounds": rounds, "epochs": epochs, "batch": batch, "lr": lr}
        self.settings |= {"restarts": restarts, "seed": seed}

    def fit(self, answers: Answers) -> Self:
        """Fit rewards and router, then everybody's weights."""
        if answers.prompts is None:
            raise OptionError("a router reads prompts; give the features of each prompt")
        found = []
        for start in range(self.restarts):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed + start)
                size, prompts = answers.items.shape[1], answers.prompts.shape[1]
                score = RoutedRewards(size, self.k, prompt_features=prompts, hidden=self.hidden)
                found.append((self._descend(answers, score), start, score))
        _, _, self.scorer = min(found, key=lambda each: each[:2])
        self.scorer.requires_grad_(False)
        return self._keep(answers, self.localise(answers).weights)

    def _descend(self, answers: Answers, score: RoutedRewards) -> float:
        """Fits in place; the mean loss it ends with."""
        count, equal = answers.weight / answers.weight.mean(), torch.full((self.k,), 1 / self.k)

        def loss(at: Tensor, _: float = 1.0) -> Tensor:
            rows = answers.take(at)
            shares = score.shares(equal, rows.prompt_features)
            z = mixed(score.prototypes(*rows.features), shares)
            losses: Tensor = expected(logistic(z), logistic(-z), rows.probability)
            return (count[at] * (losses + self.alpha * (shares * shares.clamp(min=1e-30).log()).sum(-1))).mean()

        descend(loss, score.parameters(), len(answers), epochs=self.epochs, batch=self.batch, lr=self.lr)
        with torch.no_grad():
            return float(loss(torch.arange(len(answers))))

    @torch.no_grad()
    def localise(self, answers: Any) -> Localised:
        """Weights of people by Hedge on their answers, rewards and router as they are; equal ones for who gave none.

        Covariances come from the slopes of the log-likelihood and one equal pseudo-count a group; gaps are zero.
        """
        answers = self.read(answers)
        people, person = len(answers.people), answers.person.numpy()
        weights = np.full((people, self.k), 1 / self.k)
        if not len(answers):
            bend = np.tile(np.eye(self.k) * self.k**2, (people, 1, 1))
            return Localised(weights, inverse_on_simplex(bend), np.zeros(people))
        assert isinstance(self.scorer, RoutedRewards)
        margins = self.scorer.prototypes(*answers.features).double().numpy()
        said, count = answers.probability.double().numpy()[:, None], answers.weight.double().numpy()
        losses = np.logaddexp(0, -margins) + (1 - said) * margins
        routed = self.scorer.shares(torch.full((self.k,), 1 / self.k), answers.prompt_features).double().numpy()

        def per_person(values: Array) -> Array:
            return np.stack([np.bincount(person, count * column, minlength=people) for column in values.T], axis=1)

        def shares() -> Array:
            made = routed * weights[person]
            return np.asarray(made / made.sum(1, keepdims=True))

        for _ in range(self.rounds):
            target = per_person(hedge(shares(), losses, self.temperature))
            # The fit of cross-entropy has the targets' totals; each step scales towards them and lowers it.
            for _ in range(10):
                weights = weights * (target + 1e-12) / (per_person(shares()) + 1e-12)
                weights /= weights.sum(1, keepdims=True)
        made = routed * weights[person]
        slope = made * np.exp(-losses) / (made * np.exp(-losses)).sum(1, keepdims=True) - shares()
        outer = np.einsum("n,nk,nl->nkl", count, slope / weights[person].clip(1e-6), slope / weights[person].clip(1e-6))
        bend = np.zeros((people, self.k, self.k))
        np.add.at(bend, person, outer)
        bend += np.eye(self.k) / weights.clip(1e-6)[:, :, None] ** 2
        return Localised(weights, inverse_on_simplex(bend), np.zeros(people))

    def _mean(self) -> Tensor:
        return torch.full((self.k,), 1 / self.k)
