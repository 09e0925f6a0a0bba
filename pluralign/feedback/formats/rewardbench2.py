"""RewardBench 2: several correct and several wrong responses to one prompt (Malik et al. 2025)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._fields import Fields, listed
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt = text(fields.text("prompt"))
    correct = [text(words) for words in listed(fields.require("chosen"), "chosen")]
    wrong = [text(words) for words in listed(fields.require("rejected"), "rejected")]
    models = fields.left.get("models")
    names = models if isinstance(models, list) and len(models) == len(correct) + len(wrong) else None
    if names is not None:
        del fields.left["models"]
    responses = tuple(
        Response(words, model=None if names is None else names[i]) for i, words in enumerate(correct + wrong)
    )
    # The wrong ones are below the correct ones; among themselves nothing is said.
    pair = len(responses) == 2
    ranks = (1, 2) if pair else (1,) * len(correct) + (None,) * len(wrong)
    yield fields.judgement(
        id=fields.name("id"),
        prompt=prompt,
        responses=responses,
        ranks=ranks,
        unranked_below=None if pair else True,
        context=fields.name("subset"),
    )


FORMAT = Format(
    name="rewardbench2",
    about="RewardBench 2: prompt, lists of chosen and rejected responses, subset",
    detect=columns(
        "prompt",
        "chosen",
        "rejected",
        "subset",
        also=["num_correct", "num_incorrect", "total_completions", "models", "id"],
        where=lambda row: isinstance(row["chosen"], list),
    ),
    parse=_parse,
)
