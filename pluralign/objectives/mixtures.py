"""Sums of losses under one name."""

from __future__ import annotations

from typing import Literal

from array_api_compat import array_namespace

from pluralign.likelihoods import logistic
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import scores
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import Need, NonNegative, Positive, Rows, objective
from pluralign.objectives.reference import dpo
from pluralign.objectives.unpaired import bco


@objective(
    paper="Pang et al. 2024, Iterative Reasoning Preference Optimization",
    arxiv="2404.19733",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    uses={"margin"},
    reduces={"alpha=0": "dpo"},
)
def nll_augmented(batch: PolicyBatch, *, beta: Positive = 0.1, alpha: NonNegative = 1.0) -> Array:
    """dpo(beta) + alpha * NLL(y_w).

    DPO that may not lower the likelihood of the preferred response. Liu et al. 2024 (regularised preference
    optimisation) use alpha 0.005 and beta 0.01.

    Use it where DPO makes the preferred responses less likely: reasoning chains, near-duplicate pairs.
    """
    return dpo.function(batch, beta=beta) + alpha * batch.nll


@objective(
    paper="Wang et al. 2024, Enhancing the Reasoning Ability of Multimodal LLMs via Mixed Preference Optimization",
    arxiv="2411.10442",
    score=scores.log_ratio,
    needs={Need.REFERENCE, Need.RUNNING_REWARD},
    reduces={
        "preference_weight=1, quality_weight=0, generation_weight=0": "dpo",
        "preference_weight=0, quality_weight=1, generation_weight=0": "bco(beta=0.1)",
        "preference_weight=0, quality_weight=0, generation_weight=1": "sft",
    },
)
def mpo_mixed(
    batch: PolicyBatch,
    *,
    beta: Positive = 0.1,
    preference_weight: NonNegative = 0.8,
    quality_weight: NonNegative = 0.2,
    generation_weight: NonNegative = 1.0,
) -> Array:
    """preference_weight * dpo + quality_weight * bco + generation_weight * sft.

    Which is better, how good each is by itself, and how to write it. Other sums are written out:
    `--objective "dpo + 0.5*bco"`.

    Use it for reasoning, where dpo alone unlearns how solutions are written.
    """
    pair = preference_weight * dpo.function(batch, beta=beta) + quality_weight * bco.function(batch, beta=beta)
    return pair + generation_weight * batch.nll


@objective(
    paper="Just et al. 2024, Data-Centric Human Preference with Rationales for Direct Preference Alignment",
    arxiv="2407.14477",
    score=scores.mean_logp,
    needs={Need.RATIONALE},
)
def rationale(batch: PolicyBatch) -> Array:
    """-mean over tokens of log pi(rationale | prompt, both responses); 0 for rows without one.

    The auxiliary task of explaining the judgement, to be added to another objective: `orpo + 0.1*rationale`.

    Use it as part of a sum.
    """
    length = batch.known("rationale_length")
    return -batch.known("rationale_logp") / array_namespace(length).clip(length, min=1.0)


@objective(
    paper="Just et al. 2024, Data-Centric Human Preference with Rationales for Direct Preference Alignment",
    arxiv="2407.14477",
    score=scores.log_ratio,
    needs={Need.REFERENCE, Need.RATIONALE},
    uses={"margin"},
    reduces={"gamma=0": "dpo"},
)
def rationale_dpo(batch: PolicyBatch, *, beta: Positive = 0.1, gamma: NonNegative = 1.0) -> Array:
    """dpo(beta) + gamma * rationale.

    The model also learns to say why the preferred response is better. Rows without a rationale are plain dpo, and it
    is never needed once trained. The authors' code weighs the summed log-prob instead, with 0.001.

    Use it where judges, or a model, explained their choice and pairs are few.
    """
    return dpo.function(batch, beta=beta) + gamma * rationale.function(batch)


@objective(
    paper="Li et al. 2024, self-supervised preference optimisation (SPO; head, classes and gamma as recalled)",
    arxiv="2409.17791",
    score=scores.log_ratio,
    needs={Need.REFERENCE, Need.AUXILIARY},
    uses={"margin"},
    reduces={"gamma=0": "dpo"},
)
def spo_selfsup(batch: PolicyBatch, *, beta: Positive = 0.1, gamma: NonNegative = 0.1) -> Array:
    """dpo(beta) + gamma * auxiliary,  the cross-entropy of telling how far a preferred response was degraded.

    Key phrases are taken out of preferred responses in growing shares; a small head on the hidden states says how many
    are gone. The batch carries that loss; the head is not needed afterwards. gamma 0 is dpo.

    Use it where pairs say only better or worse and degrees of quality matter.
    """
    return dpo.function(batch, beta=beta) + gamma * batch.known("auxiliary")


@objective(
    paper="Stephan et al. 2024, RLVF: Learning from Verbal Feedback without Overgeneralization (C3PO)",
    arxiv="2402.10893",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    rows=(Rows.MIXED,),
    reduces={"pairs only": "dpo"},
)
def c3po(batch: PolicyBatch, *, beta: Positive = 0.1, sft_weight: NonNegative = 0.4) -> Array:
    """dpo(beta) on pairs, sft_weight * -mean log pi(y) on single responses.

    Pairs where the feedback applies, revised answer first; on prompts where it does not, the model's own answers are
    imitated so that it changes nothing there. Give near and unrelated prompts weights of their own by row.

    Use it to follow one piece of advice only where it applies.
    """
    xp, h = array_namespace(batch.logp), batch.log_ratio
    single = batch.presence[:, 1] == 0
    margin = xp.where(single, 0 * h.margin, h.margin)
    return xp.where(single, -sft_weight * batch.mean_logp.chosen, logistic(beta * margin))


@objective(
    paper="Wang et al. 2025, Implicit Reward as the Bridge: A Unified View of SFT and DPO (variants derived)",
    arxiv="2507.00018",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    rows=(Rows.DEMONSTRATIONS, Rows.PAIRS),
    reduces={"divergence='total_variation'": "sft, its gradient scaled by beta"},
)
def sft_fdiv(
    batch: PolicyBatch,
    *,
    beta: Positive = 0.1,
    divergence: Literal["total_variation", "pearson", "hellinger"] = "pearson",
) -> Array:
    """-g(beta * log pi(y_w) / pi_ref),  g(s) = s, 2 (sqrt(1 + s) - 1) or s / (1 + s), s held above -1.

    Imitation as reward learning: total variation is sft, scaled by beta; under the others the pull fades as the policy
    leaves the reference behind, a restraint sft lacks. Experimental: the last two are derived from the paper's
    framework, not read from it.

    Use it before preference training, in place of sft with a small learning rate.
    """
    xp = array_namespace(batch.logp)
    s = (beta * batch.log_ratio).chosen
    if divergence == "total_variation":
        return -s
    s = xp.clip(s, min=-0.99)
    return -2 * (xp.sqrt(1 + s) - 1) if divergence == "pearson" else -s / (1 + s)
