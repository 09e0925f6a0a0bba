"""Can the items be compared at all: connectivity of the comparison graph."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pluralign.feedback.audit.cells import Cells
from pluralign.feedback.audit.finding import CENSUS, Detail, Finding, plural

_NAMES = 8  # named in the sentence; the tables hold more
_LISTED = 40


def connectivity(cells: Cells) -> list[Finding]:
    """Islands of items with no comparison between them, items never compared, items that only win or only lose.

    Items are the models where they are named, else the ids of the responses; without either each prompt is an island
    of its own and there is nothing to say.
    """
    names = cells.model()
    what = "model"
    if names.null_count() == len(names):
        names, what = cells.response_id(), "response id"
    known = names.drop_nulls().unique().sort()
    if len(known) < 2:
        return []
    code = names.to_frame("name").join(
        known.to_frame("name").with_row_index("code"), on="name", how="left", maintain_order="left"
    )["code"]
    pairs = cells.pairs.with_columns(code.gather(cells.pairs["a"]).alias("x"), code.gather(cells.pairs["b"]).alias("y"))
    pairs = pairs.filter(pl.col("x").is_not_null() & pl.col("y").is_not_null() & (pl.col("x") != pl.col("y")))
    n = len(known)
    x, y, outcome = (pairs[c].to_numpy().astype(np.int64) for c in ("x", "y", "outcome"))
    compared = np.zeros(n, dtype=bool)
    compared[x] = compared[y] = True
    findings = []
    alone = np.flatnonzero(~compared)
    if len(alone) and compared.any():
        findings.append(
            Finding(
                "never-compared",
                "warning",
                f"{plural(len(alone), 'item')} of {n:,} (by {what}) {'is' if len(alone) == 1 else 'are'} never"
                f" compared with another: {_list(known, alone)}.",
                "They get no place on any scale: collect comparisons for them or leave them out by name.",
                len(alone),
                n,
                len(alone) / n,
                no_interval=CENSUS,
                rows=_rows(cells, code, alone),
                details=[Detail("Never compared", (what,), tuple((known[int(i)],) for i in alone[:_LISTED]))],
            )
        )
    if not compared.any():
        return findings
    component = connected_components(coo_array((np.ones(len(x), bool), (x, y)), shape=(n, n)), directed=False)[1]
    labels, sizes = np.unique(component[compared], return_counts=True)
    if len(labels) > 1:
        order = np.argsort(-sizes, kind="stable")
        largest = labels[order[0]]
        outside = np.flatnonzero(compared & (component != largest))
        body = tuple(
            (i + 1, int(sizes[o]), _list(known, np.flatnonzero(component == labels[o])))
            for i, o in enumerate(order[:_LISTED])
        )
        findings.append(
            Finding(
                "disconnected",
                "warning",
                f"The comparisons fall into {len(labels):,} islands with no comparison between them;"
                f" {plural(len(outside), 'item')} of {int(compared.sum()):,} lie outside"
                f" the largest: {_list(known, outside)}.",
                "Scores are comparable inside an island only: rank each by itself, or collect comparisons that"
                " bridge them.",
                len(outside),
                int(compared.sum()),
                len(outside) / compared.sum(),
                no_interval=CENSUS,
                rows=_rows(cells, code, outside),
                details=[
                    Detail(
                        f"Islands, largest first ({min(_LISTED, len(labels))} of {len(labels):,})",
                        ("island", "items", "names"),
                        body,
                    )
                ],
            )
        )
    else:
        findings.append(
            Finding(
                "connected",
                "info",
                f"All {int(compared.sum()):,} compared items (by {what}) are connected through comparisons.",
                "Nothing to do.",
                int(compared.sum()),
                n,
                no_interval=CENSUS,
            )
        )
    findings += _one_sided(known, x, y, outcome, compared, component, what)
    return findings


def _one_sided(
    known: pl.Series,
    x: np.ndarray,
    y: np.ndarray,
    outcome: np.ndarray,
    compared: np.ndarray,
    component: np.ndarray,
    what: str,
) -> list[Finding]:
    """Items from which no chain of wins leads back: maximum likelihood puts them infinitely far away."""
    n = len(known)
    better = np.concatenate((x[outcome >= 0], y[outcome <= 0]))
    worse = np.concatenate((y[outcome >= 0], x[outcome <= 0]))
    strong = connected_components(
        coo_array((np.ones(len(better), bool), (better, worse)), shape=(n, n)), connection="strong"
    )[1]
    finite = np.zeros(n, dtype=bool)
    for island in np.unique(component[compared]):
        inside = np.flatnonzero(compared & (component == island))
        label, size = np.unique(strong[inside], return_counts=True)
        finite[inside[strong[inside] == label[np.argmax(size)]]] = size.max() > 1
        if len(np.unique(component[compared])) > 2000:
            return []
    far = np.flatnonzero(compared & ~finite)
    if not len(far) or not len(better):
        return []
    return [
        Finding(
            "no-finite-strength",
            "info",
            f"Between {plural(len(far), 'item')} of {int(compared.sum()):,} (by {what}) and the others wins lead"
            f" one way only: {_list(known, far)}.",
            "Maximum likelihood has no finite strength for them: use a prior (regularisation), or read their"
            " place as a bound.",
            len(far),
            int(compared.sum()),
            len(far) / compared.sum(),
            no_interval=CENSUS,
        )
    ]


def _list(known: pl.Series, items: np.ndarray) -> str:
    shown = [str(known[int(i)]) for i in items[:_NAMES]]
    return ", ".join(shown) + (f" and {len(items) - _NAMES:,} more" if len(items) > _NAMES else "")


def _rows(cells: Cells, code: pl.Series, items: np.ndarray) -> np.ndarray:
    hit = code.is_in(pl.Series(items).cast(code.dtype).implode()).fill_null(False)
    return np.unique(cells.lines["row"].filter(hit).to_numpy()).astype(np.int64)
