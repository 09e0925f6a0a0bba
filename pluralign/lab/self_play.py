"""A learner in a world: every response there is, every law exact, every round carried out as its plan says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import root

from pluralign.lab.solve import FAR, NoOptimum, one_thread
from pluralign.lab.table import Laws, Logits, Table
from pluralign.lab.worlds import Array, World
from pluralign.online.learner import Learner
from pluralign.online.learners import find
from pluralign.online.rewards import Multipliers
from pluralign.online.samples import SampleBatch


def play(
    learner: Learner | str,
    world: World,
    *,
    rounds: int,
    learning_rate: float = 0.1,
    natural: bool = False,
    group: int | None = None,
    start: ArrayLike | None = None,
    laws: Mapping[str, ArrayLike] | None = None,
    extra: Callable[[Array], Mapping[str, Any]] | None = None,
    **options: Any,
) -> Array:
    """The policies of all rounds, [rounds + 1, P, R], each stage of the learner's plan carried out to the end.

    A fit finds the minimum of the loss; a plan of gradient steps takes one of `learning_rate` a round, `natural` along
    the natural gradient, so that tables move as if every response had a step size of its own. group: draws a prompt,
    every group of so many enumerated with its chance; left out, infinitely many. start: the policy to begin with,
    [P, R] (the reference by default). laws: by name, [P, R], those that are no snapshot's, such as `data`; `draws`
    replaces the law that responses are drawn from. extra: columns of the batch beside or in place of the world's, for
    the policy of the round, asked for at every draw. Multipliers of `components` are learnt as the learner says,
    unless they are among these. options: those of the learner. Raises `NoOptimum` where a fit finds no minimum.

    >>> from pluralign.lab.games import game
    >>> play("inpo", game(), rounds=2, tau=0.1, eta=0.5)[-1].round(3)
    array([[0.723, 0.127, 0.15 ]])
    """
    one = find(learner) if isinstance(learner, str) else learner
    plan, table = one.plan(**options), _table(one, world, laws, group, options)
    began = table.reference if start is None else table.logits(start)
    kept: dict[str, Logits] = {"reference": table.reference, "previous": began}
    for name in {"policy"} | {name for stage in plan.stages for name in (stage.keep, stage.begin)}:
        kept.setdefault(name, began)
    found, drawn, columns = [table.policy(began)], list[Laws](), dict[str, Any]()

    def loss(theta: Logits, *, snapshots: Mapping[str, Logits], laws: list[Laws], columns: Any) -> torch.Tensor:
        batch = table.batch(theta, snapshots, laws, columns)
        mean: torch.Tensor = batch.mean(one(batch, **options))
        return mean

    weights = _Weights(one, options)
    with one_thread():
        for _ in range(rounds):
            before = {f"{name} before": value for name, value in kept.items()}
            for stage in plan.stages:
                if stage.redraw:
                    drawn = [*(drawn if stage.replay else ()), table.laws(stage, kept)]
                    columns = {} if extra is None else dict(extra(found[-1]))
                begin = kept[stage.begin]
                own = columns | weights.columns(columns, drawn)
                now = partial(loss, snapshots=dict(kept), laws=drawn, columns=own)
                if stage.one_step:
                    kept[stage.keep] = table.step(now, begin, learning_rate, natural=natural)
                else:
                    kept[stage.keep] = table.fit(now, begin, one.name)
                weights.move(partial(table.batch, begin, kept, drawn, own))
            kept["previous"] = table.mixed(plan.deploy, kept | before)
            found.append(table.policy(kept["previous"]))
    return np.array(found)


class _Weights:
    """The multipliers of a learner that weighs several rewards, from stage to stage."""

    def __init__(self, one: Learner, options: Mapping[str, Any]) -> None:
        self.one, self.options = one, one.checked(options)
        self.now: Multipliers | None = None

    def columns(self, given: Mapping[str, Any], laws: list[Laws]) -> dict[str, Any]:
        """Components on one scale and the multipliers of the stage to come; nothing where they are given."""
        weighing = self.one.weighing
        if weighing is None or (self.now is None and "multipliers" in given):
            return {}
        components = torch.as_tensor(given["components"]).double()
        if self.now is None:
            self.now = weighing.start(components.shape[2], **self.options)
            if weighing.standardise(**self.options):
                law = torch.stack([own for own, _ in laws]).mean(0)
                self.now = self.now.standardised(components.flatten(0, 1).numpy(), law.flatten().numpy())
        scaled = (components - torch.tensor(self.now.centre)) / torch.tensor(self.now.scale)
        return {"components": scaled, "multipliers": torch.tensor(self.now.values)}

    def move(self, batch: Callable[[], SampleBatch]) -> None:
        """On to the stage after the one that learnt from this batch."""
        if self.one.weighing is not None and self.now is not None:
            self.now = self.one.weighing.after(self.now, batch().worth.detach().numpy(), **self.options)


def pull(
    learner: Learner | str,
    world: World,
    policy: ArrayLike | None = None,
    *,
    natural: bool = False,
    group: int | None = None,
    laws: Mapping[str, ArrayLike] | None = None,
    extra: Callable[[Array], Mapping[str, Any]] | None = None,
    **options: Any,
) -> Array:
    """Where a learner pulls the logits of a policy that draws for itself: minus the loss's slope, [P, nodes, V].

    policy: [P, R]; the reference by default. The rest as in `play`.

    >>> from pluralign.lab import bandit
    >>> pull("reinforce", bandit([1.0, 0.0]), beta=0.0).tolist()
    [[[0.25, -0.25]]]
    """
    one = find(learner) if isinstance(learner, str) else learner
    table = _table(one, world, laws, group, options)
    at = table.reference if policy is None else table.logits(policy)
    with one_thread():
        return np.asarray(_slope(one, table, at, extra, natural, options).numpy()) * -1


def rest(
    learner: Learner | str,
    world: World,
    *,
    group: int | None = None,
    laws: Mapping[str, ArrayLike] | None = None,
    extra: Callable[[Array], Mapping[str, Any]] | None = None,
    **options: Any,
) -> Array:
    """The policy, [P, R], that a learner of its own draws no longer moves, looked for from the reference.

    Raises `NoOptimum` where there is none, as for a reward without a divergence. The rest as in `play`.

    >>> from pluralign.lab import bandit
    >>> world = bandit([1.0, 0.0], reference=[0.2, 0.8])
    >>> abs(rest("rloo", world, beta=0.5) - world.tilted(0.5)).max() < 1e-8
    np.True_
    """
    one = find(learner) if isinstance(learner, str) else learner
    table = _table(one, world, laws, group, options)
    shape = table.reference[..., :-1].shape

    def logits(free: Array) -> Logits:
        inner = torch.tensor(free).reshape(shape)
        return torch.cat([inner, torch.zeros_like(table.reference[..., :1])], -1)

    def residual(free: Array) -> Array:
        slope = _slope(one, table, logits(free), extra, True, options)
        return np.asarray((slope[..., :-1] - slope[..., -1:]).numpy().ravel())

    began = (table.reference[..., :-1] - table.reference[..., -1:]).numpy().ravel()
    with one_thread():
        found = root(residual, began, method="hybr", options={"xtol": 1e-13})
        left, policy = float(np.abs(residual(found.x)).max()), table.policy(logits(found.x))
    if not (left < 1e-8 and np.abs(found.x).max() < FAR):
        raise NoOptimum(
            f"{one.name} comes to no rest: it still pulls by {left:.1e}; look at the error's policy", policy
        )
    return policy


def _table(one: Learner, world: World, laws: Any, group: int | None, options: Mapping[str, Any]) -> Table:
    far = options.get("extrapolate", 0.0)
    return Table(world, laws or {}, group, offline="offline" in one.needs(**options), extrapolate=far)


def _slope(
    one: Learner, table: Table, at: Logits, extra: Any, natural: bool, options: Mapping[str, Any]
) -> torch.Tensor:
    kept = {"reference": table.reference} | {
        name: at for stage in one.plan(**options).stages for name in ("previous", "policy", stage.begin, stage.keep)
    }
    laws = [table.laws(one.plan(**options).stages[-1], kept)]
    columns = {} if extra is None else dict(extra(table.policy(at)))
    theta = at.clone().requires_grad_()
    batch = table.batch(theta, kept, laws, columns)
    (slope,) = torch.autograd.grad(batch.mean(one(batch, **options)), theta)
    return table.natural(at, slope) if natural else slope
