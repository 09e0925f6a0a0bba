"""AlpacaEval annotations: a preference between 1 (first output) and 2 (second) (Li et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import NOTES, Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST, SECOND, by_sign
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, plain, text

LEGACY_TIE = 0.0


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt = text(fields.text("instruction"))
    responses = tuple(Response(text(fields.text(f"output_{n}")), model=fields.name(f"generator_{n}")) for n in (1, 2))
    preference = fields.number("preference")
    if preference == LEGACY_TIE:
        fields.left["preference"] = preference
        preference = 1.5
    if not 1 <= preference <= 2:
        problem = f"{preference} is outside 1 (first output) to 2 (second output)"
        raise BadRow("out-of-scale", field="preference", problem=problem, remedy="give a number between 1 and 2")
    # People annotate in this format too; only a model's judgement has a price or a raw completion.
    by_model = bool({"price_per_example", "raw_completion"} & record.fields.keys())
    yield fields.judgement(
        prompt=prompt,
        responses=responses,
        ranks=by_sign(1.5 - preference),
        probability=2 - preference,
        annotator=fields.name("annotator"),
        annotator_kind="model" if by_model else None,
    )


def _write(j: Judgement) -> dict[str, Any]:
    if len(j.responses) != 2 or j.ranks is None:
        problem = "is not a judgement of two responses"
        raise BadRow("not-a-pair", field="ranks", problem=problem, remedy="turn the judgements into pairs first")
    row: dict[str, Any] = {"instruction": plain(j.prompt)}
    for n, response in enumerate(j.responses, start=1):
        row |= {f"output_{n}": plain(response.messages), f"generator_{n}": response.model}
    row["annotator"] = j.annotator
    hard = 1.0 if j.ranks == FIRST else 0.0 if j.ranks == SECOND else 0.5
    row["preference"] = 2 - (hard if j.probability is None else j.probability)
    return row | {key: value for key, value in j.meta.items() if key != NOTES}


FORMAT = Format(
    name="alpaca_eval",
    about="AlpacaEval annotations: instruction, output_1, output_2, preference from 1 to 2, by a judge",
    detect=columns(
        "instruction",
        "output_1",
        "output_2",
        "preference",
        also=["generator_1", "generator_2", "annotator", "dataset", "raw_completion", "price_per_example"],
    ),
    parse=_parse,
    write=_write,
)
