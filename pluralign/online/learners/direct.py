"""Any objective of the catalogue as a learner: online and iterative DPO, IPO, SimPO and the rest."""

from __future__ import annotations

from typing import Any, Literal

from array_api_compat import array_namespace

from pluralign.errors import OptionError
from pluralign.likelihoods.numerics import Array, sigmoid
from pluralign.objectives import Need, Objective, PolicyBatch, Rows, Tokens, find
from pluralign.objectives.objective import declared, with_options
from pluralign.online.learner import Learner, learner
from pluralign.online.samples import Anchors, SampleBatch

KNOWN = {Need.REFERENCE, Need.RATINGS, Need.TOKENS, Need.WHOLE_STEP, Need.RANDOM, Need.RUNNING, Need.RUNNING_REWARD}
"""What samples can say of themselves. Objectives that need more learn from the feedback a round leaves behind."""


def preferences(reward: Array, *, hard: bool = False) -> Array:
    """The chance that i is preferred to j, [B, K, K], from rewards [B, K]: Bradley-Terry, or, if hard, the larger wins.

    >>> import numpy as np
    >>> preferences(np.array([[1.0, 0.0]]), hard=True).tolist()
    [[[0.5, 1.0], [0.0, 0.5]]]
    """
    xp = array_namespace(reward)
    gap = reward[:, :, None] - reward[:, None, :]
    return (xp.sign(gap) + 1) / 2 if hard else sigmoid(gap)


def direct(objective: Objective | str) -> Learner:
    """A learner that compares every two draws, has them judged, and learns from the pairs by an objective.

    Its options are those of the objective, and `anchor`: the reference, which makes it the online method, or the
    previous policy, which makes it the iterative one, or a geometric mixture of snapshots. A pair counts in both
    orders, as often as the judge would have said so. Guo et al. 2024 (online), Xiong et al. 2023 (iterative).

    Raises `OptionError` for an objective that needs what a group of samples has not.

    >>> direct("dpo").equation
    '-log sigmoid(beta * (h_w - h_l)),  h(y) = log pi(y|x) - log pi_ref(y|x).'
    """
    goal = find(objective) if isinstance(objective, str) else objective
    lacking = goal.needs() - KNOWN
    if lacking or Rows.PAIRS not in goal.rows:
        what = f"needs {', '.join(sorted(lacking))}" if lacking else f"learns from {' or '.join(goal.rows)}"
        raise OptionError(f"{goal.name} {what}, which a group of samples is not; align on the feedback of a round")

    def losses(batch: SampleBatch, *, anchor: Any, **options: Any) -> Array:
        pairs, shares = as_pairs(batch, snapshots(anchor))
        each = goal(pairs, **options).reshape(shares.shape)
        return array_namespace(each).sum(shares * each, axis=(1, 2))

    kinds = Literal["reference", "previous"] | dict[str, float]
    losses.__name__, losses.__doc__ = goal.name, goal.doc
    with_options(losses, declared(goal) | {"anchor": (kinds, "reference")})
    return learner(paper=goal.paper, arxiv=goal.arxiv, tokens=Need.TOKENS in goal.needs())(losses)


def snapshots(anchor: str | Anchors) -> Anchors:
    """The anchors that an option means: a snapshot's name or a mixture.

    >>> snapshots("previous")
    {'previous': 1.0}
    """
    return {anchor: 1.0} if isinstance(anchor, str) else anchor


def as_pairs(batch: SampleBatch, anchors: Anchors) -> tuple[PolicyBatch, Array]:
    """Every ordered pair as a row of a `PolicyBatch`, [B*K*K, 2], and how often that order is seen, [B, K, K].

    The shares of a prompt sum to 1, or less where the judge gave no answer (both orders 0).
    """
    xp = array_namespace(batch.logp)
    rows, k = batch.logp.shape

    def both(values: Array) -> Array:
        wide = values[:, :, None] + 0 * values[:, None, :], values[:, None, :] + 0 * values[:, :, None]
        return xp.stack([xp.reshape(side, (rows * k * k, *values.shape[2:])) for side in wide], axis=1)

    shares = batch.won
    weight = shares if batch.weight is None else batch.weight[:, None, None] * shares
    tokens = batch.tokens
    sides = both(0 * batch.law)
    one = xp.ones_like(sides[:, 0])
    pairs = PolicyBatch(
        logp=both(batch.logp),
        length=None if batch.length is None else both(batch.length),
        sign=xp.stack((one, -one), axis=1),
        ref_logp=both(batch.anchor(anchors)),
        weight=xp.reshape(weight, (rows * k * k,)),
        rating=None if batch.reward is None else both(batch.reward),
        tokens=None
        if tokens is None or tokens.logp is None
        else Tokens(
            mask=both(tokens.mask),
            logp=both(tokens.logp),
            ref_logp=both(tokens.anchor(anchors)),
        ),
    )
    return pairs, shares
