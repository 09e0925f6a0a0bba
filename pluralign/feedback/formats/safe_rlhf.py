"""PKU-SafeRLHF: helpfulness and harmlessness judged apart, and whether each response is safe (Ji et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator

from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record
from pluralign.feedback.formats._ranks import FIRST, SECOND
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Response, text

CRITERIA = {"better_response_id": "helpful", "safer_response_id": "harmless"}
RANKS = {0: FIRST, 1: SECOND, "0": FIRST, "1": SECOND}


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt = text(fields.text("prompt"))
    responses = tuple(_response(fields, side) for side in (0, 1))
    safe = [fields.flag(key) if key in fields else None for key in ("is_response_0_safe", "is_response_1_safe")]
    for response, good in zip(responses, safe, strict=True):
        severity = response.ratings.get("severity")
        if None not in (severity, good) and (severity == 0) != good:
            fields.note("severity-against-safety")
    # The single-dimension release trades both criteria off in its one choice.
    criteria = CRITERIA if "safer_response_id" in fields else {"better_response_id": None}
    chosen = {criterion: fields.choice(key, RANKS) for key, criterion in criteria.items()}
    for criterion, ranks in chosen.items():
        yield fields.judgement(prompt=prompt, responses=responses, ranks=ranks, criterion=criterion)
    for response, good in zip(responses, safe, strict=True):
        if good is not None:
            yield fields.judgement(prompt=prompt, responses=(response,), thumb=good, criterion="safe")


def _response(fields: Fields, side: int) -> Response:
    severity = fields.maybe(f"response_{side}_severity_level")
    return Response(
        text(fields.text(f"response_{side}")),
        model=fields.name(f"response_{side}_source"),
        ratings={} if severity is None else {"severity": severity},
    )


FORMAT = Format(
    name="safe_rlhf",
    about="PKU-SafeRLHF: a helpful and a harmless comparison, and a safety label for each response",
    detect=columns(
        "prompt",
        "response_0",
        "response_1",
        "better_response_id",
        also=["safer_response_id", "is_response_0_safe", "is_response_1_safe", "prompt_source"],
    ),
    parse=_parse,
)
