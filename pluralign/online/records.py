"""What a run writes of itself, so that it and each of its rounds can be opened, audited and gone on with."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pluralign.feedback import Judgement
from pluralign.online.asking import kept
from pluralign.online.drawn import Prompt
from pluralign.online.folder import OnlineRun
from pluralign.online.learner import Learner
from pluralign.online.offline import Pairs
from pluralign.online.settings import OnlineOptions
from pluralign.train.run import Run, versions


def begin(
    folder: OnlineRun,
    settings: OnlineOptions,
    learner: Learner,
    options: Mapping[str, Any],
    given: Mapping[str, Any],
    *,
    judge: str | None,
    training: Sequence[Prompt],
    watching: Sequence[Prompt],
    prompts: str,
    offline: Pairs | None,
    weights: str,
) -> None:
    """The files of a run that begins. prompts, weights: fingerprints of what it asks and of what it starts from."""
    made = settings.model.startswith("lab:")
    reference = {"name": settings.model, "path": "reference" if made else None, "fingerprint": weights}
    folder.write("reference.json", reference)
    parts: dict[str, Any] = {"train": _counts(len(training)), "eval": _counts(len(watching)) if watching else None}
    if offline is not None:
        parts["offline"] = {"fingerprint": offline.fingerprint, **offline.counts}
    folder.write("data.json", {"fingerprint": prompts, "split_by": "prompt", **parts})
    steps = settings.steps(settings.seed, epochs=options.get("epochs", 1))
    # Last, for it makes the folder a run that can go on.
    folder.write(
        "config.json",
        {
            "options": dict(given),
            "objective": learner.name,
            "objective_options": dict(options),
            "equation": learner.equation,
            "online": settings.model_dump(),
            "training": vars(steps),
            "judge": judge,
            "versions": versions(),
            "command": sys.argv,
        },
    )


def go_on(folder: OnlineRun, settings: OnlineOptions, given: Mapping[str, Any]) -> None:
    """Note what a run goes on with: the rounds or the budget it is given now need not be given again."""
    if dict(given) != folder.config["options"]:
        folder.write("config.json", {**folder.config, "options": dict(given), "online": settings.model_dump()})


def begin_round(folder: OnlineRun, run: Run, number: int) -> None:
    """What makes a round's folder a run of its own."""
    run.path.mkdir(parents=True, exist_ok=True)
    run.write("config.json", {**folder.config, "round": number})
    path = folder.reference["path"]
    run.write("reference.json", {**folder.reference, **({"path": f"../{path}"} if path else {})})


def round_data(run: Run, rows: Sequence[Judgement], learner: Learner, used: int, lost: Counter[str]) -> None:
    """How many prompts of a round were learnt from, and why the others were not."""
    fingerprint = kept(rows, number=0, learner=learner.name).fingerprint
    counts = _counts(used, lost)
    run.write("data.json", {"fingerprint": fingerprint, "questions": len(rows), "train": counts, "eval": None})


def forget_stage(run: Run, place: int, step: int) -> None:
    """Drop metrics of this stage's later steps: learning goes on from this one and writes them again."""
    kept_on = [m for m in run.metrics if m["stage"] < place or (m["stage"] == place and m["step"] <= step)]
    (run.path / "metrics.jsonl").unlink(missing_ok=True)
    for line in kept_on:
        run.log(line)


def _counts(used: int, lost: Mapping[str, int] | None = None) -> dict[str, Any]:
    return {"used": used, "dropped": dict(lost or {}), "cut": {}, "examples": {}}
