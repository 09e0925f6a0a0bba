"""What is in the file: counts and shapes."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow.compute as pc

from pluralign.feedback.audit.cells import Cells


def sizes(cells: Cells, distinct_prompts: int, distinct_responses: int) -> dict[str, Any]:
    """Counts by name, in the order in which they are shown; dicts are counts by value."""
    k = cells.rows["k"].value_counts().sort("k")
    out: dict[str, Any] = {
        "rows": len(cells.rows),
        "comparisons": len(cells.pairs),
        "responses": len(cells.lines),
        "distinct prompts": distinct_prompts,
        "distinct response texts": distinct_responses,
        "annotators": _distinct(cells.rows["annotator"]),
        "producers named": _distinct(cells.model()),
        "sources": {str(n): c for n, c in _counts(cells, "source")},
        "formats": {str(n): c for n, c in _counts(cells, "format")},
        "responses in a row": {str(a): b for a, b in k.rows()},
    }
    weight = cells.rows["weight"]
    if weight.null_count() < len(weight):
        out["total weight"] = float(weight.fill_null(1.0).sum())
    given = {
        name: len(cells.table) - cells.table[name].null_count
        for name in ("ranks", "strength", "probability", "thumb", "rationale", "margin", "beta", "positions", "time")
    }
    given["ratings"] = cells.ratings()["row"].n_unique()
    out["rows with"] = {name: n for name, n in given.items() if n}
    for name in ("criterion", "context"):
        counts = _counts(cells, name)
        if counts:
            out[name] = {str(n): c for n, c in counts[:20]} | (
                {"others": sum(c for _, c in counts[20:])} if len(counts) > 20 else {}
            )
    if cells.table["time"].null_count < len(cells.table):
        span = pc.min_max(cells.table["time"]).as_py()
        out["time"] = f"{span['min']:%Y-%m-%d} to {span['max']:%Y-%m-%d}"
    return out


def _distinct(series: pl.Series) -> int:
    return series.drop_nulls().n_unique()


def _counts(cells: Cells, name: str) -> list[tuple[str, int]]:
    counted = cells.column(name).drop_nulls().value_counts(sort=True)
    return [(value, int(n)) for value, n in counted.rows()]
