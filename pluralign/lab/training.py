"""A policy trained in a world for a small budget: what data, noise and steps do, beside where the objective leads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from pluralign.errors import OptionError
from pluralign.lab.population import check, population, responses
from pluralign.lab.solve import one_thread
from pluralign.lab.worlds import Array, World
from pluralign.objectives import Objective, find


def train(
    objective: Objective | str,
    world: World,
    *,
    features: ArrayLike | None = None,
    steps: int = 200,
    learning_rate: float = 0.05,
    **options: Any,
) -> Array:
    """The policy, [P, R], after so many steps of Adam on all judgements of the world at once, from the reference.

    features: of every response of a bandit, [P, R, D]; the policy is then pi_ref * exp(features . theta) / Z with one
    theta for all prompts, and says something of prompts without judgements. Without them each logit is free. Where
    the loss leaves the numbers, the policy is not a number either. Raises `OptionError` as `optimum` does.

    >>> from pluralign.lab import bandit
    >>> world = bandit([1.0, 0.0], reference=[0.2, 0.8])
    >>> abs(train("dpo", world, beta=0.5) - world.tilted(0.5)).max() < 1e-3
    np.True_
    """
    goal = find(objective) if isinstance(objective, str) else objective
    check(goal, world, options, frozen=())
    reference = torch.tensor(world.tree.reference)
    if features is None:
        given, shape = torch.ones((), dtype=torch.float64), reference.shape
    else:
        given = torch.tensor(np.asarray(features, dtype=np.float64))
        if given.ndim != 3 or tuple(given.shape[:2]) != world.reward.shape or reference.shape[1] != 1:
            raise OptionError(f"features are [P, R, D] for a bandit, here {(*world.reward.shape, 'D')}")
        shape = given.shape[-1:]
    theta = torch.zeros(shape, dtype=torch.float64, requires_grad=True)

    def logits() -> torch.Tensor:
        return reference + (theta if features is None else (given @ theta)[:, None])

    adam = torch.optim.Adam([theta], lr=learning_rate)
    with one_thread():
        for _ in range(steps):
            batch = population(goal, world, logits(), reference, (), options)
            loss = batch.mean(goal(batch, **options))
            adam.zero_grad()
            loss.backward()
            adam.step()
        with torch.no_grad():
            return np.asarray(np.exp(responses(world, torch.log_softmax(logits(), -1)).numpy()))
