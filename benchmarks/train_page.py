"""docs/train-speed.md and its picture, from the results of `benchmarks.train`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, PICTURE = DOCS / "train-speed.md", DOCS / "train-speed.png"
MISSING = "not measured"
STEPS = {
    "A": "A, reference in each step",
    "B": "B, reference in each step",
    "A-precomputed": "A, reference beforehand",
    "B-precomputed": "B, reference beforehand",
    "A-checkpointing": "A, gradient checkpointing in both",
    "B-checkpointing": "B, gradient checkpointing in both",
}
MEMORY = {
    "A": "A, reference in each step",
    "A-precomputed": "A, reference beforehand",
    "vocabulary": "A, 256 wide, vocabulary of 131,072, reference in each step",
    "vocabulary-precomputed": "A, 256 wide, vocabulary of 131,072, reference beforehand",
}
ALLOCATORS = {"": "kept", "-given-back": "given back"}
OPENING = """# Training speed

What a DPO step costs beside TRL's `DPOTrainer`: a Llama of 6 layers, 512 wide, 8 heads, a vocabulary of 8,192 (27M
weights, random); 8 pairs a step, AdamW, single precision, one thread of a CPU. The two trainers run in one process and
take turns, on the same weights and rows in the same order. Set A: prompts of about 384 tokens, responses of about 128.
Set B: prompts of about 64, responses of 16 to 256.

The same work gives the same losses and weights. What is left out is work that repeats itself: a prompt is computed once
for all its responses, padding not at all, the head only where a response token is predicted, its logits by tiles.

Seconds are CPU time of the process, because the machine was busy with other work; the ratio of elapsed times stands
under *by the clock*. Each figure is the median of the turns, with the least and the greatest. *Bound* is the ratio of
the operations of matrix products that the two ways need. The peer's head makes further passes over its logits, which no
product counts; that is how a ratio can exceed the bound.
"""


def write(results: Path) -> None:
    """Write the page and its picture."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}
    about = next(iter(found.values()))["about"]
    parts = [
        OPENING,
        "## A step\n\n" + steps_table(found),
        "## The reference beforehand\n\n" + reference_table(found),
        "## Memory\n\n" + memory_table(found),
        "## Lengths, sizes, lists\n\n" + curves_text(found.get("curves")),
        "## GPU\n\nThe code is the same on a GPU, and in bfloat16; its speed there is not measured.\n",
        f"Machine: {about['cpu']}, one thread; Python {about['python']}, torch {about['torch']}, transformers "
        f"{about['transformers']}, TRL {about['trl']}.\n",
        "Written by `python -m benchmarks.train page` from what `step`, `reference`, `memory` and `curves` of the same "
        "command left in `benchmarks/results/train`.\n",
    ]
    PAGE.write_text("\n".join(parts))
    if "curves" in found:
        picture(found["curves"]).savefig(PICTURE, dpi=150)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, least and greatest."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def steps_table(found: dict[str, Any]) -> str:
    """Steps of both sides."""
    rows = []
    for name, title in STEPS.items():
        if name not in found:
            rows.append([title, *[MISSING] * 7])
            continue
        one = found[name]
        seconds = [[cpu / one["pairs_a_turn"] for cpu in one[side]["cpu"]] for side in ("peer", "ours")]
        ratio = median(seconds[0]) / median(seconds[1])
        rows.append(
            [
                title,
                f"{len(seconds[0])} of {one['pairs_a_turn'] // 8}",
                *[spread(each) for each in seconds],
                f"**{ratio:.2f}x**",
                f"{median(one['peer']['wall']) / median(one['ours']['wall']):.2f}x",
                f"{one['bound']:.2f}x",
                f"{one['loss_difference']:.0e}; {one['weights']['of_weights']:.0e}",
            ]
        )
    head = [
        "set",
        "turns of steps",
        "TRL, s a pair",
        "ours, s a pair",
        "faster",
        "by the clock",
        "bound",
        "loss; weights apart",
    ]
    text = table(head, rows)
    text += "\nLoss: largest difference of a step. Weights: distance after the last step, relative to their length.\n"
    text += "Twenty steps of each kind on a smaller model and rows are a test: `tests/train/test_beside_trl.py`.\n"
    if "A" in found and "B" in found:
        counts = [[f"{found[name][what][i]:,.0f}" for name in "AB"] for what in ("positions", "head") for i in (0, 1)]
        text += (
            f"\nToken positions a pair on A and B: {' and '.join(counts[0])} for TRL, {' and '.join(counts[1])} for "
            f"us; the head runs on {' and '.join(counts[2])}, and on {' and '.join(counts[3])}.\n"
        )
    return text


