"""What other rules make of the same votes, and whether one score can hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pluralign.rank.cyclicity import CyclicityTest, cyclicity_test
from pluralign.rank.hodge import PATHS, HodgeRank
from pluralign.rank.kemeny import Kemeny, kemeny
from pluralign.rank.lottery import maximal_lottery
from pluralign.rank.pairwise import Pairwise, votes_or_rankings
from pluralign.rank.voting import condorcet_winner, copeland, minimax, smith_set, win_share

NAMED = 12
"""Items of Smith's set that are named; of more, their number is told."""


@dataclass(frozen=True)
class SocialChoice:
    """The same votes by rules that need no score.

    table: one row an item, in Kemeny's order: item, win_share (Borda's rule), copeland, minimax (the most votes any
    other has over it), kemeny (its place), lottery (its chance). condorcet_winner: the item that majorities put above
    each other one, or None. smith_set: the smallest group that beats all others. kemeny: with cost and bound.
    cyclicity: what no score explains, against chance. circles: majorities that go round, see `HodgeRank.circles`; None
    where there are too many pairs to look.
    """

    table: pl.DataFrame
    condorcet_winner: str | None
    smith_set: list[str]
    kemeny: Kemeny
    cyclicity: CyclicityTest
    circles: pl.DataFrame | None

    @property
    def notes(self) -> list[str]:
        """What the rules say, a sentence each."""
        notes = [f"Cycles: {self.cyclicity}."]
        if self.condorcet_winner is not None:
            notes.append(f"Majorities put {self.condorcet_winner} above each other item (Condorcet's winner).")
        else:
            group, n = self.smith_set, len(self.table)
            named = f": {', '.join(group)}" if len(group) <= NAMED else ""
            notes.append(
                f"No item beats each other one by majority; the smallest group that beats the rest (Smith's set) "
                f"has {len(group):,} of {n:,} items{named}."
            )
        best = self.kemeny
        if best.exact:
            notes.append(f"Kemeny's order: {best.cost:,.6g} votes of pairs contradict it, and no order does better.")
        else:
            notes.append(
                f"Kemeny's order: {best.cost:,.6g} votes of pairs contradict the best order found; no order has fewer "
                f"than {best.bound:,.6g}."
            )
        return notes

    def to_markdown(self, most: int | None = None) -> str:
        """The table as Markdown, the notes below."""
        lines = [
            "| Kemeny | item | win share | Copeland | worst defeat | lottery |",
            "| ---: | --- | ---: | ---: | ---: | ---: |",
        ]
        for row in (self.table.head(most) if most else self.table).iter_rows(named=True):
            lines.append(f"| {' | '.join(cells(row))} |")
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)])


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table as it is shown."""
    return [
        f"{row['kemeny']}",
        row["item"],
        f"{row['win_share']:.3f}",
        f"{row['copeland']:g}",
        f"{row['minimax']:,.6g}",
        f"{row['lottery']:.3f}" if row["lottery"] > 0 else "",
    ]


def social_choice(data: Any, *, replicates: int = 999, seed: int = 0) -> SocialChoice:
    """Borda's, Copeland's, minimax and Kemeny's rule, a maximal lottery, and the share of votes that runs in circles.

    data: anything `Pairwise.of` takes. replicates, seed: of the simulation that cycles are compared with. Rules count
    votes as they are, without order effects, covariates or importance weights; items that never met are level.

    >>> found = social_choice([["a", "b", "c"]] * 4 + [["b", "c", "a"]] * 3 + [["c", "a", "b"]] * 2, replicates=99)
    >>> found.table["item"].to_list(), found.condorcet_winner, found.smith_set
    (['a', 'b', 'c'], None, ['a', 'b', 'c'])
    """
    source = data if isinstance(data, Pairwise) else votes_or_rankings(data)
    table = Pairwise.of(source)
    model = HodgeRank().fit(source)
    best = kemeny(table.wins, seed=seed)
    place = np.empty(table.n, dtype=np.int64)
    place[best.order] = np.arange(table.n)
    frame = pl.DataFrame(
        {
            "item": pl.Series([str(item) for item in table.items], dtype=pl.String),
            "win_share": win_share(table),
            "copeland": copeland(table),
            "minimax": minimax(table),
            "kemeny": place + 1,
            "lottery": maximal_lottery(table),
        }
    )
    return SocialChoice(
        frame.sort("kemeny"),
        condorcet_winner(table),
        smith_set(table),
        best,
        cyclicity_test(source, replicates=replicates, seed=seed),
        model.circles() if model.flow_.paths <= PATHS else None,
    )
