"""What one check found, in a form that a table, a page, a file and a filter can all use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pluralign.intervals import wilson

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


def no_rows() -> NDArray[np.int64]:
    """The rows of a finding about the file as a whole."""
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Detail:
    """A small table that belongs to a finding: the annotators by name, the components of a graph."""

    caption: str
    header: tuple[str, ...]
    body: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Finding:
    """One thing the audit has to say.

    name: the slug `filter` takes. n of `of`: the count and what it is out of. `rate` may differ from n / of (an alpha).
    interval: 95%, or None with `no_interval` saying why there is none. null: the value `rate` would have if nothing
    were the matter, where there is such a value (0.5 for "the longer one wins").
    rows: the rows (counted from 0 in the table) that `filter` would drop; empty for findings about the whole file.
    message: one sentence. remedy: what to do about it.
    """

    name: str
    severity: Severity
    message: str
    remedy: str
    n: int
    of: int
    rate: float | None = None
    interval: tuple[float, float] | None = None
    no_interval: str | None = None
    null: float | None = None
    rows: NDArray[np.int64] = field(default_factory=no_rows)
    details: Sequence[Detail] = ()

    def to_json(self) -> dict[str, Any]:
        """The finding as plain JSON values; every row is listed."""
        return {
            "name": self.name,
            "severity": self.severity,
            "message": self.message,
            "remedy": self.remedy,
            "n": self.n,
            "of": self.of,
            "rate": self.rate,
            "interval": None if self.interval is None else list(self.interval),
            "no_interval": self.no_interval,
            "null": self.null,
            "rows": self.rows.tolist(),
            "details": [{"caption": d.caption, "header": d.header, "body": d.body} for d in self.details],
        }


CENSUS = "a count of this file, not an estimate"


def count(
    name: str,
    severity: Severity,
    rows: NDArray[Any],
    of: int,
    message: str,
    remedy: str,
    details: Sequence[Detail] = (),
) -> Finding:
    """A finding that points at rows: n rows out of `of`, with the Wilson interval of the rate in data like this."""
    rows = np.unique(rows).astype(np.int64)
    n = len(rows)
    return Finding(
        name,
        severity,
        message,
        remedy,
        n,
        of,
        n / of if of else None,
        wilson(min(n, of), of) if of else None,
        None if of else CENSUS,
        rows=rows,
        details=details,
    )


def plural(n: int, noun: str, nouns: str | None = None) -> str:
    """A count with its noun.

    >>> plural(1, "row"), plural(1200, "row"), plural(2, "reply", "replies")
    ('1 row', '1,200 rows', '2 replies')
    """
    return f"{n:,} {noun if n == 1 else nouns or noun + 's'}"


def percent(rate: float) -> str:
    """A rate for a sentence.

    >>> percent(0.5), percent(0.0004)
    ('50.0%', '0.04%')
    """
    return f"{100 * rate:.2f}%" if 0 < rate < 0.01 else f"{100 * rate:.1f}%"
