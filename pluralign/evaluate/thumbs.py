"""Figures of held-out single responses that people called good or bad."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pluralign.evaluate.figures import Array, Clusters, auc, auc_difference, mean, share
from pluralign.evaluate.measures import PAIRED, scorings
from pluralign.evaluate.slices import quarters


@dataclass(frozen=True)
class Thumbs:
    """N single responses.

    reward, logp, ref_logp, length (tokens), characters: [N]. good: booleans [N]. clusters: [N].
    """

    reward: Array
    logp: Array
    ref_logp: Array
    length: Array
    characters: Array
    good: Clusters
    clusters: Clusters

    def __len__(self) -> int:
        return len(self.reward)

    def part(self, inside: Any) -> Thumbs:
        """Some of the responses."""
        return replace(self, **{name: getattr(self, name)[inside] for name in self.__dataclass_fields__})

    @property
    def bands(self) -> dict[str, list[str]]:
        """What to divide responses by besides their columns [N]: tokens."""
        return {"length": quarters(self.length)}

    @property
    def mixed(self) -> bool:
        """Whether there are good and bad ones to tell apart."""
        return bool(self.good.any() and not self.good.all())

    def measure(self, seed: int = 0) -> dict[str, Any]:
        """What `Pairs.measure` gives where single responses allow it: accuracy is the AUC, chosen are the good ones."""
        rules, good, clusters = scorings(self), self.good, self.clusters
        drift = self.logp - self.ref_logp
        sides = {"chosen": good, "rejected": ~good}
        return {
            "accuracy": {name: auc(values, good, clusters).as_dict() for name, values in rules.items()},
            "difference": {
                f"{a} - {b}": auc_difference(rules[a], rules[b], good, clusters) for a, b in PAIRED if b in rules
            },
            "displacement": {
                **{name: mean(drift[side], clusters[side], seed).as_dict() for name, side in sides.items()},
                "chosen_fell": share((drift[good] < 0).astype(float), clusters[good]).as_dict(),
            },
        }
