"""Cells of tables over seeds: means, intervals, differences and what they show."""

from __future__ import annotations

from typing import Any

import numpy as np

from pluralign.errors import OptionError
from pluralign.intervals import clustered_t

Rows = list[dict[str, Any]]


def interval(measured: list[float]) -> tuple[float, float, float]:
    """Mean over seeds with Student's 95% interval."""
    if len(measured) == 1:
        raise OptionError("one seed has no interval; measure at least two (--seeds 2)")
    return (float(np.mean(measured)), *clustered_t(measured, range(len(measured))))


def values(rows: Rows, column: str, **which: Any) -> dict[int, float]:
    """Of each seed."""
    return {r["seed"]: r[column] for r in rows if all(r[name] == value for name, value in which.items())}


def cell(rows: Rows, column: str, **which: Any) -> str:
    """0.981 ± 0.006."""
    mean, _, high = interval(list(values(rows, column, **which).values()))
    return f"{mean:.3f} ± {high - mean:.3f}"


def said(three: tuple[float, float, float]) -> str:
    """+0.031 (0.020 to 0.042)."""
    return f"{three[0]:+.3f} ({three[1]:.3f} to {three[2]:.3f})"


def verdict(low: float, high: float) -> str:
    """What an interval of a difference shows."""
    return "better" if low > 0 else "worse" if high < 0 else "no difference shown"


def difference(rows: Rows, column: str, one: dict[str, Any], other: dict[str, Any]) -> tuple[float, float, float]:
    """Of two selections of rows, seed by seed, with Student's 95% interval."""
    a, b = values(rows, column, **one), values(rows, column, **other)
    return interval([a[seed] - b[seed] for seed in a])


def spread(rows: Rows, columns: dict[str, str], **which: Any) -> list[str]:
    """A row of a table for every model of this selection: the named columns, under their names."""
    some = [r for r in rows if all(r[name] == value for name, value in which.items())]
    out = ["| model | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in dict.fromkeys(r["model"] for r in some):
        out.append(f"| {name} | " + " | ".join(cell(some, column, model=name) for column in columns) + " |")
    return out
