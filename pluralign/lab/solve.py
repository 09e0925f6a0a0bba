"""Where an objective leads in a world: the policy at which its population loss has no slope left, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import minimize, root

from pluralign.errors import OptionError, PluralignError
from pluralign.lab.population import check, population, responses
from pluralign.lab.worlds import Array, World
from pluralign.objectives import Objective, find

FAR = 200.0
"""Logits beyond this have run away."""
ROUNDING = 1e-16
"""A slope below this is none."""


class NoOptimum(PluralignError):
    """The loss goes on falling, or its slope never vanishes. `policy`, [P, R], is where the search stood."""

    def __init__(self, message: str, policy: Array) -> None:
        super().__init__(message)
        self.policy = policy


def optimum(
    objective: Objective | str,
    world: World,
    *,
    start: ArrayLike | None = None,
    frozen: Sequence[ArrayLike] = (),
    tolerance: float = 1e-9,
    **options: Any,
) -> Array:
    """The policy, [P, R], that an objective converges to in a world, with `options` of the objective.

    Training starts at the reference; start: other logits, in the shape of `world.tree.reference`. Numbers that an
    objective takes as given (weights, running means, KTO's reference point) are those of the policy at hand, so that
    the answer is a point that training no longer leaves. Nothing is drawn at random, as in evaluation. tolerance: the
    largest slope left, per logit. Raises `NoOptimum` where there is no such point, `OptionError` where the world's
    judgements are not what the objective learns from, or where it needs what a table of probabilities has not.

    frozen: policies, [P, R] each, that some objectives compare with besides the reference (`modpo`, `spo_seq`).
    Objectives that take no weights (`aot`) want a data set: `world.sample(n)`.

    >>> from pluralign.lab import bandit
    >>> world = bandit([1.0, 0.0, -1.0], reference=[0.2, 0.3, 0.5])
    >>> abs(optimum("dpo", world, beta=0.5) - world.tilted(beta=0.5)).max() < 1e-8
    np.True_
    """
    goal = find(objective) if isinstance(objective, str) else objective
    check(goal, world, options, frozen)
    reference = torch.tensor(world.tree.reference)
    free = reference[..., :-1].numel()
    began = np.asarray(world.tree.reference if start is None else start, dtype=np.float64)
    if began.shape != tuple(reference.shape):
        raise OptionError(
            f"start has shape {began.shape}; give it that of world.tree.reference, {tuple(reference.shape)}"
        )

    def logits(theta: torch.Tensor) -> torch.Tensor:
        # A softmax does not change when all its logits do: the last of each stays at zero.
        inner = theta.reshape(reference[..., :-1].shape)
        return torch.cat([inner, torch.zeros_like(reference[..., :1])], -1)

    def slope(values: Array) -> tuple[float, Array]:
        theta = torch.tensor(values, requires_grad=True)
        batch = population(goal, world, logits(theta), reference, frozen, options)
        loss = batch.mean(goal(batch, **options))
        (gradient,) = torch.autograd.grad(loss, theta)
        return loss.item(), np.asarray(gradient.numpy())

    with one_thread():
        theta = _solve(slope, (began[..., :-1] - began[..., -1:]).reshape(free))
        left = float(np.abs(slope(theta)[1]).max(initial=0.0))
        rests = not _falls_on(slope, theta) if left <= tolerance else _is_corner(slope, theta)
    policy = np.exp(responses(world, torch.log_softmax(logits(torch.tensor(theta)), -1)).numpy())
    if not rests or np.abs(theta).max(initial=0.0) > FAR:
        raise NoOptimum(
            f"{goal.name} comes to no rest in this world: its loss still slopes by {left:.1e} where logits reach "
            f"{np.abs(theta).max():.0f}; look at the error's policy, or at preferences that are certain",
            policy,
        )
    return np.asarray(policy)


@contextmanager
def one_thread() -> Iterator[None]:
    """Tables are small: threads would cost more than they bring, a hundredfold where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _solve(slope: Callable[[Array], tuple[float, Array]], theta: Array) -> Array:
    for _ in range(3):  # BFGS stops when its estimate of the curvature goes stale; a fresh start resumes from there.
        theta = minimize(slope, theta, jac=True, method="BFGS", options={"gtol": 1e-13}).x
    if np.abs(slope(theta)[1]).max(initial=0.0) > 1e-11 and np.abs(theta).max(initial=0.0) < FAR:
        # The slope of a loss with detached weights is not that of a function; its root is what is looked for.
        found = root(lambda v: slope(v)[1], theta, method="hybr", options={"xtol": 1e-14})
        if np.abs(slope(found.x)[1]).max() < np.abs(slope(theta)[1]).max():
            theta = found.x
    if np.abs(slope(theta)[1]).max(initial=0.0) > 1e-6 and np.abs(theta).max(initial=0.0) < FAR:
        # A hinge has corners, where no slope vanishes.
        settings = {"xatol": 1e-10, "fatol": 1e-15, "maxfev": 4000 * theta.size, "maxiter": 4000 * theta.size}
        for _ in range(2):
            theta = minimize(lambda v: slope(v)[0], theta, method="Nelder-Mead", options=settings).x
    return np.asarray(theta)


def _falls_on(slope: Callable[[Array], tuple[float, Array]], theta: Array) -> bool:
    """Whether a small slope is that of an endless tail: a whole step further down it still points the same way."""
    here = slope(theta)[1]
    size = float(np.linalg.norm(here))
    if size < ROUNDING:
        return False
    return bool(slope(theta - here / size)[1] @ here > 0.01 * size**2)


def _is_corner(slope: Callable[[Array], tuple[float, Array]], theta: Array) -> bool:
    """Whether the loss rises in every direction tried, as at the corner of a hinge."""
    directions = np.random.default_rng(0).standard_normal((32 * theta.size, theta.size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    least = slope(theta)[0]
    return all(slope(theta + sign * 1e-5 * d)[0] > least for d in directions for sign in (1, -1))
