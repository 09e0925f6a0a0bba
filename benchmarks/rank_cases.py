"""Seeded tables of votes for `benchmarks.rank`: strings, as a user has them, and the scores they were drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pairs = Callable[[np.random.Generator, int, int], tuple[NDArray[np.int64], NDArray[np.int64]]]
BATCH = 2_000_000


@dataclass(frozen=True)
class Case:
    """items, votes: how many. ties: their share. spread: standard deviation of the scores. pairs: who meets whom."""

    items: int
    votes: int
    ties: float
    spread: float
    pairs: Pairs
    says: str


def anyone(rng: np.random.Generator, items: int, votes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two different items, all pairs alike."""
    left = rng.integers(items, size=votes)
    return left, (left + 1 + rng.integers(items - 1, size=votes)) % items


def neighbours(rng: np.random.Generator, items: int, votes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Only the ten nearest in strength on either side; scores are sorted."""
    left = rng.integers(items, size=votes)
    right = left + rng.integers(1, 11, size=votes) * rng.choice([-1, 1], size=votes)
    outside = (right < 0) | (right >= items)
    return left, np.where(outside, 2 * left - right, right)


CASES = {
    "a": Case(100, 100_000, 0.0, 1.0, anyone, "100 items, 1e5 votes"),
    "b": Case(300, 2_000_000, 0.14, 1.0, anyone, "300 items, 2e6 votes, 14% ties"),
    "c": Case(20_000, 1_000_000, 0.0, 0.7, anyone, "20,000 items, 1e6 votes"),
    "d": Case(2_000, 200_000, 0.0, 3.0, neighbours, "2,000 items, 2e5 votes, each item meets its 10 nearest a side"),
}


def names(items: int) -> NDArray[np.object_]:
    """Of about the length that model names have, in an order that is not that of the scores."""
    order = np.random.default_rng(7).permutation(items)
    return np.array([f"maker-{i % 37:02d}/model-{i:06d}" for i in order], dtype=object)


def table(case: Case, votes: int, seed: int = 0) -> pl.DataFrame:
    """Columns model_a, model_b, winner."""
    rng = np.random.default_rng(seed)
    # Of a stream of their own, so that every part of a long table is drawn from the same scores.
    scores = np.sort(np.random.default_rng(99).normal(scale=case.spread, size=case.items))
    left, right = case.pairs(rng, case.items, votes)
    d = scores[left] - scores[right]
    said = np.where(rng.random(votes) < 1 / (1 + np.exp(-d)), 0, 1)
    said[rng.random(votes) < case.ties] = 2
    known = pl.Series(names(case.items), dtype=pl.String)
    words = pl.Series(["model_a", "model_b", "tie"])
    columns = {"model_a": known.gather(left), "model_b": known.gather(right), "winner": words.gather(said)}
    return pl.DataFrame(columns)


def write(path: Path, case: Case, seed: int = 0) -> None:
    """As Parquet, in batches: the table need not fit in memory."""
    schema = pa.schema([(c, pa.string()) for c in ("model_a", "model_b", "winner")])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch, start in enumerate(range(0, case.votes, BATCH)):
            part = table(case, min(BATCH, case.votes - start), seed=seed + batch)
            writer.write_table(part.to_arrow().cast(schema), row_group_size=500_000)
