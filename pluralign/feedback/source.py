"""Open any source of rows: files, folders, frames, data sets, iterables. Rows come out lazily, numbered from 1.

Parquet, JSON Lines, CSV and TSV are streamed; a JSON array is held in memory while it is read.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pluralign.errors import BadRow, FeedbackError, one_line
from pluralign.feedback.formats import Record, Sample

Reject = Callable[[str, int, BadRow], None]
"""Told of a row that cannot be read: source, row, why. Raises to stop the reading."""

SAMPLE_ROWS = 50
_MEND_ROW = "mend its separators, or a quote before it that is not closed"
ROW_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")


class Source:
    """Something that rows come from. `remarks` collects what was noticed about it as a whole (its encoding, say).

    problem: after `sample`, what was wrong with the first row of it that could not be read.
    """

    def __init__(self, name: str, records: Callable[[Reject], Iterable[Record]], path: Path | None = None) -> None:
        self.name, self.path, self.remarks = name, path, list[str]()
        self.problem: str | None = None
        self._records = records

    def records(self, reject: Reject) -> Iterator[Record]:
        """Every row, lazily. Rows that cannot be read go to `reject`."""
        yield from self._records(reject)

    def sample(self) -> Sample:
        """What a format needs to recognise itself. Problems are left to the reading proper, which meets them again."""
        head = b""
        if self.path and self.path.is_file():
            try:
                with open_bytes(self.path) as file:
                    head = file.read(4096)
            except (EOFError, OSError, zlib.error):
                head = b""
        rows = itertools.islice(self.records(self._first_problem), SAMPLE_ROWS) if is_tabular(self.path) else ()
        return Sample(self.path, head, tuple(rows))

    def _first_problem(self, source: str, row: int, error: BadRow) -> None:
        self.problem = self.problem or f"{source}, row {row}, {error}"


def is_tabular(path: Path | None) -> bool:
    """Whether the general row reader opens this path (None: rows in memory)."""
    if path is None:
        return True
    if path.is_dir():
        return bool(files_inside(path)[0])
    return _suffix(path) in ROW_SUFFIXES


def open_source(source: Any) -> Source:
    """The `Source` behind a path, a frame, a data set, a hub name or an iterable of dicts."""
    if isinstance(source, (str, Path)):
        path = Path(source).expanduser()
        if not str(source):
            raise FeedbackError("the name of the source is empty; give a file, a folder or a hub name")
        try:
            there = path.exists()
        except OSError as error:  # a name too long for any file
            raise FeedbackError(f"{str(path)[:80]}: cannot be looked up ({error.strerror}); check the path") from None
        if there:
            return _from_path(path)
        if isinstance(source, str) and source.count("/") == 1 and not path.suffix:
            return _from_hub(source)
        raise FeedbackError(f"{path}: no such file or folder; check the path (hub data sets are written owner/name)")
    module = type(source).__module__.partition(".")[0]
    if module == "pandas":
        # Missing cells are NaN in pandas and None everywhere else; Arrow makes them None.
        import pyarrow as pa

        source = pa.Table.from_pandas(source, preserve_index=False)
        module = "pyarrow"
    if module == "polars":
        source = source.collect().to_arrow() if hasattr(source, "collect") else source.to_arrow()
        module = "pyarrow"
    if module == "pyarrow":
        return Source("table", lambda _: _numbered("table", _arrow_rows(source.to_batches())))
    if module == "datasets":
        return _from_dataset(source, type(source).__name__)
    if isinstance(source, Iterable):
        rows = list(source)
        return Source("rows", lambda reject: _from_dicts(rows, reject))
    raise FeedbackError(
        f"cannot read feedback from a {type(source).__name__}; give a path, a pandas or polars frame, an Arrow table, "
        "a datasets.Dataset, a hub name or an iterable of dicts"
    )


def open_bytes(path: Path) -> io.BufferedReader | gzip.GzipFile:
    """The bytes of a file, unpacked when it is gzip (told by its first bytes, not by its name)."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
    except PermissionError:
        raise FeedbackError(f"{path}: may not be read; ask its owner for permission or copy it first") from None
    return gzip.open(path, "rb") if packed else path.open("rb")


