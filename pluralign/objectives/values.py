"""The parts of a batch: numbers a response, numbers a token, sums over a step, statistics over steps."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

from array_api_compat import array_namespace

from pluralign.errors import MissingInput, OptionError
from pluralign.likelihoods.numerics import Array, full_precision, stop_gradient


def given(shape: str, default: Any = None, *, gradient: bool = False) -> Any:
    """A field of a batch. shape: axes B rows, K responses, T positions, others as they come; "" for the whole step."""
    return field(default=default, metadata={"shape": shape, "gradient": gradient})


def prepared(part: Any, sizes: dict[str, int]) -> None:
    """Check the shapes of a batch's fields, raise half precision to single, stop gradients that are not the policy's.

    Raises `OptionError` for a shape that would broadcast to something else.
    """
    for each in fields(part):
        value = getattr(part, each.name)
        if value is None or not hasattr(value, "dtype"):
            continue
        axes, shape = each.metadata["shape"], tuple(value.shape)
        for axis, size in zip(axes, shape, strict=False):
            sizes.setdefault(axis, size)
        wanted = tuple(sizes[axis] for axis in axes if axis in sizes)
        if axes and shape != wanted:
            rows = (sizes["B"], sizes["K"])
            raise OptionError(
                f"{each.name} has shape {shape}, and logp has {rows}; give {each.name} the shape {wanted}"
            )
        value = full_precision(value)
        object.__setattr__(part, each.name, value if each.metadata["gradient"] else stop_gradient(value))


def prepared_rows(batch: Any, row: str) -> dict[str, int]:
    """`prepared` for a batch whose logp is [B, K], and for its tokens; the sizes. row: what one of the B is."""
    shape = tuple(batch.logp.shape)
    if len(shape) != 2:
        raise OptionError(f"logp has shape {shape}; give it one row {row}, one column a response: [B, K]")
    sizes = dict(zip("BK", shape, strict=True))
    prepared(batch, sizes)
    if batch.tokens is not None:
        prepared(batch.tokens, sizes)
    return sizes


def mapped(part: Any, change: Any) -> dict[str, Any]:
    """Fields whose values are arrays, changed by `change(value, field)`."""
    found = ((each, getattr(part, each.name)) for each in fields(part))
    return {each.name: change(value, each) for each, value in found if hasattr(value, "dtype")}


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

    @property
    def margin(self) -> Array:
        """How far the preferred response of each pair leads, shape [B]."""
        return self.chosen - self.rejected

    def __mul__(self, factor: Any) -> Scores:
        return Scores(self.values * (factor[:, None] if getattr(factor, "ndim", 0) == 1 else factor))

    __rmul__ = __mul__

    def __add__(self, other: Any) -> Scores:
        return Scores(self.values + (other.values if isinstance(other, Scores) else other))

    def __sub__(self, other: Any) -> Scores:
        return Scores(self.values - (other.values if isinstance(other, Scores) else other))


@dataclass(frozen=True)
class Tokens:
    """Numbers at T positions of each response, all [B, K, T]; positions outside a response count for nothing.

    mask: which positions are response tokens that count.
    logp, ref_logp: log-probs of the token there under policy and reference.
    kl: KL(pi_ref || pi) of the next-token distributions, over the whole vocabulary. Carries the gradient.
    log_collision: log of the sum over the vocabulary of pi^2 (the chance that two draws agree).
    turn: which of the assistant's turns the token belongs to, counted from 0.
    reward_weight, kl_weight: how much the token's log-ratio and its KL count; a trained mask's gradient passes.
    uniform: random numbers in [0, 1), for objectives that sample tokens; left out, they do not sample.
    """

    mask: Array = given("BKT", MISSING)
    logp: Array | None = given("BKT", gradient=True)
    ref_logp: Array | None = given("BKT")
    kl: Array | None = given("BKT", gradient=True)
    log_collision: Array | None = given("BKT")
    turn: Array | None = given("BKT")
    reward_weight: Array | None = given("BKT", gradient=True)
    kl_weight: Array | None = given("BKT", gradient=True)
    uniform: Array | None = given("BKT")

    def known(self, *names: str) -> list[Array]:
        """These fields; `MissingInput` if one was left out."""
        values = [getattr(self, name) for name in names]
        for name, value in zip(names, values, strict=True):
            if value is None:
                raise MissingInput(f"this objective looks at single tokens; pass tokens.{name}, [B, K, T]")
        return values

    @property
    def log_ratio(self) -> Array:
        """log pi / pi_ref of each token, 0 outside the response, [B, K, T]."""
        logp, ref_logp = self.known("logp", "ref_logp")
        return (logp - ref_logp) * self.mask

    @property
    def position(self) -> Array:
        """Counted from the start of the response, first token 1, [B, K, T]."""
        xp = array_namespace(self.mask)
        return xp.cumulative_sum(self.mask, axis=2)

    @property
    def length(self) -> Array:
        """Response tokens, [B, K]."""
        return array_namespace(self.mask).sum(self.mask, axis=2)

    def total(self, values: Array) -> Array:
        """Sum over the tokens of each response, [B, K]."""
        return array_namespace(values).sum(values * self.mask, axis=2)


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
class Running:
    """Exponential moving averages of the mean and the standard deviation of a number over steps; scalars.

    >>> import numpy as np
    >>> Running(0.0, 1.0).updated(np.array([1.0, 3.0]), momentum=0.5)
    Running(mean=np.float64(1.0), std=np.float64(1.0))
    """

    mean: Array | float
    std: Array | float

    @classmethod
    def of(cls, values: Array, weight: Array | None = None) -> Running:
        """Those of one step alone. values, weight: [B]."""
        xp = array_namespace(values)
        share = xp.ones_like(values) if weight is None else weight
        share = share / xp.sum(share)
        mean = xp.sum(share * values)
        return cls(mean, xp.sqrt(xp.sum(share * (values - mean) ** 2)))

    def updated(self, values: Array, weight: Array | None = None, *, momentum: float = 0.9) -> Running:
        """With one step more."""
        now = Running.of(values, weight)
        return replace(
            self,
            mean=momentum * self.mean + (1 - momentum) * now.mean,
            std=momentum * self.std + (1 - momentum) * now.std,
        )
