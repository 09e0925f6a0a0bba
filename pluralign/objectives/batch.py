"""What an objective sees: the log-probabilities of a batch of responses, and the words its equation is written in."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, replace
from math import log
from typing import Any

from array_api_compat import array_namespace

from pluralign.errors import MissingInput
from pluralign.likelihoods.labels import expected
from pluralign.likelihoods.numerics import Array, stop_gradient
from pluralign.likelihoods.pairwise import logistic
from pluralign.objectives.values import Running, Scores, Tokens, Totals, given, mapped, prepared_rows

EXPONENT = 80.0
"""Largest exponent taken: float32 holds exp(80). Beyond it a score is flat."""


@dataclass(frozen=True)
class PolicyBatch:
    """Log-probabilities of B rows of K responses each, the preferred response first.

    logp: sums of log pi(token) over the response tokens, EOS included, prompt excluded, [B, K]. Carries the gradient.
    length: response tokens, [B, K].
    ref_logp: the same sums under the frozen reference, [B, K].
    sign: +1 for a desirable response, -1 for an undesirable one, [B, K]. Pairs: +1, -1.
    prompt_logp, prompt_length: the same for the prompt tokens, [B].
    weight, probability, margin, beta: one per row, [B]: how much the row counts, the chance that its label is right,
        how far the scores should be apart, the row's own temperature.
    mismatched_log_ratio: log pi/pi_ref of responses under prompts not their own, any shape (KTO's reference point).
    reward_shift: running mean of rewards (BCO's delta), scalar.
    totals: sums over the whole optimizer step; left out, the batch is the step.
    mask: true where there is a response, [B, K]; left out, everywhere.
    rating: how good each response is, larger is better, [B, K]; equal numbers are ties. Left out, the order says it.
    tie: 1 where neither of two responses is preferred, else 0, [B].
    tokens: numbers a token.
    joint_logp, ref_joint_logp: sums over prompt and response tokens, [B, K]; each response has a prompt of its own.
    frozen_logp: log-probs under M other frozen models, [B, K, M].
    features, ref_features: F numbers a response from the hidden states of policy and reference, [B, K, F].
    prompt_embedding: a vector for each prompt, [B, E].
    rationale_logp, rationale_length: log-prob and tokens of a text that explains the judgement, [B]; length 0: none.
    auxiliary: loss of an extra task on the same network, [B].
    uniform: a random number in [0, 1) for each row, [B]; left out, nothing is drawn.
    running: statistics over the steps before; left out, the step's own serve.
    progress: share of the training steps already taken, in [0, 1].

    Half-precision log-probs are read as float32. Only numbers that come from the policy in training pass a gradient on:
    logp, prompt_logp, joint_logp, features, rationale_logp, auxiliary and those of `Tokens` that say so.
    Raises `OptionError` if a shape is not the one above (it would broadcast to something else).
    """

    logp: Array = given("BK", MISSING, gradient=True)
    length: Array | None = given("BK", MISSING)
    sign: Array = given("BK", MISSING)
    ref_logp: Array | None = given("BK")
    prompt_logp: Array | None = given("B", gradient=True)
    prompt_length: Array | None = given("B")
    weight: Array | None = given("B")
    probability: Array | None = given("B")
    margin: Array | float = given("B", 0.0)
    beta: Array | None = given("B")
    mismatched_log_ratio: Array | None = given("")
    reward_shift: Array | float = given("", 0.0)
    totals: Totals | None = given("")
    mask: Array | None = given("BK")
    rating: Array | None = given("BK")
    tie: Array | None = given("B")
    tokens: Tokens | None = given("")
    joint_logp: Array | None = given("BK", gradient=True)
    ref_joint_logp: Array | None = given("BK")
    frozen_logp: Array | None = given("BKM")
    features: Array | None = given("BKF", gradient=True)
    ref_features: Array | None = given("BKF")
    prompt_embedding: Array | None = given("BE")
    rationale_logp: Array | None = given("B", gradient=True)
    rationale_length: Array | None = given("B")
    auxiliary: Array | None = given("B", gradient=True)
    uniform: Array | None = given("B")
    running: Running | None = given("")
    progress: float = given("", 1.0)

    def __post_init__(self) -> None:
        prepared_rows(self, "a judgement")

    @classmethod
    def from_pairs(
        cls,
        chosen_logp: Array,
        rejected_logp: Array,
        ref_chosen_logp: Array | None = None,
        ref_rejected_logp: Array | None = None,
        chosen_length: Array | None = None,
        rejected_length: Array | None = None,
        **rest: Any,
    ) -> PolicyBatch:
        """A batch of pairs from one array of shape [B] for each side.

        Without lengths, objectives that need them raise `MissingInput`. `rest` sets the other fields of the batch
        (`weight`, `probability`, ...). Raises `MissingInput` if only one side has its reference or its length.

        >>> import numpy as np
        >>> from pluralign.objectives import dpo
        >>> batch = PolicyBatch.from_pairs(*(np.array([v]) for v in (-10.0, -12.0, -11.0, -11.0)))
        >>> dpo(batch, beta=0.1).round(4)
        array([0.5981])
        """
        xp = array_namespace(chosen_logp)
        ones = xp.ones_like(chosen_logp)

        def both(name: str, chosen: Array | None, rejected: Array | None) -> Array | None:
            if (chosen is None) != (rejected is None):
                side, other = ("chosen", "rejected") if rejected is None else ("rejected", "chosen")
                raise MissingInput(f"{name} was given for the {side} responses only; pass it for the {other} ones too")
            return None if chosen is None else xp.stack((chosen, rejected), axis=1)

        return cls(
            logp=both("logp", chosen_logp, rejected_logp),
            length=both("length", chosen_length, rejected_length),
            sign=both("sign", ones, -ones),
            ref_logp=both("ref_logp", ref_chosen_logp, ref_rejected_logp),
            **rest,
        )

    @classmethod
    def from_unpaired(
        cls,
        logp: Array,
        desirable: Array,
        ref_logp: Array | None = None,
        length: Array | None = None,
        **rest: Any,
    ) -> PolicyBatch:
        """A batch of single responses from arrays of shape [B]; `desirable` is boolean.

        >>> import numpy as np
        >>> PolicyBatch.from_unpaired(np.array([-3.0, -4.0]), np.array([True, False])).sign
        array([[ 1.],
               [-1.]])
        """
        xp = array_namespace(logp)
        ones = xp.ones_like(logp)
        return cls(
            logp=logp[:, None],
            length=None if length is None else length[:, None],
            sign=xp.where(desirable, ones, -ones)[:, None],
            ref_logp=None if ref_logp is None else ref_logp[:, None],
            **rest,
        )

    @property
    def total_logp(self) -> Scores:
        """Sum over tokens of log pi."""
        return Scores(self.logp)

    @property
    def mean_logp(self) -> Scores:
        """Mean over tokens of log pi."""
        return Scores(self.logp / self.known_length)

    @property
    def log_ratio(self) -> Scores:
        """Sum over tokens of log pi / pi_ref."""
        if self.ref_logp is None:
            raise MissingInput("this objective compares with a reference model; pass ref_logp (log-probs under it)")
        return Scores(self.logp - self.ref_logp)

    @property
    def mean_log_ratio(self) -> Scores:
        """Mean over tokens of log pi / pi_ref."""
        return Scores(self.log_ratio.values / self.known_length)

    @property
    def known_length(self) -> Array:
        """Response tokens, [B, K]; 1 where there is no response. `MissingInput` if lengths were left out."""
        self._require_length()
        # A place without a response has length 0; what it gives is masked, and must not be NaN.
        return self.length + (1 - self.presence)

    def _require_length(self) -> None:
        if self.length is None:
            raise MissingInput("this objective divides by the number of response tokens; pass the lengths (length)")

    def known(self, name: str) -> Array:
        """The field of this name; `MissingInput` if it was left out."""
        value = getattr(self, name)
        if value is None:
            raise MissingInput(f"this objective needs {name}, and the batch has none; pass {name} (see PolicyBatch)")
        return value

    @property
    def presence(self) -> Array:
        """1 where there is a response, 0 elsewhere, [B, K]."""
        xp = array_namespace(self.logp)
        return xp.ones_like(self.sign) if self.mask is None else xp.astype(self.mask, self.logp.dtype)

    @property
    def quality(self) -> Array:
        """The ratings; where there are none, 1 for the first response down to 0 for the last, [B, K]."""
        if self.rating is not None:
            return self.rating
        xp = array_namespace(self.logp)
        present = self.presence
        below = xp.sum(present, axis=1)[:, None] - xp.cumulative_sum(present, axis=1)
        return below / xp.clip(xp.sum(present, axis=1) - 1, min=1.0)[:, None]

    @property
    def better(self) -> Array:
        """True where response i is rated above response j and both are there, [B, K, K]."""
        quality, there = self.quality, self.presence > 0
        return (quality[:, :, None] > quality[:, None, :]) & there[:, :, None] & there[:, None, :]

    @property
    def detached(self) -> PolicyBatch:
        """The same numbers with no gradient through them: what weights and statistics are computed from."""
        tokens = self.tokens and replace(self.tokens, **mapped(self.tokens, lambda v, _: stop_gradient(v)))
        return replace(self, tokens=tokens, **mapped(self, lambda v, _: stop_gradient(v)))

    def moments(self, values: Array) -> Running:
        """Mean and standard deviation of a number a row, [B]: the step's own, smoothed with those of steps before."""
        if self.running is None:
            return Running.of(values, self.weight)
        return self.running.updated(values, self.weight)

    def diverged(self, divergence: str, alpha: float = 0.5) -> PolicyBatch:
        """The batch whose log-ratio is f'(pi / pi_ref) of a divergence f, up to a constant (Wang et al. 2023).

        divergence: reverse_kl (the log-ratio itself), forward_kl, jensen_shannon, or alpha with 0 < alpha < 1.
        """
        xp = array_namespace(self.logp)
        h = self.log_ratio.values
        if divergence == "jensen_shannon":
            h = log(2) - logistic(h)
        elif divergence == "forward_kl":
            h = -xp.expm1(-xp.clip(h, min=-EXPONENT))
        elif divergence == "alpha":
            h = -xp.expm1(-xp.clip(alpha * h, min=-EXPONENT)) / alpha
        return replace(self, logp=h, ref_logp=xp.zeros_like(h))

    def over_tokens(self, weight: Array) -> PolicyBatch:
        """The batch whose log-ratio is a weighted sum over tokens, policy and reference alike. weight: [B, K, T]."""
        xp, tokens = array_namespace(self.logp), self.known("tokens")
        # All in logp: a weight that is trained has a gradient through the reference's part too.
        return replace(self, logp=tokens.total(weight * tokens.log_ratio), ref_logp=xp.zeros_like(self.logp))

    @property
    def nll(self) -> Array:
        """Negative log-likelihood of the preferred response a token, shape [B].

        The weighted mean over the rows of a step is the mean over its tokens: each row is divided by the mean length
        in the step, not by its own.
        """
        self._require_length()
        totals = self.step
        return -self.logp[:, 0] * (totals.weight / totals.chosen_tokens)

    @property
    def nll_with_prompt(self) -> Array:
        """As `nll`, over the tokens of prompt and preferred response together, shape [B]."""
        if self.prompt_logp is None or self.prompt_length is None:
            raise MissingInput("this objective also models the prompt; pass prompt_logp and prompt_length")
        self._require_length()
        totals = self.step
        tokens = totals.chosen_tokens + totals.prompt_tokens
        return -(self.logp[:, 0] + self.prompt_logp) * (totals.weight / tokens)

    def class_mean(self, values: Array) -> Array:
        """Losses [B] whose mean is that of `values` over good responses plus that over bad ones; values: [B, K]."""
        xp, step = array_namespace(self.logp), self.step
        share = xp.where(self.sign > 0, step.desirable, step.undesirable) / step.weight
        return xp.mean(values / share, axis=1)

    @property
    def step(self) -> Totals:
        """Sums over the optimizer step this batch belongs to, to divide by: a sum of nothing is 1, not 0.

        A step whose rows all have weight zero then has no loss and no gradient, rather than 0 / 0.
        """
        sums = self.own_totals if self.totals is None else self.totals
        xp = array_namespace(self.logp)
        values = (getattr(sums, field.name) for field in fields(Totals))
        return Totals(*(xp.where(value == 0, xp.ones_like(value), value) for value in values))

    @property
    def own_totals(self) -> Totals:
        """The sums this batch contributes to its step."""
        xp = array_namespace(self.logp)
        one = xp.ones_like(self.logp[:, 0])
        weight = one if self.weight is None else self.weight
        prompt = 0 * one if self.prompt_length is None else self.prompt_length
        chosen = 0 * one if self.length is None else self.length[:, 0]
        if self.length is not None and self.probability is not None:
            chosen = expected(chosen, self.length[:, 1], self.probability)
        each = weight[:, None] / self.logp.shape[1]
        return Totals(
            weight=xp.sum(weight),
            chosen_tokens=xp.sum(weight * chosen),
            prompt_tokens=xp.sum(weight * prompt),
            desirable=xp.sum(xp.where(self.sign > 0, each, 0 * each)),
            undesirable=xp.sum(xp.where(self.sign < 0, each, 0 * each)),
        )

    def flipped(self) -> PolicyBatch:
        """The batch as it would be had every label been the other way round."""

        def flip(value: Array, each: Any) -> Array:
            flips = each.metadata["shape"].startswith("BK") and each.name != "sign"
            return array_namespace(value).flip(value, axis=1) if flips else value

        # The totals stay: it is one step, whichever way its labels point.
        tokens = self.tokens and replace(self.tokens, **mapped(self.tokens, flip))
        return replace(self, **{**mapped(self, flip), "margin": -self.margin, "tokens": tokens, "totals": self.step})

    def rows(self, index: Any, totals: Totals | None = None) -> PolicyBatch:
        """Some rows of the batch, as part of a step with these totals. index: a slice or an array of row numbers."""

        def take(value: Array, each: Any) -> Array:
            return value[index] if each.metadata["shape"].startswith("B") and value.ndim else value

        tokens = self.tokens and replace(self.tokens, **mapped(self.tokens, take))
        return replace(self, **{**mapped(self, take), "tokens": tokens, "totals": totals})

    def mean(self, losses: Array) -> Array:
        """This batch's part of the mean loss of its step: sum of weight * loss over the step's total weight; scalar."""
        xp = array_namespace(losses)
        return xp.sum(losses if self.weight is None else self.weight * losses) / self.step.weight
