"""`@objective`: an equation with its paper, its options and what it needs, checked before the first step."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any, get_type_hints

import pydantic
from annotated_types import Ge, Gt, Le, Lt
from array_api_compat import array_namespace

from pluralign.errors import MissingInput, OptionError
from pluralign.likelihoods.labels import expected
from pluralign.likelihoods.numerics import Array
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.values import Scores

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
FlipRate = Annotated[float, Ge(0), Lt(0.5)]


Share = Annotated[float, Ge(0), Le(1)]
Inside = Annotated[float, Gt(0), Lt(1)]


class Need(StrEnum):
    """What an objective needs beyond the policy's own log-probs."""

    REFERENCE = "reference"
    """Log-probs under a frozen reference model (`ref_logp`)."""
    PROMPT = "prompt"
    """Log-probs of the prompt tokens (`prompt_logp`, `prompt_length`)."""
    MISMATCHED = "mismatched"
    """Log-ratios of responses under prompts they do not belong to (`mismatched_log_ratio`)."""
    RUNNING_REWARD = "running reward"
    """A running mean of rewards over the steps so far (`reward_shift`)."""
    RUNNING = "running statistics"
    """Running mean and standard deviation of a number the objective names (`running`)."""
    WHOLE_STEP = "whole step"
    """All rows of the optimizer step in one batch: the loss of a row depends on the others."""
    RATINGS = "ratings"
    """A number for each response that says how good it is (`rating`)."""
    TOKENS = "tokens"
    """Log-probs of single tokens under policy and reference (`tokens.logp`, `tokens.ref_logp`)."""
    TOKEN_KL = "token kl"
    """KL(pi_ref || pi) of the next-token distributions at each response token (`tokens.kl`)."""
    COLLISION = "collision"
    """log of the sum over the vocabulary of pi^2 at each response token (`tokens.log_collision`)."""
    TURNS = "turns"
    """Which of the assistant's turns each token belongs to (`tokens.turn`)."""
    TOKEN_WEIGHTS = "token weights"
    """How much each token's log-ratio counts, and its KL (`tokens.reward_weight`, `tokens.kl_weight`)."""
    STEP_WEIGHTS = "step weights"
    """How much each step's log-ratio counts, the same for all tokens of a step (`tokens.reward_weight`)."""
    RANDOM = "random numbers"
    """Random numbers while training, none in evaluation (`uniform`, `tokens.uniform`)."""
    JOINT = "joint"
    """Log-probs of prompt and response together, each response under a prompt of its own (`joint_logp`)."""
    FROZEN = "frozen models"
    """Log-probs under further frozen models (`frozen_logp`)."""
    FEATURES = "features"
    """Numbers from the hidden states of policy and reference for each response (`features`, `ref_features`)."""
    PROMPT_EMBEDDING = "prompt embedding"
    """A vector for each prompt (`prompt_embedding`)."""
    RATIONALE = "rationale"
    """Log-probs of a text that explains the judgement (`rationale_logp`, `rationale_length`)."""
    AUXILIARY = "auxiliary loss"
    """Losses of an extra task on the same network (`auxiliary`)."""


_FIELDS = {
    Need.REFERENCE: ["ref_logp"],
    Need.PROMPT: ["prompt_logp", "prompt_length"],
    Need.MISMATCHED: ["mismatched_log_ratio"],
    Need.RATINGS: ["rating"],
    Need.TOKENS: ["tokens.logp", "tokens.ref_logp"],
    Need.TOKEN_KL: ["tokens.kl"],
    Need.COLLISION: ["tokens.log_collision"],
    Need.TURNS: ["tokens.turn"],
    Need.TOKEN_WEIGHTS: ["tokens.reward_weight"],
    Need.STEP_WEIGHTS: ["tokens.reward_weight"],
    Need.JOINT: ["joint_logp", "ref_joint_logp"],
    Need.FROZEN: ["frozen_logp"],
    Need.FEATURES: ["features", "ref_features"],
    Need.PROMPT_EMBEDDING: ["prompt_embedding"],
    Need.RATIONALE: ["rationale_logp", "rationale_length"],
    Need.AUXILIARY: ["auxiliary"],
}
"""Fields of the batch that must be there. Running statistics and random numbers may be left out."""


