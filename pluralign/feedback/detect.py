"""Which format a source is in: the one named, or the one that recognises most of it; and what to say if none does."""

from __future__ import annotations

import difflib

from pluralign.errors import FeedbackError
from pluralign.feedback.formats import Format, Sample, formats
from pluralign.feedback.formats._signature import Columns

_SHOWN = 12  # column names in one sentence
_ENOUGH = 40  # characters of one name


def choose(sample: Sample, name: str | None, source: str) -> tuple[Format, str]:
    """The format to read with and why. Raises `FeedbackError` where none fits, several fit, or `name` is unknown."""
    known = formats()
    if name is not None:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known ones are {', '.join(known)}"
            raise FeedbackError(f"there is no format '{name}'; {hint}")
        return known[name], "as asked"
    winners = best(sample)
    if not winners:
        raise FeedbackError(_nothing_fits(sample, source))
    if len(winners) > 1:
        names = " and ".join(fmt.name for fmt, _ in winners)
        raise FeedbackError(f"{source}: fits {names} equally well; say which with --format")
    return winners[0]


def best(sample: Sample) -> list[tuple[Format, str]]:
    """The formats that recognise most of a sample, with what they saw; several if they are equally sure."""
    found = [(fmt, *hit) for fmt in formats().values() if (hit := fmt.detect(sample)) is not None]
    most = max((confidence for _, confidence, _ in found), default=0)
    return [(fmt, why) for fmt, confidence, why in found if confidence == most]


def shown(columns: frozenset[str]) -> str:
    """Column names for a sentence: the first dozen, shortened, and nothing that would break the line.

    >>> shown(frozenset({"a", "b" + chr(10)}))
    'a, b?'
    """
    clean = ["".join(c if c.isprintable() else "?" for c in str(name)[:_ENOUGH]) for name in sorted(map(str, columns))]
    more = f" and {len(clean) - _SHOWN} more" if len(clean) > _SHOWN else ""
    return ", ".join(clean[:_SHOWN]) + more or "none"


def _nothing_fits(sample: Sample, source: str) -> str:
    columns = sample.columns
    sentence = f"{source}: no known format fits (columns: {shown(columns)}); "
    if len(sample.records) == 1 and len(columns) == 1:
        (name,) = columns
        rows = sample.records[0].fields[name]
        if isinstance(rows, list) and rows and isinstance(rows[0], dict):
            return f"{sentence}the rows lie inside '{name}': save that list alone, one object a line"
    near = _closest(columns)
    known = "" if near else f" ({', '.join(formats())})"
    return (
        f"{sentence}{near}map its columns, for example --columns model_a=left,model_b=right,winner=choice, or name a"
        f" format with --format{known}"
    )


def _closest(columns: frozenset[str]) -> str:
    """The formats that would fit with one column more, those that share most columns first."""
    near: list[tuple[int, str, str]] = []
    for fmt in formats().values():
        detect = fmt.detect
        if isinstance(detect, Columns) and detect.needed & columns and not columns & detect.without:
            lacking = sorted(detect.needed - columns)
            if len(lacking) == 1:
                near.append((len(detect.needed), fmt.name, lacking[0]))
    if not near:
        return ""
    most = max(shared for shared, *_ in near)
    said = [f"{name} lacks only '{lacking}'" for shared, name, lacking in near if shared == most]
    return f"{', '.join(said[:3])}; "
