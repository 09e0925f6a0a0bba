"""Other comparison functions on DPO's score: what a margin of log-ratios costs, or what each side of it costs."""

from __future__ import annotations

from typing import Literal

from pluralign.likelihoods import exponential, hinge, logistic, savage, sigmoid, squared, squared_hinge
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import scores
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import Inside, Need, NonNegative, Positive, Rows, objective
from pluralign.objectives.reference import dpo

CONVEX = {
    "logistic": logistic,
    "hinge": hinge,
    "squared": squared,
    "exponential": exponential,
    "squared_hinge": squared_hinge,
    "savage": savage,
}


@objective(
    paper="Tang et al. 2024, Generalized Preference Optimization (members of the family as recalled)",
    arxiv="2402.05749",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    uses={"margin"},
    relative=True,
    reduces={"loss='logistic'": "dpo", "loss='hinge'": "hinge_norm"},
)
def gpo(
    batch: PolicyBatch,
    *,
    beta: Positive = 0.1,
    loss: Literal["logistic", "hinge", "squared", "exponential", "squared_hinge", "savage"] = "exponential",
) -> Array:
    """f(beta * (h_w - h_l)),  f one of a family of losses that fall at 0; h = log pi / pi_ref.

    Logistic is dpo, hinge hinge_norm, squared ipo on sums with tau = beta / 2, up to scale. Savage is not convex. The
    same beta regularises differently under each f.

    Use it to ask how much the comparison function matters on your data, all else equal.
    """
    score = beta * batch.log_ratio
    return CONVEX[loss](score.margin - batch.margin)


@objective(
    paper="Lu et al. 2024, Discovering Preference Optimization Algorithms with and for Large Language Models",
    arxiv="2406.08414",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    uses={"margin"},
    relative=True,
    reduces={"discopop_tau without bound": "the mean of gpo's logistic and exponential losses"},
)
def discopop(batch: PolicyBatch, *, beta: Positive = 0.05, discopop_tau: Positive = 0.05) -> Array:
    """(1 - m) * -log sigmoid(z) + m * exp(-z),  m = sigmoid(z / discopop_tau),  z = beta * (h_w - h_l).

    Logistic for pairs that are wrong, exponential for pairs that are right; found by a search over programs. Not
    convex: there is a local minimum near z = -0.1. As discopop_tau grows it is the average of the two.

    Use it as an alternative to dpo with a small beta; log accuracies, since the local minimum can hold pairs back.
    """
    z = (beta * batch.log_ratio).margin - batch.margin
    share = sigmoid(z / discopop_tau)
    return (1 - share) * logistic(z) + share * exponential(z)


@objective(
    paper="D'Oosterlinck et al. 2024, Anchored Preference Optimization and Contrastive Revisions",
    arxiv="2408.06266",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    rows=(Rows.PAIRS, Rows.UNPAIRED),
    reduces={"always": "kto with a reference point of 0"},
)
def apo_zero(batch: PolicyBatch, *, beta: Positive = 0.1) -> Array:
    """(1 - sigmoid(beta h_w)) + sigmoid(beta h_l),  h = log pi / pi_ref; for a single response, its own term.

    Each side moves away from the reference by itself: the preferred up, the other down. It is kto with reference point
    0 and weights 1. TRL calls the form for single responses `apo_zero_unpaired`.

    Use it where the preferred responses are better than what the model writes.
    """
    loss = 1 - sigmoid(batch.sign * (beta * batch.log_ratio).values)
    return loss[:, 0] + loss[:, 1] if loss.shape[1] == 2 else loss[:, 0]


@objective(
    paper="D'Oosterlinck et al. 2024, Anchored Preference Optimization and Contrastive Revisions",
    arxiv="2408.06266",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
)
def apo_down(batch: PolicyBatch, *, beta: Positive = 0.1) -> Array:
    """sigmoid(beta h_w) + (1 - sigmoid(beta (h_w - h_l))),  h = log pi / pi_ref.

    Pushes both responses down, the rejected one further; the preferred one only once the two are apart.

    Use it where the model already writes better than the preferred responses.
    """
    score = beta * batch.log_ratio
    return sigmoid(score.chosen) + 1 - sigmoid(score.margin)


@objective(
    paper="Wu et al. 2024, Self-Play Preference Optimization for Language Model Alignment",
    arxiv="2405.00675",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    reduces={"always": "cal_dpo without its ranking term"},
)
def sppo_hard(batch: PolicyBatch, *, beta: Positive = 1e-3) -> Array:
    """(h_w - 1 / (2 beta))^2 + (h_l + 1 / (2 beta))^2,  h = log pi / pi_ref; beta is the paper's 1 / eta.

    A step towards a Nash equilibrium as a regression: each log-ratio has its target, so neither can run away. With a
    soft label, which averages both directions, the optimum is the paper's soft target (P - 1/2) / beta.

    Use it on responses the model sampled itself, round after round.
    """
    h, target = batch.log_ratio, 1 / (2 * beta)
    return squared(h.chosen, target) + squared(h.rejected, -target)


