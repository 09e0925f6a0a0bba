"""A hash of a table's contents that does not depend on how it is chunked, sliced or was stored."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def fingerprint(table: pa.Table) -> str:
    """64 hexadecimal digits; equal for equal values in equal order.

    >>> a = pa.table({"x": [1, None, 3]})
    >>> fingerprint(a) == fingerprint(pa.concat_tables([a.slice(0, 1), a.slice(1)]))
    True
    """
    streams: dict[str, Any] = {}
    for batch in table.to_batches():
        for name, column in zip(table.column_names, batch.columns, strict=True):
            _feed(streams, name, column)
    whole = hashlib.sha256()
    for path in sorted(streams):
        whole.update(f"{path}:{streams[path].hexdigest()};".encode())
    return whole.hexdigest()


def _feed(streams: dict[str, Any], path: str, array: pa.Array) -> None:
    """Add an array's values to one hash for each of its leaf buffers, so that chunk borders leave no trace."""

    def add(part: str, data: bytes | memoryview) -> None:
        streams.setdefault(f"{path}/{part}", hashlib.sha256()).update(data)

    add("null", pc.is_null(array).cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes())
    kind = array.type
    if pa.types.is_struct(kind):
        for i, child in enumerate(array.flatten()):
            _feed(streams, f"{path}.{kind.field(i).name}", child)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        add("length", pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64()).to_numpy().tobytes())
        _feed(streams, f"{path}[]", array.flatten())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        filled = pc.fill_null(array, "").cast(pa.large_binary())
        add("length", pc.binary_length(filled).to_numpy().tobytes())
        offsets = np.frombuffer(filled.buffers()[1], dtype=np.int64)[filled.offset : filled.offset + len(filled) + 1]
        if len(offsets) and filled.buffers()[2] is not None:
            add("text", memoryview(filled.buffers()[2])[offsets[0] : offsets[-1]])
    elif pa.types.is_boolean(kind):
        add("value", pc.fill_null(array, False).cast(pa.uint8()).to_numpy().tobytes())
    else:
        numbers = array.cast(pa.int64()) if pa.types.is_temporal(kind) else array
        add("value", pc.fill_null(numbers, 0).to_numpy().tobytes())
