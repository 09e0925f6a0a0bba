"""How fast PAL-A is: an epoch over a million pairs against its matrix products, and placing ten thousand new people.

    python -m benchmarks.pal_speed

Features of 384 numbers of 100,000 responses, K = 5, 10,000 people. CPU seconds of --threads threads, products and
epochs in turn in one run, the median of three ratios; --pairs for less. Rewrites docs/pal-speed.md from
benchmarks/results/pal-speed.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.data_page import table
from pluralign.feedback.storage import whole_file
from pluralign.models import Answers, IdealPoint, PreferenceModel

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "benchmarks" / "results" / "pal-speed.json"
FEATURES, ITEMS, PEOPLE, GROUPS, BATCH, ROUNDS = 384, 100_000, 10_000, 5, 8192, 3
CASES: tuple[tuple[str, dict[str, Any], int], ...] = (
    (
        "linear to 16, squared distance (default of `fit`)",
        {"distance": "squared", "projector": "linear", "width": 16},
        1,
    ),
    ("two hidden layers of 64", {"projector": "mlp", "width": 64}, 10),
    ("two hidden layers of 384, residual (PAL's own)", {"projector": "mlp"}, 100),
)
"""With the part of an epoch that is run: one in so many pairs."""
NEW, SAID = 10_000, 20


def answers(pairs: int, people: int, items: int) -> Answers:
    """Random ones: time does not depend on what was said."""
    draw = torch.Generator().manual_seed(0)
    left, right = torch.randint(items, (2, pairs), generator=draw)
    return Answers(
        items=torch.randn(items, FEATURES, generator=draw),
        left=left,
        right=right,
        person=torch.arange(pairs) % people,
        people=tuple(f"p{i}" for i in range(people)),
        probability=torch.randint(2, (pairs,), generator=draw).float(),
        weight=torch.ones(pairs),
    )


def seconds(work: Callable[[], Any]) -> float:
    """Of CPU, all threads together."""
    start = time.process_time()
    work()
    return time.process_time() - start


def products(score: IdealPoint, rows: Answers, fetch: bool) -> None:
    """Both sides of every pair, and where it is not linear everybody's point, through f and back; nothing else.

    fetch: features read from their table, as they must be; else one batch over and over.
    """
    sides = 2 if score.straight else 3
    fixed = torch.randn(sides * BATCH, FEATURES)
    for at in torch.arange(len(rows)).split(BATCH):
        some = torch.cat([rows.left[at], rows.right[at], rows.left[at]][:sides])
        x = rows.items.index_select(0, some) if fetch else fixed[: len(some)]
        out = score.projector(x)
        out.backward(torch.ones_like(out))
        score.projector.zero_grad(set_to_none=True)


def timed(options: dict[str, Any], part: int, pairs: int) -> dict[str, Any]:
    """Seconds of products, products with fetching, and an epoch, in turn."""
    rows = answers(pairs // part, PEOPLE, ITEMS)
    found: dict[str, list[float]] = {"products": [], "fetched": [], "epoch": []}
    for _ in range(ROUNDS):
        score = IdealPoint(FEATURES, GROUPS, **options)
        found["products"].append(seconds(lambda s=score: products(s, rows, False)))  # type: ignore[misc]
        found["fetched"].append(seconds(lambda s=score: products(s, rows, True)))  # type: ignore[misc]
        model = PreferenceModel(score, epochs=1, batch=BATCH)
        logits, ties = nn.Parameter(torch.randn(PEOPLE, GROUPS)), nn.Parameter(torch.zeros(()))
        found["epoch"].append(seconds(lambda m=model, s=score, w=logits, t=ties: m._descend(rows, s, w, t)))  # type: ignore[misc]
    return {**found, "pairs": len(rows)}


def placed() -> dict[str, Any]:
    """Seconds to place new people with everything else as it is, and how far from the optimum they may be, nats."""
    rows = answers(NEW * SAID, NEW, 20_000)
    score = IdealPoint(FEATURES, GROUPS, distance="squared", projector="linear", width=16)
    model = PreferenceModel(score, epochs=1, batch=BATCH, lr=1e-3).fit(rows.take(torch.arange(20_000)))
    found: list[Any] = []
    took = seconds(lambda: found.append(model.localise(rows, prior="people")))
    return {"people": NEW, "answers": SAID, "seconds": took, "gap": float(np.max(found[0].gap))}


def page(kept: dict[str, Any]) -> str:
    """docs/pal-speed.md."""
    lines = []
    for name, case in kept["cases"].items():
        per = 1e6 / case["pairs"]
        each = {key: np.array(case[key]) * per for key in ("products", "fetched", "epoch")}
        ratios = [float(np.median(each["epoch"] / each[key])) for key in ("products", "fetched")]
        lines.append(
            [name, *(f"{np.median(each[k]):.1f}" for k in each), *(f"{r:.2f}" for r in ratios), f"{case['pairs']:,}"]
        )
    new = kept["placed"]
    head = ["f", "products", "with fetching", "epoch", "epoch to products", "epoch to both", "pairs run"]
    return "\n".join(
        [
            "# How fast ideal points are",
            "",
            f"PAL-A over a million pairs of cached features of {FEATURES} numbers, K = {GROUPS}, {PEOPLE:,} people, "
            f"{BATCH:,} pairs a step. CPU seconds for a million pairs on {kept['threads']} "
            f"thread(s), medians of {ROUNDS}; "
            "ratios are medians of what was measured next to each other. *Products* put both "
            "sides of each pair through "
            "f and back, and with hidden layers everybody's ideal point too, always on the same batch in memory; "
            "*fetching* reads the features of each pair from their table, which no step can do without.",
            "",
            *table(head, lines),
            "",
            "A narrow linear map has so few operations that reading its features costs more than they do. With hidden "
            "layers the products are most of the time.",
            "",
            f"**New people.** {new['people']:,} people of {new['answers']} answers each are "
            "placed exactly, all together, "
            f"in {new['seconds']:.1f} CPU seconds; Frank and Wolfe's bound on what any of them misses is "
            f"{new['gap']:.1e} nats.",
            "",
            "Written by `python -m benchmarks.pal_speed`; fewer pairs than a million are scaled up.",
            "",
        ]
    )


def main() -> None:
    """Time, keep, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kept: dict[str, Any] = {"threads": options.threads, "cases": {}}
    for name, settings, part in CASES:
        kept["cases"][name] = timed(settings, part, options.pairs)
    kept["placed"] = placed()
    with whole_file(KEPT) as temporary:
        temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (ROOT / "docs" / "pal-speed.md").write_text(page(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
