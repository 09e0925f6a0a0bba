"""Labels in trouble, in worlds whose truth is known: what each remedy gains, and where it does not.

    python -m benchmarks.label_trouble

A linear reward in ten features labels pairs; some labels are then exchanged. Every remedy learns from the same pairs
and is judged on clean ones. Raw results are kept in benchmarks/results/label_trouble.json, so that a run goes on where
it stopped; writes docs/label-trouble.md and its picture.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.label_trouble_page import write
from pluralign.likelihoods import logistic
from pluralign.models import (
    Answers,
    ContrastiveHead,
    Head,
    PeerReview,
    ReliableModel,
    RewardModel,
    Score,
    Strength,
    ensemble,
)

KEPT = Path(__file__).resolve().parent / "results" / "label_trouble.json"
FEATURES, PEOPLE, TEST = 10, 30, 1000
MEMBERS = 5
OPTIONS: dict[str, Any] = {"epochs": 40, "batch": 400, "lr": 0.05}
WORLDS: dict[str, dict[str, Any]] = {
    "linear head, no flips": {"n": 800, "rate": 0.0},
    "linear head, 25% flipped": {"n": 800, "rate": 0.25},
    "linear head, 40% flipped": {"n": 800, "rate": 0.4},
    "head that can memorise, 25% flipped": {"n": 800, "rate": 0.25, "hidden": 32},
    "head that can memorise, 40% flipped": {"n": 800, "rate": 0.4, "hidden": 32},
    "a third of the people flip half, a sixth all": {"n": 1500, "people": True},
}


class World:
    """Pairs, the people who judged them, and which labels were exchanged."""

    def __init__(self, n: int, seed: int, rate: float = 0.0, hidden: int | None = None, people: bool = False) -> None:
        self.random = np.random.default_rng([seed, n])
        self.hidden, self.w = hidden, self.random.normal(size=FEATURES)
        who = self.random.integers(PEOPLE, size=n)
        rates = np.where(np.arange(PEOPLE) % 6 == 0, 1.0, np.where(np.arange(PEOPLE) % 3 == 1, 0.5, 0.0))
        each = rates[who] if people else np.full(n, rate)
        self.wrong = self.random.random(n) < each
        self.rate = float(each.mean())
        self.train = self.answers(n, self.wrong, [f"p{i:02d}" for i in who])
        self.test = self.answers(TEST, np.zeros(TEST, dtype=bool), None)

    def answers(self, n: int, wrong: Any, who: list[str] | None) -> Answers:
        """Labels by Bradley and Terry's model, exchanged where they are to be wrong."""
        left, right = self.random.normal(size=(2, n, FEATURES))
        said = self.random.random(n) < 1 / (1 + np.exp(-(left - right) @ self.w))
        return Answers.of(left, right, np.where(wrong, ~said, said).astype(float), who)

    @property
    def head(self) -> Score:
        """A new one."""
        return Head(FEATURES, hidden=self.hidden)


Margins = Callable[[Answers], Any]


def remedies(world: World, seed: int) -> dict[str, Callable[[], Margins]]:
    """Each remedy as a function that learns and gives margins. Rates are told to those that ask for them."""
    train, known = world.train, min(world.rate, 0.45)
    cache: list[Strength] = []

    def strength() -> Strength:
        if not cache:
            cache.append(Strength.of(ensemble(world.head, train, MEMBERS, seed=seed, **OPTIONS), train))
        return cache[0]

    def plain(data: Any, loss: str = "bradley_terry", **more: Any) -> Margins:
        return RewardModel(world.head, loss, seed=seed, **OPTIONS, **more).fit(data).margins

    def averaged() -> Margins:
        models = ensemble(world.head, train, 2, bootstrap=False, seed=seed, **OPTIONS)
        return lambda a: np.mean([m.margins(a) for m in models], 0)

    found: dict[str, Callable[[], Margins]] = {
        "as they are": lambda: plain(train),
        "as they are by two models": averaged,
        "smoothed at the rate": lambda: plain(train, "smoothed(bradley_terry)", flip_rate=known),
        "debiased at the rate": lambda: plain(train, "debiased(bradley_terry)", flip_rate=known),
        "flipped where an ensemble disagrees": lambda: plain(strength().flipped(train)),
        "softened there": lambda: plain(strength().softened(train)),
        "margins of the ensemble": lambda: plain(strength().adapted(train)),
        "flipped with margins": lambda: plain(
            Strength(abs(strength().mean), strength().std).adapted(strength().flipped(train))
        ),
        "peer review at the rate": lambda: PeerReview(world.head, noise=known, seed=seed, **OPTIONS).fit(train).margins,
        "reliability of each person": lambda: ReliableModel(world.head, seed=seed, **OPTIONS).fit(train).margins,
    }
    if world.hidden is not None:
        found["with a contrastive term"] = lambda: (
            RewardModel(ContrastiveHead(FEATURES, hidden=world.hidden or 32), seed=seed, **OPTIONS).fit(train).margins
        )
    return found


def judged(world: World, margins: Margins) -> dict[str, float]:
    """Share of clean test pairs whose truly better side leads, and log-loss on their clean labels."""
    left, right = world.test.features
    truth = ((left - right).numpy() @ world.w) > 0
    z, said = margins(world.test), world.test.probability.double().numpy()
    loss = float(np.mean(np.where(said == 1, logistic(z), logistic(-z))))
    return {"accuracy": float(((z > 0) == truth).mean()), "log_loss": loss}


def main() -> None:
    """Run the seeds that are not kept yet and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    for seed in range(seeds):
        for name, settings in WORLDS.items():
            if (key := f"{name}|{seed}") in kept:
                continue
            world = World(seed=seed, **settings)
            kept[key] = {remedy: judged(world, learn()) for remedy, learn in remedies(world, seed).items()}
            KEPT.parent.mkdir(parents=True, exist_ok=True)
            KEPT.write_text(json.dumps(kept, indent=0) + "\n")
    write(kept, list(WORLDS), OPTIONS)


if __name__ == "__main__":
    main()
