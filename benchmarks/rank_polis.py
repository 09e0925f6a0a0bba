"""Statements that people agree or disagree with, ranked by rules of social choice, in three public conversations.

    python -m benchmarks.rank_polis --data FOLDER

FOLDER holds one folder a conversation, each with votes.csv.gz and comments.csv. Rewrites docs/rank-polis.md and its
picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import kendalltau

import pluralign
from benchmarks.data_page import BLUE, GREY, ORANGE, PALE, axes, publish, save, table
from pluralign.intervals import wilson
from pluralign.rank import Rankings, committee, social_choice
from pluralign.rank.social_choice import SocialChoice

LEAST = 100
"""Votes that a statement needs to take part."""
SHOWN, SEATS = 5, 5
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Conversation:
    """One conversation.

    votes: statement, voter, vote (1 agrees, 0 passes, -1 disagrees), group. text: of statements by id. groups: the
    opinion groups that the platform found. rankings: by voter, what they agree with above what they passed on, that
    above what they disagree with.
    """

    topic: str
    votes: pl.DataFrame
    text: dict[str, str]
    groups: list[str]
    rankings: Rankings

    def agree(self, statement: str, group: str | None = None) -> tuple[int, int]:
        """How many agree, of how many who voted, in one group or among all."""
        cast = self.votes.filter(pl.col("statement") == statement)
        if group is not None:
            cast = cast.filter(pl.col("group") == group)
        return int((cast["vote"] == 1).sum()), cast.height


def conversation(folder: Path) -> Conversation:
    table_ = pluralign.read(folder).table.select(["prompt", "responses", "annotator", "annotator_attributes", "thumb"])
    frame = pl.DataFrame(table_)
    response = pl.col("responses").list.get(0).struct
    content = response.field("messages").list.get(0, null_on_oob=True).struct.field("content")
    votes = frame.select(
        response.field("id").alias("statement"),
        pl.col("annotator").alias("voter"),
        pl.when("thumb").then(1).when(~pl.col("thumb")).then(-1).otherwise(0).alias("vote"),
        pl.col("annotator_attributes").str.json_path_match("$['group-id']").alias("group"),
        content.alias("text"),
    )
    topic = frame["prompt"][0][0]["content"]
    votes = votes.filter(pl.len().over("statement") >= LEAST)
    text = dict(votes.select("statement", "text").unique("statement").iter_rows())
    long = votes.select(ranking="voter", item="statement", rank=2 - pl.col("vote"), annotator="voter")
    groups = sorted(votes["group"].drop_nulls().unique().to_list())
    return Conversation(topic, votes.drop("text"), text, groups, Rankings.of(long))


def bridging(found: Conversation) -> list[str]:
    """Statements by how sure it is that even the group that agrees least agrees, most of them first."""
    floor = {s: min(wilson(*found.agree(s, g))[0] for g in found.groups) for s in found.text}
    return sorted(floor, key=lambda s: -floor[s])


def rows(found: Conversation, statements: list[str]) -> list[list[Any]]:
    shown = []
    for statement in statements:
        yes, n = found.agree(statement)
        low, high = wilson(yes, n)
        by_group = [found.agree(statement, g) for g in found.groups]
        text = found.text[statement].replace("|", "/").replace("\n", " ").strip()
        text = text if len(text) <= 160 else text[:157] + "..."
        shown.append([text, f"{yes / n:.2f} [{low:.2f}, {high:.2f}]", *(f"{y / m:.2f}" for y, m in by_group)])
    return shown


def chosen(found: Conversation, like: Array) -> list[list[Any]]:
    """Committees of statements: what each opinion group agrees with, and how many people agree with one or more."""
    side = {s: found.groups[int(g)] for s, g in zip(found.rankings.items, like.argmax(1), strict=True)}
    count = found.votes.drop_nulls("group").unique("voter")["group"].value_counts()
    size = dict(count.iter_rows())
    least = {g: int(SEATS * size[g] / sum(size.values())) for g in found.groups}
    choices = {
        "Borda": committee(found.rankings, SEATS),
        "Borda, seats of groups by size": committee(found.rankings, SEATS, groups=side, least=least),
        "Chamberlin-Courant": committee(found.rankings, SEATS, "chamberlin-courant"),
    }
    shown, items = [], list(found.rankings.items)
    for name, these in choices.items():
        inside = found.votes.filter(pl.col("statement").is_in(these.members))
        means = like[[items.index(s) for s in these.members]].mean(0)
        reached = inside.group_by("voter").agg((pl.col("vote") == 1).any())["vote"].mean()
        seats = ", ".join(str(sum(side[s] == g for s in these.members)) for g in found.groups)
        shown.append([name, seats, *(f"{m:.2f}" for m in means), f"{reached:.2f}"])
    return shown


def page(folder: Path) -> str:
    """The page, as Markdown; writes its picture."""
    folders = sorted(path.parent for path in folder.glob("*/comments.csv"))
    everything = [conversation(path) for path in folders]
    rules = [social_choice(c.rankings, replicates=99) for c in everything]
    likes = [_likes(c) for c in everything]
    picture(everything, likes)
    lines = [
        "People agree, disagree or pass on statements of each other. Each person's votes are a ranking with ties: what "
        "they agree with, what they passed on, what they disagree with. Statements with fewer than "
        f"{LEAST} votes are left out. Groups are the opinion groups that the platform itself found.",
        "",
        "![Share of each opinion group that agrees with each statement](rank-polis.png)",
        "",
        "Every dot is a statement; in orange those that are surest to be shared by both groups.",
        "",
        *table(
            ["", *(c.topic for c in everything)],
            [
                ["people", *(f"{len(c.rankings):,}" for c in everything)],
                ["statements", *(f"{c.rankings.n:,}" for c in everything)],
                ["votes", *(f"{c.votes.height:,}" for c in everything)],
                ["runs in circles", *(f"{r.cyclicity.observed:.1%}" for r in rules)],
                [
                    "chance alone makes",
                    *(f"{r.cyclicity.expected:.1%} (p {r.cyclicity.p_value:.2f})" for r in rules),
                ],
                ["Smith's set, statements", *(len(r.smith_set) for r in rules)],
                ["votes of pairs against Kemeny's order", *(f"{r.kemeny.cost:,.0f}" for r in rules)],
                ["no order has fewer than", *(f"{r.kemeny.bound:,.0f}" for r in rules)],
                *_agreement(everything, rules),
            ],
        ),
        "",
        "An order by the share that agrees asks of each statement who happened to vote on it; rules on pairs compare "
        "statements among people who voted on both. Chance is rankings drawn from scores, as long and as tied as they "
        "are; tastes of groups come on top of it and show as circles. A person who voted on more statements says more "
        "about pairs, and so counts more, in all rules but the share.",
    ]
    for found, rule, like in zip(everything, rules, likes, strict=True):
        head = ["statement", "agree", *(f"in group {g}" for g in found.groups)]
        lines += [
            "",
            f"## {found.topic}",
            "",
            "Highest in Kemeny's order:",
            "",
            *table(head, rows(found, rule.table["item"].head(SHOWN).to_list())),
            "",
            "Surest to be shared, by the lower end of the interval in the group that agrees less:",
            "",
            *table(head, rows(found, bridging(found)[:SHOWN])),
            "",
            f"{SEATS} statements for all, by three rules; a statement is counted to the group that agrees more:",
            "",
            *table(
                [
                    "rule",
                    "seats of groups",
                    *(f"mean share, group {g}" for g in found.groups),
                    "people who agree with one",
                ],
                chosen(found, like),
            ),
        ]
    return "\n".join(lines)


def _likes(found: Conversation) -> Array:
    """[statements, groups] share that agrees."""
    pairs = [[found.agree(s, g) for g in found.groups] for s in found.rankings.items]
    return np.array([[yes / max(n, 1) for yes, n in row] for row in pairs])


def _agreement(everything: list[Conversation], rules: list[SocialChoice]) -> list[list[str]]:
    """Kendall's tau of the share that agrees with what each rule says."""
    taus: dict[str, list[str]] = {"win share": [], "copeland": [], "kemeny": []}
    for found, rule in zip(everything, rules, strict=True):
        share = [np.divide(*found.agree(s)) for s in rule.table["item"]]
        for name, kept in taus.items():
            scores = rule.table[name.replace(" ", "_")].to_numpy() * (-1 if name == "kemeny" else 1)
            kept.append(f"{kendalltau(share, scores).statistic:.3f}")
    return [[f"tau of the share that agrees with {name}", *kept] for name, kept in taus.items()]


