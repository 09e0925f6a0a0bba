"""`pluralign rank`: votes in, a leaderboard out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pluralign.cli._options import Columns, columns_mapping

if TYPE_CHECKING:
    from rich.table import Table

    from pluralign.rank.social_choice import SocialChoice

SETTINGS = {"context_settings": {"allow_extra_args": True, "ignore_unknown_options": True}}


def rank(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="File, folder or hub name with votes.")],
    model: Annotated[
        str,
        typer.Option(
            help="bradley-terry, thurstone; plackett-luce, mallows, mixture (rankings); crowd-bt, temperature "
            "(annotators); elo, glicko-2, trueskill, whole-history (over time)."
        ),
    ] = "bradley-terry",
    ties: Annotated[
        str | None,
        typer.Option(
            help="davidson (the default), rao-kupper, half (thurstone's default) or drop; of rankings, orders (the "
            "default) or davidson-luce."
        ),
    ] = None,
    interval: Annotated[
        str | None, typer.Option(help="sandwich, model, bootstrap or none; model for ratings that change.")
    ] = None,
    cluster: Annotated[
        str, typer.Option(help="What votes share that makes them alike: annotator, prompt, a column; none for nothing.")
    ] = "annotator",
    anchor: Annotated[str | None, typer.Option(help="Item held at 1000, or NAME=RATING.")] = None,
    scale: Annotated[str | None, typer.Option(help="elo (400 points are odds of ten to one) or score.")] = None,
    prior: Annotated[float | None, typer.Option(help="Virtual wins and losses of every item.", min=0)] = None,
    order: Annotated[bool, typer.Option("--order", help="Estimate and take out the advantage of being first.")] = False,
    covariate: Annotated[
        list[str] | None, typer.Option(help="Column (or NAME for NAME_a and NAME_b) to take out; repeatable.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="One leaderboard for every value of this column.")] = None,
    weights: Annotated[str, typer.Option(help="votes, importance, inverse-pair or strength.")] = "votes",
    both_bad: Annotated[str, typer.Option(help="What votes against both are: tie or drop.")] = "tie",
    rules: Annotated[
        bool, typer.Option("--rules", help="Also other rules of voting (Borda, Copeland, Kemeny, lottery) and cycles.")
    ] = False,
    columns: Columns = None,
    labels: Annotated[
        str | None, typer.Option(help="What verdicts mean, comma-separated: gauche=left,droite=right,nul=tie.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A page (.html), table (.csv, .parquet), .md or .png.")
    ] = None,
    top: Annotated[int, typer.Option(help="Items to print.", min=1)] = 30,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Rank what votes compare, with intervals, and say what the votes cannot tell.

    Example: pluralign rank votes.csv --columns winner=choice --anchor gpt-4=1200 --rules --out board.html

    Rankings (tables of ranks, lists, PrefLib): plackett-luce (--unranked below for top lists), mallows, and mixture,
    which finds tastes and prints a board for each (--k, or as many as foretell people left out best, up to --most).
    Annotators who differ: crowd-bt (reliability) and temperature; --order gives everybody a side of their own. Example:
    pluralign rank sushi.csv --model mixture --most 4

    Ratings that change over time: elo (--k, --start), glicko-2 (--period, --tau, --volatility, --deviation), trueskill
    (--noise, --drift, --deviation, --draws) and whole-history (--variance, --period) with their own options; --out
    FILE.png draws them over time. Example: pluralign rank matches.csv --model whole-history --order --out time.png
    """
    from rich.console import Console

    from pluralign.cli.align import extra_options
    from pluralign.errors import OptionError
    from pluralign.rank import Leaderboard
    from pluralign.rank import rank as run_rank

    console = Console()
    name, equals, rating = (anchor or "").rpartition("=")
    held = {name: _number(rating, anchor)} if equals else anchor
    found = run_rank(
        source,
        model,  # type: ignore[arg-type]
        ties=ties,  # type: ignore[arg-type]
        interval=interval,  # type: ignore[arg-type]
        cluster=None if cluster == "none" else cluster,
        anchor=held,
        scale=scale,  # type: ignore[arg-type]
        prior=prior,
        order=order,
        covariates=covariate or (),
        by=by,
        weights=weights,  # type: ignore[arg-type]
        both_bad=both_bad,  # type: ignore[arg-type]
        columns=columns_mapping(columns),
        labels=columns_mapping(labels),
        seed=seed,
        **extra_options(context.args),
    )
    boards: dict[str, Leaderboard] = found if isinstance(found, dict) else {"": found}
    if out is not None and out.suffix not in (".html", ".csv", ".parquet", ".md", ".png"):
        raise OptionError(f"--out {out}: write a .html page, a .csv or .parquet table, .md, or a .png picture")
    for value, board in boards.items():
        if value:
            console.print(f"\n[bold]{f'{by}: ' if by else ''}{value}[/bold]")
        console.print(_table(board, top))
        for note in board.notes:
            console.print(f"- {note}", markup=False, highlight=False)
        other = board.social_choice(seed) if rules else None
        if other is not None:
            console.print(_rules_table(other, top))
            for note in other.notes:
                console.print(f"- {note}", markup=False, highlight=False)
        if out is not None:
            path = (
                out if not value else out.with_stem(f"{out.stem}-{''.join(c if c.isalnum() else '_' for c in value)}")
            )
            _write(board, path, other)
            console.print(f"wrote {path}", markup=False, highlight=False)


def _number(rating: str, anchor: str | None) -> float:
    from pluralign.errors import OptionError

    try:
        return float(rating)
    except ValueError:
        raise OptionError(f"--anchor {anchor}: '{rating}' is no rating; write NAME or NAME=1200") from None


def _table(board: object, top: int) -> object:
    from rich.table import Table

    from pluralign.rank import Leaderboard

    assert isinstance(board, Leaderboard)
    table = Table(box=None, header_style="bold")
    for column in ("rank", "item", "rating", "interval", "could be", "votes", ""):
        table.add_column(column, justify="right" if column in ("rank", "rating", "votes") else "left")
    for cells in board.cells(top):
        table.add_row(*cells)
    if len(board.table) > top:
        table.caption = f"the first {top} of {len(board.table):,}"
    return table


def _rules_table(other: SocialChoice, top: int) -> Table:
    from rich.table import Table

    from pluralign.rank.social_choice import cells

    table = Table(box=None, header_style="bold", title="Other rules", title_justify="left")
    for column in ("Kemeny", "item", "win share", "Copeland", "worst defeat", "lottery"):
        table.add_column(column, justify="left" if column == "item" else "right")
    for row in other.table.head(top).iter_rows(named=True):
        table.add_row(*cells(row))
    return table


def _write(board: object, path: Path, other: SocialChoice | None) -> None:
    from pluralign.feedback.storage import whole_file
    from pluralign.rank import Leaderboard

    assert isinstance(board, Leaderboard)
    if path.suffix == ".html":
        board.to_html(path, rules=other)
        return
    with whole_file(path) as temporary:
        if path.suffix == ".md":
            text = [board.to_markdown(), *([other.to_markdown()] if other else [])]
            temporary.write_text("\n\n".join(text) + "\n", encoding="utf-8")
        elif path.suffix == ".png":
            board.plot("intervals" if board.history is None else "time").savefig(temporary, dpi=144, format="png")
        elif path.suffix == ".csv":
            board.table.write_csv(temporary)
        else:
            board.table.write_parquet(temporary)
