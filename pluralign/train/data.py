"""From feedback to the rows a trainer takes: order of the sides, signs, weights, token ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from pluralign.errors import BadRow, FeedbackError, OptionError
from pluralign.feedback import Feedback
from pluralign.feedback.convert import prompt_key
from pluralign.feedback.recipes import degraded, rationale
from pluralign.feedback.record import Judgement
from pluralign.objectives import Objective, Rows
from pluralign.policy.encode import Encoded, Encoder


@dataclass(frozen=True, slots=True)
class Row:
    """One judgement ready to train on: the preferred response first, +1 and -1 for good and bad.

    index: its row in the feedback. prompt: what tells its prompt from others. rating: larger is better, a number for
    each response. tie: whether neither is preferred. rationale: why, to be learnt as a text of its own. degraded: the
    preferred response with key phrases taken out, to this degree.
    """

    encoded: Encoded
    sign: tuple[int, ...]
    index: int
    prompt: str
    weight: float = 1.0
    probability: float | None = None
    margin: float | None = None
    beta: float | None = None
    rating: tuple[float, ...] | None = None
    tie: bool | None = None
    rationale: Encoded | None = None
    degraded: Encoded | None = None
    degree: int | None = None

    @property
    def present(self) -> int:
        """Responses that are there; rows of fewer than the longest list are filled up with ones of no tokens."""
        return len(self.sign) - self.sign.count(0)


@dataclass
class Prepared:
    """Rows and what became of the others. used + sum of dropped == rows of the feedback."""

    rows: list[Row] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Plain counts, for data.json."""
        return {
            "used": len(self.rows),
            "dropped": dict(self.dropped),
            "cut": dict(self.cut),
            "examples": self.examples,
        }


@dataclass(frozen=True)
class Wanted:
    """What of a judgement the objective reads beyond texts and order.

    ratings, rationale, ties: whether it does. aspect: which rating, where there are several. scale: the lowest and
    highest rating, to be moved to 0 and 1. degrees: how many degrees of a degraded preferred response to tell apart.
    """

    ratings: bool = False
    rationale: bool = False
    ties: bool = False
    aspect: str | None = None
    scale: tuple[float, float] | None = None
    degrees: int | None = None


def prepare(
    feedback: Feedback,
    objective: Objective,
    encoder: Encoder,
    progress: Callable[[int], None] = lambda _: None,
    wanted: Wanted | None = None,
) -> Prepared:
    """Rows for an objective. What cannot be used is counted by reason; what should not be ignored is an error.

    Raises `OptionError` for a column the objective has no use for, `FeedbackError` where the feedback is of another
    kind than the objective takes, naming the conversion that helps.
    """
    check_columns(feedback, objective)
    kind = kind_for(feedback, objective)
    # Imitation does not look at the rejected response, so it is not paid for, unless some labels are in doubt.
    certain = feedback.table["probability"].null_count == len(feedback)
    chosen_only = certain and objective.rows[0] is Rows.DEMONSTRATIONS
    prepared = Prepared()
    encoder.counts.clear()
    for index, j in enumerate(feedback):
        try:
            prepared.rows.append(_row(j, index, kind, chosen_only, encoder, wanted or Wanted()))
        except BadRow as error:
            prepared.dropped[error.reason] += 1
            prepared.examples.setdefault(error.reason, f"{j.source}, row {j.row}, {error}")
        progress(index + 1)
    prepared.cut = Counter({name: n for name, n in encoder.counts.items() if n})
    if not prepared.rows:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in prepared.dropped.most_common())
        raise FeedbackError(f"none of the {len(feedback):,} rows can be used ({reasons})")
    prepared.rows = _filled(prepared.rows, encoder.tokenizer.eos_token_id)
    return prepared


def _filled(rows: list[Row], token: int) -> list[Row]:
    """Rows of one width: places without a response hold a token that is not scored."""
    width = max(len(row.sign) for row in rows)
    filled = []
    for row in rows:
        missing = width - len(row.sign)
        if missing:
            e = row.encoded
            scored = e.scored + ([False],) * missing
            encoded = Encoded(e.prompt_ids, e.response_ids + ([token],) * missing, scored)
            rating = None if row.rating is None else row.rating + (0.0,) * missing
            row = replace(row, encoded=encoded, sign=row.sign + (0,) * missing, rating=rating)
        filled.append(row)
    return filled


