"""Learners of several rewards at once, whose weights move while the policy learns (`pluralign.online.rewards`)."""

from __future__ import annotations

from dataclasses import replace

from array_api_compat import array_namespace

from pluralign.likelihoods.numerics import Array, stop_gradient
from pluralign.objectives.objective import NonNegative, Positive
from pluralign.online.kl import Estimator, Placement
from pluralign.online.learner import GRADIENT, REFERENCE, Judge, learner
from pluralign.online.learners.policy_gradient import exact_needs, rloo
from pluralign.online.samples import SampleBatch


@learner(
    paper="Moskovitz et al. 2023, Confronting Reward Model Overoptimization with Constrained RLHF",
    arxiv="2310.04373",
    judge=Judge.NOTHING,
    plan=GRADIENT,
    needs={"components", "multipliers"},
)
def constrained(batch: SampleBatch, *, normalise: bool = False) -> Array:
    """-E ((M - sum of mu_i) A_KL + sum of mu_i A_i) log pi(y),  A_i of reward i, A_KL of -log pi/pi_ref.

    The least divergence at which every reward reaches its threshold; the multipliers mu are `multipliers` of the batch,
    learnt beside (`Multipliers`). A reward beyond its threshold is no longer pushed, so that it cannot be overdone.
    normalise: each advantage over its standard deviation, as published; policy and multipliers then tend to circle
    around the thresholds, since the mix no longer says how far the policy has gone.

    Use it with several reward models whose sum would be gamed.
    """
    xp, mu = array_namespace(batch.logp), batch.known("multipliers")
    components = batch.known("components")

    def advantage(values: Array) -> Array:
        centred = values - batch.others(values)
        if not normalise:
            return centred
        return centred / (xp.sqrt(batch.mean(batch.expect(centred**2))) + 1e-8)

    count = components.shape[2]
    gain = (count - xp.sum(mu)) * advantage(-stop_gradient(batch.log_ratio(REFERENCE)))
    gain = gain + sum(mu[i] * advantage(components[:, :, i]) for i in range(count))
    return -batch.expect(gain * batch.logp)


@learner(
    paper="Chakraborty et al. 2024, MaxMin-RLHF: Alignment with Diverse Human Preferences",
    arxiv="2402.08925",
    judge=Judge.NOTHING,
    plan=GRADIENT,
    needs=lambda **options: {"components", "multipliers"} | exact_needs(**options),
)
def maxmin(
    batch: SampleBatch,
    *,
    beta: NonNegative = 0.05,
    kl: Estimator = "k1",
    kl_in: Placement = "reward",
    clip: Positive = 0.2,
) -> Array:
    """rloo on sum of w_k r_k,  w on the simplex, more for the groups that are served worst.

    components are the rewards of the groups, standardised so that they compare; multipliers their weights, moved by
    `worst_first` after each step. Where it rests no group can gain without the worst one losing.

    Use it where a minority must not pay for the mean.
    """
    weights = batch.known("multipliers")
    reward = array_namespace(batch.logp).sum(batch.known("components") * weights, axis=2)
    return rloo.function(replace(batch, reward=reward), beta=beta, kl=kl, kl_in=kl_in, clip=clip)
