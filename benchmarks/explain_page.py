"""docs/explain.md and its pictures, from the figures of `benchmarks.explain`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import explain_words as says
from benchmarks.data_page import table
from benchmarks.explain_texts import BINS, MARKS, NAMES
from benchmarks.explain_words import SOURCES, words
from pluralign.evaluate.figures import spelled
from pluralign.rank.plots import COLOURS

DOCS = Path(__file__).resolve().parents[1] / "docs"
PEOPLE, MODEL = "chatbots, crowd", "chatbots, GPT-4"
Rows = Sequence[Mapping[str, Any]]


def panels(
    parts: Mapping[str, Rows], key: str, label: str, name: str, order: Sequence[str], sharex: bool = False
) -> None:
    """A panel for each part, a line for each name of `order` that any part has, points with their intervals."""
    from matplotlib.figure import Figure

    shown = [one for one in order if any(row[key] == one for rows in parts.values() for row in rows)]
    figure = Figure(figsize=(11, 0.24 * len(shown) + 1.2), layout="constrained")
    every = np.atleast_1d(figure.subplots(1, len(parts), sharey=True, sharex=sharex))
    for axes, (title, rows) in zip(every, parts.items(), strict=True):
        known = {row[key]: row for row in rows}
        at = [i for i, one in enumerate(shown[::-1]) if one in known]
        points(axes, [known[shown[::-1][i]] for i in at], at)
        dress(axes, title.replace(", ", ",\n"))
        axes.set_yticks(range(len(shown)), shown[::-1])
        axes.set_ylim(-0.7, len(shown) - 0.3)
    figure.supxlabel(f"{label}, 95% intervals", fontsize=9)
    figure.savefig(DOCS / name, dpi=144)


def points(axes: Any, rows: Rows, at: Any, colour: str = COLOURS[0], label: str | None = None) -> None:
    """Values of rows at heights `at`, with their intervals."""
    value, ends = spans(rows)
    axes.errorbar(value, at, xerr=ends, fmt="o", ms=3.5, capsize=2, elinewidth=1.2, color=colour, label=label)


def spans(rows: Rows) -> tuple[Any, Any]:
    """Values [n] and how far the ends of their intervals are away, [2, n]."""
    value, low, high = np.array([[row["value"], row["low"], row["high"]] for row in rows]).T
    return value, np.maximum([value - low, high - value], 0)


def dress(axes: Any, title: str) -> None:
    """The look of one panel."""
    axes.axvline(0, color="#999999", linewidth=0.8)
    axes.set_title(title, fontsize=8.5)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(labelsize=8)


def matrix(parts: Mapping[str, Rows], key: str, order: Sequence[str]) -> list[str]:
    """A row a name, a column a part: value [low, high], in bold where the interval is clear of zero."""
    rows = []
    for one in order:
        cells = [next((cell(row) for row in found if row[key] == one), "") for found in parts.values()]
        if any(cells):
            rows.append([one, *cells])
    return table([key, *parts], rows)


def cell(row: Mapping[str, Any], digits: int = 2) -> str:
    """+0.12 [+0.05, +0.19], bold where zero is outside."""
    text = spelled(row, digits, sign="+")
    return f"**{text}**" if clear(row) else text


def clear(row: Mapping[str, Any]) -> bool:
    """Whether the interval leaves zero out."""
    return row["low"] is not None and bool(row["low"] > 0 or row["high"] < 0)


def most(rows: Iterable[Mapping[str, Any]], key: str, few: int = 3) -> str:
    """The names that count most each way, in words."""
    told = sorted((row for row in rows if clear(row)), key=lambda row: -row["value"])
    ups = [row[key] for row in told if row["value"] > 0][:few]
    downs = [row[key] for row in reversed(told) if row["value"] < 0][:few]
    return f"for {', '.join(ups) or 'nothing'}; against {', '.join(downs) or 'nothing'}"


def called(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The figure `name` of a row that has several, `name_low` and `name_high` its ends."""
    return {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}


def _pair(rows: Rows) -> Mapping[str, Any]:
    return next(row for row in rows if {row["one"], row["other"]} == {PEOPLE, MODEL})


def _of_judges(found: dict[str, Any]) -> dict[str, Any]:
    return {name: rows for name, rows in found.items() if name in SOURCES}


