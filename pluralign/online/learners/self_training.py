"""Learners without a judge of pairs: they imitate the best of their own draws, or what people wrote, or themselves."""

from __future__ import annotations

from typing import Literal

from array_api_compat import array_namespace

from pluralign.likelihoods import expected, log_softmax, logistic
from pluralign.likelihoods.numerics import Array, stop_gradient
from pluralign.objectives.objective import NonNegative, Positive, Share
from pluralign.online.learner import DATA, PREVIOUS, REFERENCE, Judge, Plan, Stage, learner
from pluralign.online.learners.direct import preferences
from pluralign.online.learners.games import gaps, total
from pluralign.online.samples import SampleBatch
from pluralign.online.selection import above, best


def _raft_plan(*, begin: str, **_: object) -> Plan:
    return Plan((Stage(begin=begin),))


@learner(
    paper="Dong et al. 2023, RAFT; Singh et al. 2023, Beyond Human Data (ReST-EM)",
    arxiv="2304.06767",
    judge=Judge.REWARD,
    plan=_raft_plan,
    on_policy=False,
)
def raft(
    batch: SampleBatch, *, threshold: float | None = None, begin: Literal["previous", "reference"] = "previous"
) -> Array:
    """-E log pi(y) over the best of each prompt's draws, or over all with a reward of at least the threshold.

    The best of K, fitted, is best-of-K without its price; T rounds are best-of-K^T. A threshold is expert iteration:
    pi_t times what passes. begin='reference' trains the first model anew each round (ReST-EM).

    Use it first with a verifier: nothing is simpler. What it says grows ever more alike; watch its entropy.
    """
    kept = best(batch) if threshold is None else above(batch, threshold)
    return -array_namespace(batch.logp).sum(kept * batch.logp, axis=1)


@learner(
    paper="Chen et al. 2024, Self-Play Fine-Tuning Converts Weak Language Models to Strong Language Models",
    arxiv="2401.01335",
    judge=Judge.NOTHING,
    plan=Plan((Stage(law=DATA, opponent=PREVIOUS),)),
)
def spin(batch: SampleBatch, *, beta: Positive = 0.1) -> Array:
    """E -log sigmoid(beta (h(y) - h(y'))),  y from the data, y' ~ pi_t, h = log pi / pi_t; beta is the paper's lambda.

    What people wrote wins against what the policy wrote, until the two cannot be told apart. A fit is
    pi_t (p_data / pi_t)^(1 / beta) / Z.

    Use it to get more out of demonstrations than imitation does.
    """
    return total(batch.against * logistic(beta * gaps(batch.log_ratio(PREVIOUS))))


@learner(
    paper="Kim et al. 2024, Spread Preference Annotation (as described; which pairs are smoothed as recalled)",
    arxiv="2406.04412",
    judge=Judge.NOTHING,
    needs=lambda *, extrapolate, **_: {"tokens.surplus"} if extrapolate else set(),
)
def spa(
    batch: SampleBatch,
    *,
    beta: Positive = 0.1,
    alpha: Share = 0.1,
    share: Share = 0.1,
    extrapolate: NonNegative = 0.0,
) -> Array:
    """E -z log p - (1 - z) log(1 - p),  p = sigmoid(beta (h(y_w) - h(y_l))), h = log pi / pi_t.

    The policy labels its own draws: y_w has the larger log pi_t/pi_ref. z is 1 - alpha for the `share` of pairs that
    the learning policy is least sure of, else 1. extrapolate: how far beyond the learning policy, seen from pi_t, lies
    the one that is asked how sure it is, pi^(1 + extrapolate) / pi_t^extrapolate token by token (the paper's 1/2, 1/4
    and 1/8 in its rounds); to responses of one token it makes no difference. It takes whole distributions.

    Use it to spread a few human labels over many prompts; watch the length, which grows unasked.
    """
    xp = array_namespace(batch.logp)
    label = own_labels(batch, beta, hard=True)
    margin = beta * gaps(batch.log_ratio(PREVIOUS))
    weight, sureness = label * batch.pairs * 2, margin
    if extrapolate:
        tokens = batch.tokens
        assert tokens is not None  # declared
        sureness = (1 + extrapolate) * margin - beta * gaps(tokens.total(tokens.known("surplus")))
    flat, sure = xp.reshape(weight, (-1,)), xp.reshape(stop_gradient(sureness), (-1,))
    order = xp.argsort(sure)
    below = xp.cumulative_sum(xp.take(flat, order)) <= share * xp.sum(flat) * (1 + 1e-9)
    unsure = xp.reshape(xp.take(xp.astype(below, flat.dtype), xp.argsort(order)), weight.shape)
    return total(weight * expected(logistic(margin), logistic(-margin), 1 - alpha * unsure))


def own_labels(batch: SampleBatch, beta: float, *, hard: bool = False) -> Array:
    """What a trained policy thinks of its draws, [B, K, K]: sigmoid(beta (h_i - h_j)), h = log pi_t/pi_ref.

    hard: 1 where it is above 1/2. As `preference` of a batch they make online self-preferring learners of direct ones
    (Zhai et al. 2024, who keep the strength; Kim et al. 2024, who do not).

    >>> import numpy as np
    >>> now, first = np.log([[0.6, 0.4]]), np.log([[0.5, 0.5]])
    >>> batch = SampleBatch(now, snapshots={"previous": now, "reference": first})
    >>> own_labels(batch, 1.0).round(2).tolist()
    [[[0.5, 0.6], [0.4, 0.5]]]
    """
    return preferences(beta * (batch.anchor(PREVIOUS) - batch.anchor(REFERENCE)), hard=hard)


def _curated_plan(*, real: float) -> Plan:
    return Plan((Stage(opponent=DATA if real else None),))


@learner(
    paper="Ferbach et al. 2024, Self-Consuming Generative Models with Curated Data (the form with data as recalled)",
    arxiv="2407.09499",
    judge=Judge.REWARD,
    plan=_curated_plan,
)
def curated(batch: SampleBatch, *, real: NonNegative = 0.0) -> Array:
    """-E w(y) log pi(y) - real E_data log pi(y),  w = softmax of the rewards of the draws: users pick one of K.

    What happens when the picks of users become the next model's data: the reward is chased, biases and all, until one
    response is left. real: how much of what people wrote is mixed in for each part of picks, which keeps it alive.

    Use it as a model of what happens to systems in use, not to train one.
    """
    xp = array_namespace(batch.logp)
    there = batch.law > 0
    shares = xp.log(xp.where(there, batch.law, xp.ones_like(batch.law)))
    picked = xp.where(there, xp.exp(log_softmax(batch.known("reward") + shares, there)), 0 * shares)
    return -xp.sum((picked + (real * batch.opponent if real else 0)) * batch.logp, axis=1)
