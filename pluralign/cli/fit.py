"""`pluralign fit`: feedback in, a model of whose preferences it holds out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pluralign.cli._options import Columns, Format, Strict, load, say

SETTINGS = {"context_settings": {"allow_extra_args": True, "ignore_unknown_options": True}}


def fit(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="File, folder or hub name with feedback.")],
    population: Annotated[
        str,
        typer.Option(
            help="ideal-point, two-tower, low-rank, mixture, routed, hierarchical, variational, few-shot, "
            "attribute-attention or multi-objective."
        ),
    ] = "ideal-point",
    groups: Annotated[str, typer.Option(help="Tastes: a number, or 1..4 to choose by held-out log-loss.")] = "1..4",
    encoder: Annotated[
        str,
        typer.Option(
            help="Name or folder of a transformers model; items; features:NAME for columns NAME_a and NAME_b."
        ),
    ] = "features",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to save the model in.")] = None,
    aspect: Annotated[
        str | None, typer.Option(help="Which rating orders responses, where they are rated on several aspects.")
    ] = None,
    null: Annotated[int, typer.Option(help="Times names are dealt anew to see what chance gives.", min=0)] = 19,
    format: Format = None,
    columns: Columns = None,
    strict: Strict = False,
) -> None:
    """Learn whose preferences the feedback holds: a few tastes, and everybody's place among them.

    Example: pluralign fit votes.csv --groups 1..4 --encoder items --population low-rank --out model

    Options of the score (--distance, --width, ...) and of training (--epochs, --lr, --restarts, ...) are passed on.
    """
    from rich.console import Console
    from rich.table import Table

    from pluralign.cli.align import extra_options
    from pluralign.models import fit as run

    console = Console()
    tried = _groups(groups)
    feedback = load(source, format, columns, strict, console)
    model = run(feedback, population, tried, encoder, aspect=aspect, null=null, **extra_options(context.args))
    if model.plurality_ is not None:
        say(console, str(model.plurality_))
    table = Table(box=None, header_style="bold")
    for name in ("group", "share", "people", "most typical"):
        table.add_column(name, justify="left" if name == "most typical" else "right")
    found = model.groups(feedback)
    for row in found.table.iter_rows(named=True):
        table.add_row(str(row["group"]), f"{row['share']:.2f}", f"{row['people']:,}", ", ".join(row["typical"]))
    console.print(table)
    for paragraph in found.words():
        say(console, paragraph)
    if out is not None:
        say(
            console, f"wrote {model.save(out)} and {found.write(out / 'groups.html', f'Groups of {Path(source).name}')}"
        )


def _groups(option: str) -> list[int]:
    """The numbers in 3, 1..4 or 1,2,5.

    >>> _groups("1..4"), _groups("1,3")
    ([1, 2, 3, 4], [1, 3])
    """
    from pluralign.errors import OptionError

    try:
        if ".." in option:
            low, _, high = option.partition("..")
            return list(range(int(low), int(high) + 1))
        return [int(part) for part in option.split(",")]
    except ValueError:
        raise OptionError(f"--groups {option}: write 3, 1..4 or 1,2,5") from None
