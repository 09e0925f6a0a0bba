"""What commands that write a page of the documentation from a data set share."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLUE, ORANGE, GREY, PALE = "#1f5fa8", "#c8552b", "#999999", "#b9c7da"


def publish(page: Callable[[Path], str], title: str, source: str) -> None:
    """Run the command of a page: read --data, write docs/NAME.md under a title, where NAME is that of the command.

    page: folder of the data -> Markdown; it also writes its pictures. source: what the data are, with their licence.
    """
    module = inspect.getmodule(page)
    assert module is not None
    name = Path(str(module.__file__)).stem
    parser = argparse.ArgumentParser(description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="the folder of the release")
    folder = parser.parse_args().data
    text = page(folder)
    head = f"# {title}\n\nWritten by `python -m benchmarks.{name} --data {folder.name}` from {source}.\n\n"
    (DOCS / f"{name.replace('_', '-')}.md").write_text(head + text + "\n", encoding="utf-8")
    print(text)


def axes(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """A figure and its axes in the style of the pages."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    found = figure.subplots(1, columns)
    for one in [found] if columns == 1 else found:
        one.spines[["top", "right"]].set_visible(False)
    return figure, found


def save(figure: Any, name: str) -> None:
    """Write docs/NAME."""
    figure.savefig(DOCS / name, dpi=144)


def table(head: list[str], rows: list[list[Any]], left: int = 1) -> list[str]:
    """Lines of a Markdown table; columns after the first `left` are numbers."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return [f"| {' | '.join(map(str, row))} |" for row in (head, rule, *rows)]
