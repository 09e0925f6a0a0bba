"""AlpacaEval annotations: a preference between 1 (first output) and 2 (second) (Li et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST, SECOND, by_sign
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.formats._write import no_place, output, words, written
from pluralign.feedback.record import Judgement, Response, text

LEGACY_TIE = 0.0
BY_MODEL = frozenset(("price_per_example", "raw_completion"))


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
    by_model = bool(BY_MODEL & record.fields.keys())
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
    row: dict[str, Any] = {"instruction": words(j.prompt, "prompt")}
    for n, response in enumerate(j.responses, start=1):
        row |= {f"output_{n}": output(response), f"generator_{n}": response.model}
    row["annotator"] = j.annotator
    # What reading would make of the row: a judge is known by its price, a winner by the preference.
    if j.annotator_kind != ("model" if BY_MODEL & j.meta.keys() else None):
        no_place("annotator_kind")
    if j.probability is not None and by_sign(j.probability - 0.5) != j.ranks:
        no_place("probability")
    hard = 1.0 if j.ranks == FIRST else 0.0 if j.ranks == SECOND else 0.5
    row["preference"] = 2 - (hard if j.probability is None else j.probability)
    legacy = {"preference": LEGACY_TIE} if j.meta.get("preference") == LEGACY_TIE else {}
    left = {key: value for key, value in j.meta.items() if key != "preference"}
    holds = ("prompt", "responses", "ranks", "probability", "annotator", "annotator_kind")
    return written(replace(j, meta=left), row | legacy, holds=holds)


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
