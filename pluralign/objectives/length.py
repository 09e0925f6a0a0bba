"""DPO without its taste for length."""

from __future__ import annotations

from array_api_compat import array_namespace

from pluralign.likelihoods import logistic
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import scores
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import Need, NonNegative, Positive, Share, objective
from pluralign.objectives.reference import dpo
from pluralign.objectives.values import Scores


@objective(
    paper="Ahrabian et al. 2024, The Hitchhiker's Guide to Human Alignment with *PO; Lambert et al. 2024, Tulu 3",
    arxiv="2407.15229",
    score=scores.mean_log_ratio,
    needs={Need.REFERENCE},
    uses={"margin"},
    logistic=True,
    reduces={"equal lengths T": "dpo(beta / T)"},
)
def ln_dpo(batch: PolicyBatch, *, beta: Positive = 5.0) -> Array:
    """-log sigmoid(beta * (hbar_w - hbar_l)),  hbar = mean over tokens of log pi / pi_ref.

    dpo on means: a response gains nothing by being long. Where both have T tokens it is dpo with beta / T. TRL calls
    it `sigmoid_norm`.

    Use it where dpo makes answers longer; it also forgives a badly chosen beta.
    """
    return logistic((beta * batch.mean_log_ratio).margin - batch.margin)


@objective(
    paper="Park et al. 2024, Disentangling Length from Quality in Direct Preference Optimization",
    arxiv="2403.19159",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    uses={"margin"},
    logistic=True,
    reduces={"alpha=0": "dpo"},
)
def r_dpo(batch: PolicyBatch, *, beta: Positive = 0.1, alpha: NonNegative = 0.01) -> Array:
    """-log sigmoid(beta * (h_w - h_l) + alpha * (|y_w| - |y_l|)),  h = log pi / pi_ref, |y| in tokens.

    Length explains part of the preference, alpha for each token, so that the policy need not. The term is added:
    people's margin holds plus alpha times length. (Sign derived, and checked in the exact world.)

    Use it where judges like long answers and you know, or tune, by how much.
    """
    length = Scores(batch.known("length"))
    return logistic((beta * batch.log_ratio).margin + alpha * length.margin - batch.margin)


@objective(
    paper="Liu et al. 2024, Length Desensitization in Direct Preference Optimization",
    arxiv="2409.06411",
    score=lambda batch, *, beta, ld_alpha: scores.log_ratio(batch.over_tokens(_beyond(batch, ld_alpha)), beta=beta),
    needs={Need.REFERENCE, Need.TOKENS},
    uses={"margin"},
    logistic=True,
    reduces={"ld_alpha=1": "dpo"},
)
def ld_dpo(batch: PolicyBatch, *, beta: Positive = 0.1, ld_alpha: Share = 0.5) -> Array:
    """dpo(beta), tokens beyond the length of the shorter response counting ld_alpha each, in policy and reference.

    1 is dpo; 0 compares the length both have. Positions are counted from the start of the response.

    Use it where the longer response tends to win because it is longer.
    """
    return dpo.function(batch.over_tokens(_beyond(batch, ld_alpha)), beta=beta)


def _beyond(batch: PolicyBatch, alpha: float) -> Array:
    tokens = batch.known("tokens")
    xp = array_namespace(tokens.mask)
    shared = xp.min(tokens.length, axis=1)[:, None, None]
    return xp.where(tokens.position <= shared, tokens.mask, alpha * tokens.mask)


@objective(
    paper="Lu et al. 2024, Eliminating Biased Length Reliance of DPO via Down-Sampled KL Divergence",
    arxiv="2406.10957",
    score=lambda batch, *, beta: scores.log_ratio(batch.over_tokens(_sample(batch)), beta=beta),
    needs={Need.REFERENCE, Need.TOKENS, Need.RANDOM},
    uses={"margin"},
    logistic=True,
    reduces={"equal lengths, or evaluation": "dpo"},
)
def sampo(batch: PolicyBatch, *, beta: Positive = 0.1) -> Array:
    """dpo(beta) on min(|y_w|, |y_l|) tokens of each response, drawn without replacement, the same in both models.

    Both sides of the comparison hold the same number of tokens. The draw comes from the seed; in evaluation all tokens
    count.

    Use it where dpo makes answers longer and a mean over tokens is too blunt.
    """
    return dpo.function(batch.over_tokens(_sample(batch)), beta=beta)


def _sample(batch: PolicyBatch) -> Array:
    """1 for the tokens drawn: those with the smallest random numbers."""
    tokens = batch.known("tokens")
    if tokens.uniform is None:
        return tokens.mask
    xp = array_namespace(tokens.mask)
    drawn = xp.where(tokens.mask > 0, tokens.uniform, 2 * xp.ones_like(tokens.uniform))
    place = xp.argsort(xp.argsort(drawn, axis=2), axis=2)
    return xp.where(place < xp.min(tokens.length, axis=1)[:, None, None], tokens.mask, 0 * tokens.mask)
