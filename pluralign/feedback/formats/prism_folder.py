"""PRISM as a folder: conversations joined to what their authors said of themselves in the survey."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pluralign.feedback.formats._files import find, need, rows
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats.prism import parse

CONVERSATIONS, SURVEY = "conversations.jsonl", "survey.jsonl"


def _open(path: Path) -> Iterator[Record]:
    survey = {
        r.fields["user_id"]: {k: v for k, v in r.fields.items() if k != "user_id"} for r in rows(need(path, SURVEY))
    }
    for record in rows(need(path, CONVERSATIONS)):
        yield Record(record.source, record.row, {**record.fields, "survey": survey.get(record.fields.get("user_id"))})


def _detect(sample: Sample) -> tuple[int, str] | None:
    folder = sample.path
    if folder and folder.is_dir() and find(folder, CONVERSATIONS) and find(folder, SURVEY):
        return 20, f"a folder with {CONVERSATIONS} and {SURVEY}"
    return None


FORMAT = Format(
    name="prism_folder",
    about="PRISM as a folder: conversations.jsonl joined to survey.jsonl, which describes the annotators",
    detect=_detect,
    parse=parse,
    open=_open,
)
