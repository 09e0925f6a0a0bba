"""Drop the rows that findings point at; nothing is lost."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pluralign.errors import FeedbackError
from pluralign.feedback.audit import Audit

if TYPE_CHECKING:
    from pluralign.feedback.feedback import Feedback

ROW_FINDINGS = (
    "both-bad",
    "broken-encoding",
    "constant-annotator",
    "contaminated",
    "contradiction",
    "cyclic-triad",
    "disagreement",
    "disconnected",
    "dissenting-annotator",
    "duplicate-pair",
    "duplicate-response",
    "empty-prompt",
    "empty-response",
    "equal-but-blanks",
    "equal-responses",
    "near-duplicate-pair",
    "near-duplicate-prompt",
    "near-duplicate-response",
    "near-shared-prompt",
    "never-compared",
    "no-judgement",
    "non-text",
    "other-script",
    "over-max-length",
    "rating-against-choice",
    "rating-against-other-row",
    "relabelled-items",
    "same-text-two-models",
    "shared-prompt",
    "suspect-label",
    "tie",
)
"""Findings that point at rows. A name that is here but not in an audit found nothing and drops nothing."""

FILE_FINDINGS = ("agreement", "connected", "length", "no-finite-strength", "rating-agreement")
"""Findings about the whole file, besides those that end in -wins."""


def filter(feedback: Feedback, drop: Sequence[str], audit: Audit) -> tuple[Feedback, Feedback]:
    """Split feedback into (kept, dropped) by the findings of its audit that are named in `drop`.

    Every row is in exactly one part, in the order it had. Each dropped row lists the findings that asked for it under
    `meta["dropped_by"]`; both parts carry the step in their history.

    Raises `FeedbackError` for a name that no check has, or that is about the whole file and points at no row.

    >>> import pluralign
    >>> rows = [{"prompt": "2+2?", "chosen": "4", "rejected": "5"}, {"prompt": "2+2?", "chosen": "5", "rejected": "4"}]
    >>> feedback = pluralign.read(rows + [{"prompt": "3+3?", "chosen": "6", "rejected": "7"}])
    >>> kept, dropped = filter(feedback, ["contradiction"], feedback.audit())
    >>> len(kept), [row.meta["dropped_by"] for row in dropped]
    (1, [['contradiction'], ['contradiction']])
    """
    check_names(drop)
    table = feedback.table
    reasons: dict[int, list[str]] = {}
    counts: dict[str, int] = {}
    for name in dict.fromkeys(drop):
        rows = _rows(name, audit)
        counts[name] = len(rows)
        for row in rows:
            reasons.setdefault(row, []).append(name)
    gone = np.zeros(len(table), dtype=bool)
    gone[list(reasons)] = True
    history = [
        *feedback.history,
        {"step": "filter", "drop": counts, "rows_in": len(table), "rows_dropped": int(gone.sum())},
    ]
    kept = table.filter(pa.array(~gone))
    dropped = _with_reasons(table.filter(pa.array(gone)), [reasons[row] for row in sorted(reasons)])
    make = type(feedback)
    return make(kept, report=feedback.report, history=history), make(dropped, report=feedback.report, history=history)


def check_names(names: Iterable[str]) -> None:
    """Raise `FeedbackError` for a name that no finding about rows has."""
    for name in names:
        if name in ROW_FINDINGS:
            continue
        if name in FILE_FINDINGS or name.endswith("-wins"):
            raise FeedbackError(
                f"'{name}' is about the whole file and points at no rows; balance it or model it instead"
            )
        close = difflib.get_close_matches(name, ROW_FINDINGS, n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise FeedbackError(f"there is no finding '{name}'; {hint}rows can be dropped by {', '.join(ROW_FINDINGS)}")


def _rows(name: str, audit: Audit) -> list[int]:
    return [int(row) for f in audit.findings if f.name == name for row in f.rows]


def _with_reasons(table: pa.Table, reasons: list[list[str]]) -> pa.Table:
    meta = [
        json.dumps({**json.loads(value or "{}"), "dropped_by": names}, ensure_ascii=False)
        for value, names in zip(table["meta"].to_pylist(), reasons, strict=True)
    ]
    place = table.schema.get_field_index("meta")
    return table.set_column(place, table.schema.field("meta"), pa.array(meta, pa.string()))
