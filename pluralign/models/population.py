"""What every population does once it is fitted: predict, place new people, draw others, give rewards."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pluralign.errors import OptionError
from pluralign.likelihoods import logistic
from pluralign.models.answers import Answers
from pluralign.models.fitted import Fitted, right_share
from pluralign.models.localise import Localised
from pluralign.models.questions import Question, gains
from pluralign.models.reward import Reward
from pluralign.models.scores import Score

if TYPE_CHECKING:
    from torch import Tensor

    from pluralign.models.fitting import Plurality
    from pluralign.models.groups import Groups

Array = NDArray[np.float64]
SUPPORT = 1000
"""People that stand for everybody seen, at most, where each is tried on somebody new."""
AT_ONCE = 65536
"""Answers in one array."""


class Population(Fitted):
    """Whose preference it is: of every person a vector of K weights, which with the score says what they prefer.

    Every population has `fit`, `weights`, `localise`, `sample_people`, `export`, `next_question`, and the same
    `predict_proba`, `accuracy`, `log_loss`, `groups`, `save` and `load`. What the weights are is for each to say: a
    point on a simplex, chances of groups, coefficients or a latent code.

    features: what reads feedback (`pluralign.fit` sets it). plurality_: held-out losses by groups (so does it).
    After `fit`: `people_`, `weights_` [N, K], `loss_` (mean over the answers, nats where it is a likelihood).
    """

    scorer: Score
    people_: tuple[str, ...]
    loss_: float
    _weights: Tensor
    settings: dict[str, Any]
    """The arguments it was made with, the score apart."""
    simplex: ClassVar[bool] = True
    """Whether weights are shares of groups, so that it makes sense to speak of group k."""

    plurality_: Plurality | None = None

    @abstractmethod
    def fit(self, answers: Answers) -> Self:
        """Fit the score and everybody's weights."""

    @abstractmethod
    def localise(self, answers: Any) -> Localised:
        """Weights of new people from their answers, all people of `answers` at once, everything else as it is."""

    def _keep(self, answers: Answers, weights: Any) -> Self:
        """The end of a fit: who was seen, what their weights [N, K] are, and what their answers cost under them."""
        self.people_ = answers.people
        self._weights = torch.as_tensor(weights, dtype=torch.float32)
        self.loss_ = self.log_loss(answers)
        return self

    def sample_people(self, n: int, seed: int = 0) -> Array:
        """[n, K]: weights of people as there may be more of: drawn from what the population takes people to be.

        Here from those seen, with replacement, which keeps their groups apart.
        """
        drawn = np.random.default_rng(seed).integers(len(self.people_), size=n)
        return self.weights_[drawn]

    @property
    def weights_(self) -> Array:
        """[N, K]: everybody's weights, in the order of `people_`."""
        return self._weights.double().numpy()

    def weights(self, annotator: str) -> Array:
        """[K]: the weights of somebody seen in fitting. Raises `OptionError` for anybody else."""
        if annotator not in self.people_:
            raise OptionError(f"{annotator!r} did not answer when this was fitted; localise their answers first")
        return np.asarray(self._of([annotator])[0].double().numpy())

    def _mean(self) -> Tensor:
        """[K]: weights of somebody of whom nothing is known."""
        return self._weights.mean(0)

    def _of(self, people: Sequence[str]) -> Tensor:
        """[N, K]: the weights of these people, everybody's mean for those not seen."""
        if tuple(people) == self.people_:
            return self._weights
        place = {name: i for i, name in enumerate(self.people_)}
        mean = self._mean()
        return torch.stack([self._weights[place[name]] if name in place else mean for name in people])

    @torch.no_grad()
    def margins(self, answers: Any, weights: Any = None) -> Array:
        """[n]: log odds that left is preferred, each person with their own weights, or with these, [N, K] or [K].

        Where there is a score, that of left minus that of right. weights may also be the name of somebody seen.
        Somebody not seen in fitting has everybody's mean weights. answers: `Answers` or, after `pluralign.fit`,
        whatever it reads.
        """
        answers = self.read(answers)
        if isinstance(weights, str):
            weights = self.weights(weights)
        table = self._of(answers.people) if weights is None else torch.as_tensor(np.asarray(weights, dtype=np.float32))
        table = table.expand(len(answers.people), -1) if table.ndim == 1 else table
        out = []
        for at in torch.arange(len(answers)).split(AT_ONCE):
            rows = answers.take(at)
            left, right = rows.features
            out.append(self.scorer.margin(left, right, table[rows.person], rows.prompt_features))
        return torch.cat(out).double().numpy() if out else np.zeros(0)

    def predict_proba(self, answers: Any, annotator: Any = None, *, outcomes: bool = False) -> Array:
        """[n]: the chance that left is preferred; with `outcomes` [n, 3] of left, a tie, and right.

        annotator: whose answer it would be, a name or weights, as in `margins`; each pair's own person where None. The
        chance of a tie is zero unless the model was fitted with one ("davidson").
        """
        three = self._outcomes(self.margins(answers, annotator))
        return three if outcomes else three[:, 0]

    def accuracy(self, answers: Any, weights: Any = None) -> float:
        """Share of answers whose preferred side scores higher; equal scores count one half, ties are left out."""
        answers = self.read(answers)
        return right_share(self.margins(answers, weights), answers)

    def log_loss(self, answers: Any, weights: Any = None) -> float:
        """Mean negative log-likelihood of the answers, nats."""
        answers = self.read(answers)
        return float(np.average(self.log_losses(answers, weights), weights=answers.weight.numpy()))

    def log_losses(self, answers: Any, weights: Any = None) -> Array:
        """[n]: negative log-likelihood of each answer, nats."""
        answers = self.read(answers)
        return self._said(self.margins(answers, weights), answers.probability.double().numpy())

    def _said(self, margins: Array, probability: Array) -> Array:
        """Negative log-likelihoods of answers at log odds of the same shape."""
        # p softplus(-z) + (1 - p) softplus(z) with one logarithm for two: many people are tried on many answers.
        return np.asarray(logistic(margins) + (1 - probability) * margins)

    def alike(self, answers: Any) -> Localised:
        """Weights of new people as the mean of those seen, each by how likely it makes the new person's answers.

        The posterior mean where the people seen are the prior: it keeps their groups apart and so needs fewer answers
        than one smooth prior does. Covariances are the posterior's; every gap is zero, for nothing is searched. Exact
        for every score; where more than 1,000 people were seen, 1,000 of them drawn under a fixed seed stand for all.
        """
        answers = self.read(answers)
        support, log_prior = self._prior()
        chance = self._posterior(answers, support, log_prior)
        mean = chance @ support
        second = np.einsum("un,nk,nl->ukl", chance, support, support, optimize=True)
        return Localised(mean, second - mean[:, :, None] * mean[:, None, :], np.zeros(len(mean)))

    def next_question(self, person: Any, candidates: Any) -> Question:
        """Which of the candidate pairs tells most about a person: the one whose answer is worth most nats.

        The mutual information between the answer and the person's weights, who may be anybody in the population, by
        how well they explain what was said so far; exact where the population is a list of people or groups. person:
        the answers of one person so far, in whatever `read` takes, or None for somebody who has not answered.
        candidates: pairs, of which only the responses and prompts are read.

        Lindley 1956. Raises `OptionError`.
        """
        pairs = self.read(candidates)
        if not len(pairs):
            raise OptionError("there are no candidates to ask about; give at least one pair")
        if isinstance(person, str):
            raise OptionError(f"what {person!r} answered is not kept in the model; give their answers so far")
        so_far = None if person is None else self.read(person)
        if so_far is not None and len(np.unique(so_far.person.numpy())) > 1:
            raise OptionError("the answers so far are those of several people; give those of one")
        support, chance = self._believed(so_far if so_far is not None and len(so_far) else None)
        outcomes = self._outcomes(self._under(pairs, support))
        found = gains(outcomes, chance)
        return Question(int(found.argmax()), found)

    def _believed(self, answers: Answers | None) -> tuple[Array, Array]:
        """Weights [S, K] that one person may have, and their chances [S], after these answers."""
        support, log_prior = self._prior()
        if answers is None:
            return support, np.exp(log_prior)
        chance = self._posterior(answers, support, log_prior)
        return support, chance[int(answers.person[0])]

    def _by_draws(self, answers: Answers | None) -> tuple[Array, Array]:
        """As `_believed`, of populations that have a density of weights and no list of people for a prior."""
        drawn = self.sample_people(SUPPORT) if answers is None else self.localise(answers).draws(answers, SUPPORT)
        return drawn, np.full(SUPPORT, 1 / SUPPORT)

    def _prior(self) -> tuple[Array, Array]:
        """Weights [S, K] that stand for the population, and the logarithms of their chances [S]."""
        seen = self.weights_
        if len(seen) > SUPPORT:
            seen = seen[np.random.default_rng(0).choice(len(seen), SUPPORT, replace=False)]
        return seen, np.full(len(seen), -np.log(len(seen)))

    def _posterior(self, answers: Answers, support: Array, log_prior: Array) -> Array:
        """[U, S]: chances of each weights, for every person, after their answers."""
        people, person = len(answers.people), answers.person.numpy()
        count, said = answers.weight.double().numpy(), answers.probability.double().numpy()
        total = np.tile(log_prior, (people, 1))
        for at in torch.arange(len(answers)).split(max(1, 4_000_000 // len(support))):
            rows = at.numpy()
            each = self._said(self._under(answers.take(at), support), said[rows, None])
            whose = csr_array((count[rows], (person[rows], np.arange(len(rows)))), shape=(people, len(rows)))
            total -= whose @ each
        chance = np.exp(total - total.max(1, keepdims=True))
        return np.asarray(chance / chance.sum(1, keepdims=True))

    @torch.no_grad()
    def _under(self, answers: Answers, support: Array) -> Array:
        """[n, S]: log odds of left for people of each of these weights [S, K]."""
        if self.scorer.linear:
            left, right = answers.features
            each = self.scorer.prototypes(left, right, answers.prompt_features).double().numpy()
            return np.asarray(each @ support.T)
        weights, out = torch.as_tensor(support, dtype=torch.float32), []
        for at in torch.arange(len(answers)).split(max(1, AT_ONCE // len(support))):
            rows = answers.take(at)
            left, right = (each[:, None].expand(-1, len(weights), -1) for each in rows.features)
            prompts = rows.prompt_features
            asked = None if prompts is None else prompts[:, None].expand(-1, len(weights), -1)
            out.append(self.scorer.margin(left, right, weights.expand(len(rows), -1, -1), asked))
        return torch.cat(out).double().numpy() if out else np.zeros((0, len(support)))

    def export(self, weights: Any = None) -> Reward:
        """An ordinary reward: that of a person (a name), of weights [K], of a group (its number), or the mean."""
        if weights is None:
            one = self._mean()
        elif isinstance(weights, str):
            one = self._of([weights])[0] if weights in self.people_ else torch.as_tensor(self.weights(weights))
        elif isinstance(weights, int):
            if not self.simplex or not 0 <= weights < self.scorer.groups:
                groups = f"0 to {self.scorer.groups - 1}" if self.simplex else "none: everybody has their own weights"
                raise OptionError(f"there is no group {weights}; there are {groups}")
            one = torch.eye(self.scorer.groups)[weights]
        else:
            one = torch.as_tensor(np.asarray(weights, dtype=np.float32))
        return Reward(self.scorer, one, self.features)

    def score(self, prompt: str, responses: Sequence[str], annotator: Any = None) -> Array:
        """[n]: scores of responses to a prompt, for a person (a name, or weights [K]) or the mean."""
        return self.export(annotator)(prompt, responses)

    def groups(self, feedback: Any = None, people: Mapping[str, Mapping[str, Any]] | None = None) -> Groups:
        """Who the groups are and, given the feedback, what they like: see `groups.describe`. One for all if none."""
        from pluralign.feedback import Feedback, read
        from pluralign.models.groups import describe

        known = feedback is None or isinstance(feedback, Answers | Feedback)
        return describe(self, feedback if known else read(feedback), people)

    def likes(self, prompt: str, responses: Sequence[str]) -> pl.DataFrame:
        """Each group's scores of these responses, [n] rows of a table, less the group's mean; everybody's, if one."""
        rewards = {f"group {k}": self.export(k) for k in range(self.scorer.groups)} if self.simplex else {}
        rewards = rewards or {"everybody": self.export()}
        scores = {name: reward(prompt, responses) for name, reward in rewards.items()}
        return pl.DataFrame({"response": list(responses)} | {name: s - s.mean() for name, s in scores.items()})
