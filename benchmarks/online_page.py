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
    "dpo": "online DPO", "inpo": "INPO", "grpo": "GRPO", "ppo": "PPO, value head", "raft": "expert iteration (RAFT)",
    "unchecked": "control: every answer taken",
}  # fmt: skip
PARTS = ("people", "sums")
START, END = "start", "end"
Cells = Mapping[str, Mapping[str, Any]]


def write(found: Cells, budget: int, pool: Mapping[str, int]) -> None:
    """docs/online-benchmark.md and its picture. budget: questions a learner may ask; pool: sums of each kind."""
    people, sums, starts = (_part(found, name) for name in ("people", "sums", "start"))
    spent = sum(cell["cpu_seconds"] for cell in found.values())
    page = f"""# Learning while asking: measured

Small models on one core of a CPU, trained by the loop of [Learning while asking](online.md). One seed of everything
below takes {_minutes(people) + _minutes(sums) + _minutes(starts):.1f} minutes of CPU: {_minutes(people):.1f} for the
people, {_minutes(sums):.1f} for the sums, {_minutes(starts):.1f} for the start models. All cells together took
{spent / 60:.0f}. Intervals are 95%, Student's; those of a learner have seeds as the units, those of each seed have
prompts. Settings were chosen on seeds 100 and 101, which are not reported and split prompts and sums differently.

![win rate against questions asked; exact answers before and after](online-benchmark.png)

## People of two tastes, one budget of questions

A `lab:tiny` model writes answers to everyday questions. Six of ten people like brief answers with an example, four
like warm and full ones. Every question to the judge is put to one person, who says which of two answers is better,
with the noise of Bradley-Terry. Each learner has {budget} questions in all. GRPO takes groups of four, judged each
against each, and rewards a sample with its win rate; PPO samples twice and rewards the preferred one. The win rate
is that of 240 fresh answers to prompts that nobody was trained on against the start model's, by the exact chance
that a person of the crowd, or of one group, prefers them. A point is one percent of win rate above a half. Seeds
share the start model, and differ in prompts and draws.

{_people_table(people)}

{_verdict(people, lambda c: float(np.mean(c["won"]["gold"])), 0.5, "a half")}
{_words(people, lambda c: np.array(c["won"]["gold"]), 0.5, "a half")}
{_warm(people)}

With half as many questions the same seeds ended at 55.0 [54.0, 56.1] (DPO), 56.8 [51.9, 61.6] (INPO), 56.5 [53.4, 59.6]
(GRPO) and 51.5 [48.4, 54.7] (PPO); the budget was doubled after that was seen. At a rate of 5e-4 DPO had drifted 71
nats from the start in the mean of three seeds and won no more, hence its lower one.

## Sums of two-digit numbers, an exact verifier

A model is shown {pool["shown"]} sums with their answers until it draws the exact answer with a chance of 40%; every
seed makes its own, from its own split of all 8,100 sums. The learners then draw eight answers to each of
{pool["training"]} sums that the model was not shown, every sum once, in three rounds; the verifier pays 1 for the exact
answer and nothing else. {_control(sums)}

Figures are the mean chance that an answer drawn at temperature 1 is exact, read off the model's distributions, over
500 of the sums trained on and {pool["never seen"]:,} that neither the start model nor a learner has seen; beside it,
how often the most probable answer is exact.

{_sums_table(sums)}

{_verdict(sums, lambda c: _gain(c, "never seen"), 0.0, "zero, sums never seen")}
{_verdict(sums, lambda c: _gain(c, "trained on"), 0.0, "zero, sums trained on")}

Earlier settings did not show it: with 128 sums asked round after round at the same learning rate, what was learnt
did not carry over to sums never seen, and GRPO with one step a round, twelve in all, moved little. Many sums, each
asked once, in a few dozen steps, do it.

Written by `python -m benchmarks.online` from benchmarks/results/online.json; each learner's settings stand in
benchmarks/online.py.
"""
    (DOCS / "online-benchmark.md").write_text(page)
    _picture(people, sums)


