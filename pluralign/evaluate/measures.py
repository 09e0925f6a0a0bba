"""Figures of held-out pairs: from scores to accuracies, differences, displacement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pluralign.evaluate.figures import (
    Array,
    Clusters,
    calibration,
    difference,
    histogram,
    idealised,
    mean,
    preferred,
    share,
)
from pluralign.evaluate.slices import SIDES, longer_sides, quarters

LAYOUT = 5
"""Of evaluation/NAME.json. Raised when names in it change, so that an old file is told from a damaged one."""

REWARD, OWN_REWARD, RATIO_MEAN = "implicit reward", "reward", "mean log-ratio"
POLICY, POLICY_MEAN = "policy log-prob", "policy mean log-prob"
REFERENCE, REFERENCE_MEAN = "reference log-prob", "reference mean log-prob"
LONGER, SHORTER, FIRST = "longer wins", "shorter wins", "first shown wins"

PAIRED = (
    *((REWARD, other) for other in (REFERENCE, REFERENCE_MEAN, LONGER, SHORTER, FIRST, RATIO_MEAN)),
    *((RATIO_MEAN, other) for other in (REFERENCE_MEAN, LONGER, SHORTER)),
    (POLICY, REFERENCE),
    (POLICY_MEAN, REFERENCE_MEAN),
    (POLICY, LONGER),
)
"""Rankings whose accuracies are compared on the same rows."""

PREFERENCES = (0.6, 0.75, 0.9)
"""Shares of people for whom idealised accuracy is told, since hard labels do not say how many would agree."""


@dataclass(frozen=True)
class Pairs:
    """N scored pairs, the preferred response first.

    reward, logp, ref_logp, length (tokens), characters: [N, 2]. shown: +1 where the preferred response was shown
    first, -1 where last, 0 where that is not known, [N]. clusters: [N].
    """

    reward: Array
    logp: Array
    ref_logp: Array
    length: Array
    characters: Array
    shown: Array
    clusters: Clusters

    def __len__(self) -> int:
        return len(self.reward)

    def part(self, inside: Any) -> Pairs:
        """Some of the pairs."""
        return replace(self, **{name: getattr(self, name)[inside] for name in self.__dataclass_fields__})

    @property
    def bands(self) -> dict[str, list[str]]:
        """What to divide pairs by besides their columns [N]: tokens of the longest response, and the longer side."""
        return {"length": quarters(self.length.max(1)), SIDES: longer_sides(self.characters)}

    @property
    def mixed(self) -> bool:
        """Whether there is something to rank."""
        return True

    @property
    def rankings(self) -> dict[str, tuple[Array, Any]]:
        """Each way to tell the preferred response: its margins [N] and where it has an opinion at all [N]."""
        everywhere = np.ones(len(self), dtype=bool)
        rankings = {name: (_gap(values), everywhere) for name, values in scorings(self).items()}
        if (self.shown != 0).any():
            rankings[FIRST] = self.shown, self.shown != 0
        return rankings

    def measure(self, seed: int = 0) -> dict[str, Any]:
        """Accuracy by every ranking, paired differences, calibration, margins, displacement, difficulty, length.

        difficulty: log-prob of the other response minus the preferred one's under the reference, over the response and
        a token (Chen et al. 2024); positive where training has to turn the reference's ranking round.
        """
        rankings, clusters = self.rankings, self.clusters
        right = {name: preferred(margins) for name, (margins, _) in rankings.items()}
        drift, margin = self.logp - self.ref_logp, _gap(self.reward)
        return {
            "accuracy": {
                name: share(right[name][known], clusters[known]).as_dict() for name, (_, known) in rankings.items()
            },
            "difference": {
                f"{a} - {b}": difference(right[a][both], right[b][both], clusters[both], seed)
                for a, b in PAIRED
                if b in rankings and (both := rankings[a][1] & rankings[b][1]).any()
            },
            "calibration": calibration(margin, clusters, seed=seed),
            "margins": {**histogram(margin), "mean": mean(margin, clusters, seed).as_dict()},
            "displacement": {
                "chosen": mean(drift[:, 0], clusters, seed).as_dict(),
                "rejected": mean(drift[:, 1], clusters, seed).as_dict(),
                "chosen_fell": share((drift[:, 0] < 0).astype(float), clusters).as_dict(),
            },
            "difficulty": {
                "nats": mean(-_gap(self.ref_logp), clusters, seed).as_dict(),
                "mean": mean(-_gap(self.ref_logp / self.length), clusters, seed).as_dict(),
            },
            "longer": self._longer(),
        }

    def _longer(self) -> dict[str, Any]:
        """How often people, and the reward, prefer the longer of two responses of unlike length (in characters)."""
        longer = np.sign(_gap(self.characters))
        unlike = longer != 0
        if not unlike.any():
            return {}
        sides = {"people": longer, "reward": longer * _gap(self.reward), "reference": longer * _gap(self.ref_logp)}
        return {
            name: share(preferred(values[unlike]), self.clusters[unlike]).as_dict() for name, values in sides.items()
        }


def scorings(rows: Any) -> dict[str, Array]:
    """Each way to score a response of these pairs or single ones: arrays of the shape of `rows.reward`."""
    longer = rows.characters
    return {
        REWARD: rows.reward,
        RATIO_MEAN: (rows.logp - rows.ref_logp) / rows.length,
        POLICY: rows.logp,
        POLICY_MEAN: rows.logp / rows.length,
        REFERENCE: rows.ref_logp,
        REFERENCE_MEAN: rows.ref_logp / rows.length,
        LONGER: longer,
        SHORTER: -longer,
    }


def idealised_accuracy(
    pairs: Pairs, beta: float, stated: Sequence[float | None], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """How often a perfect fit of DPO would rank by log-prob as people prefer, and how far the policy is from it.

    By the share of people who prefer the preferred response: each of `PREFERENCES` for all rows, and what rows state
    themselves [N] where they do. accuracy: of the ideal policy. gap: ideal minus observed on the same rows, called the
    alignment gap by Chen et al. 2024 (arXiv 2405.19534).
    """
    reference, observed = _gap(pairs.ref_logp), preferred(_gap(pairs.logp))
    known = np.array([a is not None for a in stated])
    cases: dict[str, tuple[Any, Any]] = {f"{a:.0%} agree": (a, slice(None)) for a in PREFERENCES}
    if known.any():
        cases["as rows state"] = np.array([a for a in stated if a is not None]), known
    found = {}
    for name, (preference, inside) in cases.items():
        ideal, clusters = preferred(idealised(reference[inside], preference, beta)), pairs.clusters[inside]
        found[name] = {
            "accuracy": share(ideal, clusters).as_dict(),
            "gap": mean(ideal - observed[inside], clusters, seed).as_dict(),
        }
    return found


def _gap(values: Array) -> Array:
    return np.asarray(values[:, 0] - values[:, 1])