def check_columns(feedback: Feedback, objective: Objective) -> None:
    """Refuse columns that carry values and would be ignored."""
    for name, used in (("margin", "margin" in objective.uses), ("beta", "beta" in objective.options.model_fields)):
        carried = len(feedback) - feedback.table[name].null_count
        if carried and not used:
            raise OptionError(
                f"{carried:,} rows carry a {name}, and {objective.name} does not use one; "
                f"choose an objective that does, or leave the column out with --ignore {name}"
            )
    for name, reason in objective.refuses.items():
        column = feedback.table[name].drop_null()
        # Equal weights are no weights.
        if len(column) and not (name == "weight" and len(column) == len(feedback) and len(column.unique()) == 1):
            raise OptionError(
                f"{len(column):,} rows carry a {name}, and {objective.name} takes none: {reason}; "
                f"leave the column out with --ignore {name}"
            )


def kind_for(feedback: Feedback, objective: Objective) -> Rows:
    """The kind of row to make of this feedback."""
    counts = feedback.kinds
    pairs = counts["pairs"] + counts["ties"]
    present = {
        Rows.PAIRS: pairs,
        Rows.UNPAIRED: counts["thumbs"],
        Rows.DEMONSTRATIONS: counts["texts"] + counts["thumbs"],
        Rows.RANKINGS: counts["rankings"] + counts["ratings"],
        Rows.MIXED: min(pairs, counts["texts"] + counts["thumbs"]),
    }
    for kind in objective.rows:
        if present.get(kind):
            return kind
    wanted = " or ".join(objective.rows)
    found = ", ".join(f"{n:,} {name}" for name, n in counts.items() if n) or "no rows"
    remedy = "convert it to pairs (pluralign convert --as pairs)"
    if counts["thumbs"] and Rows.UNPAIRED not in objective.rows:
        remedy = "kto and bco learn from single responses"
    raise FeedbackError(f"{objective.name} learns from {wanted}, and this feedback has {found}; {remedy}")


def _row(j: Judgement, index: int, kind: Rows, chosen_only: bool, encoder: Encoder, wanted: Wanted) -> Row:
    if kind is Rows.RANKINGS:
        return _ranked(j, index, encoder, wanted)
    if kind is Rows.MIXED and len(j.responses) == 1:
        return _single(j, index, Rows.DEMONSTRATIONS, encoder)
    if kind not in (Rows.PAIRS, Rows.MIXED):
        return _single(j, index, kind, encoder)
    tie = wanted.ties and j.ranks is not None and len(set(j.ranks)) == 1 and j.probability is None
    first, probability, margin = (0, None, None) if tie and len(j.responses) == 2 else sides(j)
    responses = [j.responses[first].messages, j.responses[1 - first].messages]
    if any(not messages for messages in responses):
        raise BadRow("no-text", field="responses", problem="a response has no text", remedy="join the texts first")
    sign: tuple[int, ...] = (1, -1)
    if chosen_only:
        responses, sign = responses[:1], (1,)
    return Row(
        encoder.encode(j.prompt, responses, j.tools),
        sign,
        index,
        prompt_key(j),
        1.0 if j.weight is None else j.weight,
        probability,
        margin,
        j.beta,
        _ratings(j, [first, 1 - first], wanted) if wanted.ratings else None,
        tie if wanted.ties else None,
        _rationale(j, first, encoder) if wanted.rationale else None,
        *(_degraded(j, first, index, wanted.degrees, encoder) if wanted.degrees else (None, None)),
    )


def _degraded(
    j: Judgement, first: int, index: int, degrees: int, encoder: Encoder
) -> tuple[Encoded, int] | tuple[None, None]:
    """The preferred response degraded, each row to the degree whose turn it is; nothing if it has no phrase to lose."""
    degree, whole = index % degrees, j.responses[first].messages
    less = degraded(whole, degree, degrees)
    if degree and less == whole:
        return None, None
    return encoder.encode(j.prompt, [less], j.tools), degree


def _ratings(j: Judgement, order: list[int], wanted: Wanted) -> tuple[float, ...]:
    aspects = sorted({name for r in j.responses for name in r.ratings})
    aspect = wanted.aspect or (aspects[0] if len(aspects) == 1 else None)
    if aspect is None and aspects:
        raise OptionError(f"responses are rated on {', '.join(aspects)}; say which is meant with --aspect")
    values = [j.responses[i].ratings.get(aspect or "") for i in order]
    if any(value is None for value in values):
        problem = "a response has no rating" + (f" of {aspect}" if aspect else "")
        raise BadRow("no-rating", field="responses", problem=problem, remedy="rate it or choose another objective")
    low, high = wanted.scale or (0.0, 1.0)
    return tuple((float(value) - low) / (high - low) for value in values if value is not None)


