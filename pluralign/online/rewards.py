"""Rewards before a learner sees them, without what length adds; and weights of several, learnt beside the policy.

Ensembles, conjunctions and exact compromises are in `pluralign.models` (`pessimistic`, `conjunction`, `maxmin`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.errors import OptionError

Array = NDArray[np.float64]
Kind = Literal["at_least", "equal", "shares"]


def overlong(length: ArrayLike, limit: float, *, cushion: float | None = None) -> Array:
    """What to add to the rewards of responses of so many tokens: 0 while there is room, down to -1 at the limit.

    cushion: tokens before the limit in which it falls, a fifth of the limit by default. Yu et al. 2025 (DAPO).

    >>> overlong([80, 90, 100, 200], limit=100, cushion=20).tolist()
    [0.0, -0.5, -1.0, -1.0]
    """
    room = limit / 5 if cushion is None else cushion
    if not 0 < room <= limit:
        raise OptionError(f"cushion is above 0 and at most the limit, {limit:g} tokens; got {room:g}")
    return np.clip((limit - room - np.asarray(length, dtype=np.float64)) / room, -1.0, 0.0)


def without_length(reward: ArrayLike, length: ArrayLike) -> Array:
    """Rewards less what their length foretells by least squares; they no longer correlate with it. Same shape.

    >>> without_length([1.0, 2.0, 4.0], [10.0, 20.0, 30.0]).round(3).tolist()
    [2.5, 2.0, 2.5]
    """
    r, n = np.asarray(reward, dtype=np.float64), np.asarray(length, dtype=np.float64)
    centred = n - n.mean()
    size = float((centred**2).sum())
    slope = float((centred * r).sum()) / size if size else 0.0
    return np.asarray(r - slope * centred)


def worst_first(weights: ArrayLike, values: ArrayLike, step: float) -> Array:
    """Weights of the groups, [K], after a policy that was worth `values` to them: more for those it served worst.

    w_k exp(-step v_k) / Z, exponentiated gradient on max over policies of min over groups (Chakraborty et al. 2024).

    >>> worst_first([0.5, 0.5], [1.0, 0.0], step=1.0).round(4).tolist()
    [0.2689, 0.7311]
    """
    v = np.asarray(values, dtype=np.float64)
    found = np.asarray(weights, dtype=np.float64) * np.exp(-step * (v - v.min()))
    return np.asarray(found / found.sum())


@dataclass(frozen=True)
class Multipliers:
    """The weights of M rewards that are learnt by a step of their own after each of the policy's.

    raw: before they are bounded, [M]. kind: at_least (Lagrange multipliers in (0, 1)), equal (in (-1, 1), so that a
    reward can be pushed down too), shares (not below 0, and sum to 1). velocity: of the momentum, [M]. centre, scale:
    what brings the rewards to one scale, [M]. Moskovitz et al. 2023; shares: Chakraborty et al. 2024.

    >>> start = Multipliers.start(1, kind="at_least")
    >>> start.values.tolist(), bool(start.updated([0.2], thresholds=[1.0]).values > start.values)
    ([0.5], True)
    >>> Multipliers.start(2, kind="shares").worst_first([1.0, 0.0], step=1.0).values.round(4).tolist()
    [0.2689, 0.7311]
    """

    raw: Array
    velocity: Array
    kind: Kind
    centre: Array
    scale: Array

    @classmethod
    def start(cls, count: int, *, kind: Kind = "at_least") -> Multipliers:
        """Of `count` rewards as they are, all at 0 before they are bounded."""
        return cls(np.zeros(count), np.zeros(count), kind, np.zeros(count), np.ones(count))

    @property
    def values(self) -> Array:
        """The multipliers, [M]."""
        if self.kind == "shares":
            found = np.exp(self.raw - self.raw.max())
            return np.asarray(found / found.sum())
        return np.asarray(1 / (1 + np.exp(-self.raw)) if self.kind == "at_least" else np.tanh(self.raw))

    def updated(
        self, values: ArrayLike, thresholds: ArrayLike, *, rate: float = 0.01, momentum: float = 0.1, clip: float = 1.0
    ) -> Multipliers:
        """After a policy with mean rewards `values`, [M]: smaller above the threshold, larger below it."""
        mu = self.values
        slope = mu * (1 - mu) if self.kind == "at_least" else 1 - mu**2
        gradient = (np.asarray(values, dtype=np.float64) - np.asarray(thresholds, dtype=np.float64)) * slope
        size = float(np.linalg.norm(gradient))
        velocity = momentum * self.velocity + gradient * min(1.0, clip / size if size else 1.0)
        return replace(self, raw=self.raw - rate * velocity, velocity=velocity)

    def worst_first(self, values: ArrayLike, step: float) -> Multipliers:
        """Shares after a policy that was worth `values` to each, [M]; see the function of this name."""
        return replace(self, raw=np.log(np.maximum(worst_first(self.values, values, step), 1e-300)))

    def standardised(self, rewards: ArrayLike, weight: ArrayLike) -> Multipliers:
        """The same, for rewards brought to mean 0 and spread 1 on these: [N, M], counted by weight, [N]."""
        r, w = np.asarray(rewards, dtype=np.float64), np.asarray(weight, dtype=np.float64)[:, None]
        centre = (w * r).sum(0) / w.sum()
        spread = np.sqrt((w * (r - centre) ** 2).sum(0) / w.sum())
        return replace(self, centre=centre, scale=np.where(spread > 0, spread, 1.0))

    @property
    def state(self) -> dict[str, list[float]]:
        """What moves, as plain numbers for a file; `with_state` takes it up."""
        return {name: getattr(self, name).tolist() for name in ("raw", "velocity", "centre", "scale")}

    def with_state(self, state: Mapping[str, list[float]]) -> Multipliers:
        """These with what `state` gave."""
        found: dict[str, Any] = {name: np.array(values) for name, values in state.items()}
        return replace(self, **found)
