"""`read`: any source in any known format, as `Feedback`."""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pluralign.errors import BadRow, FeedbackError
from pluralign.feedback.checks import check
from pluralign.feedback.detect import best, choose, shown
from pluralign.feedback.feedback import Feedback
from pluralign.feedback.folder import one_kind
from pluralign.feedback.formats import Format, Record, Sample
from pluralign.feedback.record import Judgement
from pluralign.feedback.report import ReadReport
from pluralign.feedback.source import ROW_SUFFIXES, Source, is_tabular, open_source


def read(
    source: Any,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    *,
    strict: bool = False,
) -> Feedback:
    """What people said, from a file, folder, frame, data set, hub name or iterable of dicts.

    format: a name from `pluralign.feedback.formats.formats()`; left out, it is detected, and `Feedback.report` says
    which was taken and why. columns: our field -> the source's column, `{"winner": "choice", "model_a": "left"}`.
    strict: stop at the first row that cannot be read; otherwise such rows are dropped and counted by reason.

    Raises `FeedbackError` where the source cannot be opened, no format fits, or several fit equally well.

    >>> votes = [{"model_a": "x", "model_b": "y", "winner": "model_a"}, {"model_a": "x", "model_b": "y", "winner": "?"}]
    >>> feedback = read(votes)
    >>> len(feedback), dict(feedback.report.dropped)
    (1, {'unknown-label': 1})
    """
    if isinstance(source, Feedback):
        return source
    opened = open_source(source)
    own = Feedback.from_own_parquet(opened.path) if format is None and not columns else None
    if own is not None:
        return own

    def renamed(sample: Sample) -> Sample:
        return _renamed_sample(sample, columns or {})

    sample = opened.sample()
    if format is None and not best(renamed(sample)):
        _refuse_what_is_no_row(opened, sample)
    chosen, why = choose(renamed(sample), format, opened.name)
    if format is None and chosen.open is None and opened.path is not None and opened.path.is_dir():
        opened.remarks += one_kind(opened.path, chosen, renamed)
    report = ReadReport(opened.name, chosen.name, why, strict=strict)
    feedback = Feedback.from_judgements(_judgements(opened, chosen, columns or {}, report), report=report)
    report.remarks = opened.remarks
    if report.read == 0:
        raise FeedbackError(f"{opened.name}: no rows; nothing to read")
    return feedback


def _refuse_what_is_no_row(opened: Source, sample: Sample) -> None:
    """Say why a source that no format knows has not one row that could be looked at."""
    path = opened.path
    if path is not None and not is_tabular(path):
        what = "holds no files" if path.is_dir() else f"'{path.suffix}' files are not tables"
        known = ", ".join(ROW_SUFFIXES)
        raise FeedbackError(
            f"{path}: {what} of rows; known ones are {known} (also .gz), or name the format with --format"
        )
    if b"\0" in sample.head and not sample.head.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise FeedbackError(f"{path}: this is not text (it holds zero bytes); give a file of rows, or its right ending")
    if not sample.records:
        raise FeedbackError(opened.problem or f"{opened.name}: no rows; nothing to read")


def _judgements(opened: Source, fmt: Format, columns: Mapping[str, str], report: ReadReport) -> Iterator[Judgement]:
    if fmt.open is not None and opened.path is not None:
        records: Iterable[Record] = fmt.open(opened.path)
    else:
        records = opened.records(report.reject)
    if columns:
        records = (_renamed(record, columns) for record in records)
    if fmt.regroup is not None:
        records = fmt.regroup(records)
    ids: set[int] = set()
    for record in records:
        try:
            kept = [_provenance(j, record, fmt) for j in _parsed(fmt, record)]
            notes = {reason for j in kept for reason in [*check(j), *j.meta.get("import_notes", ())]}
            fresh = _new_ids(kept, ids)
        except BadRow as error:
            report.reject(record.source, record.row, error)
            continue
        ids |= fresh
        report.read += 1
        report.kept += 1
        report.judgements += len(kept)
        for reason in sorted(notes):
            report.note(reason, record.source, record.row)
        yield from kept


def _parsed(fmt: Format, record: Record) -> list[Judgement]:
    try:
        judgements = list(fmt.parse(record))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        # A row of another shape than the rest of its file. Formats name the fields they know to go wrong; this is
        # for all the others.
        missing = isinstance(error, KeyError)
        raise BadRow(
            "missing-field" if missing else "wrong-shape",
            field=str(error.args[0]) if missing and error.args else "(row)",
            problem="is not there" if missing else f"is not a row of {fmt.name} ({error})",
            remedy="mend the row, or name another format with --format",
        ) from error
    if not judgements:
        raise BadRow("no-judgement", field="(row)", problem="says nothing", remedy="nothing to do if that is meant")
    return judgements


def _provenance(j: Judgement, record: Record, fmt: Format) -> Judgement:
    return replace(
        j, source=j.source or record.source, row=record.row if j.row is None else j.row, format=j.format or fmt.name
    )


def _new_ids(judgements: list[Judgement], seen: set[int]) -> set[int]:
    """Hashes of the ids in one record. The same id is met twice only if nothing about who and what differs either."""
    fresh = {hash((j.id, j.annotator, j.criterion, j.context)) for j in judgements if j.id is not None}
    if fresh & seen:
        raise BadRow(
            "duplicate-id",
            field="id",
            problem=f"'{judgements[0].id}' was already used by an earlier row",
            remedy="remove the repeat or give it an id of its own",
        )
    return fresh


def _renamed(record: Record, columns: Mapping[str, str]) -> Record:
    fields = {key: value for key, value in record.fields.items() if key not in columns.values()}
    # A row that lacks the column lacks the field: the format says so, with the row's number.
    fields |= {ours: record.fields[theirs] for ours, theirs in columns.items() if theirs in record.fields}
    return replace(record, fields=fields)


def _renamed_sample(sample: Sample, columns: Mapping[str, str]) -> Sample:
    for ours, theirs in columns.items():
        if sample.records and theirs not in sample.columns:
            raise FeedbackError(
                f"{sample.records[0].source}: there is no column '{theirs}' to use as {ours}; "
                f"its columns are {shown(sample.columns)}"
            )
    return replace(sample, records=tuple(_renamed(r, columns) for r in sample.records)) if columns else sample
