"""Objectives on the policy's own log-probs: no reference model."""

from __future__ import annotations

from typing import Any, Literal

from array_api_compat import array_namespace

from pluralign.errors import MissingInput
from pluralign.likelihoods import hinge, logistic
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import scores
from pluralign.objectives.batch import EXPONENT, PolicyBatch
from pluralign.objectives.objective import Need, NonNegative, Positive, Rows, objective
from pluralign.objectives.values import Scores


@objective(
    paper="maximum likelihood (textbook form)",
    score=scores.mean_logp,
    rows=(Rows.DEMONSTRATIONS, Rows.PAIRS),
)
def sft(batch: PolicyBatch) -> Array:
    """-log pi(y_w|x) a token, averaged over the tokens of the whole step.

    Imitation of the preferred response; the rejected one, if there is one, is not looked at.

    Use it before preference training, or where only good answers are at hand.
    """
    return batch.nll


@objective(
    paper="Zhao et al. 2023, SLiC-HF: Sequence Likelihood Calibration with Human Feedback",
    arxiv="2305.10425",
    score=scores.total_logp,
    uses={"margin"},
)
def slic(batch: PolicyBatch, *, delta: Positive = 1.0, sft_weight: NonNegative = 0.1) -> Array:
    """max(0, delta - log pi(y_w|x) + log pi(y_l|x)) - sft_weight * log pi(y_w|x), sums over tokens.

    A margin between likelihoods, with the chosen response as the regularisation target. sft_weight is the paper's
    lambda.

    Use it where no reference model fits and likelihoods are close to calibrated.
    """
    score = batch.total_logp
    return hinge(score.margin - batch.margin, delta) - sft_weight * score.chosen


@objective(
    paper="Meng, Xia and Chen 2024, SimPO: Simple Preference Optimization with a Reference-Free Reward",
    arxiv="2405.14734",
    score=scores.mean_logp,
    uses={"margin"},
    logistic=True,
    reduces={"gamma=0 and a reference": "ln_dpo"},
)
def simpo(batch: PolicyBatch, *, beta: Positive = 2.0, gamma: NonNegative = 1.0) -> Array:
    """-log sigmoid(beta * (mean log pi(y_w|x) - mean log pi(y_l|x)) - gamma), means over tokens.

    Length-normalised, with a target margin gamma (the paper tunes gamma / beta, 0.3 to 0.5 for most models).

    Use it where responses differ in length and memory for a reference is short; it needs a careful learning rate.
    """
    score = beta * batch.mean_logp
    return logistic(score.margin - gamma - batch.margin)


@objective(
    paper="Xu et al. 2024, Contrastive Preference Optimization",
    arxiv="2401.08417",
    score=scores.total_logp,
    uses={"margin"},
    reduces={"alpha=0": "dpo against a reference that finds all responses alike"},
)
def cpo(batch: PolicyBatch, *, beta: Positive = 0.1, alpha: NonNegative = 1.0) -> Array:
    """-log sigmoid(beta * (log pi(y_w|x) - log pi(y_l|x))) + alpha * NLL(y_w), sums over tokens in the first term.

    DPO with a uniform reference, held in place by imitation of the preferred response.

    Use it where no reference model fits and the preferred responses are worth imitating (it comes from translation).
    """
    score = beta * batch.total_logp
    return logistic(score.margin - batch.margin) + alpha * batch.nll


def _orpo_needs(options: dict[str, Any]) -> set[Need]:
    return {Need.PROMPT} if options["nll_over"] == "prompt and response" else set()


@objective(
    paper="Hong, Lee and Thorne 2024, ORPO: Monolithic Preference Optimization without Reference Model",
    arxiv="2403.07691",
    score=scores.log_odds,
    needs=_orpo_needs,
    uses={"margin"},
    reduces={"beta near 0": "sft"},
)
def orpo(
    batch: PolicyBatch,
    *,
    beta: NonNegative = 0.1,
    nll_over: Literal["response", "prompt and response"] = "response",
) -> Array:
    """NLL(y_w) - beta * log sigmoid(o_w - o_l),  o = log odds of the mean token probability exp(mean log pi).

    Fine-tuning and preference in one stage. beta is the paper's lambda. The authors' code also counts prompt tokens
    in the NLL; `nll_over` says which.

    Use it on a base model that has had no fine-tuning yet, to do both in one run.
    """
    score = scores.log_odds(batch)
    nll = batch.nll if nll_over == "response" else batch.nll_with_prompt
    return nll + beta * logistic(score.margin - batch.margin)


def _alpha_score(batch: PolicyBatch, *, beta: Array | float, alpha: float, **_: Any) -> Scores:
    if alpha == 0:
        return scores.mean_logp(batch, beta=beta)
    xp = array_namespace(batch.logp)
    power = xp.clip(-alpha * batch.mean_logp.values, max=EXPONENT)
    return beta * Scores(-xp.expm1(power) / alpha)


