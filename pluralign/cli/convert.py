"""`pluralign convert`: one format into another, or one kind of feedback into another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pluralign.cli._options import Columns, Format, Strict, load, say, spare
from pluralign.errors import FeedbackError, OptionError

KINDS = ("pairs", "binarized", "rankings", "votes", "unpaired", "ratings")


def convert(
    source: Annotated[str, typer.Argument(help="File, folder or hub name to read.")],
    out: Annotated[
        Path,
        typer.Argument(help="Where to write: .parquet, .jsonl, .jsonl.gz, or .soc, .soi, .toc, .toi (PrefLib)."),
    ],
    format: Format = None,
    columns: Columns = None,
    to: Annotated[str | None, typer.Option(help="Format to write; our own record by default.")] = None,
    kind: Annotated[str | None, typer.Option("--as", help=f"Convert the feedback: {', '.join(KINDS)}.")] = None,
    aspect: Annotated[
        str | None, typer.Option(help="With --as pairs, binarized or rankings: the rating that orders responses.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="With --as binarized: the seed of the draw; 0 by default.")] = None,
    without: Annotated[
        str | None, typer.Option(help="Fields to leave behind, with commas between: annotator,meta.")
    ] = None,
    strict: Strict = False,
) -> None:
    """Read feedback in any known format and write it in another.

    Example: pluralign convert votes.csv votes.parquet --columns model_a=left,model_b=right,winner=choice
    """
    from rich.console import Console

    from pluralign.feedback.write import writer

    options = _options(kind, aspect, seed)
    spare([source], out)
    writer(out, to)
    console = Console(stderr=True)
    feedback = load(source, format, columns, strict, console)
    if kind is not None:
        feedback = getattr(feedback, kind)(**options)
        step = feedback.history[-1]
        left_out = ", ".join(f"{n:,} {why}" for why, n in step["left_out"].items()) or "nothing"
        say(console, f"as {kind}: {step['rows_in']:,} rows became {step['rows_out']:,}; left out: {left_out}")
        if not len(feedback):
            raise FeedbackError(f"{source}: nothing is left as {kind} ({left_out}); choose another --as")
    if without is not None:
        feedback = feedback.without(*(name.strip() for name in without.split(",")))
    feedback.write(out, to)
    say(console, f"wrote {len(feedback):,} rows to {out}")


def _options(kind: str | None, aspect: str | None, seed: int | None) -> dict[str, Any]:
    if kind is not None and kind not in KINDS:
        raise OptionError(f"--as {kind}: not one of {', '.join(KINDS)}")
    if aspect is not None and kind not in ("pairs", "binarized", "rankings"):
        raise OptionError("--aspect needs --as pairs, binarized or rankings; nothing else is ordered by a rating")
    if seed is not None and kind != "binarized":
        raise OptionError("--seed needs --as binarized; nothing else is drawn")
    return {key: value for key, value in (("aspect", aspect), ("seed", seed)) if value is not None}
