"""How most formats are recognised: by the names of their columns and a look at one row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pluralign.feedback.formats._format import Sample


@dataclass(frozen=True, slots=True)
class Columns:
    """Detection by columns, as `columns` makes it; an open record, so that a sentence can say which one is lacking."""

    needed: frozenset[str]
    also: frozenset[str]
    without: frozenset[str]
    where: Callable[[Mapping[str, Any]], bool] | None
    weight: int
    order: tuple[str, ...]

    def __call__(self, sample: Sample) -> tuple[int, str] | None:
        """Confidence and reason, None where the sample does not fit."""
        found = sample.columns
        if not sample.records or not found.issuperset(self.needed) or found & self.without:
            return None
        whole = (r.fields for r in sample.records if all(name in r.fields for name in self.needed))
        first = next(whole, None)
        if first is None or (self.where is not None and not self.where(first)):
            return None
        names = [*self.order, *sorted(self.also & found)]
        return len(names) + (self.weight if self.where is not None else 0), f"columns {', '.join(names)}"


def columns(
    *needed: str,
    also: Iterable[str] = (),
    without: Iterable[str] = (),
    where: Callable[[Mapping[str, Any]], bool] | None = None,
    weight: int = 1,
) -> Columns:
    """Detection of files that have all `needed` columns and none of `without`, and whose first row passes `where`.

    Each column of `also` that is there counts one more, and the passed look at the row `weight` more.
    """
    return Columns(frozenset(needed), frozenset(also), frozenset(without), where, weight, needed)