def reference_table(found: dict[str, Any]) -> str:
    """Log-probs of the reference computed beforehand."""
    rows = []
    for name in "AB":
        one = found.get(f"reference-{name}")
        if one is None:
            rows.append([name, *[MISSING] * 3])
            continue
        seconds = [[cpu / one["pairs_a_turn"] for cpu in one[side]["cpu"]] for side in ("peer", "ours")]
        rows.append([name, *map(spread, seconds), f"**{median(seconds[0]) / median(seconds[1]):.2f}x**"])
    return table(["set", "TRL, s a pair", "ours, s a pair", "faster"], rows)


def memory_table(found: dict[str, Any]) -> str:
    """Peaks of resident memory in a process of each side."""
    rows = []
    for (name, title), (allocator, called) in product(MEMORY.items(), ALLOCATORS.items()):
        one = found.get(f"memory-{name}{allocator}")
        if one is None:
            rows.append([title, called, *[MISSING] * 4])
            continue
        peaks = [one[side]["peaks"] for side in ("peer", "ours")]
        for step in (0, len(peaks[0]) - 1):
            highest = [max(each[: step + 1]) for each in peaks]
            above = [
                [most - one[side][stage] for most, side in zip(highest, ("peer", "ours"), strict=True)]
                for stage in ("tokenized", "made")
            ]
            shown = [f"{above[0][i] / 1e9:.2f} GB; {above[1][i] / 1e9:.2f} GB" for i in (0, 1)]
            shares = f"**{above[0][1] / above[0][0]:.2f}x**; {above[1][1] / above[1][0]:.2f}x"
            rows.append([title, called, str(step + 1), *shown, shares])
    text = table(["set", "freed memory", "steps", "TRL", "ours", "of TRL's"], rows)
    return text + (
        "\nResident memory at its peak, each side in a process of its own: first above what the imported libraries "
        "take, so with all weights, gradients and the optimizer's state; then above what was there before the first "
        "step. The first step ends with the making of the optimizer's state; from the second on it is there.\n\n"
        "*Kept*: by the C library's allocator as it is, which holds on to freed blocks of up to 32 MB, so that a peak "
        "counts what nobody uses. *Given back*: both sides run with `MALLOC_MMAP_THRESHOLD_=1048576` in their "
        "environment, and a peak is what is in use. It costs time in the kernel, and is worth setting where memory is "
        "short on a CPU.\n"
    )


def curves_text(curves: dict[str, Any] | None) -> str:
    """The picture, and what it shows."""
    if curves is None:
        return MISSING + "\n"
    rows = [
        [name, f"{one['at']:,}", f"{median(one['peer']) / median(one['ours']):.2f}x", f"{one['bound']:.2f}x"]
        for name, kind in (("prompt tokens", "prompt"), ("width", "width"))
        for one in curves[kind]
    ]
    return (
        f"![Speed against prompt length and width, and cost of a response in lists]({PICTURE.name})\n\n"
        "A step of one pair, responses of 128 tokens, reference included; and Plackett-Luce on 16 responses of 128 "
        "tokens to prompts of 384, dealt into lists.\n\n" + table(["against", "at", "faster than TRL", "bound"], rows)
    )


def picture(curves: dict[str, Any]) -> Any:
    """Three charts in a row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    for one, kind, label in ((axes[0], "prompt", "prompt tokens"), (axes[1], "width", "width of the model")):
        points = curves[kind]
        at = [point["at"] for point in points]
        one.plot(at, [point["bound"] for point in points], "--", color="#888888", label="bound by operations")
        ratios = [median(point["peer"]) / median(point["ours"]) for point in points]
        one.plot(at, ratios, "o-", color="#1f5fa8", markersize=4, label="measured")
        one.set_ylabel("times as fast as TRL")
        one.set_xlabel(label)
        one.set_ylim(0, 3)
        one.legend(frameon=False, fontsize=8)
    points = curves["responses"]
    first = median(points[0]["ours"])
    at = [point["at"] for point in points]
    axes[2].plot(at, [1 / point["bound"] for point in points], "--", color="#888888", label="bound by operations")
    axes[2].plot(at, [median(p["ours"]) / first for p in points], "o-", color="#1f5fa8", markersize=4, label="measured")
    axes[2].set_ylabel("cost a response, of that in pairs")
    axes[2].set_xlabel("responses to a prompt")
    axes[2].set_ylim(0, 1.1)
    axes[2].legend(frameon=False, fontsize=8)
    for one, ticks in zip(axes, ([p["at"] for p in curves[k]] for k in ("prompt", "width", "responses")), strict=True):
        one.set_xscale("log", base=2)
        one.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=8)
        one.minorticks_off()
        one.grid(axis="y", color="#dddddd", linewidth=0.6)
        one.spines[["top", "right"]].set_visible(False)
    return figure
