"""`pluralign compare`: which objective for my data, and by how much."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pluralign.cli._options import columns_mapping
from pluralign.cli.align import extra_options
from pluralign.errors import OptionError

SETTINGS = {"context_settings": {"allow_extra_args": True, "ignore_unknown_options": True}}


def compare(
    context: typer.Context,
    data: Annotated[str, typer.Argument(help="Feedback: a file, folder or hub name.")],
    objectives: Annotated[str, typer.Option(help="Names, comma-separated, or sums such as 0.8*dpo + 0.2*bco.")],
    output_dir: Annotated[Path, typer.Option("--output-dir", "-o", help="Where everything goes, the page too.")],
    model: Annotated[str, typer.Option(help="A folder, a hub name, or lab:tiny.")] = "lab:tiny",
    grid: Annotated[
        str,
        typer.Option(
            help="one, small (3 learning rates), wide (3 of beta too), or a YAML file: objective -> settings."
        ),
    ] = "small",
    budget: Annotated[str, typer.Option(help="For everything, such as 30m or 2h; or '200 steps' a run.")] = "30m",
    seeds: Annotated[int, typer.Option(help="Runs of each setting.")] = 1,
    eval_data: Annotated[str, typer.Option(help="Share of rows to hold out, or a source.")] = "0.2",
    scorer: Annotated[
        str | None, typer.Option(help="For win rates: length, or module:function of (prompt, response).")
    ] = None,
    samples: Annotated[int, typer.Option(help="Prompts to draw responses to; 0 for none.")] = 64,
    max_new_tokens: Annotated[int, typer.Option(help="Length limit of drawn responses.")] = 64,
    cluster: Annotated[str, typer.Option(help="What rows share: prompt, annotator, a column, meta.NAME.")] = "prompt",
    processes: Annotated[int | None, typer.Option(help="Runs at a time; as many as there are cores.")] = None,
    part: Annotated[str, typer.Option(help="Only the i-th n-th of the runs, on a cluster: 2/8. 1/n first.")] = "1/1",
) -> None:
    """Train several objectives alike, and say on one page which did best and by how much.

    Example: pluralign compare pairs.jsonl --objectives dpo,simpo,ipo --model lab:tiny --budget 30m -o compared

    Options of align and of the trainer (--max-length, --lora, --per-device-train-batch-size, ...) hold for all runs.
    Interrupted, the same command goes on; with more objectives it adds them.
    """
    from pluralign.compare import compare as run_compare

    options = extra_options(context.args)
    if isinstance(options.get("columns"), str):
        options["columns"] = columns_mapping(options["columns"])
    first, slash, n = part.partition("/")
    if not (slash and first.isdigit() and n.isdigit()):
        raise OptionError(f"--part {part}: write it as 2/8, the second of eight")
    try:
        held_out: str | float = float(eval_data)
    except ValueError:
        held_out = eval_data
    found = run_compare(
        data,
        [name.strip() for name in objectives.split(",") if name.strip()],
        model=model,
        output_dir=output_dir,
        grid=grid,
        budget=budget,
        seeds=seeds,
        eval_data=held_out,
        scorer=scorer,
        samples=samples,
        max_new_tokens=max_new_tokens,
        cluster=cluster,
        processes=processes,
        part=(int(first), int(n)),
        **options,
    )
    print(found)
    print(f"written to {found.path}")
