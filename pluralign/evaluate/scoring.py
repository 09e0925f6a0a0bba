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
from pluralign.policy.batch import budgeted
from pluralign.policy.encode import Encoder
from pluralign.policy.reference import ReferenceCache
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

    On an accelerator where there is one. Log-probs of the reference are looked up where a run or another evaluation
    has computed them, and kept.
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
    goal, goal_options = run.objective, run.objective_options
    parts: dict[str, list[torch.Tensor]] = {"sign": [], "reward": [], "logp": [], "length": []}
    for each in (model, reference):
        each.to(torch.accelerator.current_accelerator(check_available=True) or "cpu").eval()
    cache = ReferenceCache(options.get("reference_cache") or run.path / "reference-cache")
    encoded = [row.encoded for row in prepared.rows]
    # What is not known yet is half of the work.
    known = cache.get(reference, encoded, batch_size=batch_size, progress=lambda done: progress(done // 2))
    examples = Examples(prepared.rows, ref_logp=known)
    live = Reference(reference)
    needs = goal.needs(**goal_options) & (LIVE | {Need.PROMPT, Need.JOINT})  # what a reward may be made of
    head = heads.make(model.config, needs, options.get("token_masks", "activations"), 0, 0)
    if head is not None:
        heads.load(head, run.path)
        head.to(reference.device)
    scorer = Scorer(needs, None, live, options.get("feature_layer", -1), head=head)
    order = sorted(range(len(examples)), key=examples.lengths.__getitem__)
    done = 0
    for chunk in budgeted(order, examples.lengths, batch_size * examples.lengths[order[-1]]):
        inputs = batch_of([examples[i] for i in chunk], pad_id=tokenizer.pad_token_id)
        if Need.JOINT in needs:
            inputs["ref_joint_logp"] = joint_logprobs(reference, inputs["tokens"].to(reference.device))[1].cpu()
        inputs["tokens"] = inputs["tokens"].to(model.device)
        batch = moved(scorer(model, inputs, {}), "cpu")
        parts["sign"].append(inputs["sign"])
        parts["reward"].append(goal.score(batch, **goal_options).values)
        parts["logp"].append(batch.logp)
        parts["length"].append(inputs["tokens"].length.cpu())
        done += len(chunk)
        progress((len(examples) + done) // 2)
    back = np.argsort(order)
    arrays = {name: torch.cat(values).double().cpu().numpy()[back] for name, values in parts.items()}
    held = Need.REFERENCE in goal.needs(**goal_options)
    return Scores(
        index=np.array([row.index for row in prepared.rows]),
        prepared=prepared,
        beta=goal_options.get("beta") if held else None,
        stated=[row.probability for row in prepared.rows],
        ref_logp=known.astype(np.float64),
        **arrays,
    )
