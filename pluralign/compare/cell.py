"""One cell: train, measure, keep the figures."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pluralign.compare.plan import Cell, Plan
from pluralign.errors import PluralignError
from pluralign.feedback.storage import whole_file

CHOOSE, REPORT = "choose", "report"
"""Two halves of the held-out rows: an objective's setting is chosen on one and told about on the other."""


def folder(out: Path, cell: Cell) -> Path:
    """Where a finished cell lies."""
    return out / "cells" / cell.name


def result(out: Path, cell: Cell) -> dict[str, Any] | None:
    """The figures of a finished cell."""
    path = folder(out, cell) / "cell.json"
    return json.loads(path.read_text()) if path.is_file() else None


def run_cell(
    out: Path, cell: Cell, scorer: Callable[[str, str], float] | None, steps: int | None = None, measure: bool = True
) -> None:
    """Train and measure one cell in a folder of its own, which takes its name when all is there.

    What cannot be (an objective that needs what the rows have not) is a result too: `problem` says so. steps: others
    than the plan's, and measure=False, to see how long those take.
    """
    from pluralign.evaluate import evaluate
    from pluralign.feedback import read
    from pluralign.train import align

    plan = Plan.read(out)
    work = folder(out, cell).with_name(f".{cell.name}-{os.getpid()}")
    for left in work.parent.glob(f".{cell.name}-*"):  # by a comparison that was killed
        shutil.rmtree(left, ignore_errors=True)
    steps = steps or plan.steps
    figures: dict[str, Any] = {"objective": cell.objective, "options": cell.options, "seed": cell.seed, "steps": steps}
    try:
        began, spent = time.monotonic(), time.process_time()
        run = align(
            str(out / "train.parquet"),
            plan.model,
            cell.objective,
            output_dir=work,
            eval_data=0,
            seed=cell.seed,
            max_steps=steps,
            reference_cache=str(out / "reference-cache"),
            logging_steps=max(1, steps // 10),
            save_strategy="no",
            disable_tqdm=True,
            **{**plan.options, **cell.options},
        )
        figures |= {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - spent}
        for part, samples in ((CHOOSE, 0), (REPORT, plan.samples)) if measure else ():
            held_out = read(out / f"{part}.parquet")
            measured = evaluate(
                run,
                held_out,
                name=part,
                scorer=scorer,
                cluster=plan.cluster,
                samples=samples,
                max_new_tokens=plan.max_new_tokens,
            )
            figures[part] = measured.figures
        figures["loss"] = [[m["step"], m["loss"]] for m in run.metrics if "loss" in m]
        # Weights are the bulk of a run, and the page says how to train the best again.
        shutil.rmtree(work / "model")
    except PluralignError as error:
        work.mkdir(parents=True, exist_ok=True)
        figures["problem"] = str(error)
    with whole_file(work / "cell.json") as temporary:
        temporary.write_text(json.dumps(figures, default=str) + "\n")
    if folder(out, cell).exists():
        shutil.rmtree(work)  # another process was quicker
    else:
        work.rename(folder(out, cell))
