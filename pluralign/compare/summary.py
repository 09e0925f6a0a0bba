"""What the cells say together: each objective at its best setting, on rows that did not choose it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pluralign.compare.cell import CHOOSE, REPORT, folder, result
from pluralign.compare.plan import Cell, Plan
from pluralign.evaluate.figures import Array, Figure, auc, auc_difference, difference, preferred, share
from pluralign.evaluate.measures import REWARD
from pluralign.report.words import above, gains, percent, points, side

Figures = dict[str, Any]
TOLD = 0.05
"""Below this, an adjusted p tells an objective apart from the best."""


@dataclass(frozen=True)
class Entry:
    """One objective. setting: the one that did best on the choosing half, of `settings` that were tried.

    runs: cells of it. accuracy, behind (what the best has over it) and all other figures are of the reporting half.
    p: of `behind`, adjusted for the number of objectives (Holm). spread: lowest and highest accuracy over settings.
    """

    objective: str
    setting: str
    options: dict[str, Any]
    settings: int
    runs: int
    chosen_by: float
    accuracy: Figures
    behind: Figures | None
    p: float | None
    spread: tuple[float, float]
    figures: dict[str, Figures]
    seconds: float
    per_step: float


@dataclass(frozen=True)
class Summary:
    """The whole comparison. entries: the best first. of_best: the figures of the best's first seed, from `evaluate`."""

    plan: Plan
    entries: list[Entry]
    verdict: str
    notes: list[str]
    of_best: Figures | None
    kind: str
    points: list[dict[str, Any]]

    @property
    def table(self) -> pl.DataFrame:
        """A row for each objective."""
        return pl.DataFrame([_flat(entry) for entry in self.entries])


def summarise(out: Path, plan: Plan, asked: Sequence[Cell]) -> Summary:
    """From the finished cells of a folder to a summary; unfinished ones are named in its notes."""
    done = {cell.name: found for cell in asked if (found := result(out, cell)) is not None}
    names = list(dict.fromkeys(cell.objective for cell in asked))
    measured = [name for name in names if _usable(name, asked, done)]
    notes = _notes(names, asked, done)
    if not measured:
        return Summary(plan, [], "Nothing has been measured yet.", notes, None, "pairs", [])
    chosen = {name: _choose(_usable(name, asked, done), done) for name in measured}
    kind = done[chosen[measured[0]][0].name][REPORT]["kind"]
    rows = {name: _rows(out, best) for name, best in chosen.items()}
    ranked = sorted(measured, key=lambda name: -_score(chosen[name], done))
    best = ranked[0]
    gaps = {name: _gap(rows[best], rows[name]) for name in ranked[1:]}
    notes += _too_few(len(np.unique(rows[best]["cluster"])), len(gaps), plan.cluster)
    adjusted = holm({name: gap["p"] for name, gap in gaps.items()})
    entries = [
        _entry(out, name, chosen[name], rows[name], gaps.get(name), adjusted.get(name), asked, done) for name in ranked
    ]
    of_best = done[chosen[best][0].name][REPORT]
    verdict = _verdict(entries, of_best)
    return Summary(plan, entries, verdict, notes, of_best, kind, _points(measured, asked, done))


