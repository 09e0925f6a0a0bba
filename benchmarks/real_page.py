"""The figures of `benchmarks.real` as tables and a picture for docs/real-data.md."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from pluralign.evaluate.figures import Array, Figure, mean, preferred, share

PAGE = Path(__file__).resolve().parents[1] / "docs" / "real-data.md"
CLOSE = 0.2
"""Two texts are of like length when the longer has at most this share more characters."""


def right(scores: pl.DataFrame) -> dict[str, Array]:
    """For each rule, 1 where it puts the preferred text first, one half where it cannot tell; each [n]."""

    def gap(name: str) -> Array:
        return (scores[f"{name}_chosen"] - scores[f"{name}_rejected"]).to_numpy().astype(float)

    def by_token(name: str) -> Array:
        chosen, rejected = (scores[f"{name}_{s}"] / scores[f"length_{s}"] for s in ("chosen", "rejected"))
        return (chosen - rejected).to_numpy()

    rules = {
        "aligned model, implicit reward": gap("reward"),
        "aligned model, log-prob": gap("logp"),
        "aligned model, mean log-prob": by_token("logp"),
        "reference, log-prob": gap("ref_logp"),
        "reference, mean log-prob": by_token("ref_logp"),
        "longer wins": gap("characters"),
    }
    return {name: preferred(margins) for name, margins in rules.items()}


def over_groups(values: Array, groups: Array) -> Figure:
    """The mean over groups, each counted once, with Student's interval: a second opinion where groups are few."""
    means = np.array([values[groups == g].mean() for g in np.unique(groups)])
    half = float(stats.t.ppf(0.975, len(means) - 1) * stats.sem(means))
    centre = float(means.mean())
    return Figure(centre, centre - half, centre + half, len(values), len(means), "t over groups")


def line(name: str, *cells: Any) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join([name, *map(str, cells)])} |"


def reference_rule(rules: dict[str, Array]) -> str:
    """The better of the reference's two rankings: by log-prob, or by its mean over tokens."""
    return max(("reference, log-prob", "reference, mean log-prob"), key=lambda name: float(rules[name].mean()))


def tables(
    scores: pl.DataFrame,
    group: str,
    looked_at: frozenset[str],
    settings: Sequence[str],
    trials: Sequence[Sequence[dict[str, Any]]],
) -> str:
    """All figures as Markdown. trials: for each fold, the settings tried in it, best first."""
    rules = right(scores)
    groups = scores["group"].to_numpy()
    reward, reference = rules["aligned model, implicit reward"], reference_rule(rules)
    n = len(np.unique(groups))
    plural = f"{group}s"
    lines = [
        f"| rule | share right, 95% interval over pairs, clustered by {group} | mean over {plural}, Student's t |",
        "| --- | --- | --- |",
    ]
    lines += [line(name, share(v, groups), over_groups(v, groups)) for name, v in rules.items()]
    lines += ["", f"| implicit reward minus | difference | mean over {plural} | {plural} where it is ahead |"]
    lines += ["| --- | --- | --- | --- |"]
    for other in (reference, "longer wins"):
        ahead = [float((reward - rules[other])[groups == g].mean()) > 0 for g in np.unique(groups)]
        difference = reward - rules[other]
        cells = (mean(difference, groups), over_groups(difference, groups), f"{sum(ahead)} of {n:,}")
        lines.append(line(other, *cells))
    chosen, rejected = (scores[f"characters_{s}"].to_numpy().astype(float) for s in ("chosen", "rejected"))
    like = np.maximum(chosen, rejected) <= (1 + CLOSE) * np.minimum(chosen, rejected)
    slices = {
        "the preferred text is the longer": chosen > rejected,
        "the preferred text is the shorter": chosen < rejected,
        f"of like length (within {CLOSE:.0%})": like,
    }
    if looked_at:
        slices[f"of {plural} that no trial of settings was judged on"] = ~np.isin(groups, list(looked_at))
    lines += [
        "",
        f"| pairs | how many | implicit reward | {reference} | longer wins |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, rows in slices.items():
        figures = [share(v[rows], groups[rows]) for v in (reward, rules[reference], rules["longer wins"])]
        lines.append(line(name, f"{int(rows.sum()):,}", *figures))
    if n <= 30:
        lines += ["", f"| {group} | pairs | implicit reward | {reference} | longer wins |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for g in np.unique(groups):
            rows = groups == g
            values = (f"{v[rows].mean():.3f}" for v in (reward, rules[reference], rules["longer wins"]))
            lines.append(line(g.replace("-", " ").strip(), f"{int(rows.sum()):,}", *values))
    lines += ["", "| settings | " + " | ".join(f"fold {i + 1}" for i in range(len(trials))) + " |"]
    lines += ["| --- |" + " --- |" * len(trials)]
    for i, name in enumerate(settings):
        shares = [next(t["share"]["value"] for t in fold if t["candidate"] == i) for fold in trials]
        cells = [f"{v:.3f}{', taken' if f[0]['candidate'] == i else ''}" for v, f in zip(shares, trials, strict=True)]
        lines.append(line(name, *cells))
    return "\n".join(lines)


def picture(scores: pl.DataFrame, group: str, path: Path) -> None:
    """One row a group: the share right of reference, "longer wins" and implicit reward.

    Pairs of one group share texts, so only all groups together have an interval.
    """
    from matplotlib.figure import Figure as Canvas

    rules = right(scores)
    groups = scores["group"].to_numpy()
    reward, longer = rules["aligned model, implicit reward"], rules["longer wins"]
    reference = reference_rule(rules)
    names = sorted(np.unique(groups), key=lambda g: float(reward[groups == g].mean()))
    canvas = Canvas(figsize=(8, 0.36 * len(names) + 1.5), layout="constrained")
    axes = canvas.subplots()
    pooled = share(reward, groups)
    axes.plot([pooled.low, pooled.high], [len(names)] * 2, color="#1f5fa8", linewidth=3, solid_capstyle="round")
    for y, rows in enumerate([*(groups == name for name in names), groups == groups]):
        told = (
            {}
            if y
            else {"reward": "implicit reward, 95% interval over all", "other": reference, "longer": "longer wins"}
        )
        axes.plot(reward[rows].mean(), y, "o", color="#1f5fa8", label=told.get("reward"))
        axes.plot(rules[reference][rows].mean(), y, "x", color="#555555", label=told.get("other"))
        axes.plot(longer[rows].mean(), y, "|", color="#111111", ms=12, mew=2, label=told.get("longer"))
    axes.axvline(0.5, color="#999999", linewidth=0.8, linestyle="--")
    labels = [textwrap.shorten(name.replace("-", " "), 48, placeholder="...") for name in names]
    labels.append(f"all {len(names)} {group}s")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("share of held-out pairs put in the right order")
    axes.spines[["top", "right"]].set_visible(False)
    canvas.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    canvas.savefig(path, dpi=144)


def into_page(name: str, text: str) -> None:
    """Put the tables between the marks of this data set in the page."""
    page = PAGE.read_text()
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if not marked.search(page):
        raise SystemExit(f"{PAGE} has no marks for {name}")
    PAGE.write_text(marked.sub(lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page))
