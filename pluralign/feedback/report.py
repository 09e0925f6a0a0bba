"""What happened while reading: how many records, how many kept, and why the others were not."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from pluralign.errors import BadRow, FeedbackError

EXAMPLES = 5


@dataclass
class ReadReport:
    """Counts of one reading. Every record read is either kept or dropped: read == kept + sum of dropped.

    judgements: rows of the result; one record may hold several. dropped, noted: counts by reason; a noted record was
    kept. examples: reason -> up to five sentences that name source, row and field. remarks: about a file as a whole.
    """

    source: str
    format: str
    why: str
    read: int = 0
    kept: int = 0
    judgements: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    strict: bool = False

    def reject(self, source: str, row: int, error: BadRow) -> None:
        """Count a record that cannot be kept; when strict, stop with its sentence."""
        sentence = f"{source}, row {row}, {error}"
        if self.strict:
            raise FeedbackError(sentence)
        self.read += 1
        self.dropped[error.reason] += 1
        self._example(error.reason, sentence)

    def note(self, reason: str, source: str, row: int) -> None:
        """Count something worth knowing about a record that stays."""
        self.noted[reason] += 1
        self._example(reason, f"{source}, row {row}")

    def _example(self, reason: str, sentence: str) -> None:
        seen = self.examples.setdefault(reason, [])
        if len(seen) < EXAMPLES:
            seen.append(sentence)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values = asdict(self)
        values.pop("strict")
        return {**values, "dropped": dict(self.dropped), "noted": dict(self.noted)}

    def __str__(self) -> str:
        """One line a fact, as the command line prints it."""
        lines = [f"{self.source}: read as {self.format} ({self.why})"]
        lines += self.remarks
        lines.append(f"{self.read:,} records read, {self.kept:,} kept as {self.judgements:,} judgements")
        for title, counts in (("dropped", self.dropped), ("noted", self.noted)):
            for reason, n in counts.most_common():
                lines.append(f"{title} {n:,}: {reason}, e.g. {self.examples[reason][0]}")
        return "\n".join(lines)
