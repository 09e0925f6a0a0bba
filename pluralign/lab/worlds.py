"""Worlds small enough that every policy, every population loss and every optimum is known exactly."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.errors import OptionError
from pluralign.lab.annotators import bradley_terry

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Tree:
    """How a policy writes: at each node it chooses a token; a response is a path of at most T choices.

    node, token: where each response chooses and what, [R, T]. mask: which of these are choices of the response,
    [R, T]. reference: logits of the reference at each node, [P, nodes, V].
    """

    node: Index
    token: Index
    mask: Array
    reference: Array


@dataclass(frozen=True)
class World:
    """P prompts, the R responses that each can have, what people think of them, and the judgements they give.

    reward: what people go by, [P, R]. quality: what they would go by without what confounds them, [P, R].
    length: tokens, [P, R]. tree: how a policy makes responses.
    prompt [N], response [N, K], weight [N]: every judgement that can be given, the preferred response first, and how
    often it is. row: further fields of the batch, such as tie, margin, sign.
    preference: how often i is said to beat j, [P, R, R]. kind: pairs, rankings or thumbs.
    """

    reward: Array
    quality: Array
    length: Array
    tree: Tree
    preference: Array
    prompt: Index
    response: Index
    weight: Array
    row: dict[str, Array] = field(default_factory=dict)
    kind: str = "pairs"

    @property
    def reference(self) -> Array:
        """The reference's probabilities, [P, R]."""
        logits = self.tree.reference - self.tree.reference.max(-1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return np.asarray(np.exp((log_p[:, self.tree.node, self.tree.token] * self.tree.mask).sum(-1)))

    def tilted(self, beta: float, reward: ArrayLike | None = None) -> Array:
        """pi_ref * exp(reward / beta) / Z, [P, R]: the best trade of reward against KL (`reward` by default)."""
        r = self.reward if reward is None else np.broadcast_to(np.asarray(reward, dtype=np.float64), self.reward.shape)
        tilt = self.reference * np.exp((r - r.max(1, keepdims=True)) / beta)
        return np.asarray(tilt / tilt.sum(1, keepdims=True))

    def best_of(self, n: int, reward: ArrayLike | None = None) -> Array:
        """The law of the best of n draws of the reference, [P, R], by `reward` or another; ties go to either alike.

        pi(y) = (F(y)^n - F-(y)^n) ref(y) / ref(r = r(y)), F = chance of a reward up to r(y), F- below it.
        """
        r = self.reward if reward is None else np.broadcast_to(np.asarray(reward, dtype=np.float64), self.reward.shape)
        if n < 1:
            raise OptionError(f"the best of n needs n of 1 or more; got {n}")
        ref = self.reference
        mine, other = r[:, :, None], r[:, None, :]
        below, same = ((ref[:, None, :] * there).sum(2) for there in (other < mine, other == mine))
        return np.asarray(((below + same) ** n - below**n) * ref / same)

    def value(self, policy: ArrayLike) -> float:
        """Expected quality of a response, mean over prompts. policy: [P, R]."""
        return float((np.asarray(policy) * self.quality).sum(1).mean())

    def kl(self, policy: ArrayLike) -> float:
        """KL(pi || pi_ref) in nats, mean over prompts. policy: [P, R]."""
        p = np.asarray(policy, dtype=np.float64)
        gain = np.log(np.where(p > 0, p, 1.0)) - np.log(self.reference)
        return float((p * gain).sum(1).mean())

    def thumbs(self) -> World:
        """The same people judging single responses: a thumb up with chance sigmoid(reward), every response as often."""
        prompts, count = self.reward.shape
        up = 1 / (1 + np.exp(-self.reward)).ravel()
        one = np.ones(prompts * count)
        return replace(
            self,
            prompt=np.tile(np.repeat(np.arange(prompts), count), 2),
            response=np.tile(np.arange(count), 2 * prompts)[:, None],
            weight=np.concatenate([up, 1 - up]),
            row={"sign": np.concatenate([one, -one])[:, None]},
            kind="thumbs",
        )

    def rankings(self, count: int | None = None) -> World:
        """The same people ranking `count` responses (all by default): Plackett-Luce on the rewards, best first.

        Every set of `count` responses is asked about equally often.
        """
        prompts, responses = self.reward.shape
        count = responses if count is None else count
        if not 2 <= count <= responses:
            raise OptionError(f"a ranking holds 2 to {responses} responses here, got {count}")
        orders = np.array(list(itertools.permutations(range(responses), count)))
        r = np.exp(self.reward - self.reward.max(1, keepdims=True))[:, orders]
        below = np.cumsum(r[..., ::-1], axis=-1)[..., ::-1]
        return replace(
            self,
            prompt=np.repeat(np.arange(prompts), len(orders)),
            response=np.tile(orders, (prompts, 1)),
            weight=np.prod(r / below, axis=-1).ravel(),
            row={},
            kind="rankings",
        )

    def sample(self, n: int, seed: int = 0) -> World:
        """A data set of n judgements drawn from this world, each a row of its own, all of one weight."""
        drawn = np.random.default_rng(seed).choice(len(self.weight), n, p=self.weight / self.weight.sum())
        row = {name: value[drawn] for name, value in self.row.items()}
        return replace(self, prompt=self.prompt[drawn], response=self.response[drawn], weight=np.ones(n), row=row)


def bandit(
    reward: ArrayLike,
    *,
    reference: ArrayLike | None = None,
    preference: ArrayLike | Callable[[Array], Array] = bradley_terry,
    quality: ArrayLike | None = None,
    length: ArrayLike | None = None,
    margin: ArrayLike | None = None,
) -> World:
    """A table of rewards: [R] for one prompt, [P, R] for several. A policy gives each response a chance of its own.

    reference: probabilities (uniform by default). preference: how often i is said to beat j, [R, R] or [P, R, R], or a
    function of the rewards that says so (see `pluralign.lab.annotators`). quality: what is really wanted, where people
    go by more than that. length: tokens of each response, for objectives that divide by it (1 by default); which
    tokens these are nobody says. margin: the batch's margin where i was preferred to j, [R, R]. All broadcast over P.

    >>> world = bandit([1.0, 0.0], reference=[0.2, 0.8])
    >>> world.tilted(beta=0.5).round(4)
    array([[0.6488, 0.3512]])
    """
    r = np.atleast_2d(np.asarray(reward, dtype=np.float64))
    responses = r.shape[1]
    chances = _like(np.full(responses, 1 / responses) if reference is None else reference, r.shape, "reference")
    if (chances <= 0).any() or not np.allclose(chances.sum(1), 1):
        raise OptionError("reference must be probabilities above 0 that sum to 1 for each prompt")
    tree = Tree(
        node=np.zeros((responses, 1), dtype=np.int64),
        token=np.arange(responses)[:, None],
        mask=np.ones((responses, 1)),
        reference=np.log(chances)[:, None, :],
    )
    tokens = _like(1.0 if length is None else length, r.shape, "length")
    return _judged(r, tree, tokens, preference, quality, margin)


def sequences(
    reward: Callable[[tuple[int, ...]], float],
    *,
    vocabulary: int = 2,
    most: int = 3,
    memory: int | None = None,
    seed: int = 0,
    preference: ArrayLike | Callable[[Array], Array] = bradley_terry,
    quality: Callable[[tuple[int, ...]], float] | None = None,
) -> World:
    """A language of a few tokens under one prompt: every response is a text of letters 0 ... vocabulary - 1.

    The policy writes a letter or stops, until it has written `most` letters; stopping is a token too. reward, quality:
    of a text. memory: the next token depends on so many letters before it (all by default, so that the policy can be
    any distribution over texts; with fewer, texts share their parameters). seed: of the reference, whose logits are
    standard normal.

    >>> world = sequences(lambda text: sum(text), vocabulary=2, most=2)
    >>> world.reward.shape, world.reference.sum().round(12)
    ((1, 7), np.float64(1.0))
    """
    if vocabulary < 1 or most < 1:
        raise OptionError(f"a language needs a letter and room for one; got vocabulary={vocabulary}, most={most}")
    texts = [text for n in range(most + 1) for text in itertools.product(range(vocabulary), repeat=n)]
    known: dict[tuple[int, ...], int] = {}
    node, token, mask = (np.zeros((len(texts), most)) for _ in range(3))
    for i, text in enumerate(texts):
        written = text if len(text) == most else (*text, vocabulary)
        for t, letter in enumerate(written):
            seen = text[:t] if memory is None else text[max(0, t - memory) : t]
            node[i, t], token[i, t], mask[i, t] = known.setdefault(seen, len(known)), letter, 1
    logits = np.random.default_rng(seed).standard_normal((1, len(known), vocabulary + 1))
    tree = Tree(node.astype(np.int64), token.astype(np.int64), mask, logits)
    table = np.array([[reward(text) for text in texts]], dtype=np.float64)
    wanted = None if quality is None else [[quality(text) for text in texts]]
    return _judged(table, tree, mask.sum(1)[None], preference, wanted, None)


def confounded(quality: ArrayLike, feature: ArrayLike, bias: float, **bandit_options: Any) -> World:
    """A bandit whose people like a feature besides quality: reward = quality + bias * feature, all [R] or [P, R].

    The feature may be a length (give `length` too) or a style. What a policy is worth is its quality alone.

    >>> world = confounded([1.0, 0.0], feature=[1.0, 8.0], bias=0.3, length=[1.0, 8.0])
    >>> world.reward.tolist(), world.quality.tolist()
    ([[1.3, 2.4]], [[1.0, 0.0]])
    """
    wanted = np.asarray(quality, dtype=np.float64)
    liked = wanted + bias * np.asarray(feature, dtype=np.float64)
    return bandit(liked, quality=np.broadcast_to(wanted, liked.shape), **bandit_options)


def _judged(
    reward: Array,
    tree: Tree,
    length: Array,
    preference: ArrayLike | Callable[[Array], Array],
    quality: ArrayLike | None,
    margin: ArrayLike | None,
) -> World:
    prompts, responses = reward.shape
    square = (prompts, responses, responses)
    said = _like(preference(reward) if callable(preference) else preference, square, "preference")
    untold = 1 - said - np.swapaxes(said, -1, -2)
    if (said < 0).any() or (untold < -1e-9).any():
        raise OptionError("preference must be chances with P_ij + P_ji at most 1")
    pairs = np.array(list(itertools.permutations(range(responses), 2)))
    prompt, response = np.repeat(np.arange(prompts), len(pairs)), np.tile(pairs, (prompts, 1))
    first, second = response.T
    weight, row = said[prompt, first, second], {}
    if margin is not None:
        row["margin"] = _like(margin, square, "margin")[prompt, first, second]
    if (untold[:, ~np.eye(responses, dtype=bool)] > 1e-9).any():
        # A tie is one judgement of both orders: each carries half.
        weight = np.concatenate([weight, untold[prompt, first, second] / 2])
        row = {name: np.tile(value, 2) for name, value in row.items()}
        row["tie"] = np.repeat([0.0, 1.0], len(prompt))
        prompt, response = np.tile(prompt, 2), np.tile(response, (2, 1))
    there = weight > 0
    return World(
        reward=reward,
        quality=reward if quality is None else _like(quality, reward.shape, "quality"),
        length=length,
        tree=tree,
        preference=said,
        prompt=prompt[there],
        response=response[there],
        weight=weight[there],
        row={name: value[there] for name, value in row.items()},
    )


def _like(value: ArrayLike, shape: tuple[int, ...], name: str) -> Array:
    found = np.asarray(value, dtype=np.float64)
    try:
        return np.array(np.broadcast_to(found, shape))
    except ValueError:
        raise OptionError(f"{name} has shape {found.shape}, and the rewards ask for {shape}") from None
