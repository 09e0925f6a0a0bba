"""Fixed points of the Plackett-Luce likelihood without second derivatives: minorise-maximise, and a random walk."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import OptionError
from pluralign.rank.luce import Luce, gathered, tails
from pluralign.rank.newton import NotConverged
from pluralign.rank.solvers import ARRIVED, STILL, SWEEPS
from pluralign.rank.spectral import LARGEST, stationary

Array = NDArray[np.float64]
Sweep = Callable[[Array], Array]
"""One round: new scores from the old ones."""


def iterate(sweep: Sweep, centre: Sweep, newton_step: Sweep, n: int) -> tuple[Array, float, int]:
    """Scores [n] at rest, the length of Newton's step from there and the rounds taken.

    Raises `NotConverged` where scores do not come to rest, or rest where Newton's method would not.
    """
    theta, moved = np.zeros(n), np.inf
    for rounds in range(1, SWEEPS + 1):
        new = centre(sweep(theta))
        moved = float(np.abs(new - theta).max())
        theta = new
        if moved <= STILL:
            left = float(np.abs(newton_step(theta)).max())
            if left > ARRIVED:
                raise NotConverged(f"scores are at rest {left:.3g} logits from the optimum; take solver='newton'")
            return theta, left, rounds
    raise NotConverged(f"after {SWEEPS:,} rounds scores still move by {moved:.3g} logits; take solver='newton'")


def minorise(likelihood: Luce, weight: Array, virtual: Array) -> Sweep:
    """theta_i += log(choices of i / choices expected of i); the likelihood never falls (Hunter 2004).

    virtual: [n] wins and losses against an item at zero.
    """
    n = likelihood.n
    won = virtual.copy()
    for part in likelihood.strict:
        won += gathered(part.items, weight[part.row][:, None] * part.chosen, n)

    def sweep(theta: Array) -> Array:
        odds = np.exp(theta)
        met = 2 * virtual / (1 + odds)
        for part in likelihood.strict:
            share = weight[part.row][:, None] * part.chosen / tails(odds[part.items])
            met += gathered(part.items, np.cumsum(share, 1), n)
        # An item that no choice includes stays where it is.
        return np.where(met > 0, np.log(np.where(met > 0, won, 1.0) / np.where(met > 0, met, 1.0)), theta)

    return sweep


def walk(likelihood: Luce, weight: Array, virtual: Array, component: NDArray[np.int32]) -> Sweep:
    """theta += log of where a walk settles that goes from every item passed over to the one chosen, at rates of the
    newest scores (Maystre and Grossglauser 2015). In flows, rates times worths, so that it is flat at the end.
    """
    n = likelihood.n
    if n > LARGEST:
        raise OptionError(f"a walk over {n:,} items takes too long; take solver='newton'")

    def sweep(theta: Array) -> Array:
        odds, size = np.exp(theta), n + 1
        moved = np.zeros(size * size)
        for part in likelihood.strict:
            worth = odds[part.items]
            share = weight[part.row][:, None] * part.chosen / tails(worth)
            for a in range(part.items.shape[1] - 1):
                step = part.items[:, a + 1 :] * size + part.items[:, a : a + 1]
                moved += np.bincount(step.ravel(), (share[:, a : a + 1] * worth[:, a + 1 :]).ravel(), size * size)
        flows = moved.reshape(size, size)
        # The item at zero that virtual wins and losses are against comes last.
        flows[n, :n], flows[:n, n] = virtual / (1 + odds), virtual * odds / (1 + odds)
        new = theta.copy()
        for c in range(int(component.max()) + 1):
            inside = np.flatnonzero(component == c)
            held = bool(virtual[inside].any())
            if len(inside) == 1 and not held:
                continue
            places = np.append(inside, n) if held else inside
            change = np.log(stationary(flows[np.ix_(places, places)]))
            new[inside] += (change - change[-1])[: len(inside)]
        return new

    return sweep
