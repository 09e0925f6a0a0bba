"""Pairwise objectives on log-ratios to a reference model."""

from __future__ import annotations

from typing import Literal

from pluralign.likelihoods import hinge, logistic, squared
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import scores
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import Need, Positive, objective
from pluralign.objectives.values import Scores


@objective(
    paper="Rafailov et al. 2023, Direct Preference Optimization",
    arxiv="2305.18290",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    uses={"margin"},
    logistic=True,
)
def dpo(batch: PolicyBatch, *, beta: Positive = 0.1) -> Array:
    """-log sigmoid(beta * (h_w - h_l)),  h(y) = log pi(y|x) - log pi_ref(y|x).

    The policy that maximises reward minus beta * KL to the reference, fitted to Bradley-Terry choices. A row's margin
    is subtracted inside the sigmoid (an offset, Amini et al. 2024).

    Use it first: the best understood, and the one to compare others with.
    """
    score = beta * batch.log_ratio
    return logistic(score.margin - batch.margin)


def _ipo_score(batch: PolicyBatch, *, beta: Array | float, per: str) -> Scores:
    return (scores.mean_log_ratio if per == "token" else scores.log_ratio)(batch, beta=beta)


@objective(
    paper="Azar et al. 2023, A General Theoretical Paradigm to Understand Learning from Human Preferences",
    arxiv="2310.12036",
    score=_ipo_score,
    needs={Need.REFERENCE},
    relative=True,
    reduces={"per='sequence'": "gpo's squared loss, scaled"},
)
def ipo(batch: PolicyBatch, *, beta: Positive = 0.1, per: Literal["token", "sequence"] = "token") -> Array:
    """(h_w - h_l - 1 / (2 beta))^2,  h = mean (per token) or sum (per sequence) of log pi / pi_ref.

    A target margin instead of an ever larger one, so deterministic preferences do not push the policy to the edge.
    beta is the paper's tau. Per token is the form its authors confirm; per sequence makes the target depend on length.

    Use it where each pair was judged once and nearly all judges would agree, so that DPO overfits.
    """
    score = batch.mean_log_ratio if per == "token" else batch.log_ratio
    return squared(score.margin, target=1 / (2 * beta))


@objective(
    paper="Zhao et al. 2023, SLiC-HF; Liu et al. 2023, Statistical Rejection Sampling",
    arxiv="2309.06657",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    uses={"margin"},
    relative=True,
    reduces={"always": "gpo(loss='hinge')"},
)
def hinge_norm(batch: PolicyBatch, *, beta: Positive = 0.1) -> Array:
    """max(0, 1 - beta * (h_w - h_l)),  h(y) = log pi(y|x) - log pi_ref(y|x).

    DPO's score under the hinge: pairs whose margin is large enough stop pulling. TRL calls it `hinge`.

    Use it where easy pairs should stop taking part once they are right.
    """
    score = beta * batch.log_ratio
    return hinge(score.margin - batch.margin)