def holm(p: dict[str, float]) -> dict[str, float]:
    """P values adjusted for their number (Holm 1979).

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    found, worst = {}, 0.0
    for i, name in enumerate(sorted(p, key=lambda name: p[name])):
        worst = max(worst, min(1.0, p[name] * (len(p) - i)))
        found[name] = worst
    return found


def _usable(objective: str, asked: Sequence[Cell], done: dict[str, Figures]) -> list[Cell]:
    return [c for c in asked if c.objective == objective and REPORT in done.get(c.name, {})]


def _by_setting(cells: Iterable[Cell]) -> list[list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.setting, []).append(cell)
    return list(found.values())


def _score(cells: Sequence[Cell], done: dict[str, Figures]) -> float:
    return float(np.mean([done[c.name][CHOOSE]["accuracy"][REWARD]["value"] for c in cells]))


def _choose(cells: Sequence[Cell], done: dict[str, Figures]) -> list[Cell]:
    """The cells of the best setting, one a seed. Settings that lack seeds wait for those that have all."""
    settings = _by_setting(cells)
    most = max(map(len, settings))
    return max((s for s in settings if len(s) == most), key=lambda s: _score(s, done))


def _rows(out: Path, cells: Sequence[Cell]) -> dict[str, Array]:
    """By row of the reporting half: whether it is ranked right, or a response's reward; the mean over seeds."""
    tables = [pl.read_parquet(folder(out, c) / "evaluation" / f"{REPORT}.parquet").sort("row") for c in cells]
    first = tables[0]
    if "good" in first.columns:
        score = np.mean([t["reward"].to_numpy() for t in tables], axis=0)
        return {"score": score, "good": first["good"].to_numpy(), "cluster": first["cluster"].to_numpy()}
    right = [preferred((t["reward_chosen"] - t["reward_rejected"]).to_numpy()) for t in tables]
    return {"score": np.mean(right, axis=0), "cluster": first["cluster"].to_numpy()}


def _gap(ours: dict[str, Array], theirs: dict[str, Array]) -> Figures:
    if "good" in ours:
        return auc_difference(ours["score"], theirs["score"], ours["good"], ours["cluster"])
    return difference(ours["score"], theirs["score"], ours["cluster"])


def _accuracy(rows: dict[str, Array]) -> Figure:
    if "good" in rows:
        return auc(rows["score"], rows["good"], rows["cluster"])
    return share(rows["score"], rows["cluster"])


def _entry(
    out: Path,
    name: str,
    best: Sequence[Cell],
    rows: dict[str, Array],
    gap: Figures | None,
    p: float | None,
    asked: Sequence[Cell],
    done: dict[str, Figures],
) -> Entry:
    settings = _by_setting(_usable(name, asked, done))
    over = [float(_accuracy(_rows(out, cells)).value) for cells in settings]
    found = [done[c.name] for c in best]
    return Entry(
        objective=name,
        setting=best[0].setting,
        options=best[0].options,
        settings=len(settings),
        runs=sum(map(len, settings)),
        chosen_by=_score(best, done),
        accuracy=_accuracy(rows).as_dict(),
        behind=gap,
        p=p,
        spread=(min(over), max(over)),
        figures={
            label: figure
            for label, pick in PICKS.items()
            if (figure := _mean_over_seeds([pick(f[REPORT]) for f in found])) is not None
        },
        seconds=float(np.mean([f["seconds"] for f in found])),
        per_step=float(np.median([f["cpu_seconds"] / f["steps"] for f in found])),
    )


def _drawn(name: str) -> Callable[[Figures], Figures | None]:
    return lambda f: (f.get("generations") or {}).get(name)


PICKS: dict[str, Callable[[Figures], Figures | None]] = {
    "win rate": _drawn("win_rate"),
    "KL": _drawn("kl"),
    "length": lambda f: (f.get("generations") or {}).get("length", {}).get("policy"),
    "reference's length": lambda f: (f.get("generations") or {}).get("length", {}).get("reference"),
    "preferred moved": lambda f: f["displacement"]["chosen"],
    "other moved": lambda f: f["displacement"]["rejected"],
    "preferred fell": lambda f: f["displacement"]["chosen_fell"],
    "calibration error": lambda f: (f.get("calibration") or {}).get("ece"),
    "log-loss": lambda f: (f.get("calibration") or {}).get("log_loss"),
}
"""Figures of `evaluate` that the page shows."""


def _mean_over_seeds(figures: Sequence[Figures | None]) -> Figures | None:
    """Value and ends, each the mean of the seeds': the interval is about rows and prompts, not about seeds."""
    known = [f for f in figures if f is not None]
    if not known or len(known) < len(figures):
        return None
    found = dict(known[0])
    for name in ("value", "low", "high"):
        values = [f[name] for f in known]
        found[name] = None if any(v is None for v in values) else float(np.mean(values))
    return found


