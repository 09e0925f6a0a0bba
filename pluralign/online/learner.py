"""`@learner`: an equation over samples, with the laws it samples from, the judge it asks and the snapshots it keeps."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pydantic

from pluralign.errors import MissingInput
from pluralign.likelihoods.numerics import Array
from pluralign.objectives.objective import checked_options, option_model
from pluralign.online.rewards import Multipliers
from pluralign.online.samples import Anchors, SampleBatch

REFERENCE: Anchors = {"reference": 1.0}
"""The frozen reference."""
PREVIOUS: Anchors = {"previous": 1.0}
"""The policy as it stood when the round began."""
DATA: Anchors = {"data": 1.0}
"""No policy: responses that people wrote, which come with the prompts."""


class Judge(StrEnum):
    """What a learner wants to know of its samples."""

    PREFERENCE = "preference"
    """The chance that one response is preferred to another (`preference`)."""
    REWARD = "reward"
    """A number for each response (`reward`)."""
    COMPONENTS = "components"
    """Several numbers for each response, one of each judge (`components`)."""
    NOTHING = "nothing"
    """It labels its samples itself, or needs no label."""


@dataclass(frozen=True)
class Stage:
    """One piece of a round: draw, judge, learn, keep.

    law: whose draws are learnt from: a geometric mixture of snapshots. opponent: whose draws they are compared with;
    left out, or the same law, they are compared with each other. begin: the snapshot learning starts from.
    keep: the name of its result.
    redraw: draw and judge anew; otherwise the samples of the stage before serve again.
    replay: the draws of earlier rounds serve too, each with its judgement.
    one_step: a single gradient step, not a fit to the end.
    """

    law: Anchors = field(default_factory=lambda: PREVIOUS)
    opponent: Anchors | None = None
    begin: str = "previous"
    keep: str = "policy"
    redraw: bool = True
    replay: bool = False
    one_step: bool = False


@dataclass(frozen=True)
class Plan:
    """What a round does: its stages in order, then the snapshots whose geometric mixture is the next policy.

    The mixture's weights sum to one but may be negative: that extrapolates. Every snapshot starts as the policy
    does, and keeps its value until a stage keeps it anew; `NAME before` is what NAME was a round ago.
    """

    stages: tuple[Stage, ...] = (Stage(),)
    deploy: Anchors = field(default_factory=lambda: {"policy": 1.0})


GRADIENT = Plan((Stage(one_step=True),))
"""One gradient step on the policy's own draws, then new draws."""


@dataclass(frozen=True)
class Weighing:
    """How a learner weighs the rewards of several judges: multipliers that move beside the policy.

    start: (how many rewards, **options) -> `Multipliers`; raises `OptionError` where the options do not fit so many.
    after: (multipliers, what a step's samples were worth by each reward, [M], **options) -> those of the next step.
    standardise: (**options) -> whether rewards are brought to one scale on the first samples of a run.
    """

    start: Callable[..., Multipliers]
    after: Callable[..., Multipliers]
    standardise: Callable[..., bool] = lambda **_options: False


class Learner:
    """A learner: a `SampleBatch` and options in, one loss a prompt out, shape [B]. Made by `@learner`.

    name, equation, doc: from the function. paper, arxiv: its source. judge: what it asks of the judge.
    group: the fewest draws a prompt that it can learn from. on_policy: whether it is wrong on draws of another law
    than its plan names. needs: further columns of the batch it cannot do without. tokens: whether it looks at tokens.
    weighing: of the rewards of several judges, for those that learn from `components`.
    """

    def __init__(
        self,
        function: Callable[..., Array],
        *,
        paper: str,
        arxiv: str | None,
        judge: Judge,
        plan: Callable[..., Plan],
        group: int,
        on_policy: bool,
        needs: Callable[..., set[str]],
        tokens: bool,
        weighing: Weighing | None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.paper, self.arxiv = function, paper, arxiv
        self.name = function.__name__
        self.doc = inspect.getdoc(function) or ""
        self.equation = self.doc.partition("\n")[0]
        self.judge, self.group, self.on_policy, self.tokens = judge, group, on_policy, tokens
        self._plan, self._needs, self.weighing = plan, needs, weighing

    def __call__(self, batch: SampleBatch, **options: Any) -> Array:
        """Losses of shape [B] with the learner's options. Raises `MissingInput` for what the batch lacks."""
        values = self.checked(options)
        needs = self._needs(**values) | ({"tokens"} if self.tokens else set())
        for name in sorted(needs | {str(wanted) for wanted in self.wants(**values)}):
            place, _, part = name.rpartition(".")
            holder = getattr(batch, place) if place else batch
            if holder is None or getattr(holder, part) is None:
                raise MissingInput(f"{self.name} needs {name}; pass {name} (see SampleBatch)")
        return self.function(batch, **values)

    def plan(self, **options: Any) -> Plan:
        """What a round does with these options."""
        return self._plan(**self.checked(options))

    def needs(self, **options: Any) -> set[str]:
        """Columns of the batch it cannot do without, beside log-probs, snapshots and the judge's answers."""
        return self._needs(**self.checked(options))

    def wants(self, **options: Any) -> set[Judge]:
        """What to ask of the judge with these options; nothing, for one that learns without."""
        return {wanted for wanted in Judge if wanted in self.needs(**options) | {self.judge}} - {Judge.NOTHING}

    @functools.cached_property
    def options(self) -> type[pydantic.BaseModel]:
        """The options as a pydantic model: names, types, bounds, defaults."""
        return option_model(self.function)

    def checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options with their defaults, validated. An unknown or out-of-bounds option is an `OptionError`."""
        return checked_options(self.name, self.options, dict(options))

    def __repr__(self) -> str:
        return f"<learner {self.name}: {self.equation}>"


def learner(
    *,
    paper: str,
    arxiv: str | None = None,
    judge: Judge = Judge.PREFERENCE,
    plan: Plan | Callable[..., Plan] | None = None,
    group: int = 2,
    on_policy: bool = True,
    needs: set[str] | Callable[..., set[str]] = frozenset(),  # type: ignore[assignment]
    tokens: bool = False,
    weighing: Weighing | None = None,
) -> Callable[[Callable[..., Array]], Learner]:
    """Make a learner of a function `(batch, *, option=default, ...) -> losses [B]`.

    plan and needs may depend on the options: functions of them, by keyword. The rest as in `Learner`.

    >>> import numpy as np
    >>> @learner(paper="ours", judge=Judge.REWARD)
    ... def mine(batch, *, beta: float = 0.1):
    ...     "-E r(y) log pi(y)"
    ...     return -batch.expect(batch.reward * batch.logp)
    >>> mine(SampleBatch(np.log([[0.5, 0.25]]), reward=np.array([[1.0, 0.0]]))).round(4)
    array([0.3466])
    >>> mine.plan().stages[0].law
    {'previous': 1.0}
    """
    found: Plan | Callable[..., Plan] = Plan() if plan is None else plan
    plan_of = found if callable(found) else lambda **_options: found
    needs_of = needs if callable(needs) else lambda **_options: set(needs)

    def wrap(function: Callable[..., Array]) -> Learner:
        return Learner(
            function,
            paper=paper,
            arxiv=arxiv,
            judge=judge,
            plan=plan_of,
            group=group,
            on_policy=on_policy,
            needs=needs_of,
            tokens=tokens,
            weighing=weighing,
        )

    return wrap
