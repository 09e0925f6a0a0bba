"""Whether votes run in circles more than chance makes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import OptionError
from pluralign.rank.bradley_terry import BradleyTerry
from pluralign.rank.hodge import HodgeRank, lead
from pluralign.rank.measurements import choices
from pluralign.rank.pairwise import Pairwise
from pluralign.rank.plackett_luce import PlackettLuce
from pluralign.rank.rankings import Rankings

Array = NDArray[np.float64]

RIDGE = 0.01
"""Keeps scores finite that rankings are drawn from, and hardly moves them."""


@dataclass(frozen=True)
class CyclicityTest:
    """How much of what pairs say no score explains, and how much of it chance alone would make.

    observed: the cyclicity of the data. expected, low, high: mean and middle 95% of the energy in circles of simulated
    data, as shares of the energy observed. p_value: share of simulated data, with the observed, that have at least as
    much.
    """

    observed: float
    expected: float
    low: float
    high: float
    p_value: float
    replicates: int

    def __str__(self) -> str:
        return (
            f"{self.observed:.1%} of what pairs say runs in circles that no score explains; chance alone makes "
            f"{self.expected:.1%} (between {self.low:.1%} and {self.high:.1%} in 95% of simulations, p = "
            f"{self.p_value:.3f})"
        )


def cyclicity_test(
    data: Any, *, flow: Literal["margin", "logit"] = "margin", replicates: int = 999, seed: int = 0
) -> CyclicityTest:
    """Compare the energy in circles with that of data simulated from one score, as many votes on the same pairs.

    Votes are drawn from Bradley-Terry scores (Davidson's where there are ties), weights as rounded numbers of votes;
    rankings from Plackett-Luce scores, each as long and as tied as it is. Votes that depend on each other beyond that,
    as those of a person with a taste of their own do, differ from pair to pair more than the simulation knows, and
    then p is too small. Leads that do not add up count as circles too, even where majorities have none.

    >>> test = cyclicity_test([["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]] * 20, replicates=199)
    >>> round(test.observed, 3), test.p_value
    (1.0, 0.005)
    """
    if replicates < 1:
        raise OptionError(f"a test needs simulated data, not {replicates} replicates")
    model = HodgeRank(flow).fit(data)
    rng = np.random.default_rng(seed)
    drawn = _from_rankings if isinstance(model.data_, Rankings) else _from_votes
    total = model.flow_.energy(model.flow_.value)
    shares = drawn(model, replicates, rng) / (total or 1.0)
    low, high = np.quantile(shares, [0.025, 0.975])
    # Equal up to rounding counts as reached: a flow without circles must not come out significant.
    reached = int((shares >= model.cyclicity_ - 1e-12).sum())
    return CyclicityTest(
        model.cyclicity_, float(shares.mean()), float(low), float(high), (1 + reached) / (1 + replicates), replicates
    )


def _from_votes(model: HodgeRank, replicates: int, rng: np.random.Generator) -> Array:
    """[replicates] energies in circles, found for blocks of them at once."""
    table = Pairwise.of(model.data_)
    flow = model.flow_
    fitted = BradleyTerry(ties="davidson").fit(_counts(table))
    probability = fitted.family_.probabilities(
        fitted.scores_[flow.low] - fitted.scores_[flow.high], fitted.solution_.tie
    )
    votes = np.maximum(np.round(flow.weight), 1).astype(np.int64)
    circles = []
    block = max(1, 4_000_000 // len(votes))
    for start in range(0, replicates, block):
        size = min(block, replicates - start)
        drawn = rng.multinomial(votes, probability / probability.sum(1, keepdims=True), size=(size, len(votes)))
        value = lead(model.flow, *(drawn[..., k].astype(float).T for k in range(3)))
        net = flow.potentials(value)
        explained = net[flow.low] - net[flow.high]
        circles.append(flow.weight @ (value - explained) ** 2)
    return np.concatenate(circles)


def _counts(table: Pairwise) -> Any:
    from pluralign.rank.votes import Counts

    low, high = (side.astype(np.int32) for side in np.nonzero(np.triu(table.votes, 1)))
    won = np.stack([table.wins[low, high], table.wins[high, low], table.ties[low, high], np.zeros(len(low))], axis=1)
    return Counts(list(table.items), low, high, won)


def _from_rankings(model: HodgeRank, replicates: int, rng: np.random.Generator) -> Array:
    """[replicates] energies in circles of rankings of the same items, as long and tied in the same places."""
    rankings = model.data_
    assert isinstance(rankings, Rankings)
    # Ties as no choice at all: to sum over the orders behind long ones would take hours, and scores hardly need it.
    scores = PlackettLuce(ridge=RIDGE).fit(choices(rankings)).scores_
    owner, circles = rankings.owner, []
    for _ in range(replicates):
        # Sorting scores with Gumbel noise draws from Plackett-Luce (Yellott 1977).
        order = np.lexsort((-(scores[rankings.flat] + rng.gumbel(size=len(owner))), owner))
        flow = HodgeRank(model.flow).fit(replace(rankings, flat=rankings.flat[order])).flow_
        circles.append(flow.energy(flow.value - flow.gradient))
    return np.array(circles)
