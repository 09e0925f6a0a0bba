"""Objectives that learn from single responses labelled good or bad. A pair counts as one of each."""

from __future__ import annotations

from array_api_compat import array_namespace

from pluralign.errors import OptionError
from pluralign.likelihoods import logistic, sigmoid
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import scores
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import Need, NonNegative, Positive, Rows, Share, objective


@objective(
    paper="Ethayarajh et al. 2024, KTO: Model Alignment as Prospect Theoretic Optimization",
    arxiv="2402.01306",
    score=scores.log_ratio,
    needs={Need.REFERENCE, Need.MISMATCHED},
    rows=(Rows.UNPAIRED, Rows.PAIRS),
    reduces={"a reference point of 0": "apo_zero"},
)
def kto(
    batch: PolicyBatch,
    *,
    beta: Positive = 0.1,
    desirable_weight: NonNegative = 1.0,
    undesirable_weight: NonNegative = 1.0,
) -> Array:
    """w * (1 - sigmoid(+-beta * (h - z0))),  + for desirable, - for undesirable; z0 = max(0, mean mismatched h).

    h = log pi / pi_ref. z0, the reference point, is the mean log-ratio of responses to other prompts in the step; it
    carries no gradient.

    Use it for thumbs up and down on single responses, in any ratio of the two.
    """
    xp = array_namespace(batch.logp)
    z0 = xp.clip(xp.mean(batch.known("mismatched_log_ratio")), min=0.0)
    one = xp.ones_like(batch.sign)
    weight = xp.where(batch.sign > 0, desirable_weight * one, undesirable_weight * one)
    utility = sigmoid(batch.sign * (beta * (batch.log_ratio - z0)).values)
    return xp.mean(weight * (1 - utility), axis=1)


@objective(
    paper="Jung et al. 2024, Binary Classifier Optimization for Large Language Model Alignment",
    arxiv="2404.04656",
    score=scores.log_ratio,
    needs={Need.REFERENCE, Need.RUNNING_REWARD},
    rows=(Rows.UNPAIRED, Rows.PAIRS),
    reduces={"pairs and a shift of 0": "an upper bound of dpo"},
)
def bco(batch: PolicyBatch, *, beta: Positive = 0.01) -> Array:
    """mean over good of -log sigmoid(beta h - delta), plus mean over bad of -log sigmoid(delta - beta h).

    h = log pi / pi_ref. The implicit reward is the logit of a good/bad classifier; delta is the running mean of the
    rewards of both classes. Each class has weight one in a step, however many of its rows there are.

    Use it for thumbs up and down where good and bad rows are uneven and a stable shift matters.
    """
    reward = (beta * batch.log_ratio).values - batch.reward_shift
    return batch.class_mean(logistic(batch.sign * reward))


@objective(
    paper="Abdolmaleki et al. 2024, Preference Optimization as Probabilistic Inference",
    arxiv="2410.04166",
    score=scores.total_logp,
    needs={Need.TOKEN_KL},
    rows=(Rows.UNPAIRED, Rows.PAIRS),
    reduces={"alpha=1, beta=0": "imitation of the good responses"},
)
def pmpo(batch: PolicyBatch, *, alpha: Share = 0.5, beta: NonNegative = 0.5) -> Array:
    """-alpha * mean over good of log pi + (1 - alpha) * mean over bad of log pi + beta * KL(pi_ref || pi).

    Accepted and rejected responses need not come together, nor both at all; the divergence holds what the bad ones push
    away, so beta must grow as alpha falls. It is summed over the tokens of the responses at hand, exact in the
    vocabulary. alpha 1 and beta 0 is imitation of the good.

    Use it where there are only bad examples, or many more of one kind.
    """
    if alpha < 1 and not hasattr(beta, "dtype") and beta == 0:
        raise OptionError("pmpo with alpha below 1 and beta 0 has no lower bound; give beta, 0.5 to 2")
    xp, tokens = array_namespace(batch.logp), batch.known("tokens")
    side = xp.where(batch.sign > 0, -alpha * batch.logp, (1 - alpha) * batch.logp)
    return batch.class_mean(side) + beta * xp.mean(tokens.total(tokens.known("kl")[0]), axis=1)
