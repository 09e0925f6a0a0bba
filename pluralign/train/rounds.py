"""Alignment in rounds: each starts from the model before it, which is also what it is held to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pluralign.errors import OptionError
from pluralign.feedback import Feedback
from pluralign.objectives import Need, find
from pluralign.train.alignment import align
from pluralign.train.run import Run


def align_rounds(
    parts: Sequence[Feedback],
    model: str,
    objective: str = "dpo",
    *,
    output_dir: str | Path,
    resume: bool = False,
    **options: Any,
) -> list[Run]:
    """One run for each part of the feedback, in round-1, round-2, ... of `output_dir`.

    parts: those of `pluralign.feedback.recipes.curry_dpo`, or one dimension of preference after the other. Round n
    trains from, and against, the model of round n - 1. For `spo_seq` the models before that are the frozen ones, oldest
    first; its first round, which has nothing to keep, is dpo. resume: rounds that are finished are kept. options: those
    of `align`. Raises `OptionError` for adapters, whose reference could only be the model without them.
    """
    if options.get("lora") is not None:
        raise OptionError("rounds move the reference to the model before, and with --lora the reference is the base")
    if not parts:
        raise OptionError("there is no round without feedback; give one part a round")
    earlier: list[str] = []
    runs: list[Run] = []
    keeps = Need.FROZEN in find(objective).needs()
    start = model
    for number, part in enumerate(parts, start=1):
        folder = Path(output_dir) / f"round-{number}"
        goal, extra = objective, dict(options)
        if keeps and earlier:
            extra["frozen_models"] = earlier
        elif keeps:
            goal = "dpo"
            extra = {name: value for name, value in options.items() if name not in _own_options(objective)}
        begun = resume and (folder / "config.json").is_file()
        if begun and Run.open(folder).finished:
            run = Run.open(folder)
        else:
            run = align(part, start, goal, output_dir=folder, resume=begun, **extra)
        origin = run.path / "reference"  # a model made on the spot is kept there
        earlier = [*earlier, str(origin) if origin.is_dir() else start]
        start = str(run.path / "model")
        runs.append(run)
    return runs


def _own_options(objective: str) -> set[str]:
    """Options of the objective that dpo does not have."""
    return set(find(objective).options.model_fields) - set(find("dpo").options.model_fields)
