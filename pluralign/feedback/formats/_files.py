"""Files that a format of several files joins."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from pluralign.errors import BadRow, FeedbackError
from pluralign.feedback.formats._format import Record


def rows(path: Path) -> Iterator[Record]:
    """The rows of one file. A join needs all of them, so one that cannot be read stops the reading."""
    from pluralign.feedback.source import open_source

    return open_source(path).records(_stop)


def _stop(source: str, row: int, error: BadRow) -> None:
    raise FeedbackError(f"{source}, row {row}, {error}")


def lines(path: Path) -> list[str]:
    """The lines of a text file, unpacked."""
    from pluralign.feedback.source import open_text

    try:
        with open_text(path)[0] as file:
            return file.read().splitlines()
    except (EOFError, OSError, zlib.error, gzip.BadGzipFile) as error:
        raise FeedbackError(f"{path}: the file breaks off or cannot be opened ({error}); fetch it again") from None


def find(folder: Path, name: str) -> Path | None:
    """The file of that name in a folder, packed or not."""
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def need(folder: Path, name: str) -> Path:
    """The file of that name in a folder, packed or not; without it nothing can be joined."""
    if not folder.is_dir():
        raise FeedbackError(f"{folder}: this format reads a folder, and this is a file; give the folder with {name}")
    found = find(folder, name)
    if found is None:
        raise FeedbackError(f"{folder}: there is no {name} here; put it beside the other files of the release")
    return found
