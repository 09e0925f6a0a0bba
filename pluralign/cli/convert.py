"""`pluralign convert`: one format into another, or one kind of feedback into another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pluralign.cli._options import Columns, Format, Strict, columns_mapping


def convert(
    source: Annotated[str, typer.Argument(help="File, folder or hub name to read.")],
    out: Annotated[Path, typer.Argument(help="Where to write: .parquet, .jsonl or .jsonl.gz.")],
    format: Format = None,
    columns: Columns = None,
    to: Annotated[str | None, typer.Option(help="Format to write; our own record by default.")] = None,
    kind: Annotated[
        str | None, typer.Option("--as", help="Convert the feedback: pairs, rankings, votes, unpaired or ratings.")
    ] = None,
    strict: Strict = False,
) -> None:
    """Read feedback in any known format and write it in another.

    Example: pluralign convert votes.csv votes.parquet --columns model_a=left,model_b=right,winner=choice
    """
    from rich.console import Console

    from pluralign.errors import OptionError
    from pluralign.feedback import read

    console = Console(stderr=True)
    feedback = read(source, format, columns_mapping(columns), strict=strict)
    console.print(str(feedback.report), markup=False, highlight=False)
    if kind is not None:
        if kind not in ("pairs", "rankings", "votes", "unpaired", "ratings"):
            raise OptionError(f"--as {kind}: not one of pairs, rankings, votes, unpaired, ratings")
        feedback = getattr(feedback, kind)()
        step = feedback.history[-1]
        left_out = ", ".join(f"{n:,} {why}" for why, n in step["left_out"].items()) or "nothing"
        console.print(f"as {kind}: {step['rows_in']:,} rows became {step['rows_out']:,}; left out: {left_out}")
    feedback.write(out, to)
    console.print(f"wrote {len(feedback):,} rows to {out}")
