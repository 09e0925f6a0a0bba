"""What TRL's seven shapes share: the columns beside the texts, and a pair with the preferred response first.

Columns named like the fields of a record (margin, weight, annotator, ...) are those fields; TRL's trainers leave
columns they do not know alone, so nothing is lost on the way out. As described in TRL's guide to dataset formats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._chat import unchat
from pluralign.feedback.formats._fields import Fields, listed, mapped, number
from pluralign.feedback.formats._ranks import winner_loser
from pluralign.feedback.formats._row import NAMES, NUMBERS, ROW_FIELDS, row_fields
from pluralign.feedback.record import Judgement, Response

HOLDS = ROW_FIELDS | {"prompt", "responses", "annotator_kind", "annotator_attributes", "positions", "tools"}
BESIDE = (HOLDS - {"prompt", "responses"}) | {"source", "split"}


def beside(fields: Fields) -> dict[str, Any]:
    """The record fields among a row's columns."""
    found = row_fields(fields)
    found["tools"] = fields.take("tools")
    found["annotator_kind"] = fields.name("annotator_kind")
    if isinstance(fields.left.get("annotator_attributes"), Mapping):
        found["annotator_attributes"] = fields.take("annotator_attributes")
    if "positions" in fields:
        found["positions"] = tuple(int(number(p, "positions")) for p in listed(fields.take("positions"), "positions"))
    return {key: value for key, value in found.items() if value is not None}


def columns_beside(j: Judgement) -> dict[str, Any]:
    """The columns that `beside` reads back."""
    names = (*NUMBERS, *NAMES, "annotator_kind", "annotator_attributes", "tools")
    found = {key: getattr(j, key) for key in names if getattr(j, key) is not None}
    if j.time is not None:
        found["time"] = j.time.isoformat()
    if j.positions is not None:
        found["positions"] = list(j.positions)
    return found


def about(fields: Fields, side: str) -> dict[str, Any]:
    """Model, id and ratings of the response in column `side`."""
    ratings = fields.take(f"{side}_ratings")
    values = mapped(ratings, f"{side}_ratings").items() if ratings is not None else ()
    return {
        "model": fields.name(f"{side}_model"),
        "id": fields.name(f"{side}_id"),
        "ratings": {aspect: number(value, f"{side}_ratings") for aspect, value in values},
    }


def columns_about(response: Response, side: str) -> dict[str, Any]:
    """The columns that `about` reads back."""
    values = {f"{side}_model": response.model, f"{side}_id": response.id, f"{side}_ratings": dict(response.ratings)}
    return {key: value for key, value in values.items() if value}


def pair_columns(j: Judgement) -> tuple[Response, Response, dict[str, Any]]:
    """Preferred response, other response, and the columns beside them with every sign turned to that order."""
    chosen, rejected = winner_loser(j)
    columns = columns_beside(j)
    if chosen is not j.responses[0]:
        columns |= {key: -columns[key] for key in ("strength", "margin") if key in columns}
        if "probability" in columns:
            columns["probability"] = 1 - columns["probability"]
        if "positions" in columns:
            columns["positions"] = columns["positions"][::-1]
    return chosen, rejected, columns_about(chosen, "chosen") | columns_about(rejected, "rejected") | columns


def only(j: Judgement) -> Response:
    """The one response of a judgement; more or fewer are a `BadRow`."""
    if len(j.responses) != 1:
        problem = f"there are {len(j.responses)} where this shape holds one"
        raise BadRow("not-one-response", field="responses", problem=problem, remedy="convert the judgements first")
    return j.responses[0]


def prompt_of(j: Judgement) -> str | list[dict[str, Any]]:
    """The prompt in the shape of its responses, where there is none as well."""
    texts = [unchat(r.messages) for r in j.responses]
    prompt = "" if not j.prompt and texts and all(isinstance(t, str) for t in texts) else unchat(j.prompt)
    same_shape(prompt, *texts)
    return prompt


def same_shape(*values: Any) -> None:
    """Raise where some of a row's values are texts and others conversations."""
    if len({isinstance(value, str) for value in values}) > 1:
        problem = "some of the row's columns are text and others lists of messages"
        raise BadRow("mixed-shapes", field="prompt", problem=problem, remedy="write all of them in one shape")
