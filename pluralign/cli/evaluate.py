"""`pluralign evaluate`: what a run learnt, measured on held-out feedback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    run: Annotated[
        Path, typer.Argument(help="The folder of a run, of a saved model, or of a classifier with one label.")
    ],
    data: Annotated[str | None, typer.Argument(help="Held-out feedback; the run's own when left out.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the evaluation within the run; heldout, or that of the file.")
    ] = None,
    scorer: Annotated[
        str | None, typer.Option(help="For the win rate: length, or module:function of (prompt, response).")
    ] = None,
    cluster: Annotated[str, typer.Option(help="What rows share: prompt, annotator, a column, meta.NAME.")] = "prompt",
    slice: Annotated[
        list[str] | None, typer.Option(help="Break figures down by this column or meta.NAME too; repeatable.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Prompts to draw responses to; 0 for none.")] = 64,
    max_new_tokens: Annotated[int, typer.Option(help="Length limit of drawn responses.")] = 128,
    seed: Annotated[int, typer.Option(help="Of samples and resampling.")] = 0,
) -> None:
    """Held-out accuracy, calibration, displacement, KL and win rate of a run, with intervals; of a reward, trained by
    align or saved, accuracy by part, calibration, reliance on length and place, the worst part and the human ceiling.

    Example: pluralign evaluate runs/simpo heldout.jsonl --scorer mypackage.rewards:helpfulness
    """
    from pluralign.evaluate import evaluate as run_evaluate
    from pluralign.evaluate.scorers import load_function

    result = run_evaluate(
        run,
        data,
        name=name,
        scorer=load_function(scorer) if scorer else None,
        cluster=cluster,
        slices=slice or (),
        samples=samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
    )
    print(result)
    following = f"; next: pluralign report {run}" if (run / "config.json").exists() else ""
    print(f"written to {result.path}{following}")
