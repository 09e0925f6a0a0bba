"""`pluralign next-pairs`: votes in, the pairs to ask about next out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pluralign.cli._options import Columns, columns_mapping


def next_pairs(
    source: Annotated[str, typer.Argument(help="File, folder or hub name with votes.")],
    n: Annotated[int, typer.Argument(help="How many pairs.", min=1)],
    rule: Annotated[str, typer.Option(help="information, arena or uniform.")] = "information",
    item: Annotated[list[str] | None, typer.Option(help="An item without votes yet; repeatable.")] = None,
    spread: Annotated[float, typer.Option(help="Standard deviation of scores expected beforehand, in logits.")] = 1.5,
    columns: Columns = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A table: .csv or .parquet.")] = None,
    seed: Annotated[int, typer.Option(help="Of draws, of sides and of the order of equals.")] = 0,
) -> None:
    """Name the pairs whose votes would say most about the ranking.

    Example: pluralign next-pairs votes.csv 100 --item new-model --out ask.csv
    """
    from rich.console import Console
    from rich.table import Table

    from pluralign.errors import OptionError
    from pluralign.feedback.storage import whole_file
    from pluralign.rank import Votes
    from pluralign.rank import next_pairs as choose

    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise OptionError(f"--out {out}: write a .csv or .parquet table")
    votes = Votes.of(source, columns_mapping(columns))
    found = choose(votes, n, rule, items=item or (), spread=spread, seed=seed)  # type: ignore[arg-type]
    console = Console()
    if out is not None:
        with whole_file(out) as temporary:
            (found.write_csv if out.suffix == ".csv" else found.write_parquet)(temporary)
        console.print(f"wrote {len(found):,} pairs to {out}", markup=False, highlight=False)
        return
    said = "information" if rule == "information" else "chance"
    table = Table("left", "right", said, box=None, header_style="bold")
    for row in found.iter_rows(named=True):
        table.add_row(row["left"], row["right"], f"{row[said]:.4f}")
    console.print(table)
