"""PandaLM test set: pairs judged by three annotators, one column each (Wang et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST, SECOND, TIE
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text

RANKS = {0: TIE, 1: FIRST, 2: SECOND, "0": TIE, "1": FIRST, "2": SECOND}


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    models = fields.text("cmp_key").split("_")
    if len(models) != 2:
        problem = f"{'_'.join(models)!r} does not name two models joined by one underscore"
        raise BadRow("unknown-label", field="cmp_key", problem=problem, remedy="write modelA_modelB")
    request = [fields.text("instruction"), str(fields.left.get("input") or "")]
    responses = tuple(Response(text(_words(fields, f"response{n}")), model=models[n - 1]) for n in (1, 2))
    name = fields.name("idx")
    annotators = [key for key in record.fields if key.startswith("annotator")]
    votes = {key: fields.choice(key, RANKS) for key in annotators if key in fields}
    for annotator, ranks in votes.items():
        yield fields.judgement(
            id=name,
            prompt=text("\n\n".join(part for part in request if part)),
            responses=responses,
            ranks=ranks,
            annotator=annotator,
            annotator_kind="person",
        )


def _words(fields: Fields, key: str) -> str:
    """A reply; the published file holds six that were saved as the JSON value true instead of the word."""
    value = fields.left.get(key)
    if isinstance(value, bool):
        fields.left[key] = str(value)
        fields.note("reply-not-text")
    return fields.text(key)


FORMAT = Format(
    name="pandalm",
    about="PandaLM: response1, response2 of the models in cmp_key, annotator1 to 3 (0 similar, 1, 2)",
    detect=columns("cmp_key", "instruction", "response1", "response2", "annotator1", also=["idx", "motivation_app"]),
    parse=_parse,
)