def open_text(path: Path) -> tuple[io.TextIOWrapper, str | None]:
    """The text of a file, and a remark if it is not UTF-8.

    It is then read as UTF-16 where it begins with that encoding's mark, else as Latin-1, which no byte can break.
    """
    encoding, remark, seen, errors = "utf-8-sig", None, 0, "strict"
    utf8 = codecs.getincrementaldecoder("utf-8")()
    try:
        with open_bytes(path) as file:
            while block := file.read(1 << 20):
                utf8.decode(block)
                seen += len(block)
            utf8.decode(b"", final=True)  # a file may end inside a character
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        marked = not seen and error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        encoding, name, errors = ("utf-16", "UTF-16", "replace") if marked else ("latin-1", "Latin-1", "strict")
        remark = f"{path.name}: not UTF-8 (byte 0x{byte:02x} near offset {seen + error.start}); read as {name}"
    except (EOFError, OSError, zlib.error):
        # Damaged packing, which the reading proper reports at the row where it breaks; what comes out may be no text.
        errors = "replace"
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, errors=errors, newline=""), remark


def _from_path(path: Path) -> Source:
    if path.is_file() and path.stat().st_size == 0:
        raise FeedbackError(f"{path}: the file is empty; nothing to read")
    if path.is_dir():
        files = files_inside(path)[0]

        def records(reject: Reject) -> Iterator[Record]:
            for file in files:
                yield from _file_records(file, reject, source.remarks, str(file.relative_to(path)))

        source = Source(str(path), records, path)
        return source
    source = Source(str(path), lambda reject: _file_records(path, reject, source.remarks, str(path)), path)
    return source


