"""`pluralign filter`: drop the rows that findings of the audit point at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pluralign.cli._options import Against, Columns, Format, Strict, load, load_against, say, spare


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
    against: Against = None,
    format: Format = None,
    columns: Columns = None,
    strict: Strict = False,
) -> None:
    """Write the rows that no named finding points at, and beside them the others, each with its reasons.

    Example: pluralign filter pairs.jsonl clean.parquet --drop near-duplicate-pair,contradiction
    """
    from rich.console import Console

    from pluralign.errors import OptionError
    from pluralign.feedback.audit.tokens import tokenizer_of
    from pluralign.feedback.filter import check_names
    from pluralign.feedback.write import writer

    names = [name.strip() for name in drop.split(",") if name.strip()]
    if "over-max-length" in names and max_length is None:
        raise OptionError("--drop over-max-length needs --max-length")
    if ("contaminated" in names) != bool(against):
        raise OptionError("--drop contaminated and --against go together; give both or neither")
    other = dropped or out.with_name(f"{out.name.split('.', 1)[0]}.dropped.{out.name.split('.', 1)[-1]}")
    if not names:
        raise OptionError("--drop names no finding; give one or more, for example --drop contradiction,duplicate-pair")
    check_names(names)
    spare([source], out, other)
    writer(out, "pluralign")
    writer(other, "pluralign")
    console = Console(stderr=True)
    tokenize = tokenizer_of(tokenizer) if tokenizer else None
    feedback = load(source, format, columns, strict, console)
    report = feedback.audit(
        max_length=max_length,
        tokenize=tokenize,
        against=load_against(against, console),
        label_noise="suspect-label" in names,
    )
    kept, gone = feedback.filter(*names, audit=report)
    for name, n in kept.history[-1]["drop"].items():
        say(console, f"{name}: {n:,} rows")
    kept.write(out)
    gone.write(other)
    say(console, f"kept {len(kept):,} rows in {out}; dropped {len(gone):,} into {other}")
