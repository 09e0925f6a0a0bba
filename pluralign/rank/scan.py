"""Votes of a Parquet file too large for memory, counted as they stream by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pluralign.rank.vote_sources import SIDES, VERDICT_COLUMNS, renamed
from pluralign.rank.votes import Votes

MANY = 5_000_000
"""Rows from which a Parquet file is counted as it streams by, where nothing but its counts is asked for."""

BATCH = 1 << 19
"""Rows in memory at a time."""

MERGE = 1 << 22
"""Counts of batches gathered before those of equal votes are put together."""


def scan(data: Any, columns: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None) -> Votes | None:
    """One row for every distinct (left, right, verdict) of a large Parquet file, its weight the number of votes.

    None where the source is anything else, or has columns that tell votes apart (annotator, weight): those are read
    as they are. Memory is that of the distinct rows, whatever the length of the file.
    """
    if not isinstance(data, (str, Path)) or Path(data).suffix != ".parquet" or not Path(data).is_file():
        return None
    file = pq.ParquetFile(data)
    if file.metadata.num_rows < MANY:
        return None
    # A row of the columns' own names shows what each is called after renaming.
    theirs = pl.DataFrame({name: [name] for name in file.schema_arrow.names})
    named = renamed(theirs, theirs.columns, columns or {}, str(data))
    sides = next((pair for pair in SIDES if set(pair) <= set(named.columns)), None)
    verdict = next((name for name in VERDICT_COLUMNS if name in named.columns), None)
    if sides is None or verdict is None or verdict in sides or {"annotator", "weight"} & set(named.columns):
        return None
    counted = _counted(Path(data), [named[name][0] for name in (*sides, verdict)])
    return Votes.of(counted.rename(dict(zip(counted.columns, (*sides, verdict, "weight"), strict=True))), labels=labels)


def _counted(path: Path, columns: list[str]) -> pl.DataFrame:
    """Distinct rows of three columns, as words, and how many there are of each.

    Files keep words as places in a dictionary; these are counted, and no word is looked at twice in a batch.
    """
    names: list[dict[str | None, int]] = [{}, {}, {}]
    keys: list[NDArray[np.int64]] = []
    counts: list[NDArray[np.int64]] = []
    file = pq.ParquetFile(path, read_dictionary=columns, pre_buffer=False)
    for batch in file.iter_batches(BATCH, columns=columns):
        places, known = zip(
            *(_places(batch[name], seen) for name, seen in zip(columns, names, strict=True)), strict=True
        )
        sizes = [len(k) for k in known]
        key = (places[0] * sizes[1] + places[1]) * sizes[2] + places[2]
        if np.prod(sizes, dtype=float) <= 4 * len(key):
            count = np.bincount(key)
            found = np.flatnonzero(count)
            count = count[found]
        else:
            found, count = np.unique(key, return_counts=True)
        pair, last = np.divmod(found, sizes[2])
        first, second = np.divmod(pair, sizes[1])
        keys.append(known[0][first] << 40 | known[1][second] << 16 | known[2][last])
        counts.append(count)
        if sum(map(len, keys)) > MERGE:
            keys, counts = ([x] for x in _merged(keys, counts))
    merged, total = _merged(keys, counts)
    at = merged >> 40, merged >> 16 & 0xFFFFFF, merged & 0xFFFF
    words = [pl.Series(list(seen), dtype=pl.String).gather(k) for seen, k in zip(names, at, strict=True)]
    return pl.DataFrame([w.alias(str(k)) for k, w in enumerate(words)]).with_columns(weight=pl.Series(total))


def _places(column: Any, seen: dict[str | None, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each value's place in the batch's own dictionary [N], null last, and that of each entry among all words seen."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    words = [*column.dictionary.cast(pa.string()).to_pylist(), None]
    indices = column.indices
    if indices.null_count:
        indices = indices.fill_null(len(words) - 1)
    known = np.array([seen.setdefault(word, len(seen)) for word in words], dtype=np.int64)
    return indices.to_numpy(zero_copy_only=False).astype(np.int64), known


def _merged(
    keys: list[NDArray[np.int64]], counts: list[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    found, place = np.unique(np.concatenate(keys), return_inverse=True)
    return found, np.bincount(place, np.concatenate(counts)).astype(np.int64)
