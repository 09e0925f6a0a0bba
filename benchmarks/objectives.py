"""Every objective for the same small budget in worlds with known answers: flipped labels, length, ties, lists of four.

    python -m benchmarks.objectives [--seeds N] [--only dpo,rdpo,...] [--out PAGE] [--keep FILE]

About a quarter of an hour on two cores, half an hour of processor time. Rewrites docs/objectives-lab.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq

from pluralign import lab
from pluralign.errors import PluralignError
from pluralign.objectives import catalogue

PAGE = Path(__file__).resolve().parents[1] / "docs" / "objectives-lab.md"
TRAIN, HELD_OUT, RESPONSES, FEATURES = 30, 30, 6, 12
JUDGEMENTS, STEPS, RATE, BETA, SEEDS = 300, 100, 0.1, 1.0, 10
LIKING, THRESHOLD = 0.3, 1.0
LEAST = 0.005
"""A policy this sharp has all the quality there is."""
NOISE = {"cdpo", "rdpo", "smoothed(simpo)", "debiased(simpo)", "smoothed(ipo)", "debiased(ipo)"}
EXTRA = ("ties(dpo)", "ties(simpo)", "smoothed(simpo)", "debiased(simpo)", "smoothed(ipo)", "debiased(ipo)")
"""Expressions beside the catalogue's names."""


@dataclass(frozen=True)
class Setting:
    """A kind of world. flips: share of labels turned round."""

    title: str
    flips: float = 0.0
    length: bool = False
    ties: bool = False
    lists: bool = False


SETTINGS = {
    "clean": Setting("clean"),
    "flips-20": Setting("20% flipped", flips=0.2),
    "flips-40": Setting("40% flipped", flips=0.4),
    "length": Setting("length liked", length=True),
    "ties": Setting("ties", ties=True),
    "lists": Setting("K = 4", lists=True),
}


@dataclass(frozen=True)
class Scene:
    """One drawn world of a setting: what is known of it, the judgements to learn from, by the kind of row."""

    whole: lab.World
    features: np.ndarray
    data: dict[str, lab.World]


def scene(setting: Setting, seed: int) -> Scene:
    """Rewards are linear in features that the policy has too; judgements are of the first prompts alone."""
    rng = np.random.default_rng(seed)
    shape = (TRAIN + HELD_OUT, RESPONSES)
    features = rng.standard_normal((*shape, FEATURES))
    quality = features @ rng.standard_normal(FEATURES) / np.sqrt(FEATURES)
    reference = rng.dirichlet(np.full(RESPONSES, 2.0), size=shape[0]) * 0.98 + 0.02 / RESPONSES
    options: dict[str, Any] = {"reference": reference}
    reward = quality
    if setting.length:
        length = rng.integers(1, 13, shape).astype(float)
        features = np.concatenate([features, length[..., None] / 6], -1)
        options["length"] = length
        reward = quality + LIKING * length
    said: Callable[[Any], Any] = lab.bradley_terry
    if setting.ties:
        said = lambda r: lab.with_ties(r, THRESHOLD)  # noqa: E731
    whole = lab.bandit(reward, quality=quality, preference=lambda r: lab.flipped(said(r), setting.flips), **options)
    return Scene(whole, features, _data(whole, setting, seed))


