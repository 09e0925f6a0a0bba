"""Where rows are kept: in memory while they are few, in a memory-mapped temporary file when they are many."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pluralign.errors import OutputError
from pluralign.feedback.record import SCHEMA, Judgement, to_batch

Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)
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


def parquet_table(path: Path) -> pa.Table:
    """A Parquet file of `SCHEMA` as a table; beyond 256 MB unpacked piece by piece into a mapped temporary file.

    Raises `pyarrow.ArrowException` or `OSError` where the file is damaged.
    """
    file = pq.ParquetFile(path)
    groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
    if sum(group.total_byte_size for group in groups) <= IN_MEMORY_BYTES:
        return _valid(file.read()).replace_schema_metadata(None)
    # One thread: the parallel reader keeps several row groups unpacked at a time.
    batches = file.iter_batches(batch_size=2 * BATCH_ROWS, use_threads=False)
    table = _mapped(_valid(batch).replace_schema_metadata(None) for batch in batches)
    del file, batches
    # Arrow's allocator keeps what unpacking needed (300 MB for a million rows of text) unless told to return it.
    pa.default_memory_pool().release_unused()
    return table


def _valid(rows: Rows) -> Rows:
    """The rows, once their texts are known to be text: a damaged file would break whoever looks at them first."""
    rows.validate(full=True)
    return rows


def _spill(batches: list[pa.RecordBatch], stream: Iterator[Judgement]) -> pa.Table:
    def pieces() -> Iterator[pa.RecordBatch]:
        yield from batches
        batches.clear()
        while rows := list(islice(stream, BATCH_ROWS)):
            yield to_batch(rows)

    return _mapped(pieces())


def _mapped(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    handle, name = tempfile.mkstemp(prefix="pluralign-", suffix=".arrow")
    os.close(handle)
    try:
        with pa.OSFile(name, "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return pa.ipc.open_file(pa.memory_map(name)).read_all()
    finally:
        # The mapping keeps the data; without a name it goes when the table does.
        os.unlink(name)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place only if the block ends well: nothing is written half.

    Raises `OutputError` where the place cannot be written.
    """
    path = Path(path)
    check_place(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written here ({error.strerror}); choose another place") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENAMETOOLONG):
            raise
        raise OutputError(
            f"{path}: could not be written ({error.strerror}); make room or choose another place"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def check_place(path: str | Path) -> None:
    """Refuse a place where no file can be put, before long work is done for it; nothing is created.

    Raises `OutputError` for a folder, and for a place inside a file or in a folder that cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file in it")
    above = next(p for p in path.absolute().parents if p.exists())
    if not above.is_dir():
        raise OutputError(f"{path}: {above} is a file and not a folder; choose another place")
    if not os.access(above, os.W_OK):
        raise OutputError(f"{path}: {above} may not be written to; choose another place")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def in_batches(table: pa.Table, transform: Callable[[dict[str, object]], Judgement]) -> Iterator[Judgement]:
    """Rows of a table one by one, a thousand unpacked at a time."""
    for batch in table.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            yield transform(row)
