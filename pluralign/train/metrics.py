"""Weighted means of metrics over whole steps and all processes, divided once, when they are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import torch

from pluralign.objectives import PolicyBatch, Scores

Reduce = Callable[[torch.Tensor], torch.Tensor]
"""Sums a tensor over processes."""


class Tally:
    """Sums of weight * value and of weight, by metric."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, name: str, values: torch.Tensor, weights: torch.Tensor) -> None:
        """Count values [N] with their weights [N]."""
        total = self._sums[name]
        total[0] += float((values.detach().double() * weights).sum())
        total[1] += float(weights.double().sum())

    def means(self, reduce: Reduce, names: list[str]) -> dict[str, float]:
        """The means so far of the named metrics over all processes, and start again. A metric never met is left out."""
        sums = torch.tensor([self._sums[name] for name in names], dtype=torch.float64)
        self._sums.clear()
        sums = reduce(sums)
        return {name: float(s / w) for name, (s, w) in zip(names, sums.tolist(), strict=True) if w > 0}


NAMES = [
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
    "displacement/chosen",
    "displacement/rejected",
    "kl",
]
"""Every metric of `add_metrics`, in the order reported."""


def add_metrics(tally: Tally, batch: PolicyBatch, rewards: Scores) -> None:
    """Add what one micro-batch says.

    chosen are the desirable responses, rejected the others. displacement: log-prob minus the reference's. kl: mean of
    log pi / pi_ref over all responses of the data; an estimate of the divergence only as far as they look like the
    policy's own samples (`pluralign evaluate` draws some).
    """
    row: torch.Tensor = batch.weight if batch.weight is not None else torch.ones_like(batch.logp[:, 0])
    weight = row[:, None] * batch.presence
    drift = None if batch.ref_logp is None else batch.log_ratio.values
    for side, mask in (("chosen", batch.sign > 0), ("rejected", batch.sign < 0)):
        tally.add(f"rewards/{side}", rewards.values[mask], weight[mask])
        tally.add(f"logps/{side}", batch.logp[mask], weight[mask])
        if drift is not None:
            tally.add(f"displacement/{side}", drift[mask], weight[mask])
    if drift is not None:
        tally.add("kl", drift.flatten(), weight.flatten())
    if batch.logp.shape[1] == 2:
        row = row * batch.presence[:, 1]
        margins = rewards.chosen - rewards.rejected
        # A tie is half right, so that a policy equal to its reference scores 0.5 and not 0 or 1.
        right = (margins > 0).double() + 0.5 * (margins == 0).double()
        tally.add("rewards/margins", margins, row)
        tally.add("rewards/accuracies", right, row)
