"""Conversions between kinds of feedback. Explicit, seeded where they draw, and recorded in the result's history."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pluralign.errors import FeedbackError
from pluralign.feedback.checks import prefers_equal_texts
from pluralign.feedback.record import Judgement, Response, plain

if TYPE_CHECKING:
    from pluralign.feedback.feedback import Feedback

Rows = Callable[[Judgement, Counter[str]], Iterable[Judgement]]
"""A judgement and a count of what was left out, by reason -> the judgements it becomes."""


def kinds(table: pa.Table) -> dict[str, int]:
    """Rows by kind, counted on the columns. A row is counted once, under what it says most directly."""
    k = pc.fill_null(pc.list_value_length(table["responses"]), 0).to_numpy()
    ranked = pc.is_valid(table["ranks"]).to_numpy()
    graded = (pc.is_valid(table["probability"]).to_numpy() | pc.is_valid(table["strength"]).to_numpy()) & ~ranked
    chosen = pc.fill_null(table["unranked_below"], False).to_numpy()
    thumbs = pc.is_valid(table["thumb"]).to_numpy()
    tie = np.zeros(len(k), dtype=bool)
    pair = ranked & (k == 2)
    if pair.any():
        ranks = table["ranks"].filter(pa.array(pair))
        tie[pair] = pc.equal(pc.list_element(ranks, 0), pc.list_element(ranks, 1)).fill_null(False).to_numpy()
    counts = {
        "pairs": (pair & ~tie) | (graded & (k == 2)),
        "ties": tie,
        "choices": ranked & (k > 2) & chosen,
        "rankings": ranked & (k > 2) & ~chosen,
        "thumbs": thumbs & ~ranked,
    }
    rest = ~np.logical_or.reduce(list(counts.values()))
    rated = np.zeros(len(k), dtype=bool)
    if rest.any():
        rated[rest] = [
            any(r["ratings"] for r in row or ()) for row in table["responses"].filter(pa.array(rest)).to_pylist()
        ]
    counts["ratings"] = rated
    counts["texts"] = rest & ~rated
    return {name: int(mask.sum()) for name, mask in counts.items()}


def pairs(
    feedback: Feedback,
    *,
    ties: str = "keep",
    equal_texts: str = "drop",
    max_per_prompt: int | None = None,
    aspect: str | None = None,
    seed: int = 0,
) -> Feedback:
    """Every judgement as rows of two responses, the preferred one first. A tie never becomes an ordered pair.

    Rows that are pairs stay as they are, apart from the order of the sides. Rankings and choices give every pair they
    order; ratings every pair of responses in a row, by `aspect` (needed only when there are several). ties: "keep" or
    "drop". equal_texts: "drop" leaves out the preference between two equal texts, of which no model of text can learn
    anything; "keep" is for leaderboards, where it is a vote. max_per_prompt: at most so many pairs of one prompt, drawn
    under `seed`.

    >>> import pluralign
    >>> ranking = Judgement(responses=tuple(Response(model=m) for m in "abc"), ranks=(2, 1, 2))
    >>> [[r.model for r in j.responses] for j in pluralign.Feedback.from_judgements([ranking]).pairs(ties="drop")]
    [['b', 'a'], ['b', 'c']]
    """
    if ties not in ("keep", "drop"):
        raise FeedbackError(f"ties: '{ties}' is not one of keep, drop")
    if equal_texts not in ("keep", "drop"):
        raise FeedbackError(f"equal_texts: '{equal_texts}' is not one of keep, drop")

    def distinct(j: Judgement, left_out: Counter[str]) -> Iterator[Judgement]:
        for pair in rows(j, left_out):
            if equal_texts == "drop" and prefers_equal_texts(pair):
                left_out["equal texts"] += 1
            else:
                yield pair

    def rows(j: Judgement, left_out: Counter[str]) -> Iterator[Judgement]:
        if len(j.responses) < 2:
            left_out["one response"] += 1
            return
        if len(j.responses) == 2 and j.ranks is None and (j.probability is not None or j.strength is not None):
            yield _preferred_first(j)
            return
        ranks = j.ranks or _ranks_from_ratings(j, aspect)
        if ranks is None:
            left_out["no judgement to order by"] += 1
            return
        places = _filled(ranks, bool(j.unranked_below))
        for a, b in combinations(range(len(places)), 2):
            first, second = places[a], places[b]
            if first is None or second is None:
                left_out["not compared"] += 1
            elif first == second == _BELOW:
                left_out["both unranked"] += 1
            elif first == second and ties == "drop":
                left_out["tie"] += 1
            else:
                yield ordered_pair(j, a, b, ranks=(1, 1) if first == second else (1, 2) if first < second else (2, 1))

    options = {"ties": ties, "equal_texts": equal_texts, "max_per_prompt": max_per_prompt, "aspect": aspect}
    result = converted(feedback, "pairs", {**options, "seed": seed}, distinct)
    return result if max_per_prompt is None else _at_most(result, max_per_prompt, seed)


def rankings(feedback: Feedback, *, aspect: str | None = None) -> Feedback:
    """One ranking a row. Single ratings by the same annotator under the same prompt and criterion become one ranking.

    Rows that are ranked stay; equal ratings are ties. `aspect` says which rating orders them if there are several.
    """
    groups: dict[tuple[str | None, ...], list[Judgement]] = defaultdict(list)

    def rows(j: Judgement, left_out: Counter[str]) -> Iterator[Judgement]:
        if j.ranks is not None:
            yield j
        elif len(j.responses) == 1 and j.responses[0].ratings:
            groups[(j.annotator, prompt_key(j), j.criterion, j.context)].append(j)
        elif (ranks := _ranks_from_ratings(j, aspect)) is not None:
            yield replace(j, ranks=ranks)
        else:
            left_out["no judgement to order by"] += 1

    def grouped(left_out: Counter[str]) -> Iterator[Judgement]:
        for group in groups.values():
            if len(group) < 2:
                left_out["only one rating of its group"] += 1
                continue
            whole = replace(group[0], responses=tuple(j.responses[0] for j in group), positions=None, id=None)
            yield replace(whole, ranks=_ranks_from_ratings(whole, aspect))

    return converted(feedback, "rankings", {"aspect": aspect}, rows, grouped)


def votes(feedback: Feedback) -> Feedback:
    """Rows between named producers (models, players, products), without prompts and texts: what a leaderboard needs."""

    def rows(j: Judgement, left_out: Counter[str]) -> Iterator[Judgement]:
        if len(j.responses) < 2:
            left_out["one response"] += 1
        elif any(r.model is None and r.id is None for r in j.responses):
            left_out["a response without a name"] += 1
        else:
            named = tuple(Response(model=r.model or r.id, ratings=r.ratings) for r in j.responses)
            yield replace(j, prompt=(), responses=named, prompt_id=prompt_key(j))

    return converted(feedback, "votes", {}, rows)


def unpaired(feedback: Feedback) -> Feedback:
    """Strict pairs as two rows each, the preferred response with thumb up and the other with thumb down.

    All other fields are copied. N pairs give 2N rows, N of them up.

    >>> import pluralign
    >>> pair = Judgement(responses=(Response(model="a"), Response(model="b")), ranks=(2, 1))
    >>> [(j.responses[0].model, j.thumb) for j in pluralign.Feedback.from_judgements([pair]).unpaired()]
    [('a', False), ('b', True)]
    """

    def rows(j: Judgement, left_out: Counter[str]) -> Iterator[Judgement]:
        if j.thumb is not None:
            yield j
        elif len(j.responses) != 2 or j.ranks is None or None in j.ranks:
            left_out["not a pair"] += 1
        elif j.ranks[0] == j.ranks[1]:
            left_out["tie"] += 1
        elif prefers_equal_texts(j):
            left_out["equal texts"] += 1
        else:
            for place, rank in enumerate(j.ranks):
                best = rank == min(r for r in j.ranks if r is not None)
                yield replace(_single(j, place), thumb=best)

    return converted(feedback, "unpaired", {}, rows)


def ratings(feedback: Feedback) -> Feedback:
    """One rated response a row; responses without a rating are left out and counted."""

    def rows(j: Judgement, left_out: Counter[str]) -> Iterator[Judgement]:
        for place, response in enumerate(j.responses):
            if response.ratings:
                yield _single(j, place)
            else:
                left_out["a response without a rating"] += 1

    return converted(feedback, "ratings", {}, rows)


def prompt_key(j: Judgement) -> str:
    """What tells one prompt from another: its id if it has one, else its words."""
    return j.prompt_id if j.prompt_id is not None else plain(j.prompt)


_BELOW = 1 << 30
"""The place of responses known only to be below every ranked one."""


def _filled(ranks: tuple[int | None, ...], below: bool) -> list[int | None]:
    return [_BELOW if rank is None and below else rank for rank in ranks]


def _ranks_from_ratings(j: Judgement, aspect: str | None) -> tuple[int | None, ...] | None:
    aspects = sorted({name for r in j.responses for name in r.ratings})
    if not aspects:
        return None
    if aspect is None and len(aspects) > 1:
        raise FeedbackError(f"responses are rated on {', '.join(aspects)}; name the one that orders them as aspect")
    values = [r.ratings.get(aspect or aspects[0]) for r in j.responses]
    # Competition ranking: 1 + how many are better.
    known = [v for v in values if v is not None]
    ranks = tuple(None if v is None else 1 + sum(other > v for other in known) for v in values)
    return ranks if len(known) > 1 else None


def _preferred_first(j: Judgement) -> Judgement:
    lead = j.strength if j.strength is not None else (j.probability or 0.0) - 0.5
    return j if lead >= 0 else ordered_pair(j, 1, 0, ranks=None)


def ordered_pair(j: Judgement, a: int, b: int, ranks: tuple[int, int] | None) -> Judgement:
    """Responses a and b of a judgement, the preferred one first, with what the row says of the two of them alone."""
    if ranks == (2, 1):
        a, b, ranks = b, a, (1, 2)
    of_two = len(j.responses) == 2
    sign = 1.0 if a < b else -1.0

    def signed(value: float | None) -> float | None:
        return None if value is None or not of_two else sign * value

    probability = j.probability if of_two and j.probability is not None else None
    return replace(
        j,
        id=_id_of_part(j, a, b),
        responses=(j.responses[a], j.responses[b]),
        ranks=ranks,
        unranked_below=None,
        strength=signed(j.strength),
        margin=signed(j.margin),
        probability=probability if probability is None or sign > 0 else 1 - probability,
        positions=None if j.positions is None else (j.positions[a], j.positions[b]),
        both_bad=j.both_bad if of_two else None,
    )


def _id_of_part(j: Judgement, *places: int) -> str | None:
    """An id for some of a row's responses: rows that share one would count as repeats when they are read again."""
    whole = len(places) == len(j.responses)
    return j.id if j.id is None or whole else f"{j.id}/{'-'.join(str(place + 1) for place in places)}"


