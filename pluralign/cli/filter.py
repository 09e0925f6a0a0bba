"""`pluralign filter`: drop the rows that findings of the audit point at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pluralign.cli._options import Columns, Format, Strict, columns_mapping


def filter(
    source: Annotated[str, typer.Argument(help="File, folder or hub name to read.")],
    out: Annotated[Path, typer.Argument(help="Where the kept rows go: .parquet, .jsonl or .jsonl.gz.")],
    drop: Annotated[str, typer.Option(help="Findings by name, with commas between.")],
    dropped: Annotated[
        Path | None, typer.Option(help="Where the dropped rows go, with reasons; beside OUT by default.")
    ] = None,
    max_length: Annotated[int | None, typer.Option(help="The limit that over-max-length refers to.", min=1)] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Tokenizer (name or folder) that the limit counts with.")
    ] = None,
    format: Format = None,
    columns: Columns = None,
    strict: Strict = False,
) -> None:
    """Write the rows that no named finding points at, and beside them the others, each with its reasons.

    Example: pluralign filter pairs.jsonl clean.parquet --drop near-duplicate-pair,contradiction
    """
    from rich.console import Console

    from pluralign.errors import OptionError
    from pluralign.feedback import read
    from pluralign.feedback.audit.tokens import tokenizer_of

    names = [name.strip() for name in drop.split(",") if name.strip()]
    if "over-max-length" in names and max_length is None:
        raise OptionError("--drop over-max-length needs --max-length")
    other = dropped or out.with_name(f"{out.name.split('.', 1)[0]}.dropped.{out.name.split('.', 1)[-1]}")
    if other == out:
        raise OptionError(f"--dropped and OUT are both {out}; give two files")
    console = Console(stderr=True)
    feedback = read(source, format, columns_mapping(columns), strict=strict)
    console.print(str(feedback.report), markup=False, highlight=False)
    report = feedback.audit(max_length=max_length, tokenize=tokenizer_of(tokenizer) if tokenizer else None)
    kept, gone = feedback.filter(*names, audit=report)
    for name, n in kept.history[-1]["drop"].items():
        console.print(f"{name}: {n:,} rows", markup=False, highlight=False)
    kept.write(out)
    gone.write(other)
    console.print(
        f"kept {len(kept):,} rows in {out}; dropped {len(gone):,} into {other}", markup=False, highlight=False
    )
