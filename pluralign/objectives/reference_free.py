"""Objectives on the policy's own log-probs: no reference model."""

from __future__ import annotations

from typing import Any, Literal

from pluralign.likelihoods import hinge, logistic
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import scores
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import Need, NonNegative, Positive, Rows, objective


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
    return hinge(score.chosen - score.rejected - batch.margin, delta) - sft_weight * score.chosen


@objective(
    paper="Meng, Xia and Chen 2024, SimPO: Simple Preference Optimization with a Reference-Free Reward",
    arxiv="2405.14734",
    score=scores.mean_logp,
    uses={"margin"},
)
def simpo(batch: PolicyBatch, *, beta: Positive = 2.0, gamma: NonNegative = 1.0) -> Array:
    """-log sigmoid(beta * (mean log pi(y_w|x) - mean log pi(y_l|x)) - gamma), means over tokens.

    Length-normalised, with a target margin gamma (the paper tunes gamma / beta, 0.3 to 0.5 for most models).

    Use it where responses differ in length and memory for a reference is short; it needs a careful learning rate.
    """
    score = beta * batch.mean_logp
    return logistic(score.chosen - score.rejected - gamma - batch.margin)


@objective(
    paper="Xu et al. 2024, Contrastive Preference Optimization",
    arxiv="2401.08417",
    score=scores.total_logp,
    uses={"margin"},
)
def cpo(batch: PolicyBatch, *, beta: Positive = 0.1, alpha: NonNegative = 1.0) -> Array:
    """-log sigmoid(beta * (log pi(y_w|x) - log pi(y_l|x))) + alpha * NLL(y_w), sums over tokens in the first term.

    DPO with a uniform reference, held in place by imitation of the preferred response.

    Use it where no reference model fits and the preferred responses are worth imitating (it comes from translation).
    """
    score = beta * batch.total_logp
    return logistic(score.chosen - score.rejected - batch.margin) + alpha * batch.nll


def _orpo_needs(options: dict[str, Any]) -> set[Need]:
    return {Need.PROMPT} if options["nll_over"] == "prompt and response" else set()


@objective(
    paper="Hong, Lee and Thorne 2024, ORPO: Monolithic Preference Optimization without Reference Model",
    arxiv="2403.07691",
    score=scores.log_odds,
    needs=_orpo_needs,
    uses={"margin"},
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
    return nll + beta * logistic(score.chosen - score.rejected - batch.margin)
