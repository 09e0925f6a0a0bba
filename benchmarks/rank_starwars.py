"""Six films ranked and fourteen characters rated by the people of a survey, by rules that need no score and by one.

    python -m benchmarks.rank_starwars --data FOLDER

FOLDER holds StarWars.csv. Rewrites docs/rank-starwars.md and its picture.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

import pluralign
from benchmarks.data_page import BLUE, axes, publish, save, table
from pluralign.feedback import Feedback
from pluralign.rank import Pairwise, PlackettLuce, Rankings, committee, social_choice
from pluralign.rank.kemeny import kemeny
from pluralign.rank.social_choice import SocialChoice

FAN = "Do you consider yourself to be a fan of the Star Wars film franchise?"
EPISODE = re.compile(r"^Star Wars: Episode (\S+)\s+(.+)$")


def films(feedback: Feedback) -> Rankings:
    """The rankings of six films, named by episode and title."""
    found = Rankings.of(_where(feedback, pl.col("ranks").list.drop_nulls().list.len() > 0))
    names = [EPISODE.sub(r"\1 \2", item) for item in found.items]
    return Rankings(
        names,
        found.flat,
        found.level,
        found.offsets,
        found.unranked_below,
        annotator=found.annotator,
        annotators=found.annotators,
    )


def characters(feedback: Feedback) -> Rankings:
    """Ratings in words as rankings with ties; characters that somebody does not know are absent."""
    rated = _where(feedback, pl.col("ranks").list.drop_nulls().list.len().fill_null(0) == 0)
    return Rankings.of(rated.rankings(aspect="favour"))


def _where(feedback: Feedback, condition: pl.Expr) -> Feedback:
    kept = pl.DataFrame(feedback.table.select(["ranks"])).select(condition.fill_null(False)).to_series()
    return Feedback(feedback.table.filter(kept.to_arrow()))


def answers(feedback: Feedback, question: str) -> dict[str, str]:
    """What each person answered."""
    frame = pl.DataFrame(feedback.table.select(["annotator", "annotator_attributes"]))
    said = frame["annotator_attributes"].str.json_path_match(f"$['{question}']")
    return {who: answer for who, answer in zip(frame["annotator"], said, strict=True) if answer}


def page(folder: Path) -> str:
    """The page, as Markdown; writes its picture."""
    survey = pluralign.read(folder / "StarWars.csv")
    ranked, rated = films(survey), characters(survey)
    of_films, of_characters = social_choice(ranked), social_choice(rated, replicates=199)
    picture(ranked, of_characters, Pairwise.of(rated))
    model = PlackettLuce().fit(ranked)
    score = dict(zip(model.items_, model.scores_, strict=True))
    first = _first(ranked)
    lines = [
        f"{len(ranked):,} people ranked six films, and {len(rated):,} rated fourteen characters on five steps from "
        "very unfavourably to very favourably; whoever did not know a character left it out.",
        "",
        "![Which film stands at which place, and majorities between characters](rank-starwars.png)",
        "",
        "## Films",
        "",
        *table(
            ["Kemeny", "film", "put first by", "win share", "Copeland", "lottery", "Plackett-Luce score"],
            [
                [
                    row["kemeny"],
                    row["item"],
                    f"{first[row['item']]:.1%}",
                    f"{row['win_share']:.3f}",
                    f"{row['copeland']:g}",
                    f"{row['lottery']:.2f}",
                    f"{score[row['item']]:.3f}",
                ]
                for row in of_films.table.iter_rows(named=True)
            ],
            left=2,
        ),
        "",
        *(f"- {note}" for note in of_films.notes),
        "",
        "Majorities between films form an order without any circle, and yet one score does not hold them: leads do not "
        "add up. People of two tastes, put together, make such leads, and fans and others do differ:",
        "",
        *_by_group(ranked, "fans", "not fans", answers(survey, FAN)),
        "",
        "Three films for everybody: "
        + "; ".join(f"{rule} takes {_together(ranked, rule)}" for rule in ("borda", "sntv", "chamberlin-courant"))
        + ". Borda adds up what each film is worth to all; Chamberlin-Courant counts for each person only their best "
        "of the three.",
        "",
        "## Characters",
        "",
        *_characters(of_characters),
    ]
    return "\n".join(lines)


def _first(rankings: Rankings) -> dict[str, float]:
    top = np.bincount(rankings.flat[rankings.level == 0], minlength=rankings.n) / len(rankings)
    return dict(zip(rankings.items, top.tolist(), strict=True))


def _together(rankings: Rankings, rule: str) -> str:
    return ", ".join(committee(rankings, 3, rule).members)  # type: ignore[arg-type]


def _by_group(rankings: Rankings, yes: str, no: str, said: dict[str, str]) -> list[str]:
    assert rankings.annotator is not None
    answer = np.array([said.get(name, "") for name in rankings.annotators])[rankings.annotator]
    rows, orders = [], {}
    for name, value in ((yes, "Yes"), (no, "No")):
        part = rankings.where(answer == value)
        best = kemeny(Pairwise.of(part).wins)
        orders[name] = [rankings.items[i] for i in best.order]
        against = best.cost / float(Pairwise.of(part).wins.sum())
        rows.append([name, f"{len(part):,}", " > ".join(x.split()[0] for x in orders[name]), f"{against:.1%}"])
    return table(["who", "people", "Kemeny's order by episode", "votes of pairs against it"], rows, left=3)


def _characters(found: SocialChoice) -> list[str]:
    rows = [
        [row["kemeny"], row["item"], f"{row['win_share']:.3f}", f"{row['copeland']:g}", f"{row['lottery']:.2f}"]
        for row in found.table.iter_rows(named=True)
    ]
    return [
        *table(["Kemeny", "character", "win share", "Copeland", "lottery"], rows, left=2),
        "",
        *(f"- {note}" for note in found.notes),
    ]


def picture(ranked: Rankings, found: SocialChoice, rated: Pairwise) -> None:
    """How often each film stood at each place, and the share of people for one character over another."""
    figure, (left, right) = axes(12.5, 5.6, 2)
    order = [ranked.items[i] for i in kemeny(Pairwise.of(ranked).wins).order]
    counts: NDArray[np.float64] = np.zeros((ranked.n, 6))
    np.add.at(counts, (ranked.flat, ranked.level), 1)
    counts = counts[[list(ranked.items).index(item) for item in order]]
    counts /= counts.sum(1, keepdims=True)
    start = np.zeros(len(order))
    for place in range(6):
        shade = 0.18 + 0.82 * (5 - place) / 5
        left.barh(
            order[::-1], counts[::-1, place], left=start, color=BLUE, alpha=shade, edgecolor="white", linewidth=0.5
        )
        for y, (x, width) in enumerate(zip(start, counts[::-1, place], strict=True)):
            if width > 0.06:
                left.text(
                    x + width / 2,
                    y,
                    f"{width:.0%}",
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color="white" if place < 4 else "#333333",
                )
        start = start + counts[::-1, place]
    left.set_xlabel("share of people who put the film first (dark), second, ..., last (pale)")
    left.spines[["left", "bottom"]].set_visible(False)
    left.set_xlim(0, 1)
    names = found.table["item"].to_list()
    place_of = [list(rated.items).index(item) for item in names]
    votes = np.where(rated.votes > 0, rated.votes, np.nan)
    share = ((rated.wins + rated.ties / 2) / votes)[np.ix_(place_of, place_of)]
    np.fill_diagonal(share, np.nan)
    image = right.imshow(share, cmap="RdBu", vmin=0.2, vmax=0.8)
    right.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    right.set_yticks(range(len(names)), names, fontsize=8)
    right.spines[["left", "bottom"]].set_visible(False)
    figure.colorbar(image, ax=right, label="share for the row over the column, ties half", shrink=0.85)
    save(figure, "rank-starwars.png")


if __name__ == "__main__":
    publish(
        page,
        "Six films and fourteen characters",
        "the [Star Wars survey](https://github.com/fivethirtyeight/data/tree/master/star-wars-survey) of "
        "FiveThirtyEight (CC BY 4.0)",
    )
