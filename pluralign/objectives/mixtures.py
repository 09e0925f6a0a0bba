"""Sums of losses under one name."""

from __future__ import annotations

from pluralign.likelihoods.numerics import Array
from pluralign.objectives import scores
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import Need, NonNegative, Positive, objective
from pluralign.objectives.reference import dpo


@objective(
    paper="Pang et al. 2024, Iterative Reasoning Preference Optimization",
    arxiv="2404.19733",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    uses={"margin"},
)
def nll_augmented(batch: PolicyBatch, *, beta: Positive = 0.1, alpha: NonNegative = 1.0) -> Array:
    """dpo(beta) + alpha * NLL(y_w).

    DPO that may not lower the likelihood of the preferred response. Liu et al. 2024 (regularised preference
    optimisation) use alpha 0.005 and beta 0.01.

    Use it where DPO makes the preferred responses less likely: reasoning chains, near-duplicate pairs.
    """
    return dpo.function(batch, beta=beta) + alpha * batch.nll
