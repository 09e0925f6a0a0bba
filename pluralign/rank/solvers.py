"""The classic iterations for Bradley-Terry, by name: Zermelo's (MM), Newman's, and iterated spectral ranking.

They reach the optimum that Newton's method reaches, in more and cheaper steps. Small steps are no sign of being
there: on long, thin graphs these methods crawl. So each is believed only once Newton's own step from where it
stopped is small too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pluralign.errors import OptionError
from pluralign.rank.families import Davidson, Family, Logistic
from pluralign.rank.newton import Certificate, NotConverged, Penalty, Problem, Solution, newton_step
from pluralign.rank.spectral import LARGEST, stationary

Array = NDArray[np.float64]
Name = Literal["mm", "newman", "ilsr"]
Sweep = Callable[[Array, float | None], tuple[Array, float | None]]
"""One round: new scores and tie parameter from the old ones."""
Method = Callable[[Problem, Family, Penalty], Sweep]

STILL = 1e-12
"""An iteration ends when no parameter moves by more than this, in logits."""

ARRIVED = 1e-8
"""It has arrived if Newton's step from there is no longer than this."""

SWEEPS = 10_000


def solve(name: Name, problem: Problem, family: Family, penalty: Penalty) -> Solution:
    """The optimum by the named iteration. Raises `NotConverged` where it does not get there, `OptionError` for models
    it does not know.

    "mm": Zermelo 1929, Hunter 2004: all items at once; the likelihood never falls. "newman": Newman 2023: one item
    after another; also Davidson's ties. "ilsr": Maystre and Grossglauser 2015: a stationary distribution a round.
    """
    if problem.z.shape[1] or problem.owner is not None or penalty.ridge.any():
        raise OptionError(f"solver='{name}' knows neither covariates, order nor a ridge; take solver='newton'")
    if not isinstance(family, Logistic) and not (name == "newman" and isinstance(family, Davidson)):
        raise OptionError(f"solver='{name}' is not for this model; take solver='newton'")
    methods: dict[str, Method] = {"mm": _MM, "newman": _Newman, "ilsr": _Spectral}
    sweep = methods[name](problem, family, penalty)
    theta, tie, moved = np.zeros(problem.n), family.start, np.inf
    for steps in range(1, SWEEPS + 1):
        new, new_tie = sweep(theta, tie)
        new = _centred(new, problem, penalty)
        moved = float(np.abs(new - theta).max())
        if tie is not None and new_tie is not None:
            moved = max(moved, abs(new_tie - tie))
        theta, tie = new, new_tie
        if moved <= STILL:
            return _certified(name, problem, family, penalty, theta, tie, steps)
    raise NotConverged(
        f"solver='{name}': after {SWEEPS:,} sweeps scores still move by {moved:.3g} logits; solver='newton' gets there"
    )


def _centred(theta: Array, problem: Problem, penalty: Penalty) -> Array:
    """Mean zero in every component that no prior holds."""
    component = problem.laplacian.component
    mean = np.bincount(component, theta) / np.bincount(component)
    mean[np.bincount(component, penalty.virtual) > 0] = 0.0
    return np.asarray(theta - mean[component])


def _certified(
    name: str, problem: Problem, family: Family, penalty: Penalty, theta: Array, tie: float | None, steps: int
) -> Solution:
    beta = np.zeros(0)
    terms = family.terms(problem.margin(theta, beta), problem.won, tie)
    _, pull, stiffness = penalty.terms(theta, beta)
    step = newton_step(problem, penalty, terms, pull, stiffness, beta, tie, 1e-8)
    size = max(float(np.abs(step[0]).max()), abs(step[2]))
    if size > ARRIVED:
        raise NotConverged(
            f"solver='{name}' no longer moves, but the optimum is {size:.3g} logits away; take solver='newton'"
        )
    gradient = float(np.abs(problem.to_items(terms.d) + pull).max())
    return Solution(theta, beta, tie, terms.nll, Certificate(size, gradient, steps))