def _notes(names: Sequence[str], asked: Sequence[Cell], done: dict[str, Figures]) -> list[str]:
    notes = []
    for name in names:
        problems = {done[c.name]["problem"] for c in asked if c.objective == name and "problem" in done.get(c.name, {})}
        notes += [f"{name}: {problem}" for problem in sorted(problems)]
    if waiting := [c for c in asked if c.name not in done]:
        of = ", ".join(dict.fromkeys(c.objective for c in waiting))
        left = f"{len(waiting)} of {len(asked)} runs were not made within the budget"
        notes.append(f"{left} ({of}); the same command goes on there.")
    return notes


def _too_few(clusters: int, rivals: int, by: str) -> list[str]:
    """What to say where no difference however large could be told from chance.

    >>> _too_few(4, 2, "prompt")
    ['The figures are of 4 clusters (prompt): the exact test then gives no p below 0.125, 0.25 among 2, so that no \
difference could be told apart, and intervals are the better guide; hold out more with --eval-data.']
    >>> _too_few(12, 2, "prompt")
    []
    """
    least = 2.0 ** (1 - clusters)  # all clusters of one sign, in either direction
    if not rivals or least * rivals < TOLD:
        return []
    return [
        f"The figures are of {clusters} clusters ({by}): the exact test then gives no p below {least:.3g}, "
        f"{min(1.0, least * rivals):.3g} among {rivals}, so that no difference could be told apart, and intervals are "
        "the better guide; hold out more with --eval-data."
    ]


def _verdict(entries: Sequence[Entry], of_best: Figures) -> str:
    best, others = entries[0], entries[1:]
    accuracy = best.accuracy
    said = f"{best.objective} ({best.setting}) did best on the rows that choose: on the others it ranks "
    said += f"{percent(accuracy)} of {accuracy['n']:,} right."
    for rival, gap in gains(of_best).items():
        name = {"reference": "the starting model's likelihood", "length": "going by length"}[rival]
        word = {"better": "more than", "worse": "less than"}.get(side(gap), "not told apart from")
        said += f" That is {word} {name} ({points(gap)})."
    worse = [e for e in others if e.p is not None and e.behind is not None and e.p < TOLD and above(e.behind, 0)]
    alike = [e.objective for e in others if e not in worse]
    if worse:
        said += " Behind it: " + "; ".join(f"{e.objective} by {points(e.behind)}" for e in worse if e.behind) + "."
    if alike:
        said += f" Not told apart from it on these rows: {', '.join(alike)}."
    return said


def _points(names: Sequence[str], asked: Sequence[Cell], done: dict[str, Figures]) -> list[dict[str, Any]]:
    """Accuracy against KL of every run that drew samples, for the picture."""
    found = []
    for name in names:
        for cell in _usable(name, asked, done):
            figures = done[cell.name][REPORT]
            if kl := _drawn("kl")(figures):
                y = figures["accuracy"][REWARD]["value"]
                found.append({"objective": name, "setting": cell.setting, "kl": kl["value"], "accuracy": y})
    return found


def _flat(entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {"objective": entry.objective, "setting": entry.setting, "settings": entry.settings}
    every = {"accuracy": entry.accuracy, "behind": entry.behind, **entry.figures}
    for name in ("accuracy", "behind", *PICKS):
        figure = every.get(name)
        for end in ("value", "low", "high"):
            label = name if end == "value" else f"{name} {end}"
            row[label] = None if figure is None or figure[end] is None else float(figure[end])
    return row | {
        "p": entry.p,
        "lowest accuracy": entry.spread[0],
        "highest accuracy": entry.spread[1],
        "seconds": entry.seconds,
        "cpu seconds a step": entry.per_step,
    }
