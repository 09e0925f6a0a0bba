"""Several objectives, several prompts: trade-offs between rewards, and comparisons across prompts."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from annotated_types import Gt, Le

from pluralign.likelihoods import logistic
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import scores
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import Need, NonNegative, Positive, Rows, objective
from pluralign.objectives.values import Scores


@objective(
    paper="Zhou et al. 2023, Beyond One-Preference-Fits-All Alignment: Multi-Objective DPO",
    arxiv="2310.03708",
    score=scores.log_ratio,
    needs={Need.REFERENCE, Need.FROZEN},
    uses={"margin"},
    relative=True,
    reduces={"own_weight=1": "dpo"},
)
def modpo(batch: PolicyBatch, *, beta: Positive = 0.1, own_weight: Annotated[float, Gt(0), Le(1)] = 0.5) -> Array:
    """-log sigmoid((beta * (h_w - h_l) - sum_j w_j (r_j(y_w) - r_j(y_l))) / own_weight),  r = beta log pi_j / pi_ref.

    A trade-off between the objective these pairs judge, of weight own_weight, and those that other models were aligned
    to, which share the rest: the optimum is that of the weighted sum of all rewards. Rewards from elsewhere go,
    weighted, into the row's margin. own_weight 1 is dpo.

    Use it for a front of policies between, say, helpful and harmless, each trained like dpo.
    """
    others = batch.known("frozen_logp") - batch.known("ref_logp")[:, :, None]
    share = (1 - own_weight) / others.shape[2]
    asked = sum((share * beta * Scores(others[:, :, j]).margin for j in range(others.shape[2])), start=batch.margin)
    return logistic(((beta * batch.log_ratio).margin - asked) / own_weight)


@objective(
    paper="Lou et al. 2024, SPO: Multi-Dimensional Preference Sequential Alignment (placement of the weights derived)",
    arxiv="2405.12739",
    score=scores.log_ratio,
    needs={Need.REFERENCE, Need.FROZEN},
    uses={"margin"},
    relative=True,
    reduces={"keep=0": "dpo"},
)
def spo_seq(batch: PolicyBatch, *, beta: Positive = 0.1, keep: NonNegative = 0.3) -> Array:
    """-log sigmoid(beta * (h_w - h_l) - keep * sum_i (R_i(y_w) - R_i(y_l))),  R_i the reward implied by round i.

    Round n of aligning dimension after dimension: the reference is round n - 1, the frozen models are the rounds before
    it, oldest first. R_i = beta * log pi_i / pi_(i-1) - keep * (R_1 + ... + R_(i-1)). The optimum is
    pi_ref * exp((r_n + keep * earlier rewards) / beta). keep 0 is plain sequential dpo. As derived from the constrained
    problem; the paper's own placement of the multipliers could not be checked.

    Use it to add a second dimension of preference without losing the first.
    """
    frozen, ref = batch.known("frozen_logp"), batch.known("ref_logp")
    rounds = [Scores(frozen[:, :, i]).margin for i in range(frozen.shape[2])] + [Scores(ref).margin]
    earlier = 0 * rounds[0]
    for before, after in pairwise(rounds):
        earlier = earlier + beta * (after - before) - keep * earlier
    return logistic((beta * batch.log_ratio).margin - keep * earlier - batch.margin)


@objective(
    paper="Bansal et al. 2024, Comparing Bad Apples to Good Oranges: Joint Preference Optimization (DOVE)",
    arxiv="2404.00530",
    score=scores.joint_log_ratio,
    needs={Need.JOINT},
    uses={"margin"},
    logistic=True,
    reduces={"one prompt for both responses": "dpo"},
)
def dove(batch: PolicyBatch, *, beta: Positive = 0.1) -> Array:
    """-log sigmoid(beta * (H_w - H_l)),  H = log pi(x, y) / pi_ref(x, y), prompt tokens included.

    Compares a question with its answer to another question with its answer. Under one prompt its tokens cancel and it
    is dpo.

    Use it for judgements across prompts: rows without a common prompt, each response a whole conversation.
    """
    return logistic(scores.joint_log_ratio(batch, beta=beta).margin - batch.margin)


@objective(
    paper="Sun et al. 2025, multi-level aware preference learning (MAPL; the comparison of four as recalled)",
    arxiv="2505.12845",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    rows=(Rows.PAIRS, Rows.RANKINGS),
    uses={"margin"},
    reduces={"two responses under one prompt": "dpo"},
)
def mapl(batch: PolicyBatch, *, beta: Positive = 0.1) -> Array:
    """-log sigmoid(s_1 - s_2), or -log sigmoid((s_1 - s_2) - (s_3 - s_4)) for four;  s = beta * log pi / pi_ref.

    Two: one response under a prompt it satisfies and one it violates. Four: the same pair under two prompts, the first
    of which should tell it apart more. Each response stands under its own prompt, so log Z(x) does not cancel in the
    comparison of two, and part of the gradient goes into how likely a prompt makes its answers.

    Use it with constraints that a program can check, beside dpo on the pairs themselves (dpo + mapl wants one file).
    """
    score = (beta * batch.log_ratio).values
    if score.shape[1] == 4:
        return logistic(score[:, 0] - score[:, 1] - score[:, 2] + score[:, 3] - batch.margin)
    return logistic(Scores(score).margin - batch.margin)