class _MM:
    """theta_i += log(wins of i / wins expected of i), from the old scores of all."""

    def __init__(self, problem: Problem, family: Family, penalty: Penalty) -> None:
        self.problem, self.virtual = problem, penalty.virtual
        half = problem.won[:, 2] / 2
        up, down = problem.won[:, 0] + half, problem.won[:, 1] + half
        n = problem.n
        self.wins = np.bincount(problem.i, up, n) + np.bincount(problem.j, down, n) + penalty.virtual
        self.votes = up + down

    def __call__(self, theta: Array, tie: float | None) -> tuple[Array, float | None]:
        i, j, n = self.problem.i, self.problem.j, self.problem.n
        p = expit(theta[i] - theta[j])
        expected = np.bincount(i, self.votes * p, n) + np.bincount(j, self.votes * (1 - p), n)
        expected += 2 * self.virtual * expit(theta)
        # An item without votes and prior stays where it is.
        voted = expected > 0
        return theta + np.log(self.wins / expected, out=np.zeros(n), where=voted), tie


class _Newman:
    """theta_i += log(sum of w_ij P(j beats i)) - log(sum of w_ji P(i beats j)), each from the newest scores.

    A tie counts half in w and in P. Newman writes the same for worths exp(theta).
    """

    def __init__(self, problem: Problem, family: Family, penalty: Penalty) -> None:
        self.problem, self.family, self.virtual = problem, family, penalty.virtual
        half = problem.won[:, 2] / 2
        up, down = problem.won[:, 0] + half, problem.won[:, 1] + half
        ends = np.concatenate([problem.i, problem.j])
        order = np.argsort(ends, kind="stable")
        self.starts = np.searchsorted(ends[order], np.arange(problem.n + 1))
        self.other = np.concatenate([problem.j, problem.i])[order]
        self.wins, self.losses = np.concatenate([up, down])[order], np.concatenate([down, up])[order]

    def __call__(self, theta: Array, tie: float | None) -> tuple[Array, float | None]:
        theta = theta.copy()
        for item, (start, end) in enumerate(zip(self.starts[:-1], self.starts[1:], strict=True)):
            inside, v = slice(start, end), float(self.virtual[item])
            p = self._chances(theta[item] - theta[self.other[inside]], tie)
            up = self.wins[inside] @ (p[:, 1] + p[:, 2] / 2) + v * expit(-theta[item])
            down = self.losses[inside] @ (p[:, 0] + p[:, 2] / 2) + v * expit(theta[item])
            if up > 0 and down > 0:
                theta[item] += np.log(up / down)
        if tie is None:
            return theta, None
        won = self.problem.won
        p = self._chances(theta[self.problem.i] - theta[self.problem.j], tie)
        tied = float(won[:, 2] @ (1 - p[:, 2]))
        return theta, tie + float(np.log(tied / ((won[:, 0] + won[:, 1]) @ p[:, 2])))

    def _chances(self, d: Array, tie: float | None) -> Array:
        return self.family.probabilities(d, tie)


class _Spectral:
    """theta += log of the stationary distribution of the walk from losers to winners, at rates of the newest scores.

    In flows, rates times the worth of where they start: a distribution that is flat at the end, and does not overflow.
    """

    def __init__(self, problem: Problem, family: Family, penalty: Penalty) -> None:
        if problem.n > LARGEST:
            raise OptionError(f"a walk over {problem.n:,} items takes too long; take solver='newton'")
        self.problem, self.virtual = problem, penalty.virtual
        half = problem.won[:, 2] / 2
        self.up, self.down = problem.won[:, 0] + half, problem.won[:, 1] + half

    def __call__(self, theta: Array, tie: float | None) -> tuple[Array, float | None]:
        i, j, n = self.problem.i, self.problem.j, self.problem.n
        p = expit(theta[i] - theta[j])
        # The item of strength one that virtual votes are against comes last.
        flows = np.zeros((n + 1, n + 1))
        flows[j, i], flows[i, j] = self.up * (1 - p), self.down * p
        flows[n, :n], flows[:n, n] = self.virtual * expit(-theta), self.virtual * expit(theta)
        component, new = self.problem.laplacian.component, theta.copy()
        for c in range(int(component.max()) + 1):
            inside = np.flatnonzero(component == c)
            held = bool(self.virtual[inside].any())
            if len(inside) == 1 and not held:
                continue
            places = np.append(inside, n) if held else inside
            change = np.log(stationary(flows[np.ix_(places, places)]))
            new[inside] += (change - change[-1])[: len(inside)]
        return new, tie
