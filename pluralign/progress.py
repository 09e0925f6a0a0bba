"""Progress bars for long work, on standard error, gone when the work is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def bar(title: str, total: int | None, console: Console | None = None) -> Iterator[Callable[..., None]]:
    """A bar; call what it gives with the number done, and the total if that was not known before.

    >>> with bar("counting", 3) as done:
    ...     done(1)
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=console or Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)

        def done(count: int, of: int | None = None, *_: object) -> None:
            progress.update(task, completed=count, total=total if of is None else of)

        yield done
