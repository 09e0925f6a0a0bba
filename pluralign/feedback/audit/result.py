"""The audit as a whole: findings and sizes, as a table, a page and JSON."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pluralign.feedback.audit.finding import SEVERITIES, Finding, percent
from pluralign.feedback.storage import whole_file

if TYPE_CHECKING:
    from rich.table import Table

_EXAMPLES = 3
_EXCERPT = 280


@dataclass(frozen=True)
class Audit:
    """What `audit` found. findings: errors first. sizes: what the file holds. lengths: the histogram of lengths."""

    findings: tuple[Finding, ...]
    sizes: dict[str, Any]
    lengths: dict[str, Any]
    _table: pa.Table = field(repr=False)
    _prompts: pl.Series = field(repr=False)
    _responses: pl.Series = field(repr=False)
    _starts: NDArray[np.int64] = field(repr=False)

    def __getitem__(self, name: str) -> Finding:
        """The finding of that name; KeyError where the audit has none."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(finding.name == name for finding in self.findings)

    def table(self) -> Table:
        """A table for the terminal."""
        from rich.table import Table
        from rich.text import Text

        colour = {"error": "red", "warning": "yellow", "info": "dim"}
        out = Table(box=None, pad_edge=False)
        for header, right in (
            ("severity", False),
            ("finding", False),
            ("n", True),
            ("rate", True),
            ("95% interval", False),
            ("what", False),
        ):
            out.add_column(
                header, justify="right" if right else "left", no_wrap=header not in ("what",), overflow="fold"
            )
        for f in self.findings:
            out.add_row(Text(f.severity, style=colour[f.severity]), f.name, f"{f.n:,}", *_figures(f), Text(f.message))
        return out

    def to_json(self, path: str | os.PathLike[str]) -> Path:
        """Everything, every row of every finding included, as JSON. Rows count from 0 in the table that was audited."""
        content = {"sizes": self.sizes, "lengths": self.lengths, "findings": [f.to_json() for f in self.findings]}
        return _write(path, json.dumps(content, ensure_ascii=False, indent=1, default=str))

    def to_html(self, path: str | os.PathLike[str], title: str | None = None) -> Path:
        """One self-contained page: no network, light and dark, fit to print."""
        from pluralign.report.page import render

        sources = list(self.sizes["sources"])
        content = render(
            Path(__file__).parent / "audit.html",
            heading=title or (", ".join(os.path.basename(s) for s in sources[:4]) or "Feedback"),
            sizes=self.sizes,
            lengths=self.lengths,
            findings=self.findings,
            counts={s: sum(f.severity == s for f in self.findings) for s in SEVERITIES},
            figures={f.name: _figures(f) for f in self.findings},
            style=[f for f in self.findings if f.name.endswith("-wins") and f.rate is not None],
            examples={f.name: self.examples(f) for f in self.findings if len(f.rows)},
            rowlists={f.name: ", ".join(map(str, f.rows[:200])) for f in self.findings},
        )
        return _write(path, content)

    def examples(self, finding: Finding, most: int = _EXAMPLES) -> list[dict[str, Any]]:
        """The first rows of a finding, with where they came from and the beginning of their texts."""
        out = []
        for row in finding.rows[:most].tolist():
            record = self._table.slice(row, 1)
            responses = record["responses"][0].as_py() or []
            ranks = record["ranks"][0].as_py() or [None] * len(responses)
            start = int(self._starts[row])
            out.append(
                {
                    "row": row,
                    "source": os.path.basename(record["source"][0].as_py() or ""),
                    "source_row": record["row"][0].as_py(),
                    "prompt": _short(self._prompts[row]),
                    "responses": [
                        {
                            "name": r["model"] or r["id"] or "",
                            "rank": rank,
                            "text": _short(self._responses[start + i]) if r["messages"] else "",
                        }
                        for i, (r, rank) in enumerate(zip(responses[:6], ranks, strict=False))
                    ],
                    "more": max(0, len(responses) - 6),
                }
            )
        return out


def _figures(f: Finding) -> tuple[str, str]:
    if f.rate is None:
        return "", ""
    # Alphas and distances are numbers, not shares.
    share = f.null in (None, 0.25, 0.5)
    show = percent if share else "{:.3f}".format
    return show(f.rate), f"{show(f.interval[0])} to {show(f.interval[1])}" if f.interval else ""


def _short(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= _EXCERPT else text[:_EXCERPT].rstrip() + " …"


def _write(path: str | os.PathLike[str], content: str) -> Path:
    with whole_file(Path(path)) as temporary:
        temporary.write_text(content, encoding="utf-8")
    return Path(path)
