"""`pluralign audit`: what is in a feedback file and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pluralign.cli._options import Against, Columns, Format, Strict, load, load_against, say, spare


def audit(
    source: Annotated[list[str], typer.Argument(help="File, folder or hub name; give two to compare them as well.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The page to write; a .json of the same name goes beside it.")
    ] = Path("audit.html"),
    max_length: Annotated[
        int | None, typer.Option(help="Report what this limit on prompt plus response would cut.", min=1)
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Tokenizer (name or folder) to count lengths with; words between blanks without one."),
    ] = None,
    against: Against = None,
    label_noise: Annotated[
        bool, typer.Option("--label-noise", help="Fit a model to the words, and name preferences it finds unlikely.")
    ] = False,
    format: Format = None,
    columns: Columns = None,
    strict: Strict = False,
) -> None:
    """Look feedback over: duplicates, contradictions, what wins, who agrees, what is cut. A table here, and a page.

    Example: pluralign audit train.jsonl test.jsonl --max-length 1024 --tokenizer Qwen/Qwen3-0.6B --out audit.html
    """
    import pyarrow as pa
    from rich.console import Console

    from pluralign.feedback import Feedback
    from pluralign.feedback.audit.tokens import tokenizer_of
    from pluralign.feedback.storage import check_place

    console = Console(stderr=True)
    data = out.with_suffix(".json")
    spare(source, out, data)
    check_place(out)
    check_place(data)
    tokenize = tokenizer_of(tokenizer) if tokenizer else None
    parts = [load(one, format, columns, strict, console) for one in source]
    others = load_against(against, console)
    tables = [part.table.replace_schema_metadata(None) for part in parts]
    feedback = parts[0] if len(parts) == 1 else Feedback(pa.concat_tables(tables))
    with console.status("audit") as status:
        result = feedback.audit(
            max_length=max_length,
            tokenize=tokenize,
            against=others,
            label_noise=label_noise,
            unit=f"tokens of {tokenizer}" if tokenizer else None,
            progress=lambda step: status.update(f"audit: {step}"),
        )
    Console().print(result.table())
    result.to_html(out)
    result.to_json(data)
    say(console, f"wrote {out} and {data}")
