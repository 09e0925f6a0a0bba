"""`pluralign report`: runs on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders that align wrote.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; in the first run's folder by default.")
    ] = None,
    evaluation: Annotated[str, typer.Option(help="Name given to evaluate.")] = "heldout",
) -> None:
    """Compare runs on one self-contained HTML page, with report.json beside it.

    Example: pluralign report runs/dpo runs/simpo --out comparison.html
    """
    from pluralign.report import report as write_report

    print(write_report(*runs, out=out, evaluation=evaluation))