def files_inside(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of rows in a folder and below, and the other files; hidden ones are in neither."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    rows = [p for p in files if _suffix(p) in ROW_SUFFIXES]
    return rows, [p for p in files if _suffix(p) not in ROW_SUFFIXES]


def _suffix(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def _file_records(path: Path, reject: Reject, remarks: list[str], name: str) -> Iterator[Record]:
    suffix = _suffix(path)
    if suffix == ".parquet":
        yield from _parquet(path, name)
        return
    if suffix not in ROW_SUFFIXES:
        raise FeedbackError(
            f"{path}: '{path.suffix}' files are not tables of rows; known ones are {', '.join(ROW_SUFFIXES)} "
            "(also .gz), or name the format with --format"
        )
    text, remark = open_text(path)
    if remark and remark not in remarks:
        remarks.append(remark)
    read, row = (_delimited if suffix in (".csv", ".tsv") else _json), 0
    with text:
        try:
            for record in read(text, name, reject):
                row = record.row
                yield record
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            reject(
                name,
                row + 1,
                BadRow(
                    "truncated-file",
                    field="(file)",
                    problem=f"the compressed data ends or breaks here ({error})",
                    remedy="fetch the file again; the rows before this one were read",
                ),
            )


def _parquet(path: Path, name: str) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield from _numbered(name, _arrow_rows(file.iter_batches(4096)))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FeedbackError(
            f"{path}: not a readable Parquet file ({one_line(error)}); write or fetch it again"
        ) from None


def _arrow_rows(batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield from batch.to_pylist()


def _numbered(name: str, rows: Iterable[dict[str, Any]]) -> Iterator[Record]:
    for number, fields in enumerate(rows, start=1):
        yield Record(name, number, fields)


def _json(text: io.TextIOWrapper, name: str, reject: Reject) -> Iterator[Record]:
    head = [text.readline()]
    while head[-1] and not head[-1].strip():
        head.append(text.readline())
    first = head[-1]
    if first.lstrip().startswith("[") or (first.strip() and not _is_json(first)):
        # An array, or one object over many lines; anything else is JSON Lines with a bad first line.
        rest = "".join(head) + text.read()
        try:
            whole = json.loads(rest)
        except (json.JSONDecodeError, RecursionError) as error:
            if first.lstrip().startswith("["):
                _bad_document(name, error)
            yield from _json_lines(io.StringIO(rest), name, reject)
            return
        yield from _from_dicts(whole if isinstance(whole, list) else [whole], reject, name)
        return
    yield from _json_lines(itertools.chain(head, text), name, reject)


def _bad_document(name: str, error: Exception) -> NoReturn:
    raise FeedbackError(f"{name}: the JSON array breaks off or is invalid ({error}); mend it or save it as JSON Lines")


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return False
    return True


def _json_lines(lines: Iterable[str], name: str, reject: Reject) -> Iterator[Record]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            what = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            reject(name, number, BadRow("invalid-json", field="(line)", problem=f"not JSON: {what}", remedy="mend it"))
            continue
        yield from _as_record(name, number, fields, reject)


def _from_dicts(rows: Iterable[Any], reject: Reject, name: str = "rows") -> Iterator[Record]:
    for number, fields in enumerate(rows, start=1):
        yield from _as_record(name, number, fields, reject)


def _as_record(name: str, number: int, fields: Any, reject: Reject) -> Iterator[Record]:
    if isinstance(fields, Mapping):
        yield Record(name, number, dict(fields))
    else:
        problem = f"a {type(fields).__name__} where an object with named fields was expected"
        reject(name, number, BadRow("not-a-row", field="(row)", problem=problem, remedy="write one object a row"))


def _delimited(text: io.TextIOWrapper, name: str, reject: Reject) -> Iterator[Record]:
    header = text.readline()
    delimiter = max("\t,;|", key=header.count)
    # Tab-separated files have no quoting: a quote there is a character of the text.
    literal = delimiter == "\t"
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(
        itertools.chain([header], text),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if literal else csv.QUOTE_MINIMAL,
    )
    columns = _column_names(next(rows, []))
    number = 0
    while True:
        number += 1
        try:
            cells = next(rows, None)
        except csv.Error as error:
            reject(name, number, BadRow("invalid-csv", field="(row)", problem=str(error), remedy="mend its quoting"))
            continue
        if cells is None:
            return
        if not any(cells):
            continue
        if len(cells) != len(columns):
            problem = f"{len(cells)} cells under {len(columns)} column names"
            reject(name, number, BadRow("ragged-row", field="(row)", problem=problem, remedy=_MEND_ROW))
            continue
        yield Record(name, number, dict(zip(columns, cells, strict=True)))


def _column_names(header: list[str]) -> list[str]:
    """Names as written; a column without one is called by its place, a repeated one gets its place added."""
    names: list[str] = []
    for place, cell in enumerate(header, start=1):
        name = cell.strip() or f"column_{place}"
        names.append(f"{name}_{place}" if name in names else name)
    return names


def _from_hub(name: str) -> Source:
    try:
        import datasets
    except ImportError:
        raise FeedbackError(
            f"{name}: no such file, and hub data sets need the package 'datasets'; pip install 'pluralign[train]'"
        ) from None
    repository, _, split = name.partition(":")
    try:
        found = datasets.load_dataset(repository, split=split or None)
    except Exception as error:  # the hub client raises a dozen unrelated types, all of which mean the same here
        raise FeedbackError(f"{name}: no such file, and not to be had from the hub ({one_line(error)})") from None
    return _from_dataset(found, name)


def _from_dataset(dataset: Any, name: str) -> Source:
    if isinstance(dataset, Mapping):
        if len(dataset) > 1:
            splits = ", ".join(dataset)
            raise FeedbackError(f"{name} has the splits {splits}; pick one (owner/name:split, or dataset['train'])")
        dataset = next(iter(dataset.values()))
    return Source(name, lambda reject: _from_dicts(dataset, reject, name))