def _data(whole: lab.World, setting: Setting, seed: int) -> dict[str, lab.World]:
    def drawn(world: lab.World, n: int) -> lab.World:
        return replace(world, weight=np.where(world.prompt < TRAIN, world.weight, 0.0)).sample(n, seed)

    if setting.lists:
        lists = drawn(whole.rankings(4), JUDGEMENTS // 6)
        # The same rankings for objectives of pairs: all six pairs of each.
        pairs = np.array(list(itertools.combinations(range(4), 2)))
        return {
            "rankings": lists,
            "pairs": replace(
                lists,
                prompt=np.repeat(lists.prompt, 6),
                response=lists.response[:, pairs].reshape(-1, 2),
                weight=np.ones(6 * len(lists.prompt)),
                kind="pairs",
            ),
        }
    rows = drawn(whole, JUDGEMENTS)
    if not setting.ties:
        return {"pairs": rows}
    won = rows.row["tie"] == 0
    without = replace(rows, prompt=rows.prompt[won], response=rows.response[won], weight=rows.weight[won], row={})
    return {"ties": rows, "pairs": without}


def options_of(name: str, setting: Setting) -> dict[str, Any]:
    """Beta is 1, as rewards are; what the world knows of itself is told: flip rate, liking of length, threshold."""
    known = goal(name).options.model_fields
    told = {
        "beta": BETA,
        "flip_rate": setting.flips,
        "label_smoothing": setting.flips if name in NOISE else None,
        "alpha": LIKING if name == "r_dpo" else THRESHOLD if name == "todo" else None,
        "threshold": THRESHOLD,
    }
    return {key: value for key, value in told.items() if key in known and value is not None}


def goal(name: str) -> Any:
    from pluralign.objectives import find

    return find(name)


def figures(found: Scene, policy: np.ndarray) -> dict[str, float]:
    """Of the held-out prompts: expected quality over the reference's, KL, and the share of it that its KL could buy."""
    quality, reference, policy = (a[TRAIN:] for a in (found.whole.quality, found.whole.reference, policy))
    world = lab.bandit(quality, reference=reference)
    start, gained, kl = world.value(reference), world.value(policy), world.kl(policy)
    best = (quality == quality.max(1, keepdims=True)) * 1.0
    if 1e-9 < kl < world.kl(world.tilted(LEAST)):
        # Quality for which the best policy of this KL is pi_ref * exp(quality / beta) / Z.
        log_beta = brentq(lambda b: world.kl(world.tilted(np.exp(b))) - kl, np.log(LEAST), np.log(1e7), xtol=1e-10)
        most = world.value(world.tilted(np.exp(log_beta)))
    else:
        most = world.value(best)
    gap = np.log(policy) - np.log(reference)
    first, second = np.array(list(itertools.combinations(range(RESPONSES), 2))).T
    right = np.sign(gap[:, first] - gap[:, second]) == np.sign(quality[:, first] - quality[:, second])
    return {
        "quality": gained - start,
        "kl": kl,
        "share": (gained - start) / (most - start) if kl > 1e-6 else float("nan"),
        "accuracy": float(right.mean()),
    }


def run(job: tuple[str, int, tuple[str, ...]]) -> tuple[str, int, dict[str, Any]]:
    """All objectives in one drawn world."""
    key, seed, names = job
    setting = SETTINGS[key]
    found = scene(setting, seed)
    results: dict[str, Any] = {}
    for name in names:
        rows, data = set(map(str, goal(name).rows)), found.data
        kind = "rankings" if "rankings" in rows and "rankings" in data else "pairs"
        if setting.ties and "tie" in goal(name).uses:
            kind = "ties"
        try:
            policy = lab.train(
                name, data[kind], features=found.features, steps=STEPS, learning_rate=RATE, **options_of(name, setting)
            )
        except PluralignError as error:
            results[name] = {"refused": str(error)}
            continue
        if np.isfinite(policy).all() and (policy > 0).all():
            results[name] = figures(found, policy)
        else:
            results[name] = {"refused": "left the numbers"}
    return key, seed, results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="worlds of each kind")
    parser.add_argument("--only", help="objectives, comma-separated; all when left out")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page")
    parser.add_argument("--keep", type=Path, help="file of finished worlds; with it an interrupted run goes on")
    given = parser.parse_args()
    names = tuple(given.only.split(",")) if given.only else (*catalogue(), *EXTRA)
    results: dict[str, dict[int, dict[str, Any]]] = {key: {} for key in SETTINGS}
    if given.keep and given.keep.is_file():
        for line in given.keep.read_text().splitlines():
            key, seed, found = json.loads(line)
            results[key][seed] = found
    jobs = [(key, seed, names) for seed in range(given.seeds) for key in SETTINGS if seed not in results[key]]
    began = time.monotonic()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ProcessPoolExecutor(cores) as pool:
        for done, (key, seed, found) in enumerate(pool.map(run, jobs), start=1):
            results[key][seed] = found
            if given.keep:
                with given.keep.open("a") as file:
                    file.write(json.dumps([key, seed, found]) + "\n")
            print(f"{done}/{len(jobs)} worlds, {time.monotonic() - began:.0f} s", flush=True)
    from benchmarks.objectives_page import page

    given.out.write_text(page(results, names))
    print(f"written: {given.out}")


if __name__ == "__main__":
    main()