@objective(
    paper="Xiao et al. 2024, Cal-DPO: Calibrated Direct Preference Optimization",
    arxiv="2412.14516",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    reduces={"calibration=0": "dpo(beta=1.0)"},
)
def cal_dpo(batch: PolicyBatch, *, beta: Positive = 1e-3, calibration: NonNegative = 1.0) -> Array:
    """-log sigmoid(h_w - h_l) + calibration * sppo_hard(beta),  h = log pi / pi_ref; no beta in the first term.

    Ranking and an absolute scale for the implied rewards. The paper writes calibration 1, its code uses 0.5.

    Use it where dpo lowers the likelihood of both responses.
    """
    return logistic(batch.log_ratio.margin) + calibration * sppo_hard.function(batch, beta=beta)


@objective(
    paper="Pal et al. 2024, Smaug: Fixing Failure Modes of Preference Optimisation with DPO-Positive",
    arxiv="2402.13228",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    uses={"margin"},
    reduces={"penalty=0": "dpo(beta=0.3)", "h_w of 0 or more": "dpo"},
)
def dpop(batch: PolicyBatch, *, beta: Positive = 0.3, penalty: NonNegative = 50.0) -> Array:
    """-log sigmoid(beta * (h_w - h_l - penalty * max(0, -h_w))),  h = log pi / pi_ref; penalty is the paper's lambda.

    dpo as long as the preferred response is at least as likely as under the reference; below that it is pulled back
    hard.

    Use it where chosen and rejected differ in a few tokens, so that dpo would lower both.
    """
    h = batch.log_ratio
    return logistic(beta * (h.margin - penalty * hinge(h.chosen, 0.0)) - batch.margin)


@objective(
    paper="Yan et al. 2024, 3D-Properties: Identifying Challenges in DPO and Charting a Path Forward",
    arxiv="2406.07327",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    uses={"margin"},
    reduces={"rejected_beta=0.1": "dpo"},
)
def flex_dpo(batch: PolicyBatch, *, beta: Positive = 0.1, rejected_beta: NonNegative = 0.05) -> Array:
    """-log sigmoid(beta * h_w - rejected_beta * h_l),  h = log pi / pi_ref.

    dpo with a weaker push on the rejected response, whose likelihood otherwise crashes and takes others with it. Equal
    betas are dpo.

    Use it off-policy, where dpo spreads probability over responses nobody has seen.
    """
    h = batch.log_ratio
    return logistic(beta * h.chosen - rejected_beta * h.rejected - batch.margin)


@objective(
    paper="Yang et al. 2025, DPO-Shift: Shifting the Distribution of Direct Preference Optimization",
    arxiv="2502.07599",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    uses={"margin"},
    reduces={"rejected_share=1": "dpo"},
)
def dpo_shift(
    batch: PolicyBatch, *, beta: Positive = 0.1, rejected_share: Positive = 0.75, final_share: Positive | None = None
) -> Array:
    """-log sigmoid(beta * (h_w - lambda * h_l)),  h = log pi / pi_ref.

    lambda is rejected_share, or runs from it to final_share in equal parts over training. 1 is dpo; smaller values
    keep the preferred response likely, at the price of a smaller margin.

    Use it where the likelihood of preferred responses falls during dpo.
    """
    share = rejected_share + ((final_share or rejected_share) - rejected_share) * batch.progress
    return flex_dpo.function(batch, beta=beta, rejected_beta=share * beta)


@objective(
    paper="Lan et al. 2025, MaPPO: Maximum a Posteriori Preference Optimization with Prior Knowledge",
    arxiv="2507.21183",
    score=scores.log_ratio,
    needs={Need.REFERENCE, Need.RATINGS},
    uses={"margin"},
    reduces={"a gap of ratings of 1": "dpo", "a constant gap": "dpo_shift"},
)
def mappo(batch: PolicyBatch, *, beta: Positive = 0.1) -> Array:
    """-log sigmoid(beta * (h_w - (r_w - r_l) * h_l)),  h = log pi / pi_ref, ratings r scaled to [0, 1].

    The rejected response is pushed down only as far as its rating is below the other's: near-ties stay put. A gap of 1
    is dpo, of 0 leaves the rejected response alone.

    Use it with a reward model's scores for both responses.
    """
    gap = batch.known("rating")[:, 0] - batch.known("rating")[:, 1]
    return flex_dpo.function(batch, beta=beta, rejected_beta=gap * beta)


@objective(
    paper="Wang et al. 2023, Beyond Reverse KL: Generalizing Direct Preference Optimization with Diverse Divergences",
    arxiv="2309.16240",
    score=lambda batch, *, beta, divergence, alpha: scores.log_ratio(batch.diverged(divergence, alpha), beta=beta),
    needs={Need.REFERENCE},
    uses={"margin"},
    logistic=True,
    reduces={"divergence='reverse_kl'": "dpo"},
)
def f_dpo(
    batch: PolicyBatch,
    *,
    beta: Positive = 0.1,
    divergence: Literal["reverse_kl", "forward_kl", "jensen_shannon", "alpha"] = "jensen_shannon",
    alpha: Inside = 0.5,
) -> Array:
    """-log sigmoid(beta * (g(u_w) - g(u_l))),  u = pi / pi_ref,  g the derivative of the divergence's f.

    Reverse KL: log u (dpo). Forward KL: -1/u. Jensen-Shannon: log(2u / (1 + u)). alpha, between the two KLs:
    (1 - u^-alpha) / alpha, alpha < 1; TRL counts it the other way round, its coefficient is 1 - alpha.

    Use it to trade reward against diversity: the forward side keeps more modes.
    """
    return dpo.function(batch.diverged(divergence, alpha), beta=beta)
