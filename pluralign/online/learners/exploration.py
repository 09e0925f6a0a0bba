"""Learners that know what they do not know: optimism to find what the reference hides, pessimism about what is rare."""

from __future__ import annotations

from typing import Literal

from array_api_compat import array_namespace

from pluralign.errors import MissingInput
from pluralign.likelihoods import logistic
from pluralign.likelihoods.numerics import Array, stop_gradient
from pluralign.objectives import dpo
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import NonNegative, Positive
from pluralign.online.learner import PREVIOUS, REFERENCE, Judge, Plan, Stage, learner
from pluralign.online.learners.games import gaps, total
from pluralign.online.samples import SampleBatch


def offline_dpo(batch: SampleBatch, beta: float) -> Array:
    """DPO on the pairs that lie beside the samples, a scalar. Raises `MissingInput` where there are none."""
    if not isinstance(batch.offline, PolicyBatch):
        raise MissingInput("this learner also learns from pairs that were judged before; pass them as offline")
    return batch.offline.mean(dpo(batch.offline, beta=beta))


def over_opponent(batch: SampleBatch, values: Array) -> Array:
    """Mean of values [B, K] over the opponent's draws, [B]."""
    return array_namespace(values).sum(batch.opponent * values, axis=1)


@learner(
    paper="Xie et al. 2024, Exploratory Preference Optimization",
    arxiv="2405.21046",
    plan=Plan((Stage(opponent=REFERENCE, replay=True),)),
)
def xpo(batch: SampleBatch, *, beta: Positive = 0.1, alpha: NonNegative = 1e-5) -> Array:
    """E -log sigmoid(beta (h(y_w) - h(y_l))) + alpha E log pi(y_ref),  y ~ pi_t, y_ref ~ pi_ref, h = log pi/pi_ref.

    Online dpo that pushes down what the reference would say, so that what it hardly says gets a chance. Learns from
    the draws of all rounds.

    Use it where the best responses are rare under the reference.
    """
    h = batch.log_ratio(REFERENCE)
    return total(batch.won * logistic(beta * gaps(h))) + alpha * over_opponent(batch, batch.logp)


def _vpo_plan(*, side: str, **_: object) -> Plan:
    law = PREVIOUS if side == "online" else REFERENCE
    return Plan((Stage(law=law, opponent=REFERENCE, replay=side == "online"),))


@learner(
    paper="Cen et al. 2024, Value-Incentivized Preference Optimization (alpha and calibration as recalled)",
    arxiv="2405.19320",
    judge=Judge.NOTHING,
    plan=_vpo_plan,
    needs=lambda *, side, **_: {"preference"} if side == "online" else {"offline"},
)
def vpo(
    batch: SampleBatch,
    *,
    beta: Positive = 0.1,
    alpha: NonNegative = 0.01,
    side: Literal["online", "offline"] = "online",
    calibration: Literal["reference", "chosen"] = "reference",
) -> Array:
    """dpo + s alpha beta E h(y),  y ~ calibration policy, s = +1 online, -1 offline; h = log pi/pi_ref.

    The reward is fitted and, online, its own best value raised (optimism: what was seldom tried is tried), or, offline,
    lowered (pessimism). Online the pairs are the samples, as in xpo; offline they are `batch.offline`, whose chosen
    responses may calibrate.

    Use it online as xpo, offline where dpo runs away with what was compared once.
    """
    h = batch.log_ratio(REFERENCE)
    calm = over_opponent(batch, h)
    if side == "online":
        return total(batch.won * logistic(beta * gaps(h))) + alpha * beta * calm
    fit = offline_dpo(batch, beta)
    if calibration == "chosen":
        offline = batch.offline
        assert offline is not None  # offline_dpo has asked
        calm = offline.mean(offline.log_ratio.chosen)
    return fit - alpha * beta * calm + 0 * h[:, 0]


@learner(
    paper="Song et al. 2024, The Importance of Online Data: Understanding Preference Fine-Tuning via Coverage",
    arxiv="2406.01462",
    judge=Judge.NOTHING,
    plan=Plan((Stage(one_step=True),)),
    needs={"offline"},
)
def hypo(batch: SampleBatch, *, beta: Positive = 0.05, weight: NonNegative = 1e-4) -> Array:
    """dpo on offline pairs + weight * KL(pi || pi_ref) on the policy's own draws, which nobody labels.

    Pairs say nothing of responses that were never compared; the divergence settles where their mass goes. Its gradient
    is E (l - mean of l over the other draws) grad log pi, l = log pi/pi_ref. (weight and draws as recalled.)

    Use it with offline pairs that do not cover what the policy may say.
    """
    drift = stop_gradient(batch.log_ratio(REFERENCE))
    return offline_dpo(batch, beta) + weight * batch.expect((drift - batch.others(drift)) * batch.logp)
