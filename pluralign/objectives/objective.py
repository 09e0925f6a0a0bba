"""`@objective`: an equation with its paper, its options and what it needs, checked before the first step."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, get_type_hints

import pydantic
from annotated_types import Ge, Gt, Lt

from pluralign.errors import OptionError
from pluralign.likelihoods.labels import expected
from pluralign.likelihoods.numerics import Array
from pluralign.objectives.batch import PolicyBatch, Scores

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
FlipRate = Annotated[float, Ge(0), Lt(0.5)]


class Need(StrEnum):
    """What an objective needs beyond the policy's own log-probs."""

    REFERENCE = "reference"
    """Log-probs under a frozen reference model."""
    PROMPT = "prompt"
    """Log-probs of the prompt tokens."""
    MISMATCHED = "mismatched"
    """Log-ratios of responses under prompts they do not belong to."""
    RUNNING_REWARD = "running reward"
    """A running mean of rewards over the steps so far."""


class Rows(StrEnum):
    """The kinds of row an objective can learn from."""

    PAIRS = "pairs"
    """A preferred response and another."""
    UNPAIRED = "unpaired"
    """Single responses labelled good or bad."""
    DEMONSTRATIONS = "demonstrations"
    """Single responses to imitate."""


class Objective:
    """A policy objective: a `PolicyBatch` and options in, one loss a row out, shape [B].

    name, equation, doc: from the function.
    paper, arxiv: its source.
    rows: kinds of row it accepts, best first.
    uses: row fields it reads beyond weight, soft label and beta.
    """

    def __init__(
        self,
        function: Callable[..., Array],
        *,
        paper: str,
        arxiv: str | None,
        score: Callable[..., Scores],
        needs: Callable[[dict[str, Any]], set[Need]],
        rows: tuple[Rows, ...],
        uses: frozenset[str],
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.paper, self.arxiv, self._score, self._needs = function, paper, arxiv, score, needs
        self.name = function.__name__
        self.doc = inspect.getdoc(function) or ""
        self.equation = self.doc.partition("\n")[0]
        self.rows, self.uses = rows, uses

    def __call__(self, batch: PolicyBatch, **options: Any) -> Array:
        """Losses of shape [B]. A row's own `beta` replaces the option; a soft label averages over both directions."""
        options = self._for_rows(batch, self.checked(options))
        losses = self.function(batch, **options)
        if batch.probability is None:
            return losses
        if batch.logp.shape[1] != 2:
            raise OptionError(f"{self.name}: soft labels (`probability`) are for pairs, and these rows are not pairs")
        return expected(losses, self.function(batch.flipped(), **options), batch.probability)

    def score(self, batch: PolicyBatch, **options: Any) -> Scores:
        """The implied reward of each response, as `rewards/*` metrics report it."""
        return self._score(batch, **self._for_rows(batch, self.checked(options)))

    def needs(self, **options: Any) -> set[Need]:
        """What must be computed for these options."""
        return self._needs(self.checked(options))

    @functools.cached_property
    def options(self) -> type[pydantic.BaseModel]:
        """The options as a pydantic model: names, types, bounds, defaults; a JSON schema for free."""
        hints = get_type_hints(self.function, include_extras=True)
        fields: dict[str, Any] = {
            name: (hints[name], parameter.default)
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())
        return pydantic.create_model(f"{self.name}_options", __config__=config, **fields)

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """All options with their defaults, validated. An unknown or out-of-bounds option is an `OptionError`."""
        try:
            return self.options(**options).model_dump()
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            option = ".".join(map(str, first["loc"]))
            if first["type"] == "extra_forbidden":
                known = ", ".join(self.options.model_fields) or "none"
                raise OptionError(f"{self.name} has no option '{option}'; its options are: {known}") from None
            raise OptionError(f"{self.name}: option '{option}' = {first['input']!r}: {first['msg']}") from None

    def _for_rows(self, batch: PolicyBatch, options: dict[str, Any]) -> dict[str, Any]:
        unused_margin = "margin" not in self.uses and (hasattr(batch.margin, "dtype") or batch.margin != 0)
        if unused_margin:
            raise OptionError(f"{self.name} uses no margin, and these rows carry one; drop the column 'margin'")
        if batch.beta is None:
            return options
        if "beta" not in options:
            raise OptionError(f"{self.name} has no beta, and these rows carry one; drop the column 'beta'")
        return {**options, "beta": batch.beta}

    def __repr__(self) -> str:
        return f"<objective {self.name}: {self.equation}>"


def objective(
    *,
    paper: str,
    arxiv: str | None = None,
    score: Callable[..., Scores],
    needs: set[Need] | Callable[[dict[str, Any]], set[Need]] = frozenset(),  # type: ignore[assignment]
    rows: tuple[Rows, ...] = (Rows.PAIRS,),
    uses: set[str] | frozenset[str] = frozenset(),
) -> Callable[[Callable[..., Array]], Objective]:
    """Make an objective of a function `(batch, *, option=default, ...) -> losses [B]`.

    The function's keyword arguments are the options; bounds come from their annotations (`Positive`, `FlipRate`).
    The first line of its docstring is the equation. `needs` may depend on the options.

    >>> from pluralign.likelihoods import logistic
    >>> from pluralign.objectives import scores
    >>> @objective(paper="ours", score=scores.log_ratio, needs={Need.REFERENCE})
    ... def mine(batch, *, beta: Positive = 0.1):
    ...     "-log sigmoid(beta * (h_w - h_l))"
    ...     score = beta * batch.log_ratio
    ...     return logistic(score.chosen - score.rejected)
    >>> mine
    <objective mine: -log sigmoid(beta * (h_w - h_l))>
    """
    needs_of = needs if callable(needs) else lambda _options: set(needs)

    def wrap(function: Callable[..., Array]) -> Objective:
        return Objective(
            function, paper=paper, arxiv=arxiv, score=score, needs=needs_of, rows=rows, uses=frozenset(uses)
        )

    return wrap
