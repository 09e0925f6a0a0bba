"""LLMFAO as a folder: the votes of people and of a model, joined to the texts they were cast on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pluralign.feedback.formats._files import find, need, rows
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats.llmfao import parse


def _open_folder(path: Path) -> Iterator[Record]:
    texts = {str(r.fields["id"]): r.fields for r in rows(need(path, "pairs-crowd.jsonl"))}
    for votes in ("crowd-comparisons.csv", "gpt4-crowd-comparisons.csv"):
        found = find(path, votes)
        for record in rows(found) if found else ():
            joined = {**texts.get(record.fields["id"], {}), **record.fields}
            yield Record(record.source, record.row, joined)


def _detect(sample: Sample) -> tuple[int, str] | None:
    folder = sample.path
    if folder and folder.is_dir() and find(folder, "pairs-crowd.jsonl") and find(folder, "crowd-comparisons.csv"):
        return 20, "a folder with crowd-comparisons.csv and pairs-crowd.jsonl"
    return None


FORMAT = Format(
    name="llmfao_folder",
    about="LLMFAO as a folder: both vote files joined to the texts in pairs-crowd.jsonl",
    detect=_detect,
    parse=parse,
    open=_open_folder,
)
