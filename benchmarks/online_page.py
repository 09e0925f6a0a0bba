"""The page and the picture of `benchmarks.online`, from its results alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pluralign.intervals import clustered_t
from pluralign.rank.plots import COLOURS

DOCS = Path(__file__).resolve().parents[1] / "docs"
TITLES = {
    "dpo": "online DPO", "inpo": "INPO", "grpo": "GRPO", "ppo": "PPO, value head", "raft": "expert iteration (RAFT)"
}  # fmt: skip
Cells = Mapping[str, Mapping[str, Any]]


def write(found: Cells, budget: int) -> None:
    """docs/online-benchmark.md and its picture."""
    people, sums = (_part(found, name) for name in ("people", "sums"))
    seeds = min(len(own) for own in (*people.values(), *sums.values()))
    spent = sum(cell["cpu_seconds"] for cell in found.values())
    page = f"""# Learning while asking: measured

Small models on one core of a CPU, trained by the loop of [Learning while asking](online.md), {seeds} seed(s) or more
each. All cells together took {spent / 60:.0f} minutes of CPU; one seed of every learner of the first table takes
{_minutes(people):.0f}, of the second {_minutes(sums):.0f}. Intervals are 95%, Student's; those of a learner
have seeds as the units, and are wide because seeds are few; those of each seed have prompts.

![win rate against questions asked; exact answers against samples](online-benchmark.png)

## People of two tastes, one budget of questions

A `lab:tiny` model writes answers to everyday questions. Six of ten people like brief answers with an example, four
like warm and full ones. Every question to the judge is put to one person, who says which of two answers is better,
with the noise of Bradley-Terry. Each learner has {budget} questions in all. GRPO takes groups of four, judged each
against each, and rewards a sample with its win rate; PPO samples twice and rewards the preferred one. The win rate
is that of 240 fresh answers to prompts that nobody was trained on against the start model's, by the exact chance
that a person of the crowd, or of one group, prefers them. A point is one percent of win rate above a half.

{_people_table(people)}

{_words(people, lambda c: np.array(c["won"]["gold"]), 0.5, "a half")}

## Sums of two-digit numbers, an exact verifier

The start model was shown sums for a short while and answers a third of them. Both learners draw eight answers a sum
to 128 sums, round after round; the verifier pays 1 for the exact answer and nothing else. Measured by answers drawn
at temperature 1: four to each of the sums trained on, one to each of 1,000 sums that no training has seen.

{_sums_table(sums)}

{_words(sums, lambda c: _gains(c, "trained on"), 0.0, "zero, sums trained on")}

{_words(sums, lambda c: _gains(c, "never seen"), 0.0, "zero, sums never seen")}

