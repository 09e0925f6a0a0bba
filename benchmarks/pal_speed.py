"""How fast PAL-A is: an epoch over a million pairs against its matrix products, and placing ten thousand new people.

    OMP_WAIT_POLICY=passive python -m benchmarks.pal_speed

Features of 384 numbers of 100,000 responses, K = 5, 10,000 people. Products and epochs in turn in one run, on one
thread and on two (--threads), medians of five ratios, of CPU seconds of all threads and of seconds that pass; --pairs
for less. Rewrites docs/pal-speed.md from benchmarks/results/pal-speed.json. Threads that wait for work spin, which
counts as CPU time and takes it from whoever else is on the machine, unless OMP_WAIT_POLICY is passive.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.data_page import table
from pluralign.feedback.storage import whole_file
from pluralign.models import Answers, IdealPoint, PreferenceModel

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "benchmarks" / "results" / "pal-speed.json"
FEATURES, ITEMS, PEOPLE, GROUPS, BATCH, ROUNDS = 384, 100_000, 10_000, 5, 8192, 5
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
    draw = np.random.default_rng(0)
    names = [f"p{i}" for i in range(people)]
    return Answers.indexed(
        draw.standard_normal((items, FEATURES), dtype=np.float32),
        *draw.integers(items, size=(2, pairs)),
        draw.integers(2, size=pairs),
        [names[i % people] for i in range(pairs)],
        people=names,
    )


def seconds(work: Callable[[], Any]) -> list[float]:
    """Of CPU, all threads together, and of the clock."""
    start = time.process_time(), time.perf_counter()
    work()
    return [time.process_time() - start[0], time.perf_counter() - start[1]]


def products(score: IdealPoint, rows: Answers, fixed: Tensor | None = None) -> None:
    """Both sides of every pair, and where it is not linear everybody's point, through f and back; nothing else.

    fixed: features of a step, the same over and over; where None they are read from their table, as they must be.
    """
    sides = 2 if score.straight else 3
    for at in torch.arange(len(rows)).split(BATCH):
        some = torch.cat([rows.left[at], rows.right[at], rows.left[at]][:sides])
        x = rows.items.index_select(0, some) if fixed is None else fixed[: len(some)]
        out = score.projector(x)
        out.backward(torch.ones_like(out))
        score.projector.zero_grad(set_to_none=True)


def timed(options: dict[str, Any], part: int, pairs: int) -> dict[str, Any]:
    """Seconds of products, products with fetching, and an epoch, in turn; each round on a share of the pairs."""
    whole, fixed = answers(pairs // part, PEOPLE, ITEMS), torch.randn(3 * BATCH, FEATURES)
    found: dict[str, list[list[float]]] = {"products": [], "fetched": [], "epoch": []}
    products(IdealPoint(FEATURES, GROUPS, **options), whole.take(torch.arange(min(BATCH, len(whole)))))
    for at in torch.arange(len(whole)).chunk(ROUNDS):
        rows, score = whole.take(at), IdealPoint(FEATURES, GROUPS, **options)
        model = PreferenceModel(score, epochs=1, batch=BATCH)
        logits, ties = nn.Parameter(torch.randn(PEOPLE, GROUPS)), nn.Parameter(torch.zeros(()))
        found["products"].append(seconds(partial(products, score, rows, fixed)))
        found["fetched"].append(seconds(partial(products, score, rows)))
        found["epoch"].append(seconds(partial(model._descend, rows, score, logits, ties)))
    return {**found, "pairs": len(whole), "load": os.getloadavg()[0]}


def placed() -> dict[str, Any]:
    """Seconds to place new people with everything else as it is, and how far from the optimum they may be, nats."""
    rows = answers(NEW * SAID, NEW, 20_000)
    score = IdealPoint(FEATURES, GROUPS, distance="squared", projector="linear", width=16)
    model = PreferenceModel(score, epochs=1, batch=BATCH, lr=1e-3).fit(rows.take(torch.arange(20_000)))
    found: list[Any] = []
    took = seconds(lambda: found.append(model.localise(rows, prior="people")))
    return {"people": NEW, "answers": SAID, "seconds": took[0], "gap": float(np.max(found[0].gap))}


def page(kept: dict[str, Any]) -> str:
    """docs/pal-speed.md."""
    lines, names, missed = [], {name for name, *_ in CASES}, set()
    for threads, cases in kept["threads"].items():
        for name, case in cases.items():
            each = {key: np.array(case[key]) for key in ("products", "fetched", "epoch")}
            spent = [f"{np.median(each[key][:, 0]) * ROUNDS * 1e6 / case['pairs']:.1f}" for key in each]
            ratios = {key: np.median(each["epoch"] / each[key], 0) for key in ("products", "fetched")}
            if max(ratios["products"]) > 2:
                missed.add(name)
            told = [ratios["products"][0], ratios["products"][1], ratios["fetched"][0]]
            lines.append([name, threads, *spent, *(f"{ratio:.2f}" for ratio in told), f"{case['pairs']:,}"])
    loads = [case["load"] for cases in kept["threads"].values() for case in cases.values()]
    new = kept["placed"]
    head = ["f", "threads", "products", "with fetching", "epoch", "epoch to products"]
    head += ["of the clock", "epoch to both", "pairs run"]
    return "\n".join(
        [
            "# How fast ideal points are",
            "",
            f"PAL-A over a million pairs of cached features of {FEATURES} numbers, K = {GROUPS}, {PEOPLE:,} people, "
            f"{BATCH:,} pairs a step. CPU seconds of all threads for a million pairs. The pairs are cut into {ROUNDS} "
            "rounds, in each of which all three were measured in turn; medians over rounds, and ratios are medians of "
            "the ratios within a round, of CPU seconds but for *of the clock*, which is the epoch to its products in "
            "seconds that pass. *Products* put "
            "both sides of each pair through f and back, and with hidden layers everybody's ideal point too, always "
            "on the same batch in memory; *fetching* reads the features of each pair from their table, which no step "
            "can do without.",
            "",
            *table(head, lines),
            "",
            f"The machine has {kept['cores']} cores; its load meanwhile was {min(loads):.0f} to {max(loads):.0f}. "
            f"{kept['waiting']}",
            "",
            f"Within twice its products: {'; '.join(sorted(names - missed)) or 'none'}. Not within: "
            f"{'; '.join(sorted(missed)) or 'none'}.",
            "",
            "A narrow linear map has so few operations that reading its features from memory costs nearly as much as "
            "they do; the rest of its epoch goes to the columns of the answers, the weights of people and distances. "
            "Working through a step in pieces of 256 to 4,096 pairs, small enough for the cache, with gradients by "
            "autograd or written by hand, was tried and gained next to nothing: calling each operation more often cost "
            "what the cache gave. With hidden layers the products are most of the time.",
            "",
            f"**New people.** {new['people']:,} people of {new['answers']} answers each are "
            "placed exactly, all together, on one thread, "
            f"in {new['seconds']:.1f} CPU seconds; Frank and Wolfe's bound on what any of them misses is "
            f"{new['gap']:.1e} nats.",
            "",
            "Written by `OMP_WAIT_POLICY=passive python -m benchmarks.pal_speed`; fewer pairs than a million are "
            "scaled up.",
            "",
        ]
    )


def main() -> None:
    """Time, keep, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pairs", type=int, default=1_000_000)
    options = parser.parse_args()
    passive = os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive"
    kept: dict[str, Any] = {"threads": {}, "cores": os.cpu_count()}
    kept["waiting"] = f"Threads that waited {'slept' if passive else 'spun, which counts as CPU time'}."
    for threads in options.threads:
        torch.set_num_threads(threads)
        kept["threads"][str(threads)] = {name: timed(*case, options.pairs) for name, *case in CASES}
    torch.set_num_threads(1)
    kept["placed"] = placed()
    with whole_file(KEPT) as temporary:
        temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (ROOT / "docs" / "pal-speed.md").write_text(page(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