class Rows(StrEnum):
    """The kinds of row an objective can learn from."""

    PAIRS = "pairs"
    """A preferred response and another."""
    UNPAIRED = "unpaired"
    """Single responses labelled good or bad."""
    DEMONSTRATIONS = "demonstrations"
    """Single responses to imitate."""
    RANKINGS = "rankings"
    """Two or more responses with ranks or ratings, the best first."""
    MIXED = "pairs and demonstrations"
    """Pairs in one part of the rows, single responses to imitate in the other."""


Options = dict[str, tuple[Any, Any]]
"""Name -> (annotation, default)."""


def declared(equation: Any) -> Options:
    """The options of an objective, a learner or a plain function, as written: its keyword-only arguments."""
    function = getattr(equation, "function", equation)
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return {p.name: (hints[p.name], p.default) for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def with_options(function: Any, options: Options) -> Any:
    """The function `(batch, **options)` itself, henceforth declaring these options by name."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    function.__annotations__ = {name: hint for name, (hint, _) in options.items()}
    function.__signature__ = inspect.Signature(
        [inspect.Parameter("batch", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
        + [inspect.Parameter(name, keyword, default=default) for name, (_, default) in options.items()]
    )
    return function


def option_model(function: Callable[..., Any]) -> type[pydantic.BaseModel]:
    """The keyword-only arguments of a function as a pydantic model: names, types, bounds, defaults."""
    fields: dict[str, Any] = dict(declared(function))
    config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())
    return pydantic.create_model(f"{function.__name__}_options", __config__=config, **fields)


def checked_options(name: str, model: type[pydantic.BaseModel], options: dict[str, Any]) -> dict[str, Any]:
    """All options of `model` with their defaults, validated; an `OptionError` speaks of `name`."""
    try:
        return model(**options).model_dump()
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        option = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields) or "none"
            raise OptionError(f"{name} has no option '{option}'; its options are: {known}") from None
        raise OptionError(f"{name}: option '{option}' = {first['input']!r}: {first['msg']}") from None


class Objective:
    """A policy objective: a `PolicyBatch` and options in, one loss a row out, shape [B].

    name, equation, doc: from the function.
    paper, arxiv: its source.
    rows: kinds of row it accepts, best first.
    uses: row fields it reads beyond weight, soft label and beta.
    refuses: row fields that make no sense with it, and why.
    relative: true where the loss depends on rewards only through their differences within a row.
    logistic: true where the loss is -log sigmoid of such a difference, less a constant.
    reduces: what it becomes in special cases: options, or a condition in words -> another objective, or words.
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
        refuses: dict[str, str],
        relative: bool,
        logistic: bool,
        tracks: Callable[..., Array] | None,
        reduces: dict[str, str] | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.paper, self.arxiv, self._score, self._needs = function, paper, arxiv, score, needs
        self.name = function.__name__
        self.doc = inspect.getdoc(function) or ""
        self.equation = self.doc.partition("\n")[0]
        self.rows, self.uses, self.refuses, self.relative, self.logistic = rows, uses, refuses, relative, logistic
        self._tracks = tracks
        self.reduces = reduces or {}
        self._shifts: Callable[..., Scores] | None = None

    def __call__(self, batch: PolicyBatch, **options: Any) -> Array:
        """Losses of shape [B]. A row's own `beta` replaces the option; a soft label averages over both directions.

        Raises `MissingInput` for what the objective needs and the batch lacks, `OptionError` for what it cannot use.
        """
        checked = self.checked(options)
        self._check(batch, self._needs(checked))
        options = self._for_rows(batch, checked)
        losses = self.function(batch, **options)
        if batch.probability is None:
            return losses
        if batch.logp.shape[1] != 2:
            raise OptionError(f"{self.name}: soft labels (`probability`) are for pairs, and these rows are not pairs")
        return expected(losses, self.function(batch.flipped(), **options), batch.probability)

    def score(self, batch: PolicyBatch, **options: Any) -> Scores:
        """The implied reward of each response, as `rewards/*` metrics report it."""
        return self._score(batch, **self._for_rows(batch, self.checked(options)))

    def tracked(self, batch: PolicyBatch, **options: Any) -> Array:
        """The number, [B], whose running statistics the objective uses; needed where `Need.RUNNING` is."""
        if self._tracks is None:
            raise OptionError(f"{self.name} keeps no running statistics")
        return self._tracks(batch.detached, **self._for_rows(batch, self.checked(options)))

    def shifted_reward(self, batch: PolicyBatch, **options: Any) -> Scores:
        """The reward that `reward_shift` is the running mean of; needed where `Need.RUNNING_REWARD` is."""
        return self._shifts(batch, **self.checked(options)) if self._shifts else self.score(batch, **options)

    def centred(self, batch: PolicyBatch, **options: Any) -> PolicyBatch:
        """The batch with its own mean reward as `reward_shift`, good and bad responses counting alike; one step alone.

        For objectives that need a running mean and have no steps before; others get the batch as it is.
        """
        if Need.RUNNING_REWARD not in self.needs(**options):
            return batch
        xp = array_namespace(batch.logp)
        reward = self.shifted_reward(batch.detached, **options).values
        weight = (xp.ones_like(batch.logp[:, 0]) if batch.weight is None else batch.weight)[:, None]
        means, there = [], []
        for side in (batch.sign > 0, batch.sign < 0):
            size = xp.sum(xp.where(side, weight, 0 * weight))
            there.append(xp.where(size > 0, xp.ones_like(size), 0 * size))
            means.append(xp.sum(xp.where(side, weight * reward, 0 * reward)) / xp.where(size > 0, size, 1 + 0 * size))
        return replace(batch, reward_shift=sum(means) / xp.clip(sum(there), min=1.0))

    def needs(self, **options: Any) -> set[Need]:
        """What must be computed for these options."""
        return self._needs(self.checked(options))

    @functools.cached_property
    def options(self) -> type[pydantic.BaseModel]:
        """The options as a pydantic model: names, types, bounds, defaults; a JSON schema for free."""
        return option_model(self.function)

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """All options with their defaults, validated. An unknown or out-of-bounds option is an `OptionError`."""
        return checked_options(self.name, self.options, options)

    def _for_rows(self, batch: PolicyBatch, options: dict[str, Any]) -> dict[str, Any]:
        unused_margin = "margin" not in self.uses and (hasattr(batch.margin, "dtype") or batch.margin != 0)
        if unused_margin:
            raise OptionError(f"{self.name} uses no margin, and these rows carry one; drop the column 'margin'")
        if batch.tie is not None and "tie" not in self.uses:
            raise OptionError(
                f"{self.name} has no place for ties, and these rows carry some; leave them out, or use todo"
            )
        if batch.beta is None:
            return options
        if "beta" not in options:
            raise OptionError(f"{self.name} has no beta, and these rows carry one; drop the column 'beta'")
        return {**options, "beta": batch.beta}

    def _check(self, batch: PolicyBatch, needs: set[Need]) -> None:
        for name, reason in self.refuses.items():
            value = getattr(batch, name)
            # Equal weights are no weights.
            if value is not None and not (name == "weight" and bool((value == value[0]).all())):
                raise OptionError(f"{self.name} takes no {name}: {reason}")
        for need in sorted(needs):
            for name in _FIELDS.get(need, ()):
                place, _, part = name.rpartition(".")
                holder = getattr(batch, place) if place else batch
                if holder is None or getattr(holder, part) is None:
                    raise MissingInput(f"{self.name} needs {need}; pass {name} (see PolicyBatch)")

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
    refuses: dict[str, str] | None = None,
    relative: bool = False,
    logistic: bool = False,
    tracks: Callable[..., Array] | None = None,
    reduces: dict[str, str] | None = None,
) -> Callable[[Callable[..., Array]], Objective]:
    """Make an objective of a function `(batch, *, option=default, ...) -> losses [B]`.

    The function's keyword arguments are the options; bounds come from their annotations (`Positive`, `FlipRate`).
    The first line of its docstring is the equation. `needs` may depend on the options. The rest as in `Objective`;
    tracks: `(batch, **options) -> [B]`, the number whose running statistics it uses; logistic implies relative.

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
            function,
            paper=paper,
            arxiv=arxiv,
            score=score,
            needs=needs_of,
            rows=rows,
            uses=frozenset(uses),
            refuses=refuses or {},
            relative=relative or logistic,
            logistic=logistic,
            tracks=tracks,
            reduces=reduces,
        )

    return wrap
