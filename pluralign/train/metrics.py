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
    "ranking/accuracies",
    "ranking/accuracies_per_token",
    "ranking/difficulty",
    "rewards/longer",
    "gradients/chosen",
    "gradients/rejected",
    "gradients/log_ratio",
    "auxiliary",
]
"""Every metric of `add_metrics` and `add_slopes`, in the order reported."""
REWARD_NAMES = [name for name in NAMES if name.startswith(("rewards/", "gradients/")) and name != "rewards/longer"]
"""Those that mean something where the numbers are rewards and no log-probs."""


def add_metrics(tally: Tally, batch: PolicyBatch, rewards: Scores) -> None:
    """Add what one micro-batch says.

    chosen are the desirable responses, rejected the others. displacement: log-prob minus the reference's. kl: mean of
    log pi / pi_ref over all responses of the data; an estimate of the divergence only as far as they look like the
    policy's own samples (`pluralign evaluate` draws some).

    auxiliary: loss of the extra task, of rows that take part in it.

    Of pairs: ranking/accuracies, how often log pi itself ranks as people do, and by the mean log-prob of a token
    (Chen et al. 2024): another thing than rewards/accuracies, which knows the reference. ranking/difficulty: by how
    much the reference has them the wrong way round. rewards/longer: how often the reward prefers the longer response.
    """
    row: torch.Tensor = batch.weight if batch.weight is not None else torch.ones_like(batch.logp[:, 0])
    weight = row[:, None] * batch.presence
    drift = None if batch.ref_logp is None else batch.log_ratio.values
    for side, mask in (("chosen", batch.sign > 0), ("rejected", batch.sign < 0)):
        tally.add(f"rewards/{side}", rewards.values[mask], weight[mask])
        tally.add(f"logps/{side}", batch.logp[mask], weight[mask])
        if drift is not None:
            tally.add(f"displacement/{side}", drift[mask], weight[mask])
    if batch.auxiliary is not None:
        tally.add("auxiliary", batch.auxiliary, row * (batch.auxiliary > 0))
    if drift is not None:
        tally.add("kl", drift.flatten(), weight.flatten())
    if batch.logp.shape[1] == 2:
        row = row * batch.presence[:, 1]
        margins = rewards.chosen - rewards.rejected
        tally.add("rewards/margins", margins, row)
        tally.add("rewards/accuracies", half_of_ties(margins), row)
        tally.add("ranking/accuracies", half_of_ties(batch.logp[:, 0] - batch.logp[:, 1]), row)
        if batch.ref_logp is not None:
            tally.add("ranking/difficulty", batch.ref_logp[:, 1] - batch.ref_logp[:, 0], row)
        if batch.length is not None:
            mean, longer = batch.mean_logp.margin, batch.length[:, 0] - batch.length[:, 1]
            tally.add("ranking/accuracies_per_token", half_of_ties(mean), row)
            tally.add("rewards/longer", half_of_ties(margins * longer.sign()), row * (longer != 0))


def half_of_ties(margins: torch.Tensor) -> torch.Tensor:
    """1 where a margin is positive, 0 where negative; a tie is half right, so that a policy equal to its reference
    scores 0.5 and not 0 or 1.
    """
    return (margins > 0).double() + 0.5 * (margins == 0).double()


def add_slopes(tally: Tally, batch: PolicyBatch, loss: torch.Tensor) -> None:
    """Add how hard the loss pulls at each side; loss: the batch's part of its step's mean, with its gradient.

    gradients/chosen, gradients/rejected: mean size of the slope of a row's loss in the log-prob of its response.
    log_ratio: log of |dloss/dpi(y_l)| over |dloss/dpi(y_w)|, slopes in probability (3D-properties, Yan et al. 2024):
    under dpo log pi(y_w) - log pi(y_l), which grows as the rejected response becomes unlikely. Objectives that read
    single tokens only have no such slope.
    """
    if not loss.requires_grad or not batch.logp.requires_grad:
        return
    slopes: tuple[torch.Tensor | None, ...] = torch.autograd.grad(
        loss, batch.logp, retain_graph=True, allow_unused=True
    )
    if (slope := slopes[0]) is None:
        return
    row = torch.ones_like(batch.logp[:, 0]) if batch.weight is None else batch.weight
    # Per row, not as the row's share of the step.
    size = slope.abs() * (batch.step.weight / row.clamp(min=1e-12))[:, None]
    weight = row[:, None] * batch.presence
    for side, mask in (("chosen", batch.sign > 0), ("rejected", batch.sign < 0)):
        tally.add(f"gradients/{side}", size[mask], weight[mask])
    if batch.logp.shape[1] == 2:
        pulled = (size > 0).all(1)
        ratio = torch.log(size[:, 1] / size[:, 0]) + batch.logp[:, 0] - batch.logp[:, 1]
        tally.add("gradients/log_ratio", ratio[pulled], (row * batch.presence[:, 1])[pulled])
