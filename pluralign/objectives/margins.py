"""Objectives that read how far apart two responses are: ratings, votes, ties."""

from __future__ import annotations

from typing import Literal

from array_api_compat import array_namespace

from pluralign.errors import OptionError
from pluralign.likelihoods import expected, logistic, rao_kupper, sigmoid
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import scores
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import Need, NonNegative, Positive, objective
from pluralign.objectives.reference import dpo
from pluralign.objectives.values import Scores


@objective(
    paper="Amini, Vieira and Cotterell 2024, Direct Preference Optimization with an Offset",
    arxiv="2402.10571",
    score=scores.log_ratio,
    needs={Need.REFERENCE, Need.RATINGS},
    uses={"margin"},
    logistic=True,
    reduces={"alpha=0": "dpo"},
)
def odpo(
    batch: PolicyBatch,
    *,
    beta: Positive = 0.1,
    alpha: NonNegative = 1.0,
    offset: Literal["log", "identity"] = "log",
) -> Array:
    """-log sigmoid(beta * (h_w - h_l) - alpha * f(r_w - r_l)),  f = log or identity; h = log pi / pi_ref.

    The wider the gap of ratings, the wider the margin asked for. With log, a gap below 1 asks for less than none; gaps
    must not be 0. alpha 0 is dpo.

    Use it where ratings come with the pairs and their size means something.
    """
    xp = array_namespace(batch.logp)
    gap = Scores(batch.known("rating")).margin
    if offset == "log" and bool((gap == 0).any()):
        raise OptionError("odpo: a pair is rated alike, and log 0 has no end; leave ties out, or use offset identity")
    # Odd in the gap, so that a flipped label asks for the opposite margin.
    asked = gap if offset == "identity" else xp.sign(gap) * xp.log(xp.abs(gap))
    return logistic((beta * batch.log_ratio).margin - alpha * asked - batch.margin)


@objective(
    paper="Padmakumar et al. 2024, Beyond the Binary: Capturing Diverse Preferences with Reward Regularization",
    arxiv="2412.03822",
    score=scores.log_ratio,
    needs={Need.REFERENCE, Need.RATINGS},
    uses={"margin"},
    logistic=True,
    reduces={"scale=0": "dpo"},
)
def margin_reg(batch: PolicyBatch, *, beta: Positive = 0.1, scale: NonNegative = 1.0) -> Array:
    """-log sigmoid(beta * (h_w - h_l) - scale * (r_w - r_l)),  r = share of judges who prefer the response.

    The more the judges agree, the wider the margin; a split pair asks for none. As described by the paper's abstract;
    how votes become a margin is recalled, so `scale` is yours. scale 0 is dpo.

    Use it where several people, or several samples of a judge, voted on each pair: give shares of votes as ratings.
    """
    return odpo.function(batch, beta=beta, alpha=scale, offset="identity")


@objective(
    paper="Kim et al. 2024, Margin Matching Preference Optimization: Enhanced Model Alignment with Granular Feedback",
    arxiv="2410.03145",
    score=scores.log_ratio,
    needs={Need.REFERENCE, Need.RATINGS},
    uses={"margin"},
    relative=True,
    reduces={"gamma without bound": "dpo", "a constant gap of ratings": "cdpo"},
)
def mmpo(batch: PolicyBatch, *, beta: Positive = 0.1, gamma: NonNegative = 1.0) -> Array:
    """p * dpo(y_w > y_l) + (1 - p) * dpo(y_l > y_w),  p = sigmoid(gamma * (r_w - r_l)).

    The gap of ratings is how often people would agree, not only who wins: the implied margin settles at
    gamma * (r_w - r_l) instead of growing. Large gamma is dpo.

    Use it with ratings, where calibrated margins matter; gamma depends on the rating's scale.
    """
    right, wrong = dpo.function(batch, beta=beta), dpo.function(batch.flipped(), beta=beta)
    return expected(right, wrong, sigmoid(gamma * Scores(batch.known("rating")).margin))


@objective(
    paper="Guo et al. 2024, TODO: Enhancing LLM Alignment with Ternary Preferences (loss derived from its model)",
    arxiv="2411.02442",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    uses={"margin", "tie"},
    relative=True,
    reduces={"alpha near 0": "dpo on wins"},
)
def todo(batch: PolicyBatch, *, beta: Positive = 0.01, alpha: Positive = 0.5) -> Array:
    """-log P(win) or -log P(tie),  P(win) = sigmoid(mu - alpha),  P(tie) what is left,  mu = beta * (h_w - h_l).

    Ties take part: a Rao-Kupper model, in which a lead below about alpha is often called a tie. ties(...) does the same
    for another logistic objective.

    Use it where judges could say "equally good", and some did.
    """
    tie = 0 * batch.logp[:, 0] if batch.tie is None else batch.tie
    return rao_kupper((beta * batch.log_ratio).margin - batch.margin, tie, alpha)