def _strengths(found: dict[str, Any]) -> list[str]:
    parts = _of_judges(found)
    panels(parts, "factor", "strength, logits", "explain-strengths.png", [*BINS, *MARKS])
    lines = [f"- {name}: {most(rows, 'factor')}." for name, rows in parts.items()]
    head = ["## Which factor beats which", "", words(says.STRENGTHS), "", "![Strengths](explain-strengths.png)", ""]
    return [*head, "Clear of zero, strongest first:", "", *lines, "", *matrix(parts, "factor", [*BINS, *MARKS]), ""]


def _agreement(found: dict[str, Any]) -> list[str]:
    from matplotlib.figure import Figure

    both = {name: {row["factor"]: row for row in found["tau"][name]} for name in (PEOPLE, MODEL)}
    shown = [name for name in NAMES if name in both[PEOPLE] and name in both[MODEL]]
    shown.sort(key=lambda name: float(both[PEOPLE][name]["value"]))
    figure = Figure(figsize=(7.5, 0.32 * len(shown) + 1.1), layout="constrained")
    axes = figure.subplots()
    for shift, colour, name in ((0.14, COLOURS[0], PEOPLE), (-0.14, COLOURS[1], MODEL)):
        points(axes, [both[name][one] for one in shown], np.arange(len(shown)) + shift, colour, name)
    dress(axes, "")
    axes.set_yticks(range(len(shown)), shown)
    axes.set_xlabel("tau with the verdict, 95% intervals", fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(DOCS / "explain-agreement.png", dpi=144)
    alike = [
        [row["other"], row["one"], "yes" if row["same pairs"] else "", row["factors"], cell(row)]
        for row in sorted(found["alike"], key=lambda row: -float(row["value"]))
    ]
    same = _pair(found["alike"])
    return [
        "## Do people and a model go by the same",
        "",
        words(says.AGREEMENT),
        "",
        "![tau of factors with people and with GPT-4](explain-agreement.png)",
        "",
        words(says.ALIKE, same=spelled(same, 2), n=f"{same['n']:,}"),
        "",
        *table(["judge", "judge", "same pairs", "factors", "correlation"], alike, left=2),
        "",
        *matrix(found["tau"], "factor", NAMES),
        "",
    ]


def _dissection(found: dict[str, Any]) -> list[str]:
    panels(found["weights"], "property", "weight, logits", "explain-dissection.png", NAMES)
    rows = [
        [name, f"{row['n']:,}", spelled(row["weights"]), spelled(row["length"]), cell(row["gain"], 3)]
        for name, row in found["held out"].items()
    ]
    every = [row for rows in found["weights"].values() for row in rows]
    together = sorted({row["property"] for row in every if not row["separable"]})
    ahead = [name for name, row in found["held out"].items() if row["gain"]["low"] > 0]
    same = spelled(_pair(found["alike"]), 2)
    separable = f"Not to be told apart: {', '.join(together)}." if together else "None is made of the others."
    return [
        "## All at once",
        "",
        words(says.DISSECTION),
        "",
        "![Weights of properties](explain-dissection.png)",
        "",
        *(f"- {name}: {most(some, 'property')}." for name, some in found["weights"].items()),
        "",
        f"Crowd and GPT-4 on the same chatbots: correlation of weights {same}. {separable}",
        "",
        words(says.HELD_OUT),
        "",
        *table(["judge", "pairs", "weights", "length alone", "gain"], rows),
        "",
        f"Ahead of length with the whole interval: {'; '.join(ahead) or 'none'}.",
        "",
        *matrix(found["weights"], "property", NAMES),
        "",
    ]


def _concepts(found: dict[str, Any]) -> list[str]:
    of = {"shared": "all"} | {name: name for name in SOURCES}
    parts = {title: [row for row in found["weights"] if row["domain"] == d] for title, d in of.items()}
    panels(parts, "concept", "weight, logits", "explain-concepts.png", NAMES)
    lines, inside = [], ["all", *SOURCES]
    for where, title in (("seen", "In domains seen, five folds of groups:"), ("not seen", "In a domain left out:")):
        told: dict[str, list[str]] = {}
        for row in found["accuracy"]:
            if row["domain"] == where:
                told.setdefault(row["model"], []).append(spelled(row) if row["in"] == "all" else f"{row['value']:.3f}")
        lines += [title, "", *table(["model", *inside], [[name, *cells] for name, cells in told.items()]), ""]
    chosen = f"shared, alpha {found['setting']['alpha']:g}"
    apart = next(row for row in found["accuracy"] if row["model"] == chosen and row["in"] == "all")
    if apart["high"] < 0.5:
        lines += [words(says.APART), ""]
    setting = {name: f"{value:g}" for name, value in found["setting"].items()}
    strongest = sorted((row for row in parts["shared"] if clear(row)), key=lambda row: -abs(float(row["value"])))
    lift = ", ".join(f"{row['concept']} {50 * row['value']:+.0f}%" for row in strongest)
    return [
        "## What all domains share",
        "",
        words(says.CONCEPTS, n=f"{found['n']:,}", **setting),
        "",
        "![Weights of concepts, shared and own](explain-concepts.png)",
        "",
        f"Shared weights clear of zero, as lift of the chance to be preferred: {lift or 'none'}.",
        "",
        *lines,
    ]


def _probes(found: dict[str, Any]) -> list[str]:
    from matplotlib.figure import Figure

    found, lines = _of_judges(found), []
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, (name, one) in zip(figure.subplots(1, len(found), sharey=True), found.items(), strict=True):
        rule = one["length"]
        axes.axhspan(rule["low"], rule["high"], color="#6b6b6b", alpha=0.15, linewidth=0)
        axes.axhline(rule["value"], color="#6b6b6b", linewidth=1, label="length alone")
        axes.axhline(0.5, color="#999999", linewidth=0.8, linestyle=":")
        told, over = [], []
        for shift, colour, (kind, rows) in zip((-0.06, 0, 0.06), COLOURS, one["layers"].items(), strict=False):
            value, ends = spans(rows)
            place = np.arange(len(rows)) + shift
            axes.errorbar(place, value, yerr=ends, color=colour, marker="o", ms=4, capsize=2, label=kind)
            for row in rows:
                p = "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}"
                told.append(
                    [kind, row["layer"], spelled(row), f"{row['shuffled']:.3f}", p, cell(called(row, "over"), 3)]
                )
            over += [f"{kind} (layer {row['layer']})" for row in rows if row["over_low"] > 0]
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("layer, 0 is the embeddings", fontsize=9)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        about = f"{one['n']:,} pairs in {one['groups']:,} groups; {one['rule']} wins: {spelled(rule)}."
        lines += [f"### {name}", "", about, ""]
        lines += [*table(["model", "layer", "accuracy", "labels shuffled", "p", "minus length"], told), ""]
        lines += [f"Ahead of length with the whole interval: {', '.join(over) or 'none'}.", ""]
    figure.axes[0].set_ylabel("share of held-out pairs told right", fontsize=9)
    figure.axes[-1].legend(frameon=False, fontsize=8)
    figure.savefig(DOCS / "explain-probes.png", dpi=144)
    steps = str(next(iter(found.values()))["steps"])
    head = ["## Where in a model it stands", "", words(says.PROBES, steps=steps), ""]
    return [*head, "![Accuracy of probes by layer](explain-probes.png)", "", *lines]


def _values(found: dict[str, Any]) -> list[str]:
    order = [name for name in ("Light", "Medium", "Dark") if name in found["sizes"]]
    parts = {f"{name} roast": [row for row in found["effects"] if row["community"] == name] for name in order}
    label = "change of the reward where it is tasted more by a standard deviation"
    panels(parts, "attribute", label, "explain-values.png", ("bitterness", "acidity"), sharex=True)
    rows = [
        [name, row["attribute"], cell(row), spelled(called(row, "attention"), 2), cell(called(row, "lost"), 3)]
        for name, some in parts.items()
        for row in some
    ]
    return [
        "## What communities value",
        "",
        words(says.VALUES, tasters=f"{found['tasters']:,}", answers=f"{found['answers']:,}"),
        "",
        "![Effects of bitterness and acidity by community](explain-values.png)",
        "",
        *table(["who likes", "attribute", "effect", "attention", "accuracy lost without it"], rows, left=2),
        "",
    ]


PARTS = {
    "strengths": _strengths, "agreement": _agreement, "dissection": _dissection,
    "concepts": _concepts, "probes": _probes, "values": _values,
}  # fmt: skip


def write(kept: dict[str, Any]) -> None:
    """The page and its pictures."""
    about = [
        [name, f"{kept['pairs'][name][0]:,}", f"{kept['pairs'][name][1]:,}", words(source)]
        for name, source in SOURCES.items()
    ]
    lines = ["# What people and models go by", "", words(says.TOP), ""]
    lines += [*table(["judge", "pairs", "groups", "source"], about), ""]
    for name, part in PARTS.items():
        lines += part(kept[name])
    minutes = sum(kept[name]["seconds"] for name in PARTS) / 60
    lines += [f"Written by `python -m benchmarks.explain --data FOLDER`: {minutes:.0f} minutes of one core.", ""]
    (DOCS / "explain.md").write_text("\n".join(lines), encoding="utf-8")
