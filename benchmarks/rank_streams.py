"""What a vote costs: streams of votes on a board of 1,000 items, in batches, in microseconds of CPU a vote.

    python -m benchmarks.rank_streams [--data FOLDER]

FOLDER holds results.csv.gz, all international football matches; with it the whole-history fit of those is timed too.
Times count what a caller pays: from a table of names and verdicts to new ratings.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import polars as pl

from pluralign.rank import Elo, Glicko2, TrueSkill, Votes, WholeHistory

ITEMS = 1000
BATCHES = (100, 1000, 10_000, 100_000)
MODELS: dict[str, Callable[[], Elo | Glicko2 | TrueSkill]] = {"Elo": Elo, "Glicko-2": Glicko2, "TrueSkill": TrueSkill}


def table(votes: int, rng: np.random.Generator) -> pl.DataFrame:
    """Votes between items whose scores are spread evenly over 4 logits, as strings."""
    left = rng.integers(ITEMS, size=votes)
    right = (left + rng.integers(1, ITEMS, size=votes)) % ITEMS
    won = rng.random(votes) < 1 / (1 + np.exp(4 * (right - left) / ITEMS))
    names = np.array([f"model-{i:04d}" for i in range(ITEMS)])
    return pl.DataFrame(
        {"model_a": names[left], "model_b": names[right], "winner": np.where(won, "model_a", "model_b")}
    )


def cost(model: Elo | Glicko2 | TrueSkill, batch: int, rounds: int, rng: np.random.Generator) -> float:
    """Median microseconds a vote over rounds of updates of a board that has met everybody."""
    model.fit(table(20 * ITEMS, rng))
    spent = []
    for _ in range(rounds):
        votes = table(batch, rng)
        start = process_time()
        model.update(votes)
        spent.append((process_time() - start) / batch * 1e6)
    return median(spent)


def football(folder: Path) -> list[str]:
    """Lines on the whole history of all matches."""
    start = process_time()
    votes = Votes.of(folder / "results.csv.gz")
    read = process_time() - start
    start = process_time()
    model = WholeHistory(variance=1e-4, ties="davidson", order=True).fit(votes)
    fitted = process_time() - start
    start = process_time()
    model.curve(model.items_[0])
    bands = process_time() - start
    start = process_time()
    tuned = WholeHistory(ties="davidson", order=True).fit(votes)
    chosen = process_time() - start
    end = float(votes.days.max()) if votes.days is not None else 0.0
    start = process_time()
    model.update({"left": ["Brazil"], "right": ["Germany"], "label": ["left"], "time": [end + 30]})
    updated = process_time() - start
    moments = len(model._history.rating)
    certificate = tuned.certificate_
    return [
        f"whole history, {len(votes):,} football matches, {len(votes.items)} teams, {moments:,} ratings, in seconds:",
        f"  reading {read:.2f}, fit {fitted:.2f}, bands {bands:.2f}, one more match {updated:.2f}, fit with the drift "
        f"chosen {chosen:.1f} (variance {tuned.variance_:.2e} squared logits a day)",
        f"  last step {certificate.step:.1e} logits, largest gradient {certificate.gradient:.1e} votes",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of the football results")
    folder = parser.parse_args().data
    rng = np.random.default_rng(0)
    print(f"microseconds of CPU a vote, board of {ITEMS:,} items, from a table of strings; median of 9 updates")
    print(f"{'votes an update':<16}" + "".join(f"{batch:>10,}" for batch in BATCHES))
    for name, make in MODELS.items():
        costs = [cost(make(), batch, 9, rng) for batch in BATCHES]
        print(f"{name:<16}" + "".join(f"{x:>10.1f}" for x in costs))
    if folder is not None:
        print("\n".join(football(folder)))


if __name__ == "__main__":
    main()
