"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pluralign.errors import FeedbackError, OptionError

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

    from pluralign.feedback import Feedback

Format = Annotated[str | None, typer.Option(help="Format of the source; detected when left out.")]
Columns = Annotated[
    str | None, typer.Option(help="Our field = the source's column, comma-separated: winner=choice,model_a=left.")
]
Against = Annotated[
    list[str] | None,
    typer.Option(help="A file (a benchmark) whose prompts should not stand in the rows; may be given several times."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first row that cannot be read.")]


def columns_mapping(option: str | None) -> dict[str, str] | None:
    """The mapping in `--columns ours=theirs,...`.

    >>> columns_mapping("winner=choice,model_a=left")
    {'winner': 'choice', 'model_a': 'left'}
    """
    if option is None:
        return None
    pairs = [part.partition("=") for part in option.split(",")]
    for ours, equals, theirs in pairs:
        if not (ours.strip() and equals and theirs.strip()):
            raise OptionError(f"--columns {option}: '{ours}{equals}{theirs}' is not of the form field=column")
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def load(source: str, format: str | None, columns: str | None, strict: bool, console: Console) -> Feedback:
    """Read a source and say what was kept and dropped; a source of which nothing was kept is an error."""
    from pluralign.feedback import read

    feedback = read(source, format, columns_mapping(columns), strict=strict)
    report = feedback.report
    if report is not None and not len(feedback):
        raise FeedbackError(
            f"{source}: read as {report.format} ({report.why}), and none of {report.read:,} rows could be kept;"
            f" {'; '.join(f'{n:,} {why}, e.g. {report.examples[why][0]}' for why, n in report.dropped.most_common(2))}"
        )
    say(console, str(report))
    return feedback


def load_against(sources: list[str] | None, console: Console) -> dict[str, pa.Table] | None:
    """The tables of the files of `--against`, each by its name as given."""
    if not sources:
        return None
    return {source: load(source, None, None, False, console).table for source in sources}


def say(console: Console, words: str) -> None:
    """Print a sentence as it is: no markup, and no line broken where the output is no terminal."""
    console.print(words, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def spare(sources: Iterable[str], *outputs: Path) -> None:
    """Refuse an output that would take the place of a source, or of another output."""
    taken = {Path(source).resolve(): f"the source {source}" for source in sources}
    for output in outputs:
        place = output.resolve()
        if place in taken:
            raise OptionError(f"{output} is also {taken[place]}; give the result a name of its own")
        taken[place] = f"another result, {output}"
