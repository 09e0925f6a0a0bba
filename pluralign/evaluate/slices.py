"""Every figure again, by the parts of the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pluralign.evaluate.figures import Array

if TYPE_CHECKING:
    from pluralign.evaluate.measures import Pairs
    from pluralign.evaluate.rewards import Margins
    from pluralign.evaluate.thumbs import Thumbs

SMALL = 30
"""A slice with fewer rows than this is marked: its interval is wide and its value says little."""

MOST_SLICES = 50
"""Three hundred annotators with two rows each tell nothing row by row."""

CLOSE = 0.2
"""Two responses are of like length when the longer has at most this share more characters."""

SIDES, LIKE = "longer side", "of like length"
"""The slice by which response is the longer, and its part in which length tells little."""


def sliced(
    rows: Pairs | Thumbs | Margins, columns: Mapping[str, Sequence[Any]], cluster_by: str, seed: int = 0
) -> dict[str, Any]:
    """Every figure by the values of every column: `slices`, and what has none.

    columns: values [N], None where a row has none. Within a slice by the cluster itself there is one cluster only, and
    what is said is said of that cluster: there rows are the units. slices_left_out: columns with too many values, with
    how many. slices_alike: by column, values whose responses are all good or all bad, so that nothing can be ranked.
    """
    found: list[dict[str, Any]] = []
    alike: dict[str, list[str]] = defaultdict(list)
    groups, left_out = parts({**rows.bands, **columns}, always=(SIDES,))
    for name, value, inside in groups:
        part = rows.part(inside)
        if not part.mixed:
            alike[name].append(value)
            continue
        if name == cluster_by:
            part = replace(part, clusters=np.arange(len(inside)))
        figures = part.measure(seed)
        for drawn in ("table", "counts", "edges"):
            figures.get("calibration", {}).pop(drawn, None)
            figures.get("margins", {}).pop(drawn, None)
        about = {"by": name, "value": value, "n": len(inside), "clusters": len(np.unique(part.clusters))}
        found.append({**about, "small": len(inside) < SMALL, **figures})
    return {"slices": found, "slices_left_out": left_out, "slices_alike": dict(alike)}


def parts(
    columns: Mapping[str, Sequence[Any]], always: Sequence[str] = ()
) -> tuple[list[tuple[str, str, list[int]]], dict[str, int]]:
    """Column, value and rows of each part, and the columns that have too many values, with how many.

    columns: values [N], None where a row has none. A column of one value is no division, but for those named always.

    >>> parts({"topic": ["tea", "rain", None, "tea"], "language": ["en"] * 4})
    ([('topic', 'rain', [1]), ('topic', 'tea', [0, 3])], {})
    """
    found, left_out = [], {}
    for name, values in columns.items():
        places: dict[str, list[int]] = defaultdict(list)
        for i, value in enumerate(values):
            if value is not None:
                places[str(value)].append(i)
        if len(places) > MOST_SLICES:
            left_out[name] = len(places)
        elif len(places) > 1 or name in always:
            found += [(name, value, inside) for value, inside in sorted(places.items())]
    return found, left_out


def quarters(lengths: Array) -> list[str]:
    """Which quarter of all lengths [n] each is in.

    >>> quarters(np.array([1.0, 2.0, 3.0, 40.0]))[::3]
    ['quarter 1 of 4', 'quarter 4 of 4']
    """
    bands = np.searchsorted(np.quantile(lengths, [0.25, 0.5, 0.75]), lengths, side="left")
    return [f"quarter {band + 1} of 4" for band in bands]


def longer_sides(characters: Array) -> list[str]:
    """Which response of each pair is the longer [N], the preferred one first: characters [N, 2].

    >>> longer_sides(np.array([[100.0, 120.0], [100.0, 121.0]]))
    ['of like length', 'preferred is shorter']
    """
    ours, other = characters[:, 0], characters[:, 1]
    like = np.maximum(ours, other) <= (1 + CLOSE) * np.minimum(ours, other)
    return [str(v) for v in np.where(like, LIKE, np.where(ours > other, "preferred is longer", "preferred is shorter"))]