def picture(everything: list[Conversation], likes: list[Array]) -> None:
    """Agreement in one opinion group against that in the other, by conversation."""
    figure, plots = axes(4.3 * len(everything), 4.7, len(everything))
    for plot, found, like in zip(plots, everything, likes, strict=True):
        sure = bridging(found)[:SHOWN]
        bridges = np.isin(found.rankings.items, sure)
        plot.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
        plot.plot(like[~bridges, 0], like[~bridges, 1], "o", color=BLUE, alpha=0.45, markersize=4, markeredgewidth=0)
        plot.plot(like[bridges, 0], like[bridges, 1], "o", color=ORANGE, markersize=6, label="surest to be shared")
        plot.set_xlim(0, 1)
        plot.set_ylim(0, 1)
        plot.set_aspect("equal")
        plot.set_xlabel(f"agree in group {found.groups[0]}")
        plot.set_ylabel(f"agree in group {found.groups[1]}")
        plot.set_title(found.topic if found.topic.isascii() else _latin(found.topic), fontsize=10)
        plot.grid(color=PALE, linewidth=0.4)
    plots[0].legend(frameon=False, fontsize=8, loc="lower right")
    save(figure, "rank-polis.png")


def _latin(topic: str) -> str:
    """The part of a title that every font has."""
    return " ".join("".join(c if c.isascii() else " " for c in topic.replace("’", "'")).split())


if __name__ == "__main__":
    publish(
        page,
        "What people can agree on",
        "[Polis](https://github.com/compdemocracy/openData) conversations (CC BY 4.0, The Computational Democracy "
        "Project)",
    )
