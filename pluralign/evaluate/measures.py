"""Figures of held-out pairs, of all of them and of any part: from scores to accuracies, differences, displacement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
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

SMALL = 30
"""A slice with fewer rows than this is marked: its interval is wide and its value says little."""

MOST_SLICES = 50
"""Three hundred annotators with two rows each tell nothing row by row."""

LAYOUT = 3
"""Of evaluation/NAME.json. Raised when names in it change, so that an old file is told from a damaged one."""

REWARD, RATIO_MEAN = "implicit reward", "mean log-ratio"
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

CLOSE = 0.2
"""Two responses are of like length when the longer has at most this share more characters."""

SIDES, LIKE = "longer side", "of like length"
"""The slice by which response is the longer, and its part in which length tells little."""

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
    def rankings(self) -> dict[str, tuple[Array, Any]]:
        """Each way to tell the preferred response: its margins [N] and where it has an opinion at all [N]."""
        everywhere = np.ones(len(self), dtype=bool)
        longer = _gap(self.characters)
        found = {
            REWARD: _gap(self.reward),
            RATIO_MEAN: _gap((self.logp - self.ref_logp) / self.length),
            POLICY: _gap(self.logp),
            POLICY_MEAN: _gap(self.logp / self.length),
            REFERENCE: _gap(self.ref_logp),
            REFERENCE_MEAN: _gap(self.ref_logp / self.length),
            LONGER: longer,
            SHORTER: -longer,
        }
        rankings = {name: (margins, everywhere) for name, margins in found.items()}
        if (self.shown != 0).any():
            rankings[FIRST] = self.shown, self.shown != 0
        return rankings


def measure(pairs: Pairs, seed: int = 0) -> dict[str, Any]:
    """Accuracy by every ranking, paired differences, calibration, margin and displacement of these pairs."""
    rankings, clusters = pairs.rankings, pairs.clusters
    right = {name: preferred(margins) for name, (margins, _) in rankings.items()}
    drift, margin = pairs.logp - pairs.ref_logp, _gap(pairs.reward)
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


def sliced(
    pairs: Pairs, columns: Mapping[str, Sequence[Any]], cluster_by: str, seed: int = 0
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Every figure by the values of every column, and the columns that have too many values, with how many.

    columns: values [N], None where a row has none. Within a slice by the cluster itself there is one cluster only, and
    what is said is said of that cluster: there rows are the units.
    """
    found = []
    groups, left_out = parts({"length": _quarters(pairs), SIDES: _sides(pairs), **columns}, always=(SIDES,))
    for name, value, inside in groups:
        part = pairs.part(inside)
        if name == cluster_by:
            part = replace(part, clusters=np.arange(len(inside)))
        figures = measure(part, seed)
        for drawn in ("table", "counts", "edges"):
            figures["calibration"].pop(drawn, None)
            figures["margins"].pop(drawn, None)
        about = {"by": name, "value": value, "n": len(inside), "clusters": len(np.unique(part.clusters))}
        found.append({**about, "small": len(inside) < SMALL, **figures})
    return found, left_out


def parts(
    columns: Mapping[str, Sequence[Any]], always: Sequence[str] = ()
) -> tuple[list[tuple[str, str, list[int]]], dict[str, int]]:
    """Column, value and rows of each part, and the columns that have too many values, with how many.

    columns: values [N], None where a row has none. A column of one value is no division, but for those named always.

    >>> parts({"topic": ["tea", "rain", None, "tea"], "language": ["en"] * 4})
    ([('topic', 'rain', [1]), ('topic', 'tea', [0, 3])], {})
    """
    found, left_out = [], {}
    for name, values in columns.items():
        places: dict[str, list[int]] = defaultdict(list)
        for i, value in enumerate(values):
            if value is not None:
                places[str(value)].append(i)
        if len(places) > MOST_SLICES:
            left_out[name] = len(places)
        elif len(places) > 1 or name in always:
            found += [(name, value, inside) for value, inside in sorted(places.items())]
    return found, left_out


def _quarters(pairs: Pairs) -> list[str]:
    longest = pairs.length.max(1)
    bands = np.searchsorted(np.quantile(longest, [0.25, 0.5, 0.75]), longest, side="left")
    return [f"quarter {band + 1} of 4" for band in bands]


def _sides(pairs: Pairs) -> list[str]:
    ours, other = pairs.characters[:, 0], pairs.characters[:, 1]
    like = np.maximum(ours, other) <= (1 + CLOSE) * np.minimum(ours, other)
    return [str(v) for v in np.where(like, LIKE, np.where(ours > other, "preferred is longer", "preferred is shorter"))]


def _gap(values: Array) -> Array:
    return np.asarray(values[:, 0] - values[:, 1])
