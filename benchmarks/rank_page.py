"""The figures of `benchmarks.rank` as tables and pictures for docs/rank-speed.md."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.rank_cases import CASES
from benchmarks.rank_targets import CLOSE, PATIENCE, REPLICATES, SLOW, Measured, best, targets

DOCS = Path(__file__).resolve().parents[1] / "docs"

NAMES = {
    "pluralign": "pluralign",
    "floor": "floor: encode and count the pairs",
    "group_by": "the same by one group-by of strings",
    "fastchat": "FastChat `compute_bt`",
    "evalica": "evalica `bradley_terry`",
    "evalica_tight": "evalica, tolerance 1e-9, no limit on rounds",
    "arena_rank": "arena-rank `BradleyTerry`",
    "arena_rank_tight": "arena-rank, ftol 0, gtol 1e-13",
    "choix": "choix `ilsr_pairwise_dense`",
    "pluralign_sandwich": "pluralign, sandwich covariance",
    "pluralign_bootstrap": "pluralign, 1,000 replicates",
    "draws": "floor: drawing the multinomial counts alone",
    "evalica_bootstrap": "evalica, 1,000 replicates, percentile",
}


def seconds(value: float) -> str:
    """With three digits and a unit that suits."""
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def row(*cells: object) -> str:
    """Of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def case_table(found: dict[str, Measured]) -> list[str]:
    """Every contender of one case."""
    ours, lines = best(found["pluralign"]), []
    for name, m in found.items():
        if "failed" in m:
            lines.append(row(NAMES[name], m["failed"], "", "", ""))
            continue
        error = m.get("error")
        off = "" if error is None else f"{error:.1e}" + ("" if error <= CLOSE else " (not converged)")
        above = "" if m["above"] is None else f"{m['above'] / 1e6:,.0f} MB"
        lines.append(row(NAMES[name], seconds(best(m)), f"{best(m) / ours:.3g}", off, above))
    head = [row("", "CPU time", "of pluralign's", "largest error, logits", "memory above the table")]
    return [*head, row("---", "---:", "---:", "---:", "---:"), *lines]


def _wall(measured: Measured) -> float:
    return float(min(measured["wall"]))


def curve_table(found: dict[str, dict[str, Measured]], what: str) -> list[str]:
    """Every size of one chart."""
    lines = [
        row(what, "pluralign, wall", "CPU", "peak memory", "group-by alone, wall", "CPU", "peak memory"),
        row(*["---:"] * 7),
    ]
    for name, pair in found.items():
        ours, floor = pair["pluralign_path"], pair["path_group_by"]
        walls, cpus = ([m.get("failed") or seconds(f(m)) for m in (ours, floor)] for f in (_wall, best))
        peak = "" if ours.get("peak") is None else f"{ours['peak'] / 1e9:.2f} GB"
        theirs = "" if floor.get("peak") is None else f"{floor['peak'] / 1e9:.2f} GB"
        lines.append(row(name, walls[0], cpus[0], peak, walls[1], "" if "failed" in floor else cpus[1], theirs))
    return lines


def picture(found: dict[str, dict[str, Measured]], what: str, path: Path) -> None:
    """CPU time of ours and of the group-by against size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for who, label, style in (
        ("pluralign_path", "from file to scores", {"color": "#1f5fa8", "marker": "o"}),
        ("path_group_by", "counting the pairs alone", {"color": "#8a8a8a", "marker": "s", "linestyle": "--"}),
    ):
        points = [(float(size), best(pair[who])) for size, pair in found.items() if "cpu" in pair[who]]
        axes.plot(*zip(*points, strict=True), label=label, **style)
    axes.set(xscale="log", yscale="log", xlabel=what, ylabel="seconds of CPU time")
    axes.grid(visible=True, which="major", color="#e4e4e4")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def foot(results: dict[str, dict[str, Any]]) -> list[str]:
    """How the page was measured."""
    rounds = ", ".join(f"{name} {part['rounds']}" for name, part in results.items() if name not in ("votes", "items"))
    loads = ", ".join(f"{name} {part['load']:.1f}" for name, part in results.items())
    cores = ", ".join(sorted({f"{part['cores']}" for part in results.values()}))
    return [
        f"*Written by `python -m benchmarks.rank`. Rounds: {rounds}; contenders that take more than {SLOW:g} s ran in",
        f"one of them. Peers were stopped after {PATIENCE} s of CPU time, replicates after {REPLICATES} s, so that",
        f"these are bounds. Cores: {cores}; load of the machine when each part began: {loads}.*",
    ]


def write(results: dict[str, dict[str, Any]]) -> None:
    """The page and its pictures, of the parts that were measured: `found`, `rounds`, `load` and `cores` of each."""
    cases: dict[str, dict[str, Measured]] = {name: results[name]["found"] for name in CASES if name in results}
    resampling: dict[str, Measured] = results.get("errors", {}).get("found", {})
    curves = {what: results.get(what, {}).get("found", {}) for what in ("votes", "items")}
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "polars"))
    lines = [
        "# How fast leaderboards are",
        "",
        "Every contender runs in processes of its own, in turn with all others, on one core with one thread, from a",
        "table of strings in memory (in the form it takes, pandas or polars) to scores. Times are CPU times of the",
        "process, user and system, of its best run (`time.process_time`), so that neither threads nor a busy machine",
        "flatter or punish anyone. Errors are the largest difference from an independent solution by general-purpose",
        f"solvers, itself exact to 1e-10 logits; a contender is converged if no score is off by more than {CLOSE:.0e}.",
        "The floor is what nobody can do without: two columns of strings as numbers, and the distinct pairs counted,",
        "in the quickest way we know. It reads no verdicts.",
        "",
        f"Python {platform.python_version()}, {libraries}; peers as pinned in `benchmarks/peers.txt`, which says how",
        "to install them. FastChat's fit is `compute_bt` of its repository; the release on PyPI fits by scikit-learn.",
        "",
        "## What was asked for",
        "",
        row("case", "target", "measured", ""),
        row("---", "---", "---:", "---"),
        *(row(*cells, "met" if met else "**not met**") for *cells, met in targets(cases, resampling, curves["votes"])),
    ]
    for name, found in cases.items():
        lines += ["", f"## ({name}) {CASES[name].says}", "", *case_table(found)]
    if resampling:
        lines += ["", "## Errors and resampling, case (a)", "", row("", "CPU time"), row("---", "---:")]
        lines += [row(NAMES[k], m.get("failed") or seconds(best(m))) for k, m in resampling.items()]
    lines += [
        "",
        "## From files",
        "",
        "Parquet on disk to scores, beside polars counting the pairs of the same file as categories by its streaming",
        "engine, reading on all cores. Files of five million votes and more are counted as they stream by.",
    ]
    for what, says in (("votes", "500 items, 14% ties"), ("items", "Fifty votes an item, a million at least")):
        if curves[what]:
            picture(curves[what], what, DOCS / f"rank-speed-{what}.png")
            lines += ["", f"{says}:", "", *curve_table(curves[what], what)]
            lines += ["", f"![Time against {what}](rank-speed-{what}.png)"]
    lines += ["", *foot(results), ""]
    (DOCS / "rank-speed.md").write_text("\n".join(lines))
