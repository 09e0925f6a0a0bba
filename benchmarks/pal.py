"""PAL's synthetic study: people whose ideal points are known, groups seen and people not seen.

    python -m benchmarks.pal

Ten worlds for each of two, three and five true tastes, about twenty minutes of one core; --seeds, --true and --most for
less. Each world's numbers are kept in benchmarks/results/pal.json, from which docs/pal.md and docs/pal.png are written
again: a second call goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.pal_page import draw, page
from pluralign.feedback.storage import whole_file
from pluralign.models import Answers, IdealPoint, PreferenceModel

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "benchmarks" / "results" / "pal.json"
PEOPLE, EACH, TEST = 40, 60, 50
ANSWERS = (1, 2, 5, 10, 20)
"""Of people not seen."""
FITTED = (5, 10, 20, 40)
"""Of people seen, beside all of theirs."""
TRUE = (2, 3, 5)
MOST = 6


class World:
    """40 people seen and 40 not, of K* tastes: 8-d items, a linear map to 4-d, no noise; two tastes are opposite."""

    def __init__(self, k: int, seed: int) -> None:
        self.random = np.random.default_rng([k, seed])
        self.map = self.random.normal(size=(8, 4)) / np.sqrt(8)
        self.points = self.random.normal(size=(k, 4))
        if k == 2:
            self.points[1] = -self.points[0]

    def answers(self, people: NDArray[np.int64], each: int) -> Answers:
        """Person i has taste i modulo K*."""
        who = np.repeat(people, each)
        left, right = self.random.normal(size=(2, len(who), 8))
        ideal = self.points[who % len(self.points)]
        nearer = ((left @ self.map - ideal) ** 2).sum(1) < ((right @ self.map - ideal) ** 2).sum(1)
        return Answers.of(left, right, nearer.astype(float), [f"p{i:03d}" for i in who])


def fitted(answers: Answers, k: int, seed: int) -> PreferenceModel:
    """PAL-A as on its card: linear map, squared distance, logistic loss, best of three starts."""
    score = IdealPoint(8, k, distance="squared", projector="linear", width=4)
    restarts = 1 if k == 1 else 3
    return PreferenceModel(score, epochs=100, batch=256, lr=0.1, restarts=restarts, seed=seed).fit(answers)


def one_world(true: int, seed: int, most: int) -> list[dict[str, Any]]:
    """Every accuracy in one world: columns true, k, seed, who (seen or new), answers, accuracy."""
    rows: list[dict[str, Any]] = []
    world = World(true, seed)
    seen, test = (world.answers(np.arange(PEOPLE), each) for each in (EACH, TEST))
    new = world.answers(np.arange(PEOPLE, 2 * PEOPLE), max(ANSWERS) + TEST)
    place = np.tile(np.arange(max(ANSWERS) + TEST), PEOPLE)
    held = new.take(np.flatnonzero(place >= max(ANSWERS)))
    for k in range(1, most + 1):
        model = fitted(seen, k, seed)
        base = {"true": true, "k": k, "seed": seed}
        rows.append({**base, "who": "seen", "answers": EACH, "accuracy": round(model.accuracy(test), 6)})
        for m in ANSWERS:
            weights = model.alike(new.take(np.flatnonzero(place < m))).weights
            rows.append({**base, "who": "new", "answers": m, "accuracy": round(model.accuracy(held, weights), 6)})
    said = np.tile(np.arange(EACH), PEOPLE)
    for m in FITTED:
        for k in (1, true):
            model = fitted(seen.take(np.flatnonzero(said < m)), k, seed)
            base = {"true": true, "k": k, "seed": seed, "who": "seen"}
            rows.append({**base, "answers": m, "accuracy": round(model.accuracy(test), 6)})
    return rows


def main() -> None:
    """Run what is missing of the worlds and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--true", type=int, nargs="+", default=list(TRUE), help="true numbers of tastes")
    parser.add_argument("--most", type=int, default=MOST, help="prototypes to try, up to")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(KEPT.read_text()) if KEPT.exists() else []
    for seed in range(options.seeds):
        for true in options.true:
            if any(row["seed"] == seed and row["true"] == true for row in rows):
                continue
            rows += one_world(true, seed, options.most)
            with whole_file(KEPT) as temporary:
                temporary.write_text("[" + ",\n".join(map(json.dumps, rows)) + "]\n", encoding="utf-8")
    (ROOT / "docs" / "pal.md").write_text(page(rows), encoding="utf-8")
    draw(rows, ROOT / "docs" / "pal.png")


if __name__ == "__main__":
    main()
