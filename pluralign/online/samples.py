"""What a learner sees: responses, the laws they were drawn from, and what the judge said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any

from array_api_compat import array_namespace

from pluralign.errors import MissingInput, OptionError
from pluralign.likelihoods.numerics import Array, full_precision, stop_gradient
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.values import given, prepared_rows

Anchors = Mapping[str, float]
"""Policy snapshots by name, each with a weight: their log-probs, weighted and summed. Weights that sum to one make the
geometric mixture of the snapshots, up to its normaliser."""


@dataclass(frozen=True)
class SampleTokens:
    """Numbers at T positions of each response, all [B, K, T]; positions outside a response count for nothing.

    mask: which positions are response tokens that count. logp: under the learning policy, with gradient.
    sampled_logp: under the law they were drawn from. snapshots: under policy snapshots, by name.
    value, sampled_value: of a value head, now (with gradient) and when the responses were drawn.
    kl, reference_kl: KL(pi || reference) and KL(reference || pi) of the next-token distributions, over the whole
        vocabulary. They carry the gradient.
    surplus: log of the sum over the vocabulary of pi^(1 + extrapolate) / previous^extrapolate, for learners with that
        option: what a token's extrapolated log-prob is too large by. No gradient.
    uniform: random numbers in [0, 1), for objectives that sample tokens; left out, they do not sample.
    """

    mask: Array = given("BKT", MISSING)
    logp: Array | None = given("BKT", gradient=True)
    sampled_logp: Array | None = given("BKT")
    value: Array | None = given("BKT", gradient=True)
    sampled_value: Array | None = given("BKT")
    kl: Array | None = given("BKT", gradient=True)
    reference_kl: Array | None = given("BKT", gradient=True)
    surplus: Array | None = given("BKT")
    uniform: Array | None = given("BKT")
    snapshots: Mapping[str, Array] = field(default_factory=dict, metadata={"shape": ""})

    def known(self, name: str) -> Array:
        """The field of this name; `MissingInput` if it was left out."""
        return _known(self, name, f"tokens.{name}")

    @property
    def written(self) -> Array:
        """Log-probs as the responses were drawn; left out, the learning policy drew them, [B, K, T]. No gradient."""
        return stop_gradient(self.known("logp")) if self.sampled_logp is None else self.sampled_logp

    def anchor(self, anchors: Anchors) -> Array:
        """Sum of weight * log-prob over snapshots, [B, K, T]."""
        return sum((w * _snapshot(self.snapshots, name) for name, w in anchors.items() if w), start=0 * self.mask)

    def total(self, values: Array) -> Array:
        """Sum over the tokens of each response, [B, K]."""
        return array_namespace(values).sum(values * self.mask, axis=2)


@dataclass(frozen=True)
class SampleBatch:
    """B prompts with K responses each, as one whole optimizer step: what a learner makes losses of.

    logp: sums of log pi(token) over the response under the learning policy, [B, K]. Carries the gradient.
    law: how often each response is drawn, [B, K], rows sum to 1. Left out, 1/K: K independent draws.
    opponent: the same for the opponent's draws, [B, K]; left out, opponents are the responses themselves. One policy
        sample and one sample of the reference are K = 2 with law (1, 0) and opponent (0, 1).
    exact: the columns are all responses there are, and the laws their probabilities: two draws may be the same
        response. Otherwise each column is one draw, and no response is its own opponent.
    sampled_logp: log-probs under the law the responses were drawn from, [B, K].
    snapshots: log-probs under frozen policies by name, [B, K] each: `reference`, `previous` (the policy when the round
        began), and those a learner keeps itself (`auxiliary`, `half`).
    reward: a number for each response, [B, K]. preference: the chance that i is preferred to j, [B, K, K].
    components: M rewards of each response, [B, K, M], whose weights are learnt beside the policy: `multipliers`, [M].
    greedy_reward: reward of the greedy response, [B]. kl: KL(pi || reference) summed along each response from whole
        next-token distributions, [B, K], with gradient. length: response tokens, [B, K].
    weight: how much the prompt counts, [B]. tokens: numbers a token. offline: pairs learnt from beside the samples.
    uniform: a random number in [0, 1) for each pair, [B, K, K], for objectives that choose among pairs.

    Raises `OptionError` if a shape is not the one above. What is not the learning policy's carries no gradient.

    >>> import numpy as np
    >>> batch = SampleBatch(np.log([[0.5, 0.5]]), snapshots={"reference": np.log([[0.2, 0.8]])})
    >>> batch.log_ratio({"reference": 1.0}).round(4)
    array([[ 0.9163, -0.47  ]])
    """

    logp: Array = given("BK", MISSING, gradient=True)
    law: Array = given("BK")
    opponent: Array = given("BK")
    exact: bool = field(default=False, metadata={"shape": ""})
    sampled_logp: Array | None = given("BK")
    snapshots: Mapping[str, Array] = field(default_factory=dict, metadata={"shape": ""})
    reward: Array | None = given("BK")
    preference: Array | None = given("BKK")
    components: Array | None = given("BKM")
    multipliers: Array | None = given("")
    greedy_reward: Array | None = given("B")
    kl: Array | None = given("BK", gradient=True)
    length: Array | None = given("BK")
    weight: Array | None = given("B")
    tokens: SampleTokens | None = given("")
    offline: PolicyBatch | None = given("")
    uniform: Array | None = given("BKK")

    def __post_init__(self) -> None:
        sizes = prepared_rows(self, "a prompt")
        _snapshots(self, (sizes["B"], sizes["K"]), "snapshots")
        if self.law is None:
            object.__setattr__(self, "law", 0 * stop_gradient(self.logp) + 1 / sizes["K"])
        if self.opponent is None:
            object.__setattr__(self, "opponent", self.law)
        if self.tokens is not None:
            _snapshots(self.tokens, tuple(self.tokens.mask.shape), "tokens.snapshots")

    def known(self, name: str) -> Array:
        """The field of this name; `MissingInput` if it was left out."""
        return _known(self, name, name)

    @property
    def written(self) -> Array:
        """Log-probs as the responses were drawn; left out, the learning policy drew them, [B, K]. No gradient."""
        return stop_gradient(self.logp) if self.sampled_logp is None else self.sampled_logp

    def anchor(self, anchors: Anchors) -> Array:
        """Sum of weight * log-prob over snapshots, [B, K]."""
        return sum((w * _snapshot(self.snapshots, name) for name, w in anchors.items() if w), start=0 * self.law)

    def log_ratio(self, anchors: Anchors) -> Array:
        """log pi minus the anchors' log-probs, [B, K]: h of the papers."""
        return self.logp - self.anchor(anchors)

    def expect(self, values: Array) -> Array:
        """Mean of values [B, K] over the law, [B]."""
        return array_namespace(values).sum(self.law * values, axis=1)

    @property
    def weighed(self) -> Array:
        """The components weighed by the multipliers, one reward for each response, [B, K]."""
        return array_namespace(self.logp).sum(self.known("components") * self.known("multipliers"), axis=2)

    @property
    def worth(self) -> Array:
        """What the draws are worth by each of the components, [M]."""
        xp, components = array_namespace(self.logp), self.known("components")
        return xp.stack([self.mean(self.expect(components[:, :, m])) for m in range(components.shape[2])])

    @property
    def pairs(self) -> Array:
        """How often i and then j are drawn as a pair of the law, [B, K, K], sums to 1 for each prompt."""
        return self._together(self.law, self.law)

    @property
    def against(self) -> Array:
        """How often i is drawn from the law and j from the opponent's, [B, K, K], sums to 1 for each prompt."""
        return self._together(self.law, self.opponent)

    @property
    def won(self) -> Array:
        """How often i and j are drawn and compared and i is preferred, [B, K, K].

        Sums to 1 for each prompt, or to less where the judge gave no answer (both orders 0).
        """
        drawn = self.against
        both = drawn + array_namespace(drawn).permute_dims(drawn, (0, 2, 1))
        return both * self.known("preference")

    def others(self, values: Array) -> Array:
        """Mean of values [B, K] over the draws of the law other than i itself (its leave-one-out mean), [B, K]."""
        return self._over(self.law, values[:, None, :])

    @property
    def win_rate(self) -> Array:
        """Chance that i is preferred to a draw of the opponent other than itself, [B, K]."""
        return self._over(self.opponent, self.known("preference"))

    @property
    def mean_preference(self) -> Array:
        """Chance that i is preferred to a draw of the opponent, itself among them, [B, K]."""
        return array_namespace(self.logp).sum(self.opponent[:, None, :] * self.known("preference"), axis=2)

    def mean(self, losses: Array) -> Array:
        """Weighted mean of losses [B], a scalar."""
        xp = array_namespace(losses)
        return xp.mean(losses) if self.weight is None else xp.sum(self.weight * losses) / xp.sum(self.weight)

    def _apart(self, chances: Array) -> Array:
        """chances [B, K, K], without those of meeting oneself where columns are draws."""
        if self.exact:
            return chances
        xp = array_namespace(chances)
        return chances * (1 - xp.eye(chances.shape[1], dtype=chances.dtype))

    def _together(self, first: Array, second: Array) -> Array:
        chances = self._apart(first[:, :, None] * second[:, None, :])
        return _shares(chances, (1, 2))

    def _over(self, law: Array, values: Array) -> Array:
        xp = array_namespace(values)
        chances = self._apart(law[:, None, :] + 0 * law[:, :, None])
        return xp.sum(_shares(chances, (2,)) * values, axis=2)


def _shares(chances: Array, axis: tuple[int, ...]) -> Array:
    """chances divided by their sum over these axes; zeros where that sum is zero."""
    xp = array_namespace(chances)
    total = xp.sum(chances, axis=axis, keepdims=True)
    return chances / xp.where(total == 0, xp.ones_like(total), total)


def _known(holder: Any, name: str, path: str) -> Array:
    value = getattr(holder, name)
    if value is None:
        raise MissingInput(f"this learner needs {path}, and the batch has none; pass {path} (see SampleBatch)")
    return value


def _snapshot(snapshots: Mapping[str, Array], name: str) -> Array:
    if name not in snapshots:
        known = ", ".join(snapshots) or "none"
        raise MissingInput(f"this learner is anchored at '{name}', and the batch has {known}; pass snapshots['{name}']")
    return snapshots[name]


def _snapshots(holder: Any, shape: tuple[int, ...], path: str) -> None:
    for name, value in holder.snapshots.items():
        if tuple(value.shape) != shape:
            raise OptionError(f"{path}['{name}'] has shape {tuple(value.shape)}; give it {shape}")
    fixed = {name: stop_gradient(full_precision(value)) for name, value in holder.snapshots.items()}
    object.__setattr__(holder, "snapshots", fixed)
