"""People and GPT-4 rank the same 59 models from votes on the same 2,139 pairs of answers.

    python -m benchmarks.rank_llmfao --data FOLDER

FOLDER holds crowd-comparisons.csv and gpt4-crowd-comparisons.csv of the LLMFAO release. Rewrites docs/rank-llmfao.md
and its picture.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from benchmarks.data_page import BLUE, GREY, PALE, axes, publish, save, table
from pluralign.evaluate.figures import share
from pluralign.rank import LEFT, TIE, Crowd, Leaderboard, Votes, rank
from pluralign.rank.bootstrap import bootstrap

FOLDS = 5


def concordance(people: Leaderboard, machine: Leaderboard, replicates: int = 1000) -> tuple[float, float, float]:
    """Kendall's tau of two boards of the same items, and the middle 95% of it over resampled votes of both.

    Votes of people are drawn by annotator, those of the machine one by one.
    """
    both = [
        bootstrap(people.model, replicates, 0, people.votes.annotator),
        bootstrap(machine.model, replicates, 1),
    ]
    taus = [kendalltau(a, b).statistic for a, b in zip(*both, strict=True)]
    low, high = np.quantile(taus, [0.025, 0.975])
    return float(kendalltau(people.model.scores_, machine.model.scores_).statistic), float(low), float(high)


def agreements(people: Votes, machine: Votes) -> dict[str, Any]:
    """How often two voters say the same about a pair of answers, a tie being a verdict like others."""
    by_pair: dict[str, list[int]] = defaultdict(list)
    for pair, said in zip(_pairs(people), people.outcome.tolist(), strict=True):
        by_pair[pair].append(said)
    verdict = dict(zip(_pairs(machine), machine.outcome.tolist(), strict=True))
    rows: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for pair, said in by_pair.items():
        for i, a in enumerate(said):
            rows["two people"] += [(float(a == b), pair) for b in said[:i]]
            rows["a person and GPT-4"].append((float(a == verdict[pair]), pair))
            for b in said[:i]:
                if TIE not in (a, b):
                    rows["two people, neither calling a tie"].append((float(a == b), pair))
            if TIE not in (a, verdict[pair]):
                rows["a person and GPT-4, neither calling a tie"].append((float(a == verdict[pair]), pair))
    found = {}
    for name, values in rows.items():
        right, pair = np.array([v for v, _ in values]), np.array([p for _, p in values])
        found[name] = share(right, pair)
    return found


def _pairs(votes: Votes) -> list[str]:
    assert votes.extra is not None
    return [str(x) for x in votes.extra["id"].to_list()]


def picture(people: Leaderboard, machine: Leaderboard) -> None:
    """Every model's rating by people against its rating by GPT-4."""
    figure, plot = axes(7.2, 6.4)
    x, y = people.ratings, machine.ratings
    dx, dy = (board.critical() * _errors(board) for board in (people, machine))
    plot.errorbar(x, y, xerr=dx, yerr=dy, fmt="none", ecolor=PALE, elinewidth=0.8)
    plot.plot(x, y, "o", color=BLUE, markersize=4)
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    plot.plot(ends, ends, color=GREY, linewidth=0.8, linestyle="--")
    gap = np.abs(y - x)
    for i in np.argsort(-gap)[:8]:
        plot.annotate(people.model.items_[i], (x[i], y[i]), textcoords="offset points", xytext=(5, 4), fontsize=8)
    plot.set_xlabel("rating by people")
    plot.set_ylabel("rating by GPT-4")
    save(figure, "rank-llmfao.png")


def _errors(board: Leaderboard) -> NDArray[np.float64]:
    errors = board.errors
    assert errors is not None
    return errors


