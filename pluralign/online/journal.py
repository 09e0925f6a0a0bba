"""Files that only grow, a line at a time, so that what was paid for is still there after a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pluralign.errors import FeedbackError
from pluralign.feedback.storage import check_place


class Journal:
    """JSON objects in a file, one a line, on disk when `append` returns. path None: in memory only.

    A last line that a kill left unfinished is dropped when the file is opened; a broken line before it is an error.
    One process writes to a file at a time. Raises `FeedbackError` for a damaged file and `OutputError` for a place
    that cannot be written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "asked.jsonl"
    >>> Journal(path).append([{"key": "a", "prob": 0.5}])
    >>> Journal(path).lines
    [{'key': 'a', 'prob': 0.5}]
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.lines: list[dict[str, Any]] = []
        if self.path is not None:
            check_place(self.path)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists():
                self._open(self.path)

    def _open(self, path: Path) -> None:
        written = path.read_bytes()
        whole = written.rfind(b"\n") + 1
        for number, line in enumerate(written[:whole].splitlines(), 1):
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if not isinstance(entry, dict):
                raise FeedbackError(f"{path}: line {number} is no JSON object; take the line out to go on without it")
            self.lines.append(entry)
        if whole < len(written):
            with path.open("r+b") as file:
                file.truncate(whole)

    def append(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Add entries and wait until the disk has them."""
        fresh = [dict(entry) for entry in entries]
        if self.path is not None and fresh:
            with self.path.open("ab") as file:
                file.write(b"".join(json.dumps(entry, ensure_ascii=False).encode() + b"\n" for entry in fresh))
                file.flush()
                os.fsync(file.fileno())
        self.lines += fresh
