"""How most formats are recognised: by the names of their columns and a look at one row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pluralign.feedback.formats._format import Sample

Detect = Callable[[Sample], tuple[int, str] | None]


def columns(
    *needed: str,
    also: Iterable[str] = (),
    without: Iterable[str] = (),
    where: Callable[[Mapping[str, Any]], bool] | None = None,
    weight: int = 1,
) -> Detect:
    """Detection of files that have all `needed` columns and none of `without`, and whose first row passes `where`.

    Each column of `also` that is there counts one more, and the passed look at the row `weight` more.
    """
    also, without = frozenset(also), frozenset(without)

    def detect(sample: Sample) -> tuple[int, str] | None:
        found = sample.columns
        if not sample.records or not found.issuperset(needed) or found & without:
            return None
        whole = (r.fields for r in sample.records if all(name in r.fields for name in needed))
        first = next(whole, None)
        if first is None or (where is not None and not where(first)):
            return None
        names = [*needed, *sorted(also & found)]
        return len(names) + (weight if where is not None else 0), f"columns {', '.join(names)}"

    return detect
