"""Reward against KL: how much of what people want an objective buys, and how far from the reference it goes for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pluralign.feedback.storage import whole_file
from pluralign.lab.solve import NoOptimum, optimum
from pluralign.lab.worlds import World
from pluralign.objectives import Objective, find

BETAS = tuple(float(b) for b in np.geomspace(0.05, 5, 9))
BEST = "best possible"


def frontier(
    objectives: Iterable[str | Objective] | Mapping[str, tuple[str | Objective, Mapping[str, Any]]],
    world: World,
    *,
    betas: Iterable[float] = BETAS,
) -> pl.DataFrame:
    """Columns objective, beta, kl, reward, problem: what each objective converges to over a range of beta.

    objectives: names, or name -> (objective, options). One without a beta has a single row. reward is the world's
    quality. The rows of "best possible" are the most quality that can be had for its KL. Where an objective comes to
    no rest, `problem` says so, and kl and reward are those of the policy where the search stood.

    >>> from pluralign.lab import bandit
    >>> table = frontier(["dpo", "sft"], bandit([1.0, 0.0]), betas=[0.5, 1.0])
    >>> table["objective"].to_list()
    ['dpo', 'dpo', 'sft', 'best possible', 'best possible']
    """
    betas = list(betas)
    asked = (
        dict(objectives)
        if isinstance(objectives, Mapping)
        else {o if isinstance(o, str) else o.name: (o, {}) for o in objectives}
    )
    rows: list[dict[str, Any]] = []
    for name, (objective, options) in asked.items():
        goal = find(objective) if isinstance(objective, str) else objective
        sweeps = [{"beta": b} for b in betas] if "beta" in goal.options.model_fields and "beta" not in options else [{}]
        for sweep in sweeps:
            problem = None
            try:
                policy = optimum(goal, world, **{**options, **sweep})
            except NoOptimum as error:
                policy, problem = error.policy, str(error)
            rows.append(_point(name, sweep.get("beta"), world, policy, problem))
    rows += [_point(BEST, b, world, world.tilted(b, world.quality), None) for b in betas]
    return pl.DataFrame(rows, schema_overrides={"beta": pl.Float64, "problem": pl.String})


def _point(name: str, beta: float | None, world: World, policy: Any, problem: str | None) -> dict[str, Any]:
    return {
        "objective": name,
        "beta": beta,
        "kl": world.kl(policy),
        "reward": world.value(policy),
        "problem": problem,
    }


def plot(objectives: Any, world: World, *, out: str | Path | None = None, betas: Iterable[float] = BETAS) -> Any:
    """The frontier as a matplotlib figure; written to `out` too, where given. Hollow points came to no rest.

    >>> from pluralign.lab import bandit
    >>> plot(["dpo", "ipo"], bandit([1.0, 0.0]), betas=[0.5, 1.0]).axes[0].get_ylabel()
    'expected quality'
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    draw(figure.subplots(), frontier(objectives, world, betas=betas), world)
    if out is not None:
        with whole_file(Path(out)) as temporary:
            figure.savefig(temporary, format=Path(out).suffix.removeprefix(".") or "png", dpi=150)
    return figure


def draw(axes: Any, table: pl.DataFrame, world: World) -> None:
    """A table of `frontier` on matplotlib axes, with the line of what is possible drawn through."""
    own = table.filter(pl.col("objective") != BEST)
    for (name,), part in own.group_by("objective", maintain_order=True):
        ordered = part.sort("kl")
        (line,) = axes.plot(ordered["kl"], ordered["reward"], "o-", label=name, linewidth=1.4, markersize=4)
        unrest = ordered.filter(pl.col("problem").is_not_null())
        axes.plot(unrest["kl"], unrest["reward"], "o", markersize=5, markerfacecolor="white", color=line.get_color())
    best = [world.tilted(b, world.quality) for b in np.geomspace(0.02, 200, 200)]
    most = float(table["kl"].to_numpy().max())
    within = sorted((kl, world.value(policy)) for policy in best if (kl := world.kl(policy)) <= 1.05 * most)
    axes.plot(*zip(*within, strict=True), label=BEST, linewidth=1.2, linestyle="--", color="#777777", zorder=0)
    axes.set_xlabel("KL to the reference, nats")
    axes.set_ylabel("expected quality")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
