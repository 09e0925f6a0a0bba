"""Learners that fit log-ratios to rewards: least squares on differences, or cross-entropy on a group. No clip."""

from __future__ import annotations

from array_api_compat import array_namespace

from pluralign.likelihoods import log_softmax, squared
from pluralign.likelihoods.numerics import Array
from pluralign.objectives.objective import Positive
from pluralign.online.learner import PREVIOUS, REFERENCE, Judge, learner
from pluralign.online.learners.games import gaps, total
from pluralign.online.samples import SampleBatch


@learner(
    paper="Gao et al. 2024, REBEL: Reinforcement Learning via Regressing Relative Rewards",
    arxiv="2404.16767",
    judge=Judge.REWARD,
    on_policy=False,
)
def rebel(batch: SampleBatch, *, eta: Positive = 1.0) -> Array:
    """E ((h(y) - h(y')) / eta - (r(y) - r(y')))^2,  h = log pi / pi_t.

    A fit is pi_t exp(eta r) / Z, a natural policy gradient, from any pairs that cover the responses. There is no
    reference: rounds times eta is how far it goes.

    Use it in place of ppo where a round can be fitted like a data set.
    """
    return total(batch.pairs * squared(gaps(batch.log_ratio(PREVIOUS)) / eta, gaps(batch.known("reward"))))


@learner(
    paper="Flet-Berliac et al. 2024, Contrastive Policy Gradient",
    arxiv="2406.19185",
    judge=Judge.REWARD,
    on_policy=False,
)
def copg(batch: SampleBatch, *, beta: Positive = 0.05) -> Array:
    """E (R(y) - R(y'))^2,  R = r - beta log pi / pi_ref.

    Each response's baseline is the other one's regularised reward, so that draws of any law lead to the best trade of
    reward against KL. (The paper's sum over k draws is k / 2 times this mean over pairs.)

    Use it to learn a reward, a test or any other score from samples that lie on disk.
    """
    return total(batch.pairs * gaps(batch.known("reward") - beta * batch.log_ratio(REFERENCE)) ** 2)


@learner(
    paper="Pandey et al. 2024, BRAIn: Bayesian Reward-conditioned Amortized Inference (sample counts as recalled)",
    arxiv="2402.02479",
    judge=Judge.REWARD,
    on_policy=False,
    needs={"sampled_logp"},
)
def brain(batch: SampleBatch, *, gamma: Positive = 1.0) -> Array:
    """-sum_i w_i log v_i,  w = softmax(log pi_ref + r / gamma - log q), v = softmax(log pi - log q); y ~ q.

    What the reward says of n draws is distilled into what the policy says of the same n; without v, the baseline, it
    would stop at the best of n. Two draws of the reference are dpo with soft labels.

    Use it on groups drawn by anybody whose log-probs are known.
    """
    xp = array_namespace(batch.logp)
    there = batch.law > 0
    own = xp.log(xp.where(there, batch.law, xp.ones_like(batch.law))) - batch.known("sampled_logp")
    wanted = log_softmax(batch.anchor(REFERENCE) + batch.known("reward") / gamma + own, there)
    said = log_softmax(batch.logp + own, there)
    return -xp.sum(xp.where(there, xp.exp(wanted) * said, 0 * said), axis=1)
