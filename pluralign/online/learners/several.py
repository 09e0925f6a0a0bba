"""Learners of several rewards at once, whose weights move while the policy learns (`pluralign.online.rewards`)."""

from __future__ import annotations

from typing import Literal

from array_api_compat import array_namespace

from pluralign.errors import OptionError
from pluralign.likelihoods.numerics import Array, stop_gradient
from pluralign.objectives.objective import Positive, Share
from pluralign.online.learner import GRADIENT, REFERENCE, Judge, Weighing, learner
from pluralign.online.learners.policy_gradient import priced, whole_response
from pluralign.online.rewards import Multipliers
from pluralign.online.samples import SampleBatch


def _held(
    count: int, *, thresholds: list[float] | None, kind: Literal["at_least", "equal"], **_: object
) -> Multipliers:
    if thresholds is None or len(thresholds) != count:
        given = "none" if thresholds is None else len(thresholds)
        raise OptionError(
            f"constrained holds every reward at a threshold; the judge gives {count} and thresholds are {given}: "
            "give one a judge, in their order"
        )
    return Multipliers.start(count, kind=kind)


def _after_constrained(
    now: Multipliers, worth: Array, *, thresholds: list[float], rate: float, momentum: float, **_: object
) -> Multipliers:
    return now.updated(worth, thresholds, rate=rate, momentum=momentum)


@learner(
    paper="Moskovitz et al. 2023, Confronting Reward Model Overoptimization with Constrained RLHF",
    arxiv="2310.04373",
    judge=Judge.COMPONENTS,
    plan=GRADIENT,
    needs={"multipliers"},
    weighing=Weighing(_held, _after_constrained),
)
def constrained(
    batch: SampleBatch,
    *,
    thresholds: list[float] | None = None,
    kind: Literal["at_least", "equal"] = "at_least",
    rate: Positive = 0.01,
    momentum: Share = 0.1,
    normalise: bool = False,
) -> Array:
    """-E ((M - sum of mu_i) A_KL + sum of mu_i A_i) log pi(y),  A_i of reward i, A_KL of -log pi/pi_ref.

    The least divergence at which every reward reaches its threshold; the multipliers mu are `multipliers` of the batch,
    learnt beside (`Multipliers`) by steps of `rate` towards `thresholds`, one a reward. A reward beyond its threshold
    is no longer pushed, so that it cannot be overdone; kind='equal' pushes it down to it.
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


def _after_maxmin(now: Multipliers, worth: Array, *, step: float, **_: object) -> Multipliers:
    return now.worst_first(worth, step)


@priced(
    paper="Chakraborty et al. 2024, MaxMin-RLHF: Alignment with Diverse Human Preferences",
    arxiv="2402.08925",
    judge=Judge.COMPONENTS,
    needs={"multipliers"},
    weighing=Weighing(
        lambda count, **_: Multipliers.start(count, kind="shares"),
        _after_maxmin,
        lambda *, standardise, **_: standardise,
    ),
)
def maxmin(
    batch: SampleBatch, reward: Array, *, clip: Positive = 0.2, step: Positive = 0.2, standardise: bool = True
) -> Array:
    """rloo on sum of w_k r_k,  w on the simplex, more for the groups that are served worst.

    components are the rewards of the groups; multipliers their weights, moved by exp(-step * what the samples were
    worth to the group) after each step. standardise: the groups' rewards are first brought to one scale, on the first
    samples of the run, or the group with the smallest numbers would rule. Where it rests no group can gain without the
    worst one losing.

    Use it where a minority must not pay for the mean.
    """
    return whole_response(batch, reward, clip=clip)
