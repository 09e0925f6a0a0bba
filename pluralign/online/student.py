"""What is trained, with all that it carries from step to step and from round to round, and how its steps go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pluralign.feedback.storage import whole_file
from pluralign.online.forward import ValueHead
from pluralign.online.learner import Learner
from pluralign.online.rewards import Multipliers


@dataclass(frozen=True)
class Steps:
    """How a fit goes about it.

    minibatch: prompts an optimizer step, None for all; micro_batch: of these, at a time in memory. warmup_steps: steps
    of the whole run in which the learning rate rises to its full size.
    kl_target: nats a response that the learner's beta is moved to hold; its horizon in samples.
    """

    epochs: int = 1
    minibatch: int | None = 8
    micro_batch: int = 8
    learning_rate: float = 1e-6
    value_learning_rate: float = 1e-3
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    save_steps: int = 100
    kl_target: float | None = None
    kl_horizon: float = 1e4
    seed: int = 0

    def order(self, groups: int) -> list[list[int]]:
        """The prompts of every step. The same for the same seed; no prompt twice in an epoch.

        >>> sorted(i for step in Steps(minibatch=2, epochs=2).order(3) for i in step)
        [0, 0, 1, 1, 2, 2]
        """
        size, steps = self.minibatch or groups, []
        for epoch in range(self.epochs):
            mixed = np.random.default_rng((self.seed, epoch)).permutation(groups).tolist()
            steps += [mixed[i : i + size] for i in range(0, groups, size)]
        return steps


@dataclass
class Student:
    """What is trained, with all that it carries from step to step and from round to round.

    options: of the learner; beta among them moves where a target for the divergence is set. multipliers: of the rewards
    of several judges, for learners that weigh them. step: of this fit; taken: steps of all rounds.
    """

    model: Any
    head: ValueHead | None
    optimizer: torch.optim.Optimizer
    options: dict[str, Any]
    multipliers: Multipliers | None = None
    step: int = 0
    taken: int = 0

    @classmethod
    def of(cls, model: Any, learner: Learner, options: Mapping[str, Any], steps: Steps, rewards: int = 1) -> Student:
        """A student about to take its first step. rewards: how many judges give one, for learners that weigh them."""
        needs = learner.needs(**options)
        head = None
        if needs & {"tokens.value", "tokens.sampled_value"}:
            head = ValueHead(model.config.get_text_config().hidden_size).to(model.device)
        parts = [{"params": list(model.parameters()), "lr": steps.learning_rate}]
        if head is not None:
            parts.append({"params": list(head.parameters()), "lr": steps.value_learning_rate})
        multipliers = None if learner.weighing is None else learner.weighing.start(rewards, **options)
        optimizer = torch.optim.AdamW(parts, weight_decay=steps.weight_decay)
        return cls(model, head, optimizer, dict(options), multipliers)

    def state(self, *, model: bool = True) -> dict[str, Any]:
        """Everything, for a file; the model's weights may be left to another one."""
        found: dict[str, Any] = {"optimizer": self.optimizer.state_dict(), "options": self.options}
        found |= {"step": self.step, "taken": self.taken}
        found["multipliers"] = None if self.multipliers is None else self.multipliers.state
        found["head"] = None if self.head is None else self.head.state_dict()
        return found | ({"model": self.model.state_dict()} if model else {})

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave."""
        if "model" in state:
            self.model.load_state_dict(state["model"])
        if self.head is not None:
            self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.multipliers is not None:
            self.multipliers = self.multipliers.with_state(state["multipliers"])
        self.options, self.step, self.taken = dict(state["options"]), state["step"], state["taken"]


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state whole, or not at all."""
    with whole_file(path) as temporary:
        torch.save(dict(state), temporary)