def _part(found: Cells, part: str) -> dict[str, list[Mapping[str, Any]]]:
    """Learner -> its cells, a seed each."""
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for name in sorted(found):
        if name.split()[0] == part:
            parts.setdefault(name.split()[1], []).append(found[name])
    return {name: parts[name] for name in [*TITLES, *PARTS] if name in parts}


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
        "| learner | samples | sums | start, % | end, % | gain, points | each seed | most probable, % | CPU seconds |",
        "| --- | --: | --- | --: | --: | --: | --: | --: | --: |",
    ]
    for learner, own in sums.items():
        samples, spent = (float(np.mean([c[name] for c in own])) for name in ("samples", "cpu_seconds"))
        for where in ("trained on", "never seen"):
            drawn, best = (
                [
                    100 * float(np.mean([np.mean(c["right"][f"{at}, {where}{kind}"]) for c in own]))
                    for at in (START, END)
                ]
                for kind in ("", ", most probable")
            )
            gain = _spelled(_over_seeds(own, lambda c, w=where: _gain(c, w)))
            each = "; ".join(_spelled(_over_units(_gains(c, where))) for c in own)
            lines.append(
                f"| {TITLES[learner]} | {samples:.0f} | {where} | {drawn[0]:.1f} | {drawn[1]:.1f} | {gain} | {each} "
                f"| {best[0]:.1f} to {best[1]:.1f} | {spent:.0f} |"
            )
    return "\n".join(lines)


def _gain(cell: Mapping[str, Any], where: str) -> float:
    return float(_gains(cell, where).mean())


def _gains(cell: Mapping[str, Any], where: str) -> np.ndarray[Any, Any]:
    """Gain of each sum."""
    before, after = (np.array(cell["right"][f"{when}, {where}"]) for when in (START, END))
    each: np.ndarray[Any, Any] = after - before
    return each


def _over_units(each: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Mean and interval with prompts as the units."""
    return float(each.mean()), *clustered_t(each, np.arange(len(each)))


def _warm(people: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """What the smaller group has of it."""
    lost = [TITLES[n] for n, own in people.items() if np.mean([np.mean(c["won"]["warm"]) for c in own]) < 0.5]
    return f"Below a half among the warm, the smaller group, in the mean over seeds: {', '.join(lost) or 'none'}."


def _control(sums: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    if "unchecked" not in sums:
        return (
            "In a single run on seed 100, with\na fourth round, expert iteration that takes every answer, "
            "right or wrong, lost 1.3 points: the gain is the verifier's."
        )
    what = "expert iteration that takes every answer, right or wrong: what it gains is not the verifier's doing."
    return f"The control is\n{what}"


def _verdict(
    part: Mapping[str, Sequence[Mapping[str, Any]]], of: Callable[[Mapping[str, Any]], float], least: float, what: str
) -> str:
    """Which learners' intervals over seeds lie above `least`, and which do not."""
    found = {name: _over_seeds(own, of)[1] > least for name, own in part.items()}
    sides = [
        ", ".join(f"{TITLES[n]} ({len(part[n])} seeds)" for n, is_above in found.items() if is_above is side)
        for side in (True, False)
    ]
    return f"Interval over seeds above {what}: {sides[0] or 'none'}; not: {sides[1] or 'none'}."


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
    asked = {name: [np.array(c["curve"]) for c in own] for name, own in people.items()}
    rates = {name: [_rates(c) for c in own] for name, own in sums.items()}
    for axes, part in ((left, asked), (right, rates)):
        for learner, curves in part.items():
            colour = COLOURS[list(TITLES).index(learner)]
            for curve in curves:
                axes.plot(curve[:, 0], 100 * curve[:, 1], color=colour, alpha=0.25, linewidth=1)
            mean = np.mean(curves, axis=0)
            axes.plot(mean[:, 0], 100 * mean[:, 1], color=colour, linewidth=2, label=TITLES[learner])
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small", loc="best")
    left.axhline(50, color="#999999", linewidth=0.8, linestyle="--")
    left.set_xlabel("questions asked")
    left.set_ylabel("win rate against the start, %")
    left.set_title("People of two tastes, each seed and the mean", fontsize="medium", loc="left")
    right.set_xticks([0, 1], ["start", "end"])
    right.set_xlim(-0.2, 1.2)
    right.set_ylabel("chance of an exact answer, %")
    right.set_title("Sums never trained on, each seed and the mean", fontsize="medium", loc="left")
    figure.savefig(DOCS / "online-benchmark.png", dpi=130)


def _rates(cell: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Chance of an exact answer to sums never seen, at the start (0) and at the end (1)."""
    return np.array([(at, np.mean(cell["right"][f"{name}, never seen"])) for at, name in enumerate((START, END))])
