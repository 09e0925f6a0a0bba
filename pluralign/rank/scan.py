"""Votes of a Parquet file too large for memory, counted as they stream by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from pluralign.rank.vote_sources import SIDES, VERDICT_COLUMNS, renamed
from pluralign.rank.votes import Votes

MANY = 5_000_000
"""Rows from which a Parquet file is counted as it streams by, where nothing but its counts is asked for."""


def scan(data: Any, columns: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None) -> Votes | None:
    """One row for every distinct (left, right, verdict) of a large Parquet file, its weight the number of votes.

    None where the source is anything else, or has columns that tell votes apart (annotator, weight): those are read
    as they are. Memory is that of the distinct rows, whatever the length of the file.
    """
    if not isinstance(data, (str, Path)) or Path(data).suffix != ".parquet" or not Path(data).is_file():
        return None
    rows = pl.scan_parquet(data)
    if int(rows.select(pl.len()).collect().item()) < MANY:
        return None
    rows = renamed(rows, rows.collect_schema().names(), columns or {}, str(data))
    names = rows.collect_schema().names()
    sides = next((pair for pair in SIDES if set(pair) <= set(names)), None)
    verdict = next((name for name in VERDICT_COLUMNS if name in names), None)
    if sides is None or verdict is None or verdict in sides or {"annotator", "weight"} & set(names):
        return None
    counted = rows.group_by(*sides, verdict).agg(pl.len().alias("weight")).collect(engine="streaming")
    return Votes.of(counted, labels=labels)
