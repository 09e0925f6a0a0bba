"""Objectives for labels that are sometimes flipped: DPO's likelihood under a label model."""

from __future__ import annotations

from pluralign.likelihoods import debiased, expected
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import scores
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import FlipRate, Need, Positive, objective
from pluralign.objectives.reference import dpo


@objective(
    paper="Mitchell 2023, A note on DPO with noisy preferences and relationship to IPO",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    uses={"margin"},
    relative=True,
    reduces={"label_smoothing=0": "dpo"},
)
def cdpo(batch: PolicyBatch, *, beta: Positive = 0.1, label_smoothing: FlipRate = 0.1) -> Array:
    """(1 - eps) * dpo(y_w > y_l) + eps * dpo(y_l > y_w),  eps = label_smoothing.

    Conservative DPO: the margin stops growing at log((1 - eps) / eps).

    Use it where some labels are wrong and the policy should stay near the reference for it.
    """
    right, wrong = dpo.function(batch, beta=beta), dpo.function(batch.flipped(), beta=beta)
    return expected(right, wrong, 1 - label_smoothing)


@objective(
    paper="Chowdhury, Kini and Natarajan 2024, Provably Robust DPO: Aligning Language Models with Noisy Feedback",
    arxiv="2403.00409",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    uses={"margin"},
    relative=True,
    reduces={"label_smoothing=0": "dpo"},
)
def rdpo(batch: PolicyBatch, *, beta: Positive = 0.1, label_smoothing: FlipRate = 0.1) -> Array:
    """((1 - eps) * dpo(y_w > y_l) - eps * dpo(y_l > y_w)) / (1 - 2 eps),  eps = label_smoothing.

    De-biased, not smoothed: over labels flipped at rate eps its mean is DPO's loss on the clean ones. It has no lower
    bound, so stop early or regularise. TRL calls it `robust`.

    Use it where the flip rate is known (two annotators on the same pairs) and the clean optimum is wanted.
    """
    right, wrong = dpo.function(batch, beta=beta), dpo.function(batch.flipped(), beta=beta)
    return debiased(right, wrong, label_smoothing)
