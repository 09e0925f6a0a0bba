"""Where rows are kept: in memory while they are few, in a memory-mapped temporary file when they are many."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pyarrow as pa

from pluralign.feedback.record import SCHEMA, Judgement, to_batch

BATCH_ROWS = 4096
IN_MEMORY_BYTES = 256 << 20


def build_table(judgements: Iterable[Judgement]) -> pa.Table:
    """A table of `SCHEMA`. Beyond 256 MB it lives in a temporary Arrow file that is mapped, not loaded."""
    batches: list[pa.RecordBatch] = []
    size, stream = 0, iter(judgements)
    while rows := list(islice(stream, BATCH_ROWS)):
        batches.append(to_batch(rows))
        size += batches[-1].nbytes
        if size > IN_MEMORY_BYTES:
            return _spill(batches, stream)
    return pa.Table.from_batches(batches, schema=SCHEMA)


def _spill(batches: list[pa.RecordBatch], stream: Iterator[Judgement]) -> pa.Table:
    handle, name = tempfile.mkstemp(prefix="pluralign-", suffix=".arrow")
    os.close(handle)
    try:
        with pa.OSFile(name, "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
            for batch in batches:
                writer.write_batch(batch)
            batches.clear()
            while rows := list(islice(stream, BATCH_ROWS)):
                writer.write_batch(to_batch(rows))
        return pa.ipc.open_file(pa.memory_map(name)).read_all()
    finally:
        # The mapping keeps the data; without a name it goes when the table does.
        os.unlink(name)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place only if the block ends well: nothing is written half."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def in_batches(table: pa.Table, transform: Callable[[dict[str, object]], Judgement]) -> Iterator[Judgement]:
    """Rows of a table one by one, a thousand unpacked at a time."""
    for batch in table.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            yield transform(row)
