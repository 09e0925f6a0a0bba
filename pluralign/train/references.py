"""Rows with the log-probs that frozen models give them, computed once and kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console
from transformers import TrainingArguments

from pluralign.errors import OptionError
from pluralign.objectives import Need, Objective
from pluralign.policy.ability import plain_only, ways
from pluralign.policy.encode import Encoded, joint
from pluralign.policy.load import load
from pluralign.policy.reference import ReferenceCache
from pluralign.progress import bar
from pluralign.train.batches import Examples
from pluralign.train.data import Prepared, mismatched
from pluralign.train.options import AlignOptions
from pluralign.train.savings import positions, sentence
from pluralign.train.trainer import PolicyTrainer


def with_reference(
    prepared: Prepared,
    model: Any,
    goal: Objective,
    goal_options: Mapping[str, Any],
    settings: AlignOptions,
    cache: ReferenceCache,
    arguments: TrainingArguments,
    console: Console,
) -> Examples:
    """Rows with their reference log-probs: every objective reports displacement and KL, if it needs them or not."""
    model.to(arguments.device)
    examples = Examples(prepared.rows)
    if settings.reward:
        return examples
    encoded = [row.encoded for row in prepared.rows]
    size = arguments.per_device_eval_batch_size
    # One process computes; the others then find the result on disk.
    with arguments.main_process_first(desc="reference log-probs"):
        with bar("reference log-probs", len(encoded), console) as step:
            examples.ref_logp = cache.get(model, encoded, batch_size=size, progress=step)
        if Need.MISMATCHED in goal.needs(**goal_options):
            examples.mismatched = mismatched(prepared.rows, settings.max_length, settings.seed)
            with bar("reference log-probs, mismatched", len(encoded), console) as step:
                examples.ref_mismatched = cache.get(model, examples.mismatched, batch_size=size, progress=step)
        if Need.JOINT in goal.needs(**goal_options):
            with bar("reference log-probs, prompts too", len(encoded), console) as step:
                examples.ref_joint_logp = cache.get(model, list(map(joint, encoded)), batch_size=size, progress=step)
        if Need.FROZEN in goal.needs(**goal_options):
            examples.frozen_logp = _frozen(encoded, goal, settings, cache, arguments, console)
    return examples


def _frozen(
    encoded: list[Encoded],
    goal: Objective,
    settings: AlignOptions,
    cache: ReferenceCache,
    arguments: TrainingArguments,
    console: Console,
) -> Any:
    """Log-probs under each of the further frozen models, [N, K, M]."""
    if not settings.frozen_models:
        raise OptionError(f"{goal.name} compares with further models; name them with --frozen-models '[path, path]'")
    columns = []
    for name in settings.frozen_models:
        other, _ = load(name, dtype=settings.dtype)
        if settings.plain:
            plain_only(other)
        with bar(f"log-probs under {name}", len(encoded), console) as step:
            size = arguments.per_device_eval_batch_size
            columns.append(cache.get(other.to(arguments.device), encoded, batch_size=size, progress=step))
    return np.stack(columns, axis=-1)


def print_ways(trainer: PolicyTrainer, examples: Examples, cache: ReferenceCache, console: Console) -> None:
    """Say once how log-probs are computed, what that leaves out, and where those of the reference came from."""
    packs, tiles = ways(trainer.model)
    batches = [rows for batch in trainer.batches() if (rows := [examples.rows[i].encoded for i in batch if i >= 0])]
    if (most := trainer.max_tokens) is not None:
        alone = sum(row.length > most for rows in batches for row in rows)
        console.print(
            f"batches: {len(batches):,} of at most {most:,} tokens{f', {alone:,} of a longer row alone' * bool(alone)}",
            highlight=False,
        )
    console.print(sentence(positions(batches), packs=packs, tiles=tiles), highlight=False)
    console.print(f"reference log-probs: {cache.hits:,} from the cache, {cache.misses:,} computed", highlight=False)