@objective(
    paper="Gupta et al. 2025, AlphaPO: Reward Shape Matters for LLM Alignment",
    arxiv="2501.03884",
    score=_alpha_score,
    uses={"margin"},
    logistic=True,
    reduces={"alpha=0": "simpo(beta=2.5, gamma=0.1)"},
)
def alphapo(batch: PolicyBatch, *, beta: Positive = 2.5, gamma: NonNegative = 0.1, alpha: float = 0.25) -> Array:
    """-log sigmoid(R_w - R_l - gamma),  R = beta * (1 - p^-alpha) / alpha,  p = exp(mean log pi) over tokens.

    simpo with a bent reward: alpha > 0 pulls harder on unlikely responses, alpha < 0 spares them, 0 is simpo.

    Use it where simpo lowers the likelihood of preferred responses; alpha between -0.5 and 0.5.
    """
    score = _alpha_score(batch, beta=beta, alpha=alpha)
    return logistic(score.margin - gamma - batch.margin)


@objective(
    paper="Xiao et al. 2025, SimPER: A Minimalist Approach to Preference Alignment without Hyperparameters",
    arxiv="2502.00883",
    score=scores.inverse_perplexity,
    relative=True,
)
def simper(batch: PolicyBatch) -> Array:
    """p_l - p_w,  p = exp(mean over tokens of log pi), the inverse of the perplexity.

    No temperature, no margin. A response that is already unlikely pulls little, since its slope is its own p.

    Use it where there is no budget to tune anything but the learning rate.
    """
    return -scores.inverse_perplexity(batch).margin


@objective(
    paper="Wang et al. 2024, ASFT: Aligned Supervised Fine-Tuning through Absolute Likelihood",
    arxiv="2409.10571",
    score=scores.log_odds,
)
def asft(batch: PolicyBatch, *, beta: NonNegative = 0.5) -> Array:
    """-mean log pi(y_w) + beta * (-log sigmoid(o_w) - log sigmoid(-o_l)),  o = log odds of exp(mean log pi).

    Each side by itself: the preferred response likely, the other unlikely, no reference. beta is the paper's lambda.
    It is never below orpo's loss with the same lambda (NLL per response there too).

    Use it as orpo, where the gap between the two may grow without the preferred response becoming likely.
    """
    score = scores.log_odds(batch)
    return -batch.mean_logp.chosen + beta * (logistic(score.chosen) + logistic(-score.rejected))


@objective(
    paper="Xu et al. 2024, Contrastive Preference Optimization; Meng et al. 2024, SimPO (their sum, from CPO's code)",
    arxiv="2401.08417",
    score=scores.mean_logp,
    uses={"margin"},
    reduces={"alpha=0": "simpo(beta=2.0, gamma=1.0)"},
)
def cpo_simpo(batch: PolicyBatch, *, beta: Positive = 2.0, gamma: NonNegative = 1.0, alpha: NonNegative = 1.0) -> Array:
    """simpo(beta, gamma) + alpha * NLL(y_w).

    simpo held in place by imitation of the preferred response; alpha 0 is simpo.

    Use it where simpo drifts: long runs, high learning rates, reasoning.
    """
    return simpo.function(batch, beta=beta, gamma=gamma) + alpha * batch.nll


@objective(
    paper="Saeedi et al. 2024, Triple Preference Optimization",
    arxiv="2405.16681",
    score=lambda batch, *, beta, per, **_: (scores.mean_logp if per == "token" else scores.total_logp)(
        batch, beta=beta
    ),
    rows=(Rows.RANKINGS,),
    uses={"margin"},
    reduces={"y_1 the same as y_2": "cpo", "alpha=0, per='token'": "simpo on y_2 and y_3"},
)
def tpo(
    batch: PolicyBatch,
    *,
    beta: Positive = 0.01,
    alpha: NonNegative = 1.0,
    gamma: NonNegative = 0.0,
    per: Literal["sequence", "token"] = "sequence",
) -> Array:
    """-log sigmoid(beta * (s_2 - s_3) - gamma) + alpha * NLL(y_1),  y_1 the gold response; s = log pi, sum or mean.

    Imitates the best of three responses and compares the other two, in one stage and without a reference. per="token"
    with gamma 0.5 is the paper's TPO-L. Where the gold response is the preferred one it is cpo.

    Use it where each prompt has a reference answer beside the judged pair: rows of three responses, best first. With
    alpha 0 the gold response says nothing: give the pairs alone, and nothing is computed for it.
    """
    if (given := batch.logp.shape[1]) != 3 and (given, alpha) != (2, 0):
        raise MissingInput(f"tpo learns from three responses a row, and the batch has {given}")
    score = (beta * (batch.mean_logp if per == "token" else batch.total_logp)).values
    pair = logistic(score[:, -2] - score[:, -1] - gamma - batch.margin)
    return pair + alpha * batch.nll if alpha else pair
