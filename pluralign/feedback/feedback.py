"""`Feedback`: a table of judgements with its reading report and the history of what was done to it."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pluralign.errors import FeedbackError, one_line
from pluralign.feedback import audit, binarize, convert, filter, split, write
from pluralign.feedback.audit import Audit
from pluralign.feedback.fingerprint import fingerprint
from pluralign.feedback.record import SCHEMA, Judgement, from_row
from pluralign.feedback.report import ReadReport
from pluralign.feedback.storage import build_table, in_batches, parquet_table

if TYPE_CHECKING:
    import datasets
    import pandas
    import polars

_KEY = b"pluralign"


class Feedback:
    """Judgements as an Arrow table of `SCHEMA`. Never changed in place: every method returns a new one.

    table: the rows. report: what the reading kept and dropped, None if it was not read. history: the conversions that
    led here, oldest first, each with its options and counts; it travels inside Parquet files.

    >>> import pluralign
    >>> feedback = pluralign.read([{"prompt": "2+2?", "chosen": "4", "rejected": "5"}])
    >>> feedback
    <Feedback: 1 judgement (1 pair)>
    >>> next(iter(feedback)).responses[0].messages[0].content
    '4'
    """

    def __init__(
        self, table: pa.Table, *, report: ReadReport | None = None, history: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        if table.schema.remove_metadata() != SCHEMA:
            missing = set(SCHEMA.names) - set(table.column_names)
            what = f"lacks {', '.join(sorted(missing))}" if missing else "has columns of other types"
            raise FeedbackError(
                f"this table {what}, so it is not in the record's schema; convert it with pluralign.read"
            )
        self.report = report
        self.history = [dict(step) for step in history]
        stored = json.dumps({"history": self.history}, default=str).encode()
        self.table = table.replace_schema_metadata({_KEY: stored})

    @classmethod
    def from_judgements(
        cls,
        judgements: Iterable[Judgement],
        *,
        report: ReadReport | None = None,
        history: Sequence[Mapping[str, Any]] = (),
    ) -> Feedback:
        """Rows from `Judgement` objects. History is read after the last one, so that a generator may complete it."""
        table = build_table(judgements)
        return cls(table, report=report, history=history)

    @classmethod
    def from_own_parquet(cls, path: Path | None) -> Feedback | None:
        """The feedback in a Parquet file written by `write`, memory-mapped; None if the file is anything else."""
        if path is None or not path.is_file() or path.suffix != ".parquet":
            return None
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError, UnicodeDecodeError):
            return None
        if schema.remove_metadata() != SCHEMA:
            return None
        try:
            history = json.loads((schema.metadata or {}).get(_KEY, b'{"history": []}'))["history"]
        except (ValueError, KeyError, TypeError) as error:
            raise FeedbackError(
                f"{path}: its record of conversions is damaged ({error}); fetch or write it again"
            ) from None
        try:
            table = parquet_table(path)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise FeedbackError(
                f"{path}: cannot be read to its end ({one_line(error)}); write or fetch it again"
            ) from None
        report = ReadReport(str(path), "pluralign", "a Parquet file of this record", read=table.num_rows)
        report.kept = report.judgements = table.num_rows
        return cls(table, report=report, history=history)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Feedback:
        """From an Arrow table already in `SCHEMA`; anything else goes through `pluralign.read`."""
        return cls(table.select(SCHEMA.names).cast(SCHEMA) if set(SCHEMA.names) <= set(table.column_names) else table)

    @classmethod
    def from_polars(cls, frame: polars.DataFrame) -> Feedback:
        """From a polars frame in the columns of `SCHEMA`, as `to_polars` gives it."""
        return cls.from_arrow(frame.to_arrow())

    @classmethod
    def from_pandas(cls, frame: pandas.DataFrame) -> Feedback:
        """From a pandas frame in the columns of `SCHEMA`, as `to_pandas` gives it."""
        return cls(pa.Table.from_pandas(frame[SCHEMA.names], schema=SCHEMA, preserve_index=False))

    @classmethod
    def from_datasets(cls, dataset: datasets.Dataset) -> Feedback:
        """From a `datasets.Dataset` in the columns of `SCHEMA`, as `to_datasets` gives it."""
        return cls.from_arrow(dataset.with_format("arrow")[:])

    def to_arrow(self) -> pa.Table:
        """The Arrow table itself."""
        return self.table

    def to_polars(self) -> polars.DataFrame:
        """As a polars frame; text columns are shared, not copied."""
        import polars as pl

        return pl.DataFrame(self.table)

    def to_pandas(self) -> pandas.DataFrame:
        """As a pandas frame with Arrow-backed columns, so that nothing turns into NaN."""
        import pandas as pd

        frame: pandas.DataFrame = self.table.to_pandas(types_mapper=pd.ArrowDtype)
        return frame

    def to_datasets(self) -> datasets.Dataset:
        """As a `datasets.Dataset`."""
        import datasets

        return datasets.Dataset(self.table)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[Judgement]:
        return in_batches(self.table, from_row)

    def __getitem__(self, index: int | slice) -> Judgement | Feedback:
        if isinstance(index, slice):
            return self._rows(self.table.take(np.arange(len(self))[index]))
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return from_row(self.table.slice(index % len(self), 1).to_pylist()[0])

    def where(self, mask: Any) -> Feedback:
        """The rows for which a boolean mask [n] holds."""
        return self._rows(self.table.filter(pa.array(np.asarray(mask, dtype=bool))))

    def without(self, *names: str) -> Feedback:
        """The same rows with these columns emptied, so that nothing uses them.

        Raises `FeedbackError` for a name that no column has.
        """
        table = self.table
        if strange := [name for name in names if name not in SCHEMA.names]:
            raise FeedbackError(f"there is no field '{strange[0]}' to empty; the fields are {', '.join(SCHEMA.names)}")
        for name in names:
            place = SCHEMA.get_field_index(name)
            table = table.set_column(place, SCHEMA.field(name), pa.nulls(len(self), SCHEMA.field(name).type))
        return Feedback(table, report=self.report, history=[*self.history, {"without": list(names)}])

    def _rows(self, table: pa.Table) -> Feedback:
        return Feedback(table, report=self.report, history=self.history)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the contents; the same after writing and reading."""
        return fingerprint(self.table)

    @functools.cached_property
    def kinds(self) -> dict[str, int]:
        """How many rows there are of each kind: pairs, ties, rankings, choices, ratings, thumbs, texts."""
        return convert.kinds(self.table)

    def pairs(
        self,
        *,
        ties: str = "keep",
        equal_texts: str = "drop",
        max_per_prompt: int | None = None,
        aspect: str | None = None,
        seed: int = 0,
    ) -> Feedback:
        """Every judgement as pairs, the preferred response first; see `convert.pairs`."""
        return convert.pairs(
            self, ties=ties, equal_texts=equal_texts, max_per_prompt=max_per_prompt, aspect=aspect, seed=seed
        )

    def rankings(self, *, aspect: str | None = None) -> Feedback:
        """Ratings as rankings, per annotator and prompt; see `convert.rankings`."""
        return convert.rankings(self, aspect=aspect)

    def binarized(self, *, aspect: str = "overall", seed: int = 0) -> Feedback:
        """The best rated response of each row over a drawn other one; see `binarize.binarized`."""
        return binarize.binarized(self, aspect=aspect, seed=seed)

    def votes(self) -> Feedback:
        """Pairs between named producers, without texts; see `convert.votes`."""
        return convert.votes(self)

    def unpaired(self) -> Feedback:
        """Pairs as single responses with a thumb; see `convert.unpaired`."""
        return convert.unpaired(self)

    def ratings(self) -> Feedback:
        """One rated response a row; see `convert.ratings`."""
        return convert.ratings(self)

    def audit(self, **options: Any) -> Audit:
        """What is in the rows and what is wrong with them; options as in `pluralign.feedback.audit.audit`."""
        return audit.audit(self.table, **options)

    def filter(self, *drop: str, audit: Audit | None = None) -> tuple[Feedback, Feedback]:
        """The rows kept and the rows dropped by findings of the audit, by name; see `filter.filter`."""
        return filter.filter(self, drop, audit or self.audit())

    def split(self, test: float = 0.1, *, by: split.Key = "prompt", seed: int = 0) -> tuple[Feedback, Feedback]:
        """Train and test parts that share no group; see `split.split`."""
        return split.split(self, test, by=by, seed=seed)

    def write(self, path: str | Path, format: str | None = None) -> Path:
        """Write to `.parquet` or `.jsonl` (`.jsonl.gz`), in any format that can be written; PrefLib to its own endings.

        Written to a temporary file first, then renamed. Raises `FeedbackError` naming the first row that the format
        cannot express; nothing is then written.
        """
        return write.write(self, path, format)

    def __repr__(self) -> str:
        n = len(self)
        kinds = ", ".join(f"{k:,} {name[:-1] if k == 1 else name}" for name, k in self.kinds.items() if k)
        return f"<Feedback: {n:,} judgement{'' if n == 1 else 's'}{f' ({kinds})' if kinds else ''}>"
