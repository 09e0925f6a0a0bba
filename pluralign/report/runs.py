"""`report`: any number of runs on one page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pluralign.errors import OptionError
from pluralign.feedback.storage import whole_file
from pluralign.report.page import render
from pluralign.train.run import Run

CURVES = ("loss", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected", "kl")


def report(*runs: Run | str | Path, out: str | Path | None = None, evaluation: str = "heldout") -> Path:
    """One self-contained HTML page about these runs, and report.json with its numbers beside it.

    runs: folders that `align` wrote. out: where the page goes; report.html in the first run's folder by default.
    evaluation: the name given to `evaluate`. Runs without one are shown with their training curves alone. Returns the
    path of the page; raises `OptionError` if a folder is no run.
    """
    if not runs:
        raise OptionError("name at least one run to report on")
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    described = [_described(run, evaluation) for run in opened]
    out = Path(out) if out is not None else opened[0].path / "report.html"
    names = " and ".join(run["name"] for run in described) if len(described) < 3 else f"{len(described)} runs"
    page = render(
        Path(__file__).with_name("runs.html"),
        heading=f"Alignment report: {names}",
        runs=described,
        evaluated=[run for run in described if run["figures"]],
        curves=[chart for name in CURVES if (chart := _curve(name, [run.metrics for run in opened]))],
    )
    with whole_file(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    numbers = {
        run["name"]: {key: run[key] for key in ("verdict", "warnings", "figures", "config", "data")}
        for run in described
    }
    with whole_file(out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return out


def _described(run: Run, evaluation: str) -> dict[str, Any]:
    figures = run.evaluations().get(evaluation)
    if figures is not None:
        figures.setdefault("generations", None)
    return {
        "name": run.name,
        "objective": run.config["objective"],
        "config": run.config,
        "data": run.data,
        "figures": figures,
        "verdict": verdict(figures) if figures else "Not evaluated yet: run pluralign evaluate.",
        "warnings": warnings(figures) if figures else [],
        "margin_labels": _bin_labels(figures["margins"]) if figures else [],
        "facts": _facts(run),
        "dump": json.dumps({"options": run.config["options"], "versions": run.config["versions"]}, indent=1),
    }


def verdict(figures: Mapping[str, Any]) -> str:
    """Two sentences: does it rank as people do, and is that more than the reference and more than length would give?"""
    accuracy, difference = figures["accuracy"], figures["difference"]
    ours = accuracy["implicit reward"]
    says = f"It ranks the preferred response first in {_percent(ours)} of {ours['n']:,} held-out pairs"
    says += ", better than chance." if ours["low"] > 0.5 else ", which is not clear of chance."
    best = max(("reference log-prob", "reference mean log-prob"), key=lambda name: accuracy[name]["value"])
    gain = difference[f"implicit reward - {best}"]
    says += f" The reference model's own likelihood does so in {_percent(accuracy[best])}: a gain of {_points(gain)}, "
    says += "clear of zero." if gain["low"] > 0 else "not clear of zero."
    length = difference["implicit reward - longer wins"]
    says += f" Always taking the longer response gives {_percent(accuracy['longer wins'])};"
    says += f" it is {_points(length)} above that"
    return says + (", clear of zero." if length["low"] > 0 else ", not clear of zero.")


def warnings(figures: Mapping[str, Any]) -> list[str]:
    """What a careful reader would want pointed out."""
    found = []
    n, clusters = figures["n"], figures["clusters"]
    if n < 100 or clusters < 10:
        found.append(f"Few rows: {n:,} pairs in {clusters:,} clusters, so intervals are wide.")
    fell = figures["displacement"]["chosen_fell"]
    if fell["low"] > 0.5:
        found.append(
            f"Likelihood displacement: the preferred response became less likely in {_percent(fell)} of pairs."
        )
    drawn = figures["generations"]
    if drawn:
        ours, theirs = drawn["length"]["policy"], drawn["length"]["reference"]
        if ours["low"] > theirs["high"]:
            found.append(f"Responses grew from {theirs['value']:.0f} to {ours['value']:.0f} tokens on average.")
        unfinished = drawn["unfinished"]["policy"]
        if unfinished:
            found.append(f"{unfinished} of {drawn['n']} samples were cut off at {drawn['max_new_tokens']} tokens.")
    return found


def _percent(figure: Mapping[str, float]) -> str:
    return f"{100 * figure['value']:.1f}% [{100 * figure['low']:.1f}, {100 * figure['high']:.1f}]"


def _points(figure: Mapping[str, float]) -> str:
    return f"{100 * figure['value']:+.1f} points [{100 * figure['low']:+.1f}, {100 * figure['high']:+.1f}]"


def _bin_labels(margins: Mapping[str, Any]) -> list[str]:
    edges = margins["edges"]
    return [f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)]


def _facts(run: Run) -> dict[str, str]:
    data, options = run.data, run.config["objective_options"]
    facts = {
        "objective options": ", ".join(f"{name} = {value}" for name, value in options.items()) or "none",
        "model": str(run.config["options"]["model"]),
        "data fingerprint": data["fingerprint"],
        "split by": str(data.get("split_by")),
        "learning rate": str(run.config["training"]["learning_rate"]),
    }
    for part in ("train", "eval"):
        counts = data.get(part)
        if counts:
            left = ", ".join(f"{n:,} {why}" for why, n in {**counts["dropped"], **counts["cut"]}.items()) or "nothing"
            facts[f"{part} rows"] = f"{counts['used']:,} used; dropped or cut: {left}"
    return facts


def _curve(name: str, metrics: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any] | None:
    """Polylines of one metric over steps, in the chart's coordinates."""
    found = [
        (series, split, [(m["step"], m[name]) for m in logged if m["split"] == split and name in m])
        for series, logged in enumerate(metrics)
        for split in ("train", "eval")
    ]
    values = [value for *_, points in found for _, value in points]
    if not values:
        return None
    least, most = min(values), max(values)
    span, last = (most - least) or 1.0, max(step for *_, points in found for step, _ in points)

    def place(step: int, value: float) -> tuple[float, float]:
        return round(52 + 282 * step / max(last, 1), 1), round(146 - 132 * (value - least) / span, 1)

    lines = []
    for series, split, points in found:
        placed = [place(*point) for point in points]
        joined = " ".join(f"{x},{y}" for x, y in placed)
        lines.append(
            {"series": series, "split": split, "points": joined, "single": placed[0] if len(placed) == 1 else None}
        )
    return {"name": name, "lines": lines, "least": f"{least:.3g}", "most": f"{most:.3g}", "last": last}
