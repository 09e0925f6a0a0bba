"""What an objective remembers over steps: running rewards and running statistics, part of every checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pluralign.objectives import Need, Objective, PolicyBatch, Running


class Memory:
    """Running numbers of one objective.

    reward_sums: sum and weight of the rewards of desirable and of undesirable responses, over all steps so far.
    running: moving mean and deviation of the number the objective tracks, 0 and 1 before the first step: there policy
        and reference agree up to rounding, which must not become the unit.
    """

    def __init__(self, objective: Objective, options: dict[str, Any]) -> None:
        self.objective, self.options, self.needs = objective, options, objective.needs(**options)
        self.reward_sums = torch.zeros(4, dtype=torch.float64)
        self.running = Running(0.0, 1.0)
        self._step = torch.zeros(4, dtype=torch.float64)

    @property
    def fields(self) -> dict[str, Any]:
        """What a batch carries of it."""
        found: dict[str, Any] = {}
        if Need.RUNNING_REWARD in self.needs:
            found["reward_shift"] = _mean_of_classes(self.reward_sums)
        if Need.RUNNING in self.needs:
            found["running"] = self.running
        return found

    def add(self, batch: PolicyBatch) -> None:
        """Note the rewards of a micro-batch."""
        if Need.RUNNING_REWARD in self.needs:
            rewards = self.objective.shifted_reward(batch, **self.options).values
            weight = torch.ones_like(batch.logp[:, 0]) if batch.weight is None else batch.weight
            self._step += _class_sums(rewards, batch.sign, weight)

    def take(self, step: PolicyBatch) -> None:
        """Note the numbers of a whole step, the same on all processes."""
        if Need.RUNNING not in self.needs or not step.logp.shape[0]:
            return
        values = self.objective.tracked(step, **self.options)
        now = self.running.updated(values, step.weight)
        self.running = Running(float(now.mean), float(now.std))

    def end_of_step(self, reduce: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Fold the rewards of the step just taken into the running mean; reduce sums over processes."""
        if Need.RUNNING_REWARD in self.needs:
            self.reward_sums += reduce(self._step)
            self._step = torch.zeros(4, dtype=torch.float64)

    @property
    def state(self) -> dict[str, Any]:
        """As JSON values, for a checkpoint."""
        return {"reward_sums": self.reward_sums.tolist(), "running": [self.running.mean, self.running.std]}

    def load(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state."""
        self.reward_sums = torch.tensor(state["reward_sums"], dtype=torch.float64)
        self.running = Running(*state.get("running", (0.0, 1.0)))


def _class_sums(rewards: torch.Tensor, sign: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    good, bad = ((sign * side > 0).double() * weight[:, None].double() for side in (1, -1))
    return torch.stack([(rewards * good).sum(), good.sum(), (rewards * bad).sum(), bad.sum()]).cpu()


def _mean_of_classes(sums: torch.Tensor) -> float:
    """BCO's delta: the mean of the two classes' mean rewards; a class not met yet is left out; 0 at the start."""
    total_good, good, total_bad, bad = sums.tolist()
    means = [total / weight for total, weight in ((total_good, good), (total_bad, bad)) if weight > 0]
    return sum(means) / len(means) if means else 0.0
