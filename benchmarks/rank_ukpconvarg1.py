"""How convincing arguments are, from pairs, by six rules, against the gold ranks of the release.

    python -m benchmarks.rank_ukpconvarg1 --data FOLDER

FOLDER holds UKPConvArg1Strict-CSV and UKPConvArg1-Ranking-CSV. Rewrites docs/rank-ukpconvarg1.md and its picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import kendalltau

from benchmarks.data_page import BLUE, GREY, ORANGE, PALE, axes, publish, save, table
from pluralign.evaluate.figures import share
from pluralign.feedback.formats.ukpconvarg import about_debate, debate
from pluralign.rank import BradleyTerry, HodgeRank, Pairwise, Votes
from pluralign.rank.kemeny import kemeny
from pluralign.rank.voting import copeland, win_share

Array = NDArray[np.float64]
Rule = Callable[[Votes], Array]


def _kemeny(votes: Votes) -> Array:
    order = kemeny(Pairwise.of(votes).wins).order
    return -np.argsort(order).astype(float)


RULES: dict[str, Rule] = {
    "Bradley-Terry": lambda votes: BradleyTerry().fit(votes).scores_,
    "Thurstone": lambda votes: BradleyTerry(link="probit").fit(votes).scores_,
    "HodgeRank": lambda votes: HodgeRank().fit(votes).scores_,
    "win share (Borda)": lambda votes: win_share(Pairwise.of(votes)),
    "Copeland": lambda votes: copeland(Pairwise.of(votes)),
    "Kemeny": _kemeny,
}
FOLDS = 5


@dataclass(frozen=True)
class Debate:
    """One side of one debate: its pairs, and gold scores of its arguments (larger is better here)."""

    name: str
    votes: Votes
    gold: Array


def debates(folder: Path) -> list[Debate]:
    found = []
    gold_files = {_spelled(path): path for path in (folder / "UKPConvArg1-Ranking-CSV").glob("*.csv")}
    for path in sorted((folder / "UKPConvArg1Strict-CSV").glob("*.csv")):
        pairs = _tsv(path)
        sides = pairs["#id"].str.splitn("_", 2)
        votes = Votes.of(
            pl.DataFrame(
                {
                    "left": sides.struct.field("field_0"),
                    "right": sides.struct.field("field_1"),
                    "winner": pairs["label"].replace_strict({"a1": "left", "a2": "right"}),
                }
            )
        )
        ranks = dict(_tsv(gold_files[_spelled(path)]).select("#id", pl.col("rank").cast(pl.Float64)).iter_rows())
        # The release's score is small for what convinces.
        found.append(Debate(debate(path.name), votes, -np.array([ranks.get(item, np.nan) for item in votes.items])))
    return found


def _spelled(path: Path) -> str:
    """One side is spelled in two ways in the two folders."""
    return path.name.replace("commond", "common")


def _tsv(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)


def held_out(votes: Votes, rule: Rule, seed: int = 0) -> Array:
    """[N] whether each pair is ordered rightly by scores from the other folds; half for equal ones."""
    fold = np.random.default_rng(seed).permutation(len(votes)) % FOLDS
    right = np.empty(len(votes))
    for k in range(FOLDS):
        scores = np.nan_to_num(rule(votes.where(fold != k)))
        test = fold == k
        gap = scores[votes.left[test]] - scores[votes.right[test]]
        right[test] = (np.sign(gap) * np.where(votes.outcome[test] == 0, 1, -1) + 1) / 2
    return right


def page(folder: Path) -> str:
    """The page, as Markdown; writes its picture."""
    sides = debates(folder)
    total = sum(len(d.votes) for d in sides)
    taus: dict[str, list[float]] = {}
    rows = []
    for name, rule in RULES.items():
        scores = [rule(d.votes) for d in sides]
        known = [~np.isnan(d.gold) for d in sides]
        taus[name] = [
            float(kendalltau(s[k], d.gold[k]).statistic) for s, d, k in zip(scores, sides, known, strict=True)
        ]
        right = [held_out(d.votes, rule) for d in sides]
        cluster = np.repeat(np.arange(len(sides)), [len(r) for r in right])
        found = share(np.concatenate(right), cluster)
        rows.append([name, f"{np.mean(taus[name]):.3f}", f"{np.min(taus[name]):.3f}", found])
    gold = [np.where(np.isnan(d.gold), np.nanmean(d.gold), d.gold) for d in sides]
    ordered = np.concatenate([_ordered(d.votes, g) for d, g in zip(sides, gold, strict=True)])
    where = np.repeat(np.arange(len(sides)), [len(d.votes) for d in sides])
    picture(sides, taus)
    tables = [Pairwise.of(d.votes) for d in sides]
    left_over = np.mean([HodgeRank().fit(d.votes).cyclicity_ for d in sides])
    orders = [kemeny(t.wins) for t in tables]
    best, arguments = sum(o.exact for o in orders), sum(t.n for t in tables)
    infinite = sum(bool(BradleyTerry().fit(d.votes).graph_.infinite.any()) for d in sides)
    lines = [
        f"{total:,} pairs of {arguments:,} arguments on {len(sides)} sides of debates, judged by five people each, put "
        "together and cleaned by the authors. Their gold ranks are PageRank scores of votes before cleaning; the rules "
        "here see the cleaned pairs alone.",
        "",
        "![Kendall's tau between each rule and the gold ranks, by side of a debate](rank-ukpconvarg1.png)",
        "",
        *table(["rule", "mean tau with gold", "worst side", f"held-out pairs ordered rightly ({FOLDS} folds)"], rows),
        "",
        f"The gold ranks order {share(ordered, where)} of the pairs rightly, having seen all of them. Intervals take "
        "whole sides of debates as units. What agrees best with PageRank (counting whom one beat) is not what "
        "foretells unseen pairs best (weighing how strong they were). Equal scores count half.",
        "",
        f"Kemeny's order contradicts {sum(o.cost for o in orders):,.0f} pairs and is proved best on {best} of "
        f"{len(orders)} sides: cleaning took all circles out, so that pairs left out are easier to foretell than votes "
        f"were. It also leaves Bradley-Terry without finite scores on {infinite} sides, since nothing leads back from "
        "a loser to a winner; half a virtual win and loss for each argument hold them. HodgeRank still puts "
        f"{left_over:.0%} of the leads down to circles: every lead is one, and such leads do not add up along an "
        "order, though no majorities go round.",
        "",
        "Sides with the lowest agreement between Bradley-Terry and gold:",
        "",
    ]
    name = "Bradley-Terry"
    lowest = np.argsort(taus[name])[:5]
    lines += table(
        ["debate", "arguments", "pairs", "tau"],
        [[_said(sides[i]), tables[i].n, len(sides[i].votes), f"{taus[name][i]:.3f}"] for i in lowest],
    )
    return "\n".join(lines)


def _ordered(votes: Votes, scores: Array) -> Array:
    gap = scores[votes.left] - scores[votes.right]
    return np.asarray((np.sign(gap) * np.where(votes.outcome == 0, 1, -1) + 1) / 2)


def _said(side: Debate) -> str:
    return str(about_debate(side.name)["prompt"][0].content)


def picture(sides: list[Debate], taus: dict[str, list[float]]) -> None:
    """Tau of each rule by side of a debate, and gold against Bradley-Terry for all arguments."""
    figure, (left, right) = axes(11.5, 5.2, 2)
    names = list(taus)[::-1]
    rng = np.random.default_rng(0)
    for y, name in enumerate(names):
        left.plot(taus[name], y + rng.uniform(-0.18, 0.18, len(sides)), "o", color=PALE, markersize=4)
        left.plot([np.mean(taus[name])], [y], "D", color=BLUE, markersize=6)
    left.set_yticks(range(len(names)), names)
    left.set_xlabel("Kendall's tau with gold, one dot a side of a debate; diamonds: means")
    left.grid(axis="x", color="#dddddd", linewidth=0.6)
    for d in sides:
        scores, known = RULES["Bradley-Terry"](d.votes), ~np.isnan(d.gold)
        place = (np.argsort(np.argsort(d.gold[known])) + 0.5) / known.sum()
        right.plot(scores[known], place, "o", color=BLUE, alpha=0.35, markersize=3.5, markeredgewidth=0)
    right.set_xlabel("Bradley-Terry score (logits)")
    right.set_ylabel("gold: share of its debate's arguments below")
    right.axvline(0, color=GREY, linewidth=0.8, linestyle="--")
    right.axhline(0.5, color=ORANGE, linewidth=0.8, linestyle="--")
    save(figure, "rank-ukpconvarg1.png")


if __name__ == "__main__":
    publish(
        page,
        "Convincing arguments",
        "[UKPConvArg1](https://github.com/UKPLab/acl2016-convincing-arguments) (CC BY 4.0)",
    )
