"""What a format is: how to recognise it, how its records become judgements, and how judgements become records again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pluralign.feedback.record import Judgement


@dataclass(frozen=True, slots=True)
class Record:
    """One raw record of a source: `row` counts from 1 within `source` (the line of a JSONL or CSV file's data row)."""

    source: str
    row: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """What detection may look at: the path if there is one, its first bytes (unpacked), the first records as rows.

    `records` is empty for a file that is not made of rows (PrefLib text, a folder of files).
    """

    path: Path | None
    head: bytes
    records: tuple[Record, ...]

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(key for record in self.records for key in record.fields)


@dataclass(frozen=True, slots=True)
class Format:
    """One public format.

    name: what `--format` takes. about: one line, with the source's name.
    detect: a Sample -> (confidence, reason) or None. Confidence is how many names and values peculiar to this format
        were seen, so that the most specific format wins; the user is shown the reason ("columns winner_model_a, ...").
    parse: one record -> its judgements (none, one or several). Raises `BadRow` for a record that cannot be read.
        `read` fills in source, row and format; parse keeps every field it does not understand in `meta`. What it
        noticed in a row that stays (an empty reply, scores against the label) it lists as slugs in
        `meta["import_notes"]`, which `read` counts like the reasons of dropped rows.
    open: path -> records, for files that rows do not describe. Left out: the general row reader opens the file.
    regroup: records -> records, where one judgement spans several rows (adjacent responses, a ranking in long form).
    write: one judgement -> a record's fields, the inverse of parse; None where it would lose something. Raises `BadRow`
        for a judgement that has no such shape (a tie, three responses).
    endings, save: for files that rows do not describe, the names they end in, and judgements and an ending -> the text
        of the whole file. Raises `FeedbackError` for what the file would lose.
    """

    name: str
    about: str
    detect: Callable[[Sample], tuple[int, str] | None]
    parse: Callable[[Record], Iterable[Judgement]]
    open: Callable[[Path], Iterable[Record]] | None = None
    regroup: Callable[[Iterable[Record]], Iterable[Record]] | None = None
    write: Callable[[Judgement], dict[str, Any]] | None = None
    endings: tuple[str, ...] = ()
    save: Callable[[Iterable[Judgement], str], str] | None = None
