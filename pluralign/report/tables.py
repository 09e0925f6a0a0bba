"""What the tables of the page hold: rankings of all runs, runs against each other, the scales of their charts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from pluralign.evaluate.figures import auc_difference, difference, preferred
from pluralign.evaluate.measures import OWN_REWARD, POLICY, POLICY_MEAN, RATIO_MEAN, REWARD
from pluralign.evaluate.slices import LIKE, SIDES

OWN = (REWARD, OWN_REWARD, RATIO_MEAN, POLICY, POLICY_MEAN)
"""Rankings that a run makes itself; the others are the same for all runs that share a reference and rows."""


def rankings(evaluated: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`who`, `rule`, `figure` for every ranking; one that several runs share stands there once."""
    rows: list[dict[str, Any]] = []
    for run in evaluated:
        known = run["figures"]["accuracy"]
        rows += [{"who": run["name"], "rule": rule, "figure": known[rule]} for rule in OWN if rule in known]
    shared: list[dict[str, Any]] = []
    for run in evaluated:
        for rule, figure in run["figures"]["accuracy"].items():
            if rule in OWN:
                continue
            same = next((row for row in shared if (row["rule"], row["figure"]) == (rule, figure)), None)
            if same is None:
                shared.append({"who": [run["name"]], "rule": rule, "figure": figure})
            else:
                same["who"].append(run["name"])
    for row in shared:
        everyone = len(evaluated) > 1 and len(row["who"]) == len(evaluated)
        rows.append({**row, "who": "all runs" if everyone else ", ".join(row["who"])})
    return rows


def scale(figures: Iterable[Mapping[str, Any]], null: float) -> dict[str, float]:
    """The range of a chart, in tenths: all intervals and the value of no effect."""
    ends = [f[name] for f in figures for name in ("value", "low", "high") if f[name] is not None]
    ends = [null, *(end for end in ends if math.isfinite(end))]
    least, most = math.floor(min(ends) * 10) / 10, math.ceil(max(ends) * 10) / 10
    return {"least": least, "most": most if most > least else least + 0.1, "null": null}


def like_length(figures: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The slice of pairs whose responses are of like length, where there are any."""
    return next((s for s in figures["slices"] if (s["by"], s["value"]) == (SIDES, LIKE)), None)


def against_first(evaluated: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy of every later run minus that of the first, on the rows that both scored: `who`, `first`, `figure`.

    From the scores by row that evaluate wrote. Runs on other data are left out: no row is both's.
    """
    if not evaluated:
        return []
    first, *others = evaluated
    base = _scores(first["rows"])
    found: list[dict[str, Any]] = []
    for run in others:
        other = _scores(run["rows"])
        same = run["figures"]["data"]["fingerprint"] == first["figures"]["data"]["fingerprint"]
        # Policies number rows as they were read, rewards the pairs that were made of them.
        same &= (OWN_REWARD in run["figures"]["accuracy"]) == (OWN_REWARD in first["figures"]["accuracy"])
        if base is None or other is None or not same:
            continue
        both = base.join(other, on="row", how="inner", suffix="_other").sort("row")
        if len(both):
            ours, theirs, clusters = (both[name].to_numpy() for name in ("score_other", "score", "cluster"))
            if "good" in both.columns:
                figure = auc_difference(ours, theirs, both["good"].to_numpy(), clusters)
            else:
                figure = difference(preferred(ours), preferred(theirs), clusters)
            found.append({"who": run["name"], "first": first["name"], "figure": figure})
    return found


def _scores(path: Path) -> pl.DataFrame | None:
    # Of pairs the margin, which evaluations of rewards hold as it is; of single responses the reward.
    if not path.is_file():
        return None
    rows = pl.read_parquet(path)
    if "good" in rows.columns:
        return rows.select("row", "cluster", "good", score="reward")
    if OWN_REWARD in rows.columns:
        return rows.select("row", "cluster", score=OWN_REWARD)
    return rows.select("row", "cluster", score=pl.col("reward_chosen") - pl.col("reward_rejected"))
