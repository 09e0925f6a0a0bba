"""Polis as a folder: the vote log joined to statements, topic and opinion groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pluralign.feedback.formats._files import find, lines, need, rows
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats.polis import last_votes, parse


def _open(path: Path) -> Iterator[Record]:
    for folder in sorted({found.parent for found in path.rglob("votes.csv*")}):
        comments = {r.fields["comment-id"]: r.fields["comment-body"] for r in rows(need(folder, "comments.csv"))}
        topic = _topic(folder)
        participants = find(folder, "participants-votes.csv")
        groups = {r.fields["participant"]: r.fields["group-id"] for r in rows(participants)} if participants else {}
        for record in rows(need(folder, "votes.csv")):
            more = {"comment-body": comments.get(record.fields["comment-id"]), "topic": topic}
            more["group-id"] = groups.get(record.fields["voter-id"])
            yield Record(record.source, record.row, record.fields | more)


def _topic(folder: Path) -> str | None:
    """The first line of summary.csv, which has no header."""
    summary = find(folder, "summary.csv")
    key, _, topic = lines(summary)[0].partition(",") if summary else ("", "", "")
    return topic.strip('"') if key == "topic" else None


def _detect(sample: Sample) -> tuple[int, str] | None:
    folder = sample.path
    if folder and folder.is_dir() and any(find(p.parent, "comments.csv") for p in folder.rglob("votes.csv*")):
        return 20, "a folder with votes.csv and comments.csv"
    return None


FORMAT = Format(
    name="polis_folder",
    about="Polis as a folder: votes joined to the statements' texts, the topic and the voters' groups",
    detect=_detect,
    parse=parse,
    open=_open,
    regroup=last_votes,
)
