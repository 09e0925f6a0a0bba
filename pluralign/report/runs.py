"""`report`: any number of runs on one page."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pluralign.errors import OptionError
from pluralign.evaluate.figures import chance, spelled
from pluralign.evaluate.measures import LAYOUT
from pluralign.feedback.storage import whole_file
from pluralign.report.examples import side_by_side
from pluralign.report.page import render
from pluralign.report.tables import against_first, like_length, rankings, scale
from pluralign.report.words import gains, lead, rivals, side, verdict, warnings
from pluralign.train.run import Run

CURVES = (
    ("loss",),
    ("rewards/accuracies",),
    ("rewards/margins",),
    ("logps/chosen", "logps/rejected"),
    ("kl",),
    ("displacement/chosen", "displacement/rejected"),
    ("ranking/accuracies", "ranking/accuracies_per_token"),
    ("rewards/longer",),
    ("gradients/chosen", "gradients/rejected"),
    ("gradients/log_ratio",),
    ("proxy/win_rate", "independent/win_rate", "gold/win_rate", "worst_group/win_rate"),
    ("proxy/reward", "samples/reward"),
    ("gap", "gap_high"),
    ("entropy",),
    ("length",),
    ("samples/duplicates", "samples/no_answer"),
    ("beta",),
)
"""Metrics over steps; those named together share a scale, so that they can be compared."""


def report(*runs: Run | str | Path, out: str | Path | None = None, evaluation: str = "heldout") -> Path:
    """One self-contained HTML page about these runs, and report.json with its numbers beside it.

    runs: folders that `align` wrote. out: where the page goes; report.html in the first run's folder by default.
    evaluation: the name given to `evaluate`. Runs without one are shown with their training curves alone. Returns the
    path of the page; raises `OptionError` if a folder is no run, is named twice, or holds a damaged file.

    >>> import tempfile
    >>> run = Run(Path(tempfile.mkdtemp()) / "dpo")
    >>> run.write("config.json", {"objective": "dpo", "objective_options": {"beta": 0.1}, "options": {"model": "m"}})
    >>> run.write("data.json", {"fingerprint": "f00d"})
    >>> report(run).name
    'report.html'
    """
    if not runs:
        raise OptionError("name at least one run to report on")
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    twice = [path for path, n in Counter(run.path.resolve() for run in opened).items() if n > 1]
    if twice:
        raise OptionError(f"{twice[0]} is named twice; name each run once")
    described = [_described(run, name, evaluation) for run, name in zip(opened, _names(opened), strict=True)]
    out = Path(out) if out is not None else opened[0].path / "report.html"
    if out.suffix != ".html":
        raise OptionError(f"{out} does not end in .html; the numbers go beside the page, in a .json of the same name")
    names = " and ".join(run["name"] for run in described) if len(described) < 3 else f"{len(described)} runs"
    evaluated = [run for run in described if run["figures"]]
    ranked, paired = rankings(evaluated), against_first(evaluated)
    gaps = [f for run in evaluated for f in run["figures"]["difference"].values()]
    page = render(
        Path(__file__).with_name("runs.html"),
        heading=f"Alignment report: {names}",
        runs=described,
        evaluated=evaluated,
        rankings=ranked,
        accuracy_scale=scale([row["figure"] for row in ranked], 0.5),
        difference_scale=scale([*gaps, *(row["figure"] for row in paired)], 0.0),
        paired=paired,
        spelled=spelled,
        chance=chance,
        side=side,
        same_rows=_same_rows(described),
        examples=side_by_side({run["name"]: run["figures"] for run in evaluated}),
        curves=[chart for names in CURVES for chart in _curves(names, [run["metrics"] for run in described])],
    )
    with whole_file(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    numbers: dict[str, Any] = {
        "runs": {
            run["name"]: {key: run[key] for key in ("verdict", "warnings", "figures", "config", "data", "metrics")}
            for run in described
        },
        "against_first": paired,
    }
    with whole_file(out.with_suffix(".json")) as temporary:
        text = json.dumps(_finite(numbers), indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return out


def _described(run: Run, name: str, evaluation: str) -> dict[str, Any]:
    try:
        config, data, metrics, evaluations = run.config, run.data, run.metrics, run.evaluations()
    except ValueError as error:
        raise OptionError(
            f"{run.path} holds a damaged file ({error}); align --resume or evaluate writes it anew"
        ) from None
    figures = evaluations.get(evaluation)
    if figures is not None and figures.get("layout") != LAYOUT:
        raise OptionError(f"{run.path} was evaluated by another version of pluralign: run pluralign evaluate again")
    missing = "Not evaluated yet: run pluralign evaluate."
    if evaluations:
        missing = f"No evaluation is called {evaluation}; there are: {', '.join(evaluations)} (--evaluation)."
    if figures is not None:
        # What single responses do not give, and what evaluate may leave out.
        for part in ("generations", "calibration", "margins", "difficulty", "displacement"):
            figures.setdefault(part, None)
        for part in ("idealised", "longer"):
            figures.setdefault(part, {})
    return {
        "name": name,
        "objective": config["objective"],
        "config": config,
        "data": data,
        "metrics": metrics,
        "figures": figures,
        "rows": run.path / "evaluation" / f"{evaluation}.parquet",
        "lead": lead(figures) if figures else "",
        "rivals": rivals(figures) if figures else {},
        "gains": gains(figures) if figures else {},
        "like": like_length(figures) if figures else None,
        "verdict": verdict(figures) if figures else missing,
        "warnings": [*_troubles(run.finished, data, metrics), *(warnings(figures) if figures else [])],
        "margin_labels": _bin_labels(figures["margins"]) if figures and figures["margins"] else [],
        "facts": _facts(run),
        "dump": json.dumps({"config": config, "data": data}, indent=1, ensure_ascii=False),
    }


def _names(runs: Sequence[Run]) -> list[str]:
    """The shortest ends of the paths that tell all runs apart."""
    parts = [run.path.resolve().parts for run in runs]
    names = [run.name for run in runs]
    for depth in range(2, max(map(len, parts)) + 1):
        if len(set(names)) == len(names):
            break
        names = ["/".join(p[-depth:]) for p in parts]
    return names


def _same_rows(described: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all evaluated runs were measured on the same rows: then every difference is the runs' own."""
    seen = [(f["data"]["fingerprint"], f["n"]) for run in described if (f := run["figures"])]
    return len(set(seen)) <= 1


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON has no word for."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _troubles(finished: bool, data: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """What went wrong before any evaluation."""
    # Rounds of a run that learns while asking are watched; what was seen there is said once.
    found = [
        f"{said[0].upper()}{said[1:]}." for said in dict.fromkeys(w for m in metrics for w in m.get("warnings", ()))
    ]
    if not finished:
        found.append("Training did not come to its end: continue it with align --resume.")
    broken = [m["step"] for m in metrics if "loss" in m and not math.isfinite(m["loss"])]
    if broken:
        found.append(f"The loss was not a finite number at step {broken[0]:,}: lower the learning rate.")
    for part, title in (("train", "training"), ("eval", "held-out")):
        counts = data.get(part)
        lost = sum(counts["dropped"].values()) if counts else 0
        if counts and lost > counts["used"] / 9:
            found.append(f"{lost:,} of {lost + counts['used']:,} {title} rows were left out; the reasons stand below.")
    return found


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
        "learning rate": str(run.config.get("training", {}).get("learning_rate")),
    }
    for part in ("train", "eval"):
        counts = data.get(part)
        if counts:
            left = ", ".join(f"{n:,} {why}" for why, n in {**counts["dropped"], **counts["cut"]}.items()) or "nothing"
            facts[f"{part} rows"] = f"{counts['used']:,} used; dropped or cut: {left}"
    return facts


def _curves(names: Sequence[str], metrics: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Polylines of metrics over steps, in their charts' coordinates. Values that are not finite leave a gap."""
    found = [
        (
            name,
            series,
            split,
            [(m["step"], m[name]) for m in logged if m["split"] == split and math.isfinite(m.get(name, math.nan))],
        )
        for name in names
        for series, logged in enumerate(metrics)
        for split in ("train", "eval")
    ]
    found = [each for each in found if each[-1]]
    if not found:
        return []
    values = [value for *_, points in found for _, value in points]
    least, most = min(values), max(values)
    span, last = (most - least) or 1.0, max(step for *_, points in found for step, _ in points)

    def place(step: int, value: float) -> tuple[float, float]:
        return round(52 + 282 * step / max(last, 1), 1), round(146 - 132 * (value - least) / span, 1)

    charts: dict[str, list[dict[str, Any]]] = {}
    for name, series, split, points in found:
        placed = [place(*point) for point in points]
        joined = " ".join(f"{x},{y}" for x, y in placed)
        single = placed[0] if len(placed) == 1 else None
        charts.setdefault(name, []).append({"series": series, "split": split, "points": joined, "single": single})
    ends = {"least": f"{least:.3g}", "most": f"{most:.3g}", "last": last}
    return [{"name": name, "lines": lines, **ends} for name, lines in charts.items()]
