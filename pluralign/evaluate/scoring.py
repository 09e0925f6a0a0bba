"""Held-out rows under the policy and its reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pluralign.errors import FeedbackError
from pluralign.evaluate.figures import Array
from pluralign.feedback import Feedback
from pluralign.objectives import Need, dpo, kto
from pluralign.objectives.step import moved
from pluralign.policy.encode import Encoder
from pluralign.policy.logprobs import logprobs
from pluralign.policy.statistics import Reference
from pluralign.train import heads
from pluralign.train.batches import Examples, batch_of
from pluralign.train.data import Prepared, prepare
from pluralign.train.run import Run
from pluralign.train.scorer import LIVE, Scorer, joint_logprobs


@dataclass
class Scores:
    """N pairs, the preferred response first, or N single responses: all arrays are [N, 2] or [N, 1].

    index: rows of the feedback [N]. sign: +1 preferred or good, -1 other or bad. reward: the objective's implied
    reward. logp, ref_logp: sums over tokens. length: tokens. beta: how strongly the
    objective holds the policy to its reference, None where it does not. stated: each row's chance of its preferred
    response, None where it has none.
    """

    index: Array
    sign: Array
    reward: Array
    logp: Array
    ref_logp: Array
    length: Array
    prepared: Prepared
    beta: float | None
    stated: list[float | None]


@torch.no_grad()
def score_rows(
    run: Run,
    feedback: Feedback,
    model: Any,
    reference: Any,
    tokenizer: Any,
    *,
    thumbs: bool = False,
    batch_size: int = 16,
    progress: Callable[[int], None] = lambda _: None,
) -> Scores:
    """Score every usable pair, or with thumbs every labelled response, with the limits and the objective of the run.

    On an accelerator where there is one.
    """
    options = run.config["options"]
    encoder = Encoder(
        tokenizer, max_length=options.get("max_length", 1024), truncation=options.get("truncation", "keep_end")
    )
    # DPO's view of a row is the plain pair, KTO's the labelled response, whatever the run was trained on.
    prepared = prepare(feedback.without("margin", "beta"), kto if thumbs else dpo, encoder)
    # Training learns from a chance of one half; there is no side of it that a ranking could get right.
    even = [row for row in prepared.rows if row.probability == 0.5]
    if even:
        prepared.rows = [row for row in prepared.rows if row.probability != 0.5]
        prepared.dropped["tie"] += len(even)
    if not prepared.rows:
        raise FeedbackError(f"none of the {len(feedback):,} rows prefers one response; there is nothing to rank")
    examples = Examples(prepared.rows)
    goal, goal_options = run.objective, run.objective_options
    parts: dict[str, list[torch.Tensor]] = {"sign": [], "reward": [], "logp": [], "ref_logp": [], "length": []}
    for each in (model, reference):
        each.to(torch.accelerator.current_accelerator(check_available=True) or "cpu").eval()
    live = Reference(reference)
    needs = goal.needs(**goal_options) & (LIVE | {Need.PROMPT, Need.JOINT})  # what a reward may be made of
    head = heads.make(model.config, needs, options.get("token_masks", "activations"), 0, 0)
    if head is not None:
        heads.load(head, run.path)
        head.to(reference.device)
    scorer = Scorer(needs, None, live, options.get("feature_layer", -1), head=head)
    for start in range(0, len(examples), batch_size):
        items = [examples[i] for i in range(start, min(start + batch_size, len(examples)))]
        inputs = batch_of(items, pad_id=tokenizer.pad_token_id)
        theirs = inputs["tokens"].to(reference.device)
        inputs["ref_logp"] = logprobs(reference, theirs).logp.cpu()
        if Need.JOINT in needs:
            inputs["ref_joint_logp"] = joint_logprobs(reference, theirs)[1].cpu()
        inputs["tokens"] = inputs["tokens"].to(model.device)
        batch = moved(scorer(model, inputs, {}), "cpu")
        parts["sign"].append(inputs["sign"])
        parts["reward"].append(goal.score(batch, **goal_options).values)
        parts["logp"].append(batch.logp)
        parts["ref_logp"].append(inputs["ref_logp"])
        parts["length"].append(inputs["tokens"].length.cpu())
        progress(start + len(items))
    arrays = {name: torch.cat(values).double().cpu().numpy() for name, values in parts.items()}
    held = Need.REFERENCE in goal.needs(**goal_options)
    return Scores(
        index=np.array([row.index for row in prepared.rows]),
        prepared=prepared,
        beta=goal_options.get("beta") if held else None,
        stated=[row.probability for row in prepared.rows],
        **arrays,
    )
