"""What a run says of itself: its options, its data, its reference."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from transformers import TrainingArguments

from pluralign.errors import OptionError
from pluralign.feedback import Feedback
from pluralign.objectives import Objective
from pluralign.policy.reference import weights_fingerprint
from pluralign.train.data import Prepared
from pluralign.train.options import AlignOptions
from pluralign.train.run import Run, versions


def print_rows(prepared: Prepared, evaluated: Prepared | None, console: Console) -> None:
    """Say how many rows are used, and why others are not."""
    for name, part in (("train", prepared), ("held out", evaluated)):
        if part is None:
            continue
        lines = [f"{name}: {len(part.rows):,} rows used"]
        lines += [f"dropped {n:,}: {reason}, e.g. {part.examples[reason]}" for reason, n in part.dropped.most_common()]
        lines += [f"{reason}: {n:,}" for reason, n in part.cut.most_common()]
        console.print("; ".join(lines), markup=False, highlight=False)


def record(
    run: Run,
    given: Mapping[str, Any],
    goal: Objective,
    goal_options: Mapping[str, Any],
    arguments: TrainingArguments,
    provenance: Mapping[str, Any],
    prepared: Prepared,
    evaluated: Prepared | None,
    held_out: Feedback | None,
) -> None:
    """Write data.json, heldout.parquet and config.json."""
    parts = {"train": prepared.as_dict(), "eval": evaluated.as_dict() if evaluated else None}
    run.write("data.json", {**provenance, **parts})
    if held_out is not None:
        held_out.write(run.path / "heldout.parquet")
    # Last, for it makes the folder a run that can go on.
    run.write(
        "config.json",
        {
            "options": dict(given),
            "objective": goal.name,
            "objective_options": dict(goal_options),
            "equation": goal.equation,
            "training": arguments.to_dict(),
            "versions": versions(),
            "processes": arguments.world_size,
            "command": sys.argv,
        },
    )


def record_reference(run: Run, settings: AlignOptions, model: Any, resume: bool) -> None:
    """Write reference.json. Raises `OptionError` where a run that goes on would be held to other weights."""
    apart = settings.reference_model
    made = apart is None and settings.model.startswith("lab:")
    fingerprint = weights_fingerprint(model)
    if resume and run.reference["fingerprint"] != fingerprint:
        raise OptionError(
            f"{run.path} cannot go on: the weights of {apart or settings.model} are not those the run began with; "
            "put those back, or begin a new run"
        )
    values = {
        "name": apart or settings.model,
        "path": "reference" if made else None,
        "fingerprint": fingerprint,
    }
    run.write("reference.json", values)
