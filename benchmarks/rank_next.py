"""Votes that choosing what to ask next saves, and where it saves none: a simulation.

    python -m benchmarks.rank_next [--runs 40]

Rewrites docs/rank-next.md and its picture; takes some minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import kendalltau

from benchmarks.data_page import BLUE, DOCS, GREY, ORANGE, save
from pluralign.evaluate.figures import mean, spelled
from pluralign.rank import BradleyTerry, Votes, next_pairs

Array = NDArray[np.float64]
Rule = Literal["information", "arena", "uniform"]
RULES: tuple[Rule, ...] = get_args(Rule)
COLOURS = {"information": BLUE, "arena": ORANGE, "uniform": GREY}
STEPS = 20
"""Batches in which every budget is asked."""


@dataclass(frozen=True)
class Case:
    """items whose scores are normal with a deviation of `spread` logits; noise: share of votes that are coin flips;
    target: Kendall's tau to be reached."""

    name: str
    items: int
    spread: float
    budget: int
    target: float
    noise: float = 0.0


CASES = (
    Case("20 items far apart", 20, 2.5, 400, 0.85),
    Case("50 items far apart", 50, 2.5, 1500, 0.85),
    Case("20 items, a fifth of votes coin flips", 20, 2.5, 400, 0.75, noise=0.2),
    Case("20 items of usual spread", 20, 1.2, 1000, 0.75),
    Case("10 items of usual spread", 10, 1.2, 300, 0.75),
    Case("20 items close together", 20, 0.4, 1000, 0.5),
)


def run(case: Case, rule: Rule, seed: int) -> Array:
    """Kendall's tau, root mean squared error and whether the winner is right, after each batch: [STEPS, 3]."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(scale=case.spread, size=case.items)
    names = [f"i{k:02d}" for k in range(case.items)]
    place = {name: k for k, name in enumerate(names)}
    left, right, said = np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int8)
    found = np.empty((STEPS, 3))
    for step in range(STEPS):
        votes = Votes(names, left, right, said) if len(left) else None
        pairs = next_pairs(votes, case.budget // STEPS, rule, items=names, seed=seed * STEPS + step)
        i, j = (np.array([place[name] for name in pairs[side]], dtype=np.int32) for side in ("left", "right"))
        p = (1 - case.noise) * expit(truth[i] - truth[j]) + case.noise / 2
        left, right = np.concatenate([left, i]), np.concatenate([right, j])
        said = np.concatenate([said, (rng.random(len(i)) > p).astype(np.int8)])
        scores = BradleyTerry(ridge=case.spread**-2).fit(Votes(names, left, right, said)).scores_
        error = scores - scores.mean() - truth + truth.mean()
        tau = float(kendalltau(scores, truth).statistic)
        found[step] = tau, np.sqrt(np.mean(error**2)), scores.argmax() == truth.argmax()
    return found


def needed(tau: Array, case: Case) -> float:
    """Votes at which a mean curve of tau [STEPS] first reaches the target, by linear interpolation; NaN if never."""
    votes = case.budget / STEPS * np.arange(1, STEPS + 1)
    reached = np.flatnonzero(tau >= case.target)
    if not len(reached):
        return float("nan")
    k = int(reached[0])
    if k == 0:
        return float(votes[0])
    share = (case.target - tau[k - 1]) / (tau[k] - tau[k - 1])
    return float(votes[k - 1] + share * (votes[k] - votes[k - 1]))


def saved(runs: dict[Rule, Array], rule: Rule, case: Case, replicates: int = 1000) -> str:
    """Share of the votes of even draws that a rule does without, with a 95% interval over resampled runs, in words."""
    rng, n = np.random.default_rng(0), len(runs["uniform"])

    def share(which: NDArray[Any]) -> float:
        return 1 - needed(runs[rule][which, :, 0].mean(0), case) / needed(runs["uniform"][which, :, 0].mean(0), case)

    drawn = np.array([share(rng.integers(n, size=n)) for _ in range(replicates)])
    if np.isnan(drawn).mean() > 0.025:
        return "target not always reached"
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return f"{share(np.arange(n)):.0%} [{low:.0%}, {high:.0%}]"


def picture(found: Sequence[dict[Rule, Array]]) -> None:
    """Mean tau against votes, a panel for each case."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    for axes, case, runs in zip(figure.subplots(2, 3).ravel(), CASES, found, strict=True):
        votes = case.budget / STEPS * np.arange(1, STEPS + 1)
        for rule in RULES:
            tau = runs[rule][:, :, 0]
            middle, error = tau.mean(0), tau.std(0, ddof=1) / np.sqrt(len(tau))
            axes.fill_between(
                votes, middle - 1.96 * error, middle + 1.96 * error, color=COLOURS[rule], alpha=0.15, lw=0
            )
            axes.plot(votes, middle, color=COLOURS[rule], linewidth=1.6, label=rule)
        axes.axhline(case.target, color="#aaaaaa", linewidth=0.8, linestyle="--")
        axes.set_title(case.name, loc="left", fontsize=10)
        axes.set_ylim(0, 1)
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, loc="lower right")
    figure.supxlabel("votes", fontsize=10)
    figure.supylabel("Kendall's tau with the truth, mean and 95% interval", fontsize=10)
    save(figure, "rank-next.png")


