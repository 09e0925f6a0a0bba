"""`pluralign demo`: the whole way from feedback to a report, on this machine, in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything it makes.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Of people, faults, models and samples.")] = 0,
) -> None:
    """Simulate people, audit what they said, align a small model to it twice, and report.

    Example: pluralign demo --out demo
    """
    from pluralign.lab.demo import demo as run_demo

    run_demo(out, seed=seed)
