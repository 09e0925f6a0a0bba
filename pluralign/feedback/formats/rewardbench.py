"""RewardBench: a plain chosen and a plain rejected response, with their models (Lambert et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluralign.feedback.formats._fields import NOTES, Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST, winner_loser
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, plain, text


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
    row = {"prompt": plain(j.prompt), "chosen": plain(chosen.messages), "chosen_model": chosen.model}
    row |= {"rejected": plain(rejected.messages), "rejected_model": rejected.model, "subset": j.context}
    return row | ({"id": j.id} if j.id is not None else {}) | {k: v for k, v in j.meta.items() if k != NOTES}


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
