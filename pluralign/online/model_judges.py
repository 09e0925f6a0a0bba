"""Judges made of models: rewards, people and groups, two language models against each other, and what is said next."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from pluralign.errors import OptionError
from pluralign.feedback.record import Message, text
from pluralign.models import Answers
from pluralign.models.pairs import PairScore
from pluralign.online.drawn import Prompt, words
from pluralign.online.judges import Array, Asked, bradley_terry
from pluralign.policy.batch import budgeted, collate
from pluralign.policy.encode import Encoded, Encoder, common_beginning
from pluralign.policy.logprobs import logprobs
from pluralign.policy.reference import weights_fingerprint

TOKENS = 8192
"""Tokens scored at a time."""


class Opinions:
    """A fitted model of people as a judge: somebody's chances that the first of two is preferred.

    model: of `pluralign.models`, fitted to texts by `pluralign.fit`, cyclic ones included. whom: a person (a name), a
    group (its number), weights [K], or None for the mean of all.
    """

    def __init__(self, model: Any, whom: Any = None) -> None:
        if model.features is None:
            raise OptionError("this model was fitted to vectors and reads no texts; fit feedback by pluralign.fit")
        self.model, self.whom = model, whom
        k = model.scorer.groups
        if whom is None:
            self.weights = np.asarray(model.weights_).mean(0)
        elif isinstance(whom, str):
            self.weights = model.weights(whom)
        else:
            self.weights = np.eye(k)[whom] if isinstance(whom, int) else np.asarray(whom, dtype=np.float64)
        if self.weights.shape != (k,):
            raise OptionError(f"the model has {k} groups and got weights of shape {self.weights.shape}")
        self.name = f"{type(model).__name__} {_fingerprint(model.scorer, self.weights)}"

    def prob(self, prompts: Asked, first: Sequence[str], second: Sequence[str]) -> Array:
        """Chances [n] for somebody of these weights."""
        if not len(prompts):
            return np.zeros(0)
        asked = [words(x) for x in prompts]
        features = self.model.features
        left, right = (
            np.concatenate([features.of(x, [y]) for x, y in zip(asked, side, strict=True)]) for side in (first, second)
        )
        apart = features.vectors(asked) if features.apart else None
        answers = Answers.of(left, right, np.full(len(asked), 0.5), prompt=apart)
        return np.asarray(self.model.predict_proba(answers, self.weights))


class Tastes(Opinions):
    """The same where the model gives every response a score of its own: rewards besides chances."""

    def __init__(self, model: Any, whom: Any = None) -> None:
        if isinstance(model.scorer, PairScore):
            raise OptionError(f"a {type(model.scorer).__name__} gives no score to a response alone; use Opinions")
        super().__init__(model, whom)
        self.own = model.export(self.weights)

    def reward(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """Scores [n] for somebody of these weights."""
        return np.array([float(self.own(words(x), [y])[0]) for x, y in zip(prompts, responses, strict=True)])


class RewardJudge:
    """A reward (prompt, responses) -> numbers as a judge, of `RewardModel.export()` say; chances by Bradley-Terry."""

    def __init__(self, reward: Callable[[str, Sequence[str]], Any], *, name: str) -> None:
        self.function, self.name = reward, name

    def reward(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """Rewards [n]; responses to the same prompt are scored together."""
        places: dict[str, list[int]] = {}
        for i, x in enumerate(prompts):
            places.setdefault(words(x), []).append(i)
        found = np.zeros(len(prompts))
        for x, at in places.items():
            found[at] = self.function(x, [responses[i] for i in at])
        return found

    def prob(self, prompts: Asked, first: Sequence[str], second: Sequence[str]) -> Array:
        """sigmoid(r(first) - r(second)), [n]."""
        both = self.reward([*prompts, *prompts], [*first, *second])
        return bradley_terry(both[: len(prompts)], both[len(prompts) :])


class DensityRatio:
    """What a strong model finds likelier than a weak one: r = log p_strong(y|x) - log p_weak(y|x).

    strong, weak: (model, tokenizer), each with its own template; sums are over the text, whatever its tokens.
    per_token: each log-prob over its own number of tokens. instruct: turns the prompt into the one the strong model
    sees, with an instruction or examples for its domain.

    Xu et al. 2024 (customised density ratio). With strong = DPO(beta) of weak it is the implicit reward over beta.
    """

    def __init__(
        self,
        strong: tuple[Any, Any],
        weak: tuple[Any, Any],
        *,
        per_token: bool = False,
        instruct: Callable[[Prompt], Prompt] | None = None,
    ) -> None:
        self.strong, self.weak, self.per_token, self.instruct = strong, weak, per_token, instruct
        prints = [weights_fingerprint(model)[:12] for model, _ in (strong, weak)]
        how = ", per token" * per_token + (f", {getattr(instruct, '__name__', 'instructed')}" if instruct else "")
        self.name = f"density ratio {prints[0]} over {prints[1]}{how}"

    def reward(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """Log-ratios [n] in nats."""
        asked = [_messages(x) for x in prompts]
        strong = [self.instruct(x) for x in asked] if self.instruct else asked
        return self._log_probs(self.strong, strong, responses) - self._log_probs(self.weak, asked, responses)

    def prob(self, prompts: Asked, first: Sequence[str], second: Sequence[str]) -> Array:
        """sigmoid(r(first) - r(second)), [n]."""
        return bradley_terry(self.reward(prompts, first), self.reward(prompts, second))

    def _log_probs(self, writer: tuple[Any, Any], prompts: Sequence[Prompt], responses: Sequence[str]) -> Array:
        model, tokenizer = writer
        encoder = Encoder(tokenizer)
        rows = [encoder.encode(x, [_answer(x, y)]) for x, y in zip(prompts, responses, strict=True)]
        total, length = scored(model, rows)
        return total / length if self.per_token else total


class FollowUp:
    """How likely the next thing said is thanks and not a complaint: mean over `good` less mean over `bad`.

    model, tokenizer: a language model that plays the user. good, bad: what a user may say next; bad may be empty.
    normalise: log-likelihood of a follow-up by token, so that longer ones do not weigh more.

    Zhang et al. 2024 (FLR); several facets of helpfulness are averaged, as described by its authors.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, good: Sequence[str], bad: Sequence[str] = (), normalise: bool = True
    ) -> None:
        if not good:
            raise OptionError("follow-up likelihood needs at least one thing that a content user would say")
        self.model, self.tokenizer, self.normalise = model, tokenizer, normalise
        self.good, self.bad = list(good), list(bad)
        said = hashlib.sha256(repr((self.good, self.bad, normalise)).encode()).hexdigest()[:12]
        self.name = f"follow-up likelihood {weights_fingerprint(model)[:12]} {said}"

    def reward(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """Differences [n] of mean log-likelihoods, nats."""
        every = [*self.good, *self.bad]
        pairs = zip(prompts, responses, strict=True)
        rows = [self._row(_messages(x), y, said) for x, y in pairs for said in every]
        total, length = scored(self.model, rows)
        table = (total / length if self.normalise else total).reshape(len(responses), len(every))
        liked = table[:, : len(self.good)].mean(1)
        return np.asarray(liked - table[:, len(self.good) :].mean(1) if self.bad else liked)

    def prob(self, prompts: Asked, first: Sequence[str], second: Sequence[str]) -> Array:
        """sigmoid(r(first) - r(second)), [n]."""
        return bradley_terry(self.reward(prompts, first), self.reward(prompts, second))

    def _row(self, prompt: Prompt, response: str, said: str) -> Encoded:
        head, whole = ("", said) if not any(m.role for m in prompt) else (None, None)
        if head is None:
            turns = [*prompt, *_answer(prompt, response)]
            plain = [{"role": m.role or "user", "content": m.content or ""} for m in turns]
            texts = [
                self.tokenizer.apply_chat_template([*plain, {"role": "user", "content": c}], tokenize=False)
                for c in ("", said)
            ]
            ids = [self.tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
        else:
            before = f"{words(prompt)}\n{response}\n"
            ids = [self.tokenizer(before + str(tail))["input_ids"] for tail in (head, whole)]
        shared = min(common_beginning(ids), len(ids[1]) - 1)
        tail = ids[1][shared:]
        return Encoded(ids[1][:shared], (tail,), ([True] * len(tail),))


@torch.no_grad()
def scored(model: Any, rows: Sequence[Encoded]) -> tuple[Array, Array]:
    """Log-probs [n] of rows of one response each, in nats, and their numbers of tokens [n]."""
    total, length = np.zeros(len(rows)), np.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda i: rows[i].length)
    for chunk in budgeted(order, [row.length for row in rows], TOKENS):
        tokens = collate([rows[i] for i in chunk], pad_id=0).to(model.device)
        found = logprobs(model, tokens)
        total[chunk] = found.logp[:, 0].double().cpu().numpy()
        length[chunk] = found.length[:, 0].cpu().numpy()
    return total, length


def _messages(prompt: Prompt | str) -> Prompt:
    return text(prompt) if isinstance(prompt, str) else prompt


def _answer(prompt: Prompt, response: str) -> Prompt:
    return (Message(response, role="assistant" if any(m.role for m in prompt) else None),)


def _fingerprint(module: torch.nn.Module, weights: Array) -> str:
    whole = hashlib.sha256(np.ascontiguousarray(weights).tobytes())
    for name, tensor in sorted(module.state_dict().items()):
        whole.update(f"{name} {tuple(tensor.shape)};".encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()[:16]