def _ranked(j: Judgement, index: int, encoder: Encoder, wanted: Wanted) -> Row:
    """Responses best first, rated as given, or from 1 down to 0 in equal steps of rank."""
    k = len(j.responses)
    if k < 2 or any(not r.messages for r in j.responses):
        raise BadRow("not-a-list", field="responses", problem="are not two texts or more", remedy="join texts first")
    places = list(range(k))
    if wanted.ratings or j.ranks is None:
        ratings = _ratings(j, places, wanted)
    elif None in j.ranks:
        raise BadRow("not-ranked", field="ranks", problem="leave a response out", remedy="convert with --as pairs")
    else:
        worst = max(rank or 1 for rank in j.ranks)
        ratings = tuple((worst - (rank or 1)) / max(worst - 1, 1) for rank in j.ranks)
    order = sorted(places, key=lambda i: -ratings[i])
    if ratings[order[0]] == ratings[order[-1]]:
        raise BadRow("tie", field="ranks", problem="prefer none", remedy="nothing: there is no order to learn")
    encoded = encoder.encode(j.prompt, [j.responses[i].messages for i in order], j.tools)
    sign = (1,) + (-1,) * (k - 1)
    weight = 1.0 if j.weight is None else j.weight
    return Row(encoded, sign, index, prompt_key(j), weight, beta=j.beta, rating=tuple(ratings[i] for i in order))


def _rationale(j: Judgement, first: int, encoder: Encoder) -> Encoded | None:
    """The explanation as an answer to being shown prompt, better and other response; None where there is none."""
    asked = rationale(j, first)
    return None if asked is None else encoder.encode(asked[0], [asked[1]])


def sides(j: Judgement) -> tuple[int, float | None, float | None]:
    """Which response is preferred (0 or 1), the chance that it is, and by how much; `BadRow` where neither is."""
    if len(j.responses) != 2:
        raise BadRow("not-a-pair", field="responses", problem="is not a pair", remedy="convert with --as pairs")
    ranks = j.ranks
    if ranks is not None and (None in ranks or ranks[0] == ranks[1]) and j.probability is None:
        reason = "both-bad" if j.both_bad else "tie"
        raise BadRow(reason, field="ranks", problem="prefers neither", remedy="nothing, or give a probability of 0.5")
    if ranks is not None and None not in ranks and ranks[0] != ranks[1]:
        first = 0 if ranks[0] < ranks[1] else 1  # type: ignore[operator]
    elif j.probability is not None:
        first = 0 if j.probability >= 0.5 else 1
    elif j.strength:
        first = 0 if j.strength > 0 else 1
    else:
        raise BadRow("tie", field="strength", problem="prefers neither", remedy="nothing, or give a probability of 0.5")
    probability = j.probability if j.probability is None or first == 0 else 1 - j.probability
    return first, probability, j.margin if j.margin is None or first == 0 else -j.margin


def _single(j: Judgement, index: int, kind: Rows, encoder: Encoder) -> Row:
    if len(j.responses) != 1 or not j.responses[0].messages:
        raise BadRow("not-a-response", field="responses", problem="is not one text", remedy="give one response a row")
    if kind is Rows.UNPAIRED and j.thumb is None:
        raise BadRow("no-thumb", field="thumb", problem="is empty", remedy="label the response good or bad")
    if kind is Rows.DEMONSTRATIONS and j.thumb is False:
        raise BadRow("undesirable", field="thumb", problem="says bad", remedy="nothing: it is not to be imitated")
    encoded = encoder.encode(j.prompt, [j.responses[0].messages], j.tools)
    weight = 1.0 if j.weight is None else j.weight
    return Row(encoded, (-1 if j.thumb is False else 1,), index, prompt_key(j), weight, beta=j.beta)


def mismatched(rows: list[Row], max_length: int | None, seed: int) -> list[Encoded]:
    """For each row, its prompt with a response to another prompt: what KTO's reference point is estimated from.

    Fixed in advance under a seed, so that batches may have any size and the reference scores can be kept on disk.
    Rows all of one prompt get another row's response.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    partners = np.empty(len(rows), dtype=int)
    partners[order] = np.roll(order, 1)
    made = []
    for i, row in enumerate(rows):
        k = int(partners[i])
        # Walk on until the prompt differs; give up after a full turn.
        for _ in range(len(rows)):
            if rows[k].prompt != row.prompt:
                break
            k = int(partners[k])
        other = rows[k].encoded
        side = i % len(other.response_ids)
        room = None if max_length is None else max(1, max_length - len(row.encoded.prompt_ids))
        made.append(Encoded(row.encoded.prompt_ids, (other.response_ids[side][:room],), (other.scored[side][:room],)))
    return made
