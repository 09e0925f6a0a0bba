"""Any objective of the catalogue as a learner: online and iterative DPO, KTO, list-wise and the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from array_api_compat import array_namespace

from pluralign.errors import OptionError
from pluralign.likelihoods.numerics import Array, sigmoid
from pluralign.objectives import Need, Objective, Rows, find
from pluralign.objectives.objective import Options, declared, with_options
from pluralign.online.learner import Judge, Learner, learner
from pluralign.online.learners.rows import Rows as RowsOfPrompts
from pluralign.online.learners.rows import all_pairs, labelled, likelier_pairs, ranked, rated_pairs
from pluralign.online.samples import Anchors, SampleBatch

LACKING = {
    Need.PROMPT: "log-probs of prompts",
    Need.TOKEN_WEIGHTS: "weights of tokens that are trained beside the policy",
    Need.STEP_WEIGHTS: "steps that are weighed by hidden states",
    Need.JOINT: "responses that stand under prompts of their own",
    Need.FROZEN: "further frozen models",
    Need.FEATURES: "hidden states of policy and reference",
    Need.PROMPT_EMBEDDING: "vectors of prompts",
    Need.RATIONALE: "texts that explain the judgements",
    Need.AUXILIARY: "an extra task on the same network",
    Need.COLLISION: "whole next-token distributions, summed up in a way that the loop does not",
}
"""What objectives learn from that draws and a judge's answers have not."""


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
    """A learner that has its draws judged and learns from the rows that an objective asks for first.

    Pairs: every two draws, in both orders, as often as the judge would have said so; once, in the likelier order, for
    an objective that takes no weights, and in that of their rewards for one that reads ratings. Single labelled
    responses: each draw is good as often as it is preferred to the others, or, with `threshold`, where its reward is at
    least that. Lists: the draws of a prompt, ranked by how often each is preferred. Its options are those of the
    objective, and `anchor`: the reference, which makes it the online method, or the previous policy, which makes it the
    iterative one, or a geometric mixture of snapshots. Guo et al. 2024 (online), Xiong et al. 2023 (iterative).

    What an objective keeps over the steps of a training run is that of the step alone: running means of rewards, and
    KTO's reference point, which is the mean log-ratio of the draws, an estimate of the divergence itself.

    Raises `OptionError` for an objective that needs what a group of samples has not.

    >>> direct("dpo").equation
    '-log sigmoid(beta * (h_w - h_l)),  h(y) = log pi(y|x) - log pi_ref(y|x).'
    >>> direct("kto").needs(threshold=0.5), direct("pl_dpo").group
    ({'reward'}, 2)
    """
    goal = find(objective) if isinstance(objective, str) else objective
    kind = next((kind for kind in goal.rows if kind in (Rows.PAIRS, Rows.UNPAIRED, Rows.RANKINGS)), None)
    if kind is None:
        raise OptionError(
            f"{goal.name} learns from {' or '.join(goal.rows)}, which draws are not; align on the feedback of a round"
        )
    if lacking := [LACKING[need] for need in sorted(goal.needs()) if need in LACKING]:
        raise OptionError(
            f"{goal.name} learns from {' and '.join(lacking)}, which draws have not; align on the feedback of a round"
        )
    rows_of: Callable[[SampleBatch, Anchors, float | None], RowsOfPrompts]
    if kind is Rows.PAIRS and Need.RATINGS in goal.needs():
        rows_of = rated_pairs
    elif kind is Rows.PAIRS and "weight" in goal.refuses:
        rows_of = likelier_pairs
    else:
        rows_of = {Rows.PAIRS: all_pairs, Rows.UNPAIRED: labelled, Rows.RANKINGS: ranked}[kind]

    def losses(batch: SampleBatch, *, anchor: Any, threshold: float | None = None, **options: Any) -> Array:
        xp, anchors = array_namespace(batch.logp), snapshots(anchor)
        rows, shares = rows_of(batch, anchors, threshold)
        if Need.MISMATCHED in goal.needs(**options):
            rows = replace(rows, mismatched_log_ratio=batch.mean(batch.expect(batch.log_ratio(anchors)))[None])
        if not rows.logp.shape[0]:
            return 0 * batch.expect(batch.logp)
        each = goal(goal.centred(rows, **options), **options)
        if shares is None:
            return xp.sum(rows.weight * each) / xp.sum(rows.weight) + 0 * batch.expect(batch.logp)
        return xp.sum(shares * xp.reshape(each, shares.shape), axis=tuple(range(1, shares.ndim)))

    own: Options = {"anchor": (Literal["reference", "previous"] | dict[str, float], "reference")}
    if kind is Rows.UNPAIRED:
        own["threshold"] = (float | None, None)
    losses.__name__, losses.__doc__ = goal.name, goal.doc
    with_options(losses, declared(goal) | own)
    return learner(
        paper=goal.paper,
        arxiv=goal.arxiv,
        judge=Judge.NOTHING,
        needs=_needs(goal),
        group=2 if Rows.PAIRS in goal.rows else 3,
        tokens=bool(goal.needs() & {Need.TOKENS, Need.TOKEN_KL, Need.TURNS}),
    )(losses)


def _needs(goal: Objective) -> Callable[..., set[str]]:
    def needs(*, anchor: Any, threshold: float | None = None, **options: Any) -> set[str]:
        asked = goal.needs(**options)
        found = {"preference" if threshold is None else "reward"}
        if Need.RATINGS in asked:
            found = {"reward"} if Need.RATINGS in goal.needs() else found | {"reward"}
        return found | ({"tokens.reference_kl"} if Need.TOKEN_KL in asked else set())

    return needs


def snapshots(anchor: str | Anchors) -> Anchors:
    """The anchors that an option means: a snapshot's name or a mixture.

    >>> snapshots("previous")
    {'previous': 1.0}
    """
    return {anchor: 1.0} if isinstance(anchor, str) else anchor
