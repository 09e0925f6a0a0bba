"""Feedback as files: our own record, and every format that can be written."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pluralign.errors import BadRow, FeedbackError
from pluralign.feedback.formats import Format, formats
from pluralign.feedback.record import Judgement
from pluralign.feedback.storage import check_place, whole_file

if TYPE_CHECKING:
    from pluralign.feedback.feedback import Feedback

ENDINGS = (".parquet", ".jsonl", ".jsonl.gz")


def writer(path: str | Path, format: str | None = None) -> Format:
    """The format a path is written in: the one named, the one its ending belongs to, or our own record.

    Raises `FeedbackError` for an ending or a format that cannot be written and `OutputError` for a place that cannot,
    so that a command can ask before its work.

    >>> writer("pairs.jsonl", "hh").name, writer("orders.soi").name
    ('hh', 'preflib')
    """
    path = Path(path)
    check_place(path)
    known = formats()
    endings = {ending: fmt for fmt in known.values() for ending in fmt.endings}
    fmt = known.get(format or "pluralign") if format else endings.get(path.suffix, known["pluralign"])
    if fmt is None or (fmt.write is None and fmt.save is None):
        writable = ", ".join(name for name, f in known.items() if f.write or f.save)
        raise FeedbackError(f"cannot write '{format}'; formats that can be written are {writable}")
    allowed = fmt.endings or ENDINGS
    if not path.name.endswith(allowed):
        what = "feedback" if fmt.name == "pluralign" else fmt.name
        raise FeedbackError(f"{path}: {what} is written as {_either(allowed)}; change the ending")
    return fmt


def write(feedback: Feedback, path: str | Path, format: str | None = None) -> Path:
    """Write to a file in a format; see `Feedback.write`."""
    path, fmt = Path(path), writer(path, format)
    with whole_file(path) as temporary:
        if fmt.save is not None:
            temporary.write_text(fmt.save(feedback, path.suffix), encoding="utf-8")
        elif path.suffix == ".parquet" and format is None:
            pq.write_table(feedback.table, temporary, compression="zstd")
        else:
            assert fmt.write is not None
            rows = _rows(feedback, fmt.write, fmt.name)
            if path.suffix == ".parquet":
                pq.write_table(pa.Table.from_pylist(list(rows)), temporary, compression="zstd")
            else:
                opener = gzip.open if path.suffix == ".gz" else open
                with opener(temporary, "wt", encoding="utf-8") as file:
                    for row in rows:
                        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def _rows(
    judgements: Iterable[Judgement], write: Callable[[Judgement], dict[str, Any]], name: str
) -> Iterator[dict[str, Any]]:
    for row, j in enumerate(judgements, start=1):
        try:
            yield write(j)
        except BadRow as error:
            raise FeedbackError(f"row {row} cannot be written as {name}: {error}") from None


def _either(endings: tuple[str, ...]) -> str:
    return f"{', '.join(endings[:-1])} or {endings[-1]}"