def _single(j: Judgement, place: int) -> Judgement:
    return replace(
        j,
        id=_id_of_part(j, place),
        responses=(j.responses[place],),
        ranks=None,
        unranked_below=None,
        both_bad=None,
        strength=None,
        probability=None,
        margin=None,
        positions=None if j.positions is None else (j.positions[place],),
    )


def _at_most(result: Feedback, limit: int, seed: int) -> Feedback:
    """Keep the `limit` rows of each prompt whose seeded hash is smallest: the draw does not depend on row order."""
    waiting: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for i, j in enumerate(result):
        sides = "\x1f".join(f"{r.model}\x1e{r.id}\x1e{plain(r.messages)}" for r in j.responses)
        draw = hashlib.blake2b(f"{seed}\x1f{j.annotator}\x1f{sides}".encode(), digest_size=8).digest()
        waiting[prompt_key(j)].append((draw, i))
    keep = np.zeros(len(result), dtype=bool)
    for rows in waiting.values():
        keep[[i for _, i in sorted(rows)[:limit]]] = True
    limited = result.where(keep)
    limited.history[-1]["rows_out"] = len(limited)
    limited.history[-1]["left_out"]["over max_per_prompt"] = int((~keep).sum())
    return type(limited)(limited.table, report=limited.report, history=limited.history)


def converted(
    feedback: Feedback,
    name: str,
    options: dict[str, Any],
    rows: Rows,
    at_end: Callable[[Counter[str]], Iterable[Judgement]] = lambda _: (),
) -> Feedback:
    """What `rows` makes of each judgement, and `at_end` after the last; the step and its counts are recorded."""
    left_out: Counter[str] = Counter()
    step: dict[str, Any] = {"conversion": name, "options": options, "rows_in": len(feedback)}
    count = 0

    def stream() -> Iterator[Judgement]:
        nonlocal count
        for j in feedback:
            for made in rows(j, left_out):
                count += 1
                yield made
        for made in at_end(left_out):
            count += 1
            yield made
        step.update(rows_out=count, left_out=dict(left_out))

    return type(feedback).from_judgements(stream(), report=feedback.report, history=[*feedback.history, step])
