"""RewardBench: a plain chosen and a plain rejected response, with their models (Lambert et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST, winner_loser
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.formats._write import output, words, written
from pluralign.feedback.record import Judgement, Response, text


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt = text(fields.text("prompt"))
    responses = tuple(
        Response(text(fields.text(side)), model=fields.name(f"{side}_model")) for side in ("chosen", "rejected")
    )
    yield fields.judgement(
        id=fields.name("id"), prompt=prompt, responses=responses, ranks=FIRST, context=fields.name("subset")
    )


def _write(j: Judgement) -> dict[str, Any]:
    chosen, rejected = winner_loser(j)
    row = {"prompt": words(j.prompt, "prompt"), "chosen": output(chosen), "chosen_model": chosen.model}
    row |= {"rejected": output(rejected), "rejected_model": rejected.model, "subset": j.context}
    row |= {"id": j.id} if j.id is not None else {}
    return written(j, row, holds=("prompt", "responses", "ranks", "context", "id"))


FORMAT = Format(
    name="rewardbench",
    about="RewardBench: prompt, chosen, rejected, chosen_model, rejected_model, subset",
    detect=columns(
        "prompt",
        "chosen",
        "rejected",
        "subset",
        also=["chosen_model", "rejected_model", "id"],
        where=lambda row: isinstance(row["chosen"], str),
    ),
    parse=_parse,
    write=_write,
)
