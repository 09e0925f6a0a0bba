"""The options of a run that learns while asking, told apart from its learner's and checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

import pydantic

from pluralign.errors import OptionError
from pluralign.online.learner import Learner
from pluralign.online.learners import catalogue, find
from pluralign.online.student import Steps


class OnlineOptions(pydantic.BaseModel):
    """What `online.run` itself takes; the learner's options stand beside these under their own names."""

    model_config = pydantic.ConfigDict(extra="forbid", use_attribute_docstrings=True)

    model: str
    """A folder, a hub name, or lab:tiny, lab:small, lab:base."""
    learner: str = "dpo"
    """A learner from the list, or an objective of the catalogue: it gets pairs, labels or lists, as it asks for."""
    prompts: str | None = None
    """File, folder or hub name whose prompts are asked."""
    judge: str | None = None
    """Whom every answer is asked of: module:name of a judge, or of a function that makes one; or of a mapping of names
    to judges, for learners that weigh several."""
    offline: str | None = None
    """File, folder or hub name of pairs to learn from beside the samples, for learners that do (hypo, vpo)."""
    offline_minibatch: int | None = pydantic.Field(None, ge=1)
    """Of these pairs, how many go with an optimizer step; as many as prompts when left out."""
    independent: str | None = None
    """A judge that only watches: the policy is not trained on what it says."""
    gold: str | None = None
    """The truth, where it is known: a judge that only watches, or a mapping of groups to judges."""
    rounds: int = pydantic.Field(3, ge=1)
    """How often to sample, ask and learn."""
    prompts_per_round: int | None = pydantic.Field(None, ge=1)
    """Prompts of a round; all of them when left out."""
    samples: int | None = pydantic.Field(None, ge=1)
    """Responses drawn to each prompt; the fewest that the learner can do with when left out."""
    opponents: int = pydantic.Field(1, ge=1)
    """Draws of the opponent's law to each prompt, for learners that compare with another law."""
    max_new_tokens: int = pydantic.Field(128, ge=1)
    """Most tokens of a response."""
    temperature: float = pydantic.Field(1.0, gt=0)
    """Of the draws; learners that must be on-policy need 1."""
    budget: int | None = pydantic.Field(None, ge=1)
    """Most questions to the judge in the whole run; no limit when left out. May be raised when a run goes on."""
    attempts: int = pydantic.Field(4, ge=1)
    """How often a question is asked before it counts as without an answer."""
    epochs: int | None = pydantic.Field(None, ge=1)
    """Passes over a round's samples; the learner's own number, else 1, when left out."""
    minibatch: int | None = pydantic.Field(None, ge=1)
    """Prompts, each with all its responses, in an optimizer step. When left out: 8, or, for learners that take one
    step on their own draws, all of the round's."""
    micro_batch: int = pydantic.Field(8, ge=1)
    """Prompts in memory at a time; the gradient is exact whatever it is."""
    learning_rate: float | None = pydantic.Field(None, ge=0)
    """Of AdamW; 2e-4 for lab: models and 1e-6 for others when left out."""
    value_learning_rate: float = pydantic.Field(1e-3, ge=0)
    """Of the value head, where there is one."""
    warmup_steps: int = pydantic.Field(0, ge=0)
    """Optimizer steps of the whole run in which the learning rate rises to its full size."""
    weight_decay: float = pydantic.Field(0.0, ge=0)
    """Of AdamW."""
    max_grad_norm: float = pydantic.Field(1.0, gt=0)
    """Longer gradients are shortened to this."""
    keep_optimizer: bool = True
    """Carry the optimizer's moments from round to round, or begin each round afresh."""
    kl_target: float | None = pydantic.Field(None, gt=0)
    """Nats a response that the learner's beta is moved to hold (Ziegler et al. 2019); beta stays when left out."""
    kl_horizon: float = pydantic.Field(1e4, gt=0)
    """Samples in which beta may change by a fifth."""
    save_steps: int = pydantic.Field(100, ge=1)
    """Optimizer steps between two checkpoints within a round."""
    monitor_prompts: int = pydantic.Field(32, ge=0)
    """Prompts kept out of training, on which every round is watched; 0 for none."""
    monitor_every: int = pydantic.Field(1, ge=1)
    """Rounds between two looks; the last round is always looked at."""
    keep_every: int = pydantic.Field(1, ge=1)
    """Of the rounds' models every so many-th is kept, and the last; the others go when the next round is done."""
    monitor_opponents: int = pydantic.Field(4, ge=0)
    """Earlier policies that the duality gap is estimated against, beside the reference; 0 for no gap."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number type of the weights."""
    pretrain_steps: int | None = pydantic.Field(None, ge=1)
    """Optimizer steps that make a lab: model; its preset's when left out."""
    seed: int = 0
    """Of the draws, of the order of prompts, of lab models."""

    def steps(self, seed: int, *, one_step: bool = False, epochs: int = 1) -> Steps:
        """How the learner's steps go, in the order that this seed gives. epochs: the learner's own number."""
        usual = 2e-4 if self.model.startswith("lab:") else 1e-6
        return Steps(
            epochs=self.epochs or epochs,
            minibatch=self.minibatch or (None if one_step else 8),
            micro_batch=self.micro_batch,
            learning_rate=usual if self.learning_rate is None else self.learning_rate,
            value_learning_rate=self.value_learning_rate,
            warmup_steps=self.warmup_steps,
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
            save_steps=self.save_steps,
            kl_target=self.kl_target,
            kl_horizon=self.kl_horizon,
            seed=seed,
        )


MAY_CHANGE = {"budget", "rounds", "prompts", "offline", "judge", "independent", "gold", "attempts", "save_steps"}
"""Options that may differ when a run goes on: how long it goes, and where things are rather than what they are."""


def resolve(given: Mapping[str, Any], learner: Learner | None = None) -> tuple[OnlineOptions, Learner, dict[str, Any]]:
    """Sort options by whom they belong to and check each: (ours, learner, its options).

    learner: an object in place of a name. Raises `OptionError` for an unknown name, with the nearest known ones, and
    for a value out of bounds.
    """
    goal = learner or find(str(given.get("learner", "dpo")))
    own, its = {}, {}
    for key, value in given.items():
        if key in OnlineOptions.model_fields and key not in goal.options.model_fields:
            own[key] = value
        elif key in goal.options.model_fields:
            its[key] = value
        else:
            holders = [one.name for one in catalogue().values() if key in one.options.model_fields]
            where = f"; it is an option of {', '.join(holders)}" if holders else ""
            close = difflib.get_close_matches(key, [*OnlineOptions.model_fields, *goal.options.model_fields], n=3)
            near = f" (did you mean {' or '.join(close)}?)" if close else ""
            raise OptionError(f"{goal.name} does not use '{key}', nor does the loop{where}{near}")
    try:
        settings = OnlineOptions(**own)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        option = ".".join(map(str, first["loc"]))
        raise OptionError(f"option '{option}' = {first.get('input')!r}: {first['msg']}") from None
    options = goal.checked(its)
    if settings.kl_target is not None and "beta" not in options:
        raise OptionError(f"kl_target moves a beta, and {goal.name} has none")
    if settings.samples is not None and settings.samples < goal.group:
        raise OptionError(f"{goal.name} needs {goal.group} samples a prompt or more, and samples is {settings.samples}")
    return settings, goal, options
