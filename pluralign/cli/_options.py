"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from pluralign.errors import OptionError

Format = Annotated[str | None, typer.Option(help="Format of the source; detected when left out.")]
Columns = Annotated[
    str | None, typer.Option(help="Our field = the source's column, comma-separated: winner=choice,model_a=left.")
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