Written by `python -m benchmarks.online` from benchmarks/results/online.json; each learner's settings stand in
benchmarks/online.py. Learning rates were tried on a few short runs, not searched, and are the same for all people's
learners.
"""
    (DOCS / "online-benchmark.md").write_text(page)
    _picture(people, sums)


def _part(found: Cells, part: str) -> dict[str, list[Mapping[str, Any]]]:
    """Learner -> its cells, a seed each."""
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for name, cell in found.items():
        words = name.split()
        if words[0] == part and len(words) == 3:
            parts.setdefault(words[1], []).append(cell)
    return parts


def _minutes(part: Mapping[str, Sequence[Mapping[str, Any]]]) -> float:
    return sum(float(np.mean([c["cpu_seconds"] for c in own])) for own in part.values()) / 60


def _over_seeds(
    own: Sequence[Mapping[str, Any]], of: Callable[[Mapping[str, Any]], float]
) -> tuple[float, float, float]:
    """Mean and interval with seeds as the units; of a single seed there is none."""
    each = np.array([of(cell) for cell in own])
    low, high = clustered_t(each, np.arange(len(each))) if len(each) > 1 else (float("nan"),) * 2
    return float(each.mean()), low, high


def _spelled(figure: tuple[float, float, float], unit: float = 0.01, digits: int = 1) -> str:
    value, low, high = (part / unit for part in figure)
    if np.isnan(low):
        return f"{value:.{digits}f} (one seed)"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _people_table(people: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    lines = [
        "| learner | questions | samples | win rate, % | each seed | brief, % | warm, % | KL, nats | CPU seconds | "
        "questions a point | CPU seconds a point |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for learner, own in people.items():
        won = _over_seeds(own, lambda c: float(np.mean(c["won"]["gold"])))
        each = "; ".join(_spelled(_over_units(np.array(c["won"]["gold"]))) for c in own)
        groups = [_spelled(_over_seeds(own, lambda c, g=g: float(np.mean(c["won"][g])))) for g in ("brief", "warm")]
        questions, samples, spent, kl = (
            float(np.mean([c[name] for c in own])) for name in ("questions", "samples", "cpu_seconds", "kl")
        )
        points = 100 * won[0] - 50
        cost = [f"{amount / points:.0f}" if points > 0.5 else "no gain" for amount in (questions, spent)]
        lines.append(
            f"| {TITLES[learner]} | {questions:.0f} | {samples:.0f} | {_spelled(won)} | {each} | {groups[0]} "
            f"| {groups[1]} | {kl:.1f} | {spent:.0f} | {cost[0]} | {cost[1]} |"
        )
    return "\n".join(lines)


def _sums_table(sums: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    lines = [
        "| learner | samples | sums | start, % | end, % | gain, points | each seed | CPU seconds |",
        "| --- | --: | --- | --: | --: | --: | --: | --: |",
    ]
    for learner, own in sums.items():
        samples, spent = (float(np.mean([c[name] for c in own])) for name in ("samples", "cpu_seconds"))
        for where in ("trained on", "never seen"):
            start, end = (
                100 * float(np.mean([np.mean(c["right"][f"{name}, {where}"]) for c in own]))
                for name in ("start", "end")
            )
            gain = _spelled(_over_seeds(own, lambda c, w=where: _gain(c, w)))
            each = "; ".join(_spelled(_over_units(_gains(c, where))) for c in own)
            lines.append(
                f"| {TITLES[learner]} | {samples:.0f} | {where} | {start:.1f} | {end:.1f} | {gain} | {each} "
                f"| {spent:.0f} |"
            )
    return "\n".join(lines)


def _gain(cell: Mapping[str, Any], where: str) -> float:
    return float(np.mean(cell["right"][f"end, {where}"]) - np.mean(cell["right"][f"start, {where}"]))


def _gains(cell: Mapping[str, Any], where: str) -> np.ndarray[Any, Any]:
    """Gain of each sum; one that was asked several times counts once."""
    before, after = (np.array(cell["right"][f"{when}, {where}"]) for when in ("start", "end"))
    each: np.ndarray[Any, Any] = after - before
    return each.reshape(4, -1).mean(0) if where == "trained on" else each


def _over_units(each: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Mean and interval with prompts as the units."""
    return float(each.mean()), *clustered_t(each, np.arange(len(each)))


def _words(part: Mapping[str, Sequence[Mapping[str, Any]]], of: Any, least: float, what: str) -> str:
    """In how many seeds of each learner the interval over prompts lies above `least`."""
    counts = {name: sum(_over_units(of(c))[1] > least for c in own) for name, own in part.items()}
    said = ", ".join(f"{TITLES[name]} {n} of {len(part[name])}" for name, n in counts.items())
    return f"Seeds whose own interval lies above {what}: {said}."


def _picture(
    people: Mapping[str, Sequence[Mapping[str, Any]]], sums: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, part, unit in ((left, people, 1.0), (right, sums, 1.0)):
        for colour, (learner, own) in zip(COLOURS, part.items(), strict=False):
            curves = [np.array(c["curve"]) for c in own]
            for curve in curves:
                axes.plot(curve[:, 0] * unit, 100 * curve[:, 1], color=colour, alpha=0.25, linewidth=1)
            mean = np.mean(curves, axis=0)
            axes.plot(mean[:, 0] * unit, 100 * mean[:, 1], color=colour, linewidth=2, label=TITLES[learner])
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    left.axhline(50, color="#999999", linewidth=0.8, linestyle="--")
    left.set_xlabel("questions asked")
    left.set_ylabel("win rate against the start, %")
    left.set_title("People of two tastes", fontsize="medium", loc="left")
    right.set_xlabel("share of the samples drawn")
    right.set_ylabel("exact answers among the samples, %")
    right.set_title("Sums with a verifier", fontsize="medium", loc="left")
    figure.savefig(DOCS / "online-benchmark.png", dpi=130)