def page(found: Sequence[dict[Rule, Array]], runs: int) -> str:
    """The page, as Markdown."""
    lines = [
        "# What to ask next: votes saved",
        "",
        "Written by `python -m benchmarks.rank_next`, a simulation; choose pairs of your own votes with "
        "[`next_pairs`](rank.md#what-to-ask-next).",
        "",
        f"Items with normal scores, votes by Bradley-Terry, {runs} runs of every case with the same items for every "
        f"rule. A budget is asked in {STEPS} batches; the rule knows the votes of all batches before, and assumes "
        "scores of deviation 1.5 whatever the truth. Scores are estimated with the true deviation as their prior, "
        "whatever the rule.",
        "",
        "![Kendall's tau against votes for three rules in six cases](rank-next.png)",
        "",
        "| case | tau | votes, evenly drawn | saved by expected information | saved by Arena's rule |",
        "| --- | ---: | ---: | --- | --- |",
    ]
    for case, curves in zip(CASES, found, strict=True):
        votes = needed(curves["uniform"][:, :, 0].mean(0), case)
        gains = " | ".join(saved(curves, rule, case) for rule in ("information", "arena"))
        lines.append(f"| {case.name} | {case.target} | {votes:,.0f} | {gains} |")
    lines += [
        "",
        "Votes until the mean of Kendall's tau reaches the target (dashed), and the share of them that a rule saves, "
        "with 95% intervals over resampled runs.",
        "",
        "When the whole budget is spent:",
        "",
        "| case | votes | rule | tau | root mean squared error, logits | winner right |",
        "| --- | ---: | --- | --- | --- | --- |",
    ]
    for case, curves in zip(CASES, found, strict=True):
        for rule in RULES:
            last = curves[rule][:, -1]
            figures = [spelled(mean(last[:, k], np.arange(runs)).as_dict(), 3) for k in range(3)]
            lines.append(f"| {case.name} | {case.budget:,} | {rule} | {' | '.join(figures)} |")
    return "\n".join([*lines, "", *_verdict(found), ""])


def _verdict(found: Sequence[dict[Rule, Array]]) -> list[str]:
    """Where the gap of errors at the end of the budget is clear of zero, and where not."""

    def split(rule: Rule) -> tuple[str, str]:
        clear, even = [], []
        for case, curves in zip(CASES, found, strict=True):
            gap = mean(curves["uniform"][:, -1, 1] - curves[rule][:, -1, 1], np.arange(len(curves[rule])))
            (clear if gap.low > 0 else even).append(f"{case.name} ({spelled(gap.as_dict(), 3, '+')})")
        return "; ".join(clear) or "nowhere", "; ".join(even) or "nowhere"

    helps, even = split("information")
    return [
        "**Where it helps.** Error of even draws less that of expected information at the end, paired, clear of zero: "
        f"{helps}.",
        "",
        f"**Where it does not.** No gain that these runs could tell from zero: {even}. Where items are close, every "
        "vote is nearly a coin flip and says about as much as any other, so that there is little to choose; and once "
        "every pair has been asked often, what remains to be learnt is spread evenly.",
        "",
        f"**Arena's rule** is made for the win rates of single pairs, not for scores. It has less error than even "
        f"draws, clear of zero, in: {split('arena')[0]}.",
    ]


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60, help="simulated campaigns of every case and rule")
    runs = parser.parse_args().runs
    found = [{rule: np.stack([run(case, rule, seed) for seed in range(runs)]) for rule in RULES} for case in CASES]
    picture(found)
    text = page(found, runs)
    (DOCS / "rank-next.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
