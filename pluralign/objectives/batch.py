"""What an objective sees: the log-probabilities of a batch of responses, and the words its equation is written in."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from array_api_compat import array_namespace

from pluralign.errors import MissingInput, OptionError
from pluralign.likelihoods.labels import expected
from pluralign.likelihoods.numerics import Array, full_precision, stop_gradient


@dataclass(frozen=True)
class Scores:
    """A number for each response of each row: `values` has shape [B, K], the preferred response first.

    Arithmetic is elementwise; a factor of shape [B] applies to all responses of its row.
    """

    values: Array

    # Else numpy, asked for array * Scores, makes an array of Scores instead of asking us.
    __array_ufunc__ = None

    @property
    def chosen(self) -> Array:
        """Scores of the preferred responses, shape [B]."""
        return self.values[:, 0]

    @property
    def rejected(self) -> Array:
        """Scores of the other response of each pair, shape [B]. `MissingInput` if rows are not pairs."""
        if self.values.shape[1] != 2:
            raise MissingInput(
                f"this objective compares two responses a row, and the batch has {self.values.shape[1]}; give it pairs"
            )
        return self.values[:, 1]

    def __mul__(self, factor: Any) -> Scores:
        return Scores(self.values * (factor[:, None] if getattr(factor, "ndim", 0) == 1 else factor))

    __rmul__ = __mul__

    def __add__(self, other: Any) -> Scores:
        return Scores(self.values + (other.values if isinstance(other, Scores) else other))

    def __sub__(self, other: Any) -> Scores:
        return Scores(self.values - (other.values if isinstance(other, Scores) else other))


@dataclass(frozen=True)
class Totals:
    """Sums over the rows of a whole optimizer step, weighted by row.

    A loss that divides by a count (tokens, rows of a class) must divide by the count of the step, not of the
    micro-batch that happens to hold the row; sums add over micro-batches and processes, so they are what is kept.
    Under a soft label, `chosen_tokens` is the expected length of the preferred response.
    """

    weight: Array
    chosen_tokens: Array
    prompt_tokens: Array
    desirable: Array
    undesirable: Array

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, name) + getattr(other, name) for name in Totals.__dataclass_fields__))


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

    Half-precision log-probs are read as float32. Only `logp` and `prompt_logp` pass a gradient on; all else is given.
    Raises `OptionError` if a shape is not the one above (it would broadcast to something else).
    """

    logp: Array
    length: Array | None
    sign: Array
    ref_logp: Array | None = None
    prompt_logp: Array | None = None
    prompt_length: Array | None = None
    weight: Array | None = None
    probability: Array | None = None
    margin: Array | float = 0.0
    beta: Array | None = None
    mismatched_log_ratio: Array | None = None
    reward_shift: Array | float = 0.0
    totals: Totals | None = None

    def __post_init__(self) -> None:
        pairwise, per_row = tuple(self.logp.shape), tuple(self.logp.shape[:1])
        if len(pairwise) != 2:
            raise OptionError(f"logp has shape {pairwise}; give it one row a judgement, one column a response: [B, K]")
        shapes = dict.fromkeys(("logp", "length", "sign", "ref_logp"), pairwise)
        shapes |= dict.fromkeys(("prompt_logp", "prompt_length", "weight", "probability", "margin", "beta"), per_row)
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or not hasattr(value, "dtype"):
                continue
            if field.name in shapes and tuple(value.shape) != shapes[field.name]:
                raise OptionError(
                    f"{field.name} has shape {tuple(value.shape)}, and logp has {pairwise}; "
                    f"give {field.name} the shape {shapes[field.name]}"
                )
            value = full_precision(value)
            if field.name not in ("logp", "prompt_logp"):
                value = stop_gradient(value)
            object.__setattr__(self, field.name, value)

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
        return Scores(self.logp / self._known_length())

    @property
    def log_ratio(self) -> Scores:
        """Sum over tokens of log pi / pi_ref."""
        if self.ref_logp is None:
            raise MissingInput("this objective compares with a reference model; pass ref_logp (log-probs under it)")
        return Scores(self.logp - self.ref_logp)

    @property
    def mean_log_ratio(self) -> Scores:
        """Mean over tokens of log pi / pi_ref."""
        return Scores(self.log_ratio.values / self._known_length())

    def _known_length(self) -> Array:
        if self.length is None:
            raise MissingInput("this objective divides by the number of response tokens; pass the lengths")
        return self.length

    @property
    def nll(self) -> Array:
        """Negative log-likelihood of the preferred response a token, shape [B].

        The weighted mean over the rows of a step is the mean over its tokens: each row is divided by the mean length
        in the step, not by its own.
        """
        self._known_length()
        totals = self.step
        return -self.logp[:, 0] * (totals.weight / totals.chosen_tokens)

    @property
    def nll_with_prompt(self) -> Array:
        """As `nll`, over the tokens of prompt and preferred response together, shape [B]."""
        if self.prompt_logp is None or self.prompt_length is None:
            raise MissingInput("this objective also models the prompt; pass prompt_logp and prompt_length")
        self._known_length()
        totals = self.step
        tokens = totals.chosen_tokens + totals.prompt_tokens
        return -(self.logp[:, 0] + self.prompt_logp) * (totals.weight / tokens)

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
        xp = array_namespace(self.logp)

        def flip(values: Array | None) -> Array | None:
            return None if values is None else xp.flip(values, axis=1)

        # The totals stay: it is one step, whichever way its labels point.
        return replace(
            self,
            logp=flip(self.logp),
            length=flip(self.length),
            ref_logp=flip(self.ref_logp),
            margin=-self.margin,
            totals=self.step,
        )

    def mean(self, losses: Array) -> Array:
        """This batch's part of the mean loss of its step: sum of weight * loss over the step's total weight; scalar."""
        xp = array_namespace(losses)
        return xp.sum(losses if self.weight is None else self.weight * losses) / self.step.weight
