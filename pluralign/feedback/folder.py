"""A folder read as one source: its files must hold one kind of rows, and what was taken of it is said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from pluralign.errors import FeedbackError
from pluralign.feedback.detect import best
from pluralign.feedback.formats import Format, Sample
from pluralign.feedback.source import files_inside, open_source

_NAMED = 3


def one_kind(folder: Path, chosen: Format, renamed: Callable[[Sample], Sample]) -> list[str]:
    """Remarks on which files of a folder are read as `chosen`, and which are not files of rows.

    renamed: what the column mapping makes of a sample. Raises `FeedbackError` where files are in different formats,
    naming the subfolders (or files) of each: half of such a folder would be dropped row by row.
    """
    taken, left = files_inside(folder)
    kinds: dict[str, list[Path]] = defaultdict(list)
    unknown = []
    for file in taken:
        winners = best(renamed(open_source(file).sample()))
        if len(winners) == 1:
            kinds[winners[0][0].name].append(file.relative_to(folder))
        else:
            unknown.append(file.relative_to(folder))
    if len(kinds) > 1:
        parts = [f"{name} ({_where(name, kinds)})" for name in sorted(kinds)]
        raise FeedbackError(
            f"{folder}: holds files of {len(kinds)} formats, {' and '.join(parts)}; give one of these at a time, or"
            " read all files as one format with --format"
        )
    remarks = [f"{len(taken):,} {'file' if len(taken) == 1 else 'files'} of the folder taken"]
    if unknown:
        remarks.append(f"read as {chosen.name}, though alone they would fit no format: {_some(unknown)}")
    if left:
        remarks.append(f"not taken, as not files of rows: {_some([p.relative_to(folder) for p in left])}")
    return remarks


def _where(name: str, kinds: dict[str, list[Path]]) -> str:
    """The subfolders that hold files of one format alone; the files themselves where there is no such subfolder."""
    elsewhere = {file.parts[0] for other, files in kinds.items() if other != name for file in files}
    tops = {file.parts[0] if len(file.parts) > 1 else str(file) for file in kinds[name]}
    return _some([Path(top) for top in sorted(tops)] if not tops & elsewhere else kinds[name])


def _some(paths: list[Path]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(map(str, paths[:_NAMED])) + more
