"""LAMP: professional writers rank three texts, kept apart from the texts themselves (Chakrabarty et al. 2025)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pluralign.feedback.formats._fields import Fields, listed, mapped
from pluralign.feedback.formats._files import need, rows
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.record import Judgement, Response, text

RANKINGS = "_rankings.json"


def _open(path: Path) -> Iterator[Record]:
    for file in sorted(path.rglob(f"*{RANKINGS}")):
        writer = file.name.removesuffix(RANKINGS)
        texts = {str(r.fields["instruction_id"]): r.fields for r in rows(need(file.parent, f"{writer}.json"))}
        for record in rows(file):
            item = texts.get(str(record.fields.get("instruction_id")), {})
            yield Record(record.source, record.row, {**item, **record.fields, "writer": writer})


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    shown = listed(fields.require("responses"), "responses")
    slots = [f"Response {n}" for n in range(1, len(shown) + 1)]
    mapping = mapped(fields.require("mapping"), "mapping")
    ranks: list[int | None] = [None] * len(slots)
    for place in range(1, len(slots) + 1):
        ranks[fields.choice(f"rank_{place}", {slot: i for i, slot in enumerate(slots)})] = place
    yield fields.judgement(
        prompt_id=fields.name("id"),
        prompt=text(fields.text("instruction")),
        responses=tuple(
            Response(text(words), model=mapping.get(slot)) for slot, words in zip(slots, shown, strict=True)
        ),
        ranks=tuple(ranks),
        positions=tuple(range(1, len(slots) + 1)),
        annotator=fields.name("writer"),
        annotator_kind="person",
    )


def _detect(sample: Sample) -> tuple[int, str] | None:
    if sample.path and sample.path.is_dir() and next(sample.path.rglob(f"*{RANKINGS}"), None):
        return 20, f"a folder with files named *{RANKINGS}"
    return None


FORMAT = Format(
    name="lamp",
    about="LAMP preference ranking: a folder of texts (NAME.json) and rankings (NAME_rankings.json), one writer each",
    detect=_detect,
    parse=_parse,
    open=_open,
)