def differ(votes: Votes) -> list[str]:
    """How people differ in what they make of the same answers; writes a picture of it."""
    model = Crowd(noise="temperature", side=True, ties="davidson").fit(votes)
    table_of = model.annotators()
    figure, panels = axes(9.6, 3.9, 3)
    shown = {"side": "odds for the first answer", "tie": "propensity to ties (nu)", "temperature": "temperature"}
    for panel, (name, label) in zip(panels, shown.items(), strict=True):
        part = table_of.sort(name)
        middle, low, high = (part[f"{name}{end}"].to_numpy() for end in ("", "_low", "_high"))
        if name == "side":
            middle, low, high = np.exp(middle), np.exp(low), np.exp(high)
        panel.vlines(np.arange(len(part)), low, high, color=PALE, linewidth=1.2)
        panel.plot(np.arange(len(part)), middle, ".", color=BLUE, markersize=3)
        panel.axhline(1, color=GREY, linewidth=0.8, linestyle="--")
        panel.set_yscale("log")
        ticks = [t for t in (0.1, 0.25, 0.5, 1, 2, 4, 10) if low.min() / 2 < t < high.max() * 2]
        panel.set_yticks(ticks, [f"{t:g}" for t in ticks])
        panel.minorticks_off()
        panel.set_ylim(max(low.min(), middle.min() / 4), min(high.max(), middle.max() * 4))
        panel.set_xlabel("people, in order")
        panel.set_ylabel(label)
    save(figure, "rank-llmfao-people.png")
    crowd_bt = {"noise": "reliability", "side": True, "ties": "davidson"}
    models = {
        "one crowd, ties and an order effect": None,
        "everybody's own side and ties": {"noise": "none", "side": True, "ties": "davidson"},
        "and temperature": {"noise": "temperature", "side": True, "ties": "davidson"},
        "and reliability instead (CrowdBT)": crowd_bt,
    }
    fold = np.random.default_rng(0).permutation(len(votes)) % FOLDS
    rows: list[list[Any]] = []
    for name, options in models.items():
        loss = 0.0
        for f in range(FOLDS):
            train, test = votes.where(fold != f), votes.where(fold == f)
            plain = Crowd(noise="none", side=True, ties="davidson", spread=1e-3)
            loss -= (plain if options is None else Crowd(**options)).fit(train).score(test) * len(test) / len(votes)
        rows.append([name, f"{loss:.4f}"])
    sided = int(((table_of["side_low"] > 0) | (table_of["side_high"] < 0)).sum())
    return [
        "## People differ",
        "",
        "![Side, ties and temperature of every annotator, with 95% intervals](rank-llmfao-people.png)",
        "",
        f"Every dot is one of {len(model.people_)} people, drawn to the crowd's mean the more, the fewer their votes. "
        f"{sided} of them clearly favour a side. In logits people spread by {model.spread_['side']:.2f} in the side, "
        f"by {model.spread_['tie']:.2f} in ties and by {model.spread_['temperature']:.2f} in temperature: a high one "
        "stands for somebody to whom answers differ little. What it is worth to know this, in log-loss of a fifth of "
        "the votes left out at a time (three outcomes; guessing costs 1.0986):",
        "",
        *table(["model", "nats a vote"], rows),
        "",
    ]


def page(folder: Path) -> str:
    """The page, as Markdown; writes its pictures."""
    crowd, gpt4 = folder / "crowd-comparisons.csv", folder / "gpt4-crowd-comparisons.csv"
    people, machine = rank(crowd, ties="davidson"), rank(gpt4, ties="davidson")
    naive = rank(crowd, ties="davidson", cluster=None)
    picture(people, machine)
    tau, low, high = concordance(people, machine)
    ratio = np.median(_errors(people) * people.critical() / (_errors(naive) * naive.critical()))
    lines = [
        f"{len(people.votes):,} votes of {len(people.votes.annotators)} people and {len(machine.votes):,} of GPT-4 on "
        f"the same pairs of answers, {len(people.model.items_)} models.",
        "",
        "![Ratings by people against ratings by GPT-4, with 95% intervals](rank-llmfao.png)",
        "",
        f"Kendall's tau of the two rankings: {tau:.3f}, and between {low:.3f} and {high:.3f} in 95% of samples drawn "
        "from both sets of votes (people drawn whole). Resampling adds noise and so lowers tau: that range lies low. "
        "The models named in the picture are those on which people and GPT-4 differ most.",
        "",
        "| | people | GPT-4 |",
        "| --- | --- | --- |",
    ]
    ties = [share((b.votes.outcome == TIE).astype(float), _cluster(b)) for b in (people, machine)]
    lines.append(f"| votes that are ties | {ties[0]} | {ties[1]} |")
    orders = [rank(source, ties="davidson", order=True) for source in (crowd, gpt4)]
    effects = [_effect(board) for board in orders]
    lines.append(f"| being shown first multiplies the odds by | {effects[0]} | {effects[1]} |")
    left = []
    for board in (people, machine):
        decided = board.votes.outcome < TIE
        left.append(share((board.votes.outcome[decided] == LEFT).astype(float), _cluster(board)[decided]))
    lines.append(f"| decided votes that go to the left | {left[0]} | {left[1]} |")
    tops = [", ".join(b.table["item"].head(5).to_list()) for b in (people, machine)]
    lines.append(f"| first five | {tops[0]} | {tops[1]} |")
    best = [b.table.filter(b.table["rank_low"] == 1).height for b in (people, machine)]
    lines.append(f"| models that could be the best | {best[0]} | {best[1]} |")
    lines += ["", "| who agrees with whom | share of votes on the same answers |", "| --- | --- |"]
    lines += [f"| {name} | {figure} |" for name, figure in agreements(people.votes, machine.votes).items()]
    lines += [
        "",
        f"Intervals that know who cast a vote are {ratio:.2f} times as wide, in the median, as those that take votes "
        "as independent.",
        "",
        *differ(people.votes),
        "## The first fifteen by people",
        "",
        people.to_markdown(most=15),
    ]
    return "\n".join(lines)


def _cluster(board: Leaderboard) -> NDArray[Any]:
    votes = board.votes
    return np.arange(len(votes)) if votes.annotator is None else votes.annotator


def _effect(board: Leaderboard) -> str:
    assert board.covariance is not None
    n = len(board.model.items_)
    value, half = board.model.coefficients_["order"], board.critical() * np.sqrt(board.covariance[n, n])
    return f"{np.exp(value):.3f} [{np.exp(value - half):.3f}, {np.exp(value + half):.3f}]"


if __name__ == "__main__":
    publish(
        page,
        "People and GPT-4 as judges",
        "the votes of [LLMFAO](https://github.com/dustalov/llmfao) (CC BY 4.0)",
    )
