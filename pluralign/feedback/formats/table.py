"""Any table whose columns bear common names, or were given them by `columns`.

Three shapes: two named sides and a verdict; chosen and rejected texts; single responses with ratings or a label.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pluralign.errors import BadRow
from pluralign.feedback.formats._chat import chat, reply
from pluralign.feedback.formats._fields import Fields, missing, number
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats._ranks import FIRST, SECOND, TIE, by_sign
from pluralign.feedback.formats._row import NUMBERS, row_fields
from pluralign.feedback.record import Judgement, Response

SIDES = (
    ("model_a", "model_b"),
    ("left", "right"),
    ("item_a", "item_b"),
    ("item1", "item2"),
    ("player_a", "player_b"),
    ("player1", "player2"),
    ("home_team", "away_team"),
    ("home", "away"),
    ("a", "b"),
)
TEXTS = (
    ("response_a", "response_b"),
    ("response_1", "response_2"),
    ("response1", "response2"),
    ("output_a", "output_b"),
    ("answer_a", "answer_b"),
)
SCORES = (("home_score", "away_score"), ("score_a", "score_b"))
VERDICTS = ("winner", "choice", "label", "vote", "preference", "preferred", "verdict", "result")
PROMPTS = ("prompt", "instruction", "question", "context_text")
SYNONYMS = {
    synonym: ours
    for ours, synonyms in {
        "annotator": ("worker", "worker_id", "annotator_id", "judge", "rater", "rater_id", "user", "user_id", "voter"),
        "time": ("date", "timestamp", "tstamp", "datetime"),
        "criterion": ("aspect", "attribute", "dimension"),
        "weight": ("count", "n_votes"),
    }.items()
    for synonym in synonyms
}
WORDS = {
    FIRST: ("model_a", "a", "left", "first", "response_a", "response_1", "home", "item1", "player1"),
    SECOND: ("model_b", "b", "right", "second", "response_b", "response_2", "away", "item2", "player2"),
    TIE: ("tie", "draw", "equal", "same"),
}
BOTH_BAD = ("both_bad", "bothbad", "tie (bothbad)", "both bad", "neither")
LABELS = {word: ranks for ranks, words in WORDS.items() for word in words}


def _detect(sample: Sample) -> tuple[int, str] | None:
    columns = sample.columns
    if {"chosen", "rejected"} <= columns:
        return 1, "columns chosen and rejected"
    if sides := _first(SIDES + TEXTS, columns):
        verdict = next((name for name in (*VERDICTS, *NUMBERS) if name in columns), None)
        if verdict or _first(SCORES, columns):
            return 2, f"columns {sides[0]}, {sides[1]} and {verdict or 'scores'}"
    if "response" in columns and columns & {"rating", "score", "label", "thumb"}:
        return 1, "columns response and a rating or label"
    return None


def _parse(record: Record) -> Iterable[Judgement]:
    fields = Fields(record)
    columns = frozenset(record.fields)
    for name in columns & SYNONYMS.keys():
        if SYNONYMS[name] not in fields and name in fields:
            fields.left[SYNONYMS[name]] = fields.left.pop(name)
    if {"chosen", "rejected"} <= columns:
        yield _preference(fields)
    elif sides := _first(SIDES + TEXTS, columns):
        yield _verdict(fields, sides, columns)
    elif "response" in columns:
        yield _single(fields)
    else:
        raise BadRow(
            "missing-field",
            field="(row)",
            problem=f"has the columns {', '.join(map(str, columns))}, none of which names what was judged",
            remedy="map them, for example --columns model_a=left,model_b=right,winner=choice",
        )


def _preference(fields: Fields) -> Judgement:
    prompt = _prompt(fields)
    sides = tuple(
        Response(
            chat(fields.require(side), side) if _is_chat(fields, side) else reply(fields.text(side), prompt).messages
        )
        for side in ("chosen", "rejected")
    )
    return fields.judgement(prompt=prompt, responses=sides, ranks=FIRST, **row_fields(fields))


def _verdict(fields: Fields, sides: tuple[str, str], columns: frozenset[str]) -> Judgement:
    prompt = _prompt(fields)
    texts = _first(TEXTS, columns)
    named = sides in SIDES
    responses = []
    for i in (0, 1):
        model = fields.name(sides[i]) if named else None
        if named and model is None:
            raise BadRow("missing-field", field=sides[i], problem="is empty", remedy="name what was compared")
        messages = reply(fields.text(texts[i]), prompt).messages if texts else ()
        responses.append(Response(messages, model=model))
    judged = row_fields(fields)
    verdict = next((name for name in VERDICTS if name in fields), None)
    if verdict:
        judged |= _label(fields, verdict, responses)
    elif scores := _first(SCORES, columns):
        gap = fields.number(scores[0]) - fields.number(scores[1])
        judged |= {"strength": gap, "ranks": by_sign(gap)}
    elif "strength" in judged:
        judged["ranks"] = by_sign(judged["strength"])
    elif "probability" not in judged:
        name = next((name for name in (*VERDICTS, "probability") if name in columns), VERDICTS[0])
        raise BadRow("missing-field", field=name, problem="is empty", remedy="say who won, or leave the row out")
    return fields.judgement(prompt=prompt, responses=tuple(responses), **judged)


def _label(fields: Fields, name: str, responses: list[Response]) -> dict[str, Any]:
    label = str(fields.require(name)).strip()
    models = [r.model for r in responses]
    if label in models and models[0] != models[1]:
        return {"ranks": (FIRST, SECOND)[models.index(label)]}
    if label.lower() in BOTH_BAD:
        return {"ranks": TIE, "both_bad": True}
    if label.lower() in LABELS:
        return {"ranks": LABELS[label.lower()]}
    if label.removesuffix(".0") in ("0", "1", "2", "-1"):
        # 1 is the first side where counting starts at 1 and the second where it starts at 0: not ours to guess.
        problem, remedy = f"'{label}' could mean either side", "write model_a, model_b or tie"
    else:
        problem = f"the label '{label[:60]}' is not known"
        remedy = "use model_a, model_b, tie, both_bad, left, right or one of the two names"
    raise BadRow("unknown-label", field=name, problem=problem, remedy=remedy)


def _single(fields: Fields) -> Judgement:
    prompt = _prompt(fields)
    model = next((fields.name(name) for name in ("model", "system", "team") if name in fields), None)
    judged = row_fields(fields)
    ratings = {}
    for name in ("rating", "score"):
        if not missing(fields.left.get(name)):
            ratings[name] = number(fields.take(name), name)
    thumb = next((fields.flag(name) for name in ("thumb", "label") if name in fields), None)
    if not ratings and thumb is None:
        raise BadRow("missing-field", field="rating", problem="is empty", remedy="give a rating or a label")
    words = chat(fields.require("response"), "response") if _is_chat(fields, "response") else None
    response = (
        Response(words, model, ratings=ratings)
        if words
        else reply(fields.text("response"), prompt, model=model, ratings=ratings)
    )
    return fields.judgement(prompt=prompt, responses=(response,), thumb=thumb, **judged)


def _prompt(fields: Fields) -> tuple[Any, ...]:
    name = next((name for name in PROMPTS if name in fields), None)
    return chat(fields.require(name), name) if name else ()


def _is_chat(fields: Fields, name: str) -> bool:
    return isinstance(fields.left.get(name), (list, tuple))


def _first(names: tuple[tuple[str, str], ...], columns: frozenset[str]) -> tuple[str, str] | None:
    return next((pair for pair in names if set(pair) <= columns), None)


FORMAT = Format(
    name="table",
    about="any table with common column names (model_a, model_b, winner; chosen, rejected; response, rating)",
    detect=_detect,
    parse=_parse,
)
