"""Votes as columns of numbers: who met whom, who won, and what else a leaderboard may use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pluralign.errors import FeedbackError, OptionError
from pluralign.feedback import Feedback, read
from pluralign.feedback.formats import table as names
from pluralign.feedback.source import is_tabular

LEFT, RIGHT, TIE, BOTH_BAD = 0, 1, 2, 3
"""What a vote said: the left item won, the right one, neither, or neither and both were bad."""

SIDES = (*names.SIDES, ("winner", "loser"))
_OF_RANKS = {(1, 2): LEFT, (2, 1): RIGHT, (1, 1): TIE}
VERDICTS = {
    **{word: _OF_RANKS[ranks] for word, ranks in names.LABELS.items()},
    **dict.fromkeys(names.BOTH_BAD, BOTH_BAD),
}
HOME = (("home_team", "away_team"), ("home", "away"))
FEW = 8
"""Up to so many distinct verdicts it is quicker to look for each than to give every value a code."""
_PLAIN = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Counts:
    """Distinct pairs of items with what became of their votes.

    items: names, in order. low, high: [m] item numbers, low < high, no pair twice. won: [m, 4] weighted votes by
    outcome, in the order of `LEFT`, `RIGHT`, `TIE`, `BOTH_BAD`, as if the low item stood on the left.
    """

    items: Sequence[str]
    low: NDArray[np.int32]
    high: NDArray[np.int32]
    won: NDArray[np.float64]

    @property
    def n(self) -> int:
        """How many items there are."""
        return len(self.items)


@dataclass(frozen=True)
class Votes:
    """N votes between two items each.

    items: names, in order. left, right: item numbers [N]. outcome: `LEFT`, `RIGHT`, `TIE` or `BOTH_BAD` [N].
    weight: how much each vote counts [N], or None. first: 0 where the left item was shown first, 1 where the right one
    was, -1 where that is not known [N], or None. annotator, prompt: numbers of those [N], -1 unknown, or None.
    days: when, in days since 1970 [N], or None. annotators: names, by number. extra: a frame of all other columns,
    row by row. dropped: what was left out, by reason.
    """

    items: Sequence[str]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    outcome: NDArray[np.int8]
    weight: NDArray[np.float64] | None = None
    first: NDArray[np.int8] | None = None
    annotator: NDArray[np.int32] | None = None
    annotators: Sequence[str] = ()
    prompt: NDArray[np.int32] | None = None
    days: NDArray[np.float64] | None = None
    extra: pl.DataFrame | None = None
    dropped: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.left)

    @classmethod
    def of(cls, data: Any, columns: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None) -> Votes:
        """Votes from a file, a frame, a mapping of columns, or `Feedback`.

        Tables with plain columns (model_a, model_b, winner and their kin; home, away and scores; winner and loser) are
        read as columns, everything else as `pluralign.read` does. columns: our name -> the source's, such as
        `{"winner": "choice"}`. labels: the source's words for verdicts -> ours, such as `{"gauche": "left"}`.
        Raises `FeedbackError` for what is not a table of votes, or holds verdicts that are not known: a word that is
        not understood never counts as a tie.

        >>> votes = Votes.of({"left": ["a", "b"], "right": ["b", "c"], "label": ["left", "tie"]})
        >>> votes.items, votes.outcome.tolist()
        (['a', 'b', 'c'], [0, 2])
        """
        if isinstance(data, Votes):
            return data
        if isinstance(data, Feedback):
            return _from_feedback(data)
        frame, name = _frame(data)
        if frame is not None:
            frame = _renamed(frame, columns or {}, name)
            if _sides(frame) is not None:
                return _from_frame(frame, labels or {}, name)
        if labels:
            raise OptionError("labels are for tables with plain columns; this source is read by its own format")
        return _from_feedback(read(data, columns=columns))

    def where(self, mask: Any) -> Votes:
        """The votes for which a boolean mask [N] holds. Items keep their numbers."""
        mask = np.asarray(mask, dtype=bool)
        kept: dict[str, Any] = {}
        for name in ("left", "right", "outcome", "weight", "first", "annotator", "prompt", "days"):
            values = getattr(self, name)
            kept[name] = None if values is None else values[mask]
        extra = None if self.extra is None else self.extra.filter(pl.Series(mask))
        return replace(self, **kept, extra=extra)

    def counts(self) -> Counts:
        """Votes of equal pairs put together: all that a model without annotators, order or covariates needs."""
        n = len(self.items)
        if n * n <= max(len(self), 1 << 14):
            pair, won = self._table_counts(n)
        else:
            swapped = self.left > self.right
            low = np.minimum(self.left, self.right).astype(np.int64)
            # Swapping the sides exchanges the first two outcomes.
            outcome = self.outcome ^ (swapped & (self.outcome < TIE))
            pair, won = _sorted_counts((low * n + np.maximum(self.left, self.right)) * 4 + outcome, self.weight)
        return Counts(self.items, (pair // n).astype(np.int32), (pair % n).astype(np.int32), won)

    def _table_counts(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Distinct pairs and their counts [m, 4] by way of a table of all pairs: for few items met often."""
        key = (self.left.astype(np.int64) * n + self.right) * 4 + self.outcome
        every = np.bincount(key, weights=self.weight, minlength=4 * n * n).reshape(n, n, 4).astype(np.float64)
        low, high = np.triu_indices(n, 1)
        won = every[low, high] + every[high, low][:, [RIGHT, LEFT, TIE, BOTH_BAD]]
        met = won.any(1)
        return (low * n + high)[met], np.asfortranarray(won[met])


def _sorted_counts(
    key: NDArray[np.int64], weight: NDArray[np.float64] | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Distinct pairs and their counts [m, 4] from pair * 4 + outcome, by sorting: for many items met rarely."""
    if weight is None:
        key = np.sort(key)
        starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
        distinct, count = key[starts], np.diff(np.append(starts, len(key))).astype(np.float64)
    else:
        distinct, inverse = np.unique(key, return_inverse=True)
        count = np.bincount(inverse, weights=weight).astype(np.float64)
    pairs = distinct >> 2
    fresh = np.concatenate(([True], pairs[1:] != pairs[:-1])) if len(pairs) else np.zeros(0, bool)
    # Column by column, as every user of it works.
    won = np.zeros((int(fresh.sum()), 4), order="F")
    won[np.cumsum(fresh) - 1, distinct & 3] = count
    return pairs[fresh], won


def _frame(data: Any) -> tuple[pl.DataFrame | None, str]:
    """A frame of plain columns and what to call it, or None where the source has none."""
    if isinstance(data, pl.DataFrame):
        return data, "frame"
    if isinstance(data, Mapping):
        return pl.DataFrame(data), "columns"
    if isinstance(data, (str, Path)):
        path = Path(data)
        suffix = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
        if path.is_file() and suffix in _PLAIN and is_tabular(path):
            try:
                if suffix == ".parquet":
                    return pl.read_parquet(path), str(path)
                separator = "\t" if suffix == ".tsv" else ","
                return pl.read_csv(path, separator=separator, infer_schema_length=None), str(path)
            except pl.exceptions.PolarsError:
                # Not a clean table: the reader of feedback says what is wrong with it, row by row.
                return None, str(path)
        return None, str(path)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "columns"):
        return pl.DataFrame(data), "frame"
    return None, "rows"


def _renamed(frame: pl.DataFrame, columns: Mapping[str, str], name: str) -> pl.DataFrame:
    for ours, theirs in columns.items():
        if theirs not in frame.columns:
            raise FeedbackError(
                f"{name}: there is no column '{theirs}' to use as {ours}; its columns are {', '.join(frame.columns)}"
            )
    frame = frame.drop([ours for ours in columns if ours in frame.columns and ours not in columns.values()])
    frame = frame.rename({theirs: ours for ours, theirs in columns.items()})
    synonyms = {s: ours for s, ours in names.SYNONYMS.items() if s in frame.columns and ours not in frame.columns}
    taken: dict[str, str] = {}
    for synonym, ours in synonyms.items():
        if ours not in taken.values():
            taken[synonym] = ours
    return frame.rename(taken)


def _sides(frame: pl.DataFrame) -> tuple[str, str] | None:
    for sides in SIDES:
        if set(sides) <= set(frame.columns):
            verdict = sides == ("winner", "loser") or any(v in frame.columns for v in names.VERDICTS)
            if verdict or any(set(scores) <= set(frame.columns) for scores in names.SCORES):
                return sides
    return None


def _from_frame(frame: pl.DataFrame, labels: Mapping[str, str], name: str) -> Votes:
    sides = _sides(frame)
    assert sides is not None
    items, codes = encoded(pl.concat([frame[side].cast(pl.String) for side in sides]))
    left, right = codes[: len(frame)], codes[len(frame) :]
    outcome = _outcome(frame, sides, items, left, right, labels, name)
    known, same = (left >= 0) & (right >= 0) & (outcome >= 0), left == right
    keep = known & ~same
    dropped = Counter({"no-item-or-verdict": int((~known).sum()), "same-item-twice": int((known & same).sum())})
    if not keep.all():
        frame, left, right, outcome = frame.filter(keep), left[keep], right[keep], outcome[keep]
    if not len(left):
        raise FeedbackError(f"{name}: no row says which of two items won")
    weight = _weight(frame, name) if "weight" in frame.columns else None
    who = encoded(frame["annotator"].cast(pl.String)) if "annotator" in frame.columns else None
    prompt = next((encoded(frame[c].cast(pl.String))[1] for c in names.PROMPTS if c in frame.columns), None)
    return Votes(
        items,
        left,
        right,
        outcome,
        weight=weight,
        first=_first(frame) if sides in HOME else None,
        annotator=None if who is None else who[1],
        annotators=() if who is None else who[0],
        prompt=prompt,
        days=_days(frame, name) if "time" in frame.columns else None,
        extra=frame.drop(sides),
        dropped=+dropped,
    )


def _outcome(
    frame: pl.DataFrame,
    sides: tuple[str, str],
    items: Sequence[str],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    labels: Mapping[str, str],
    name: str,
) -> NDArray[np.int8]:
    """What each row says [N], -1 where it says nothing."""
    if sides == ("winner", "loser"):
        return np.full(len(frame), LEFT, dtype=np.int8)
    column = next((v for v in names.VERDICTS if v in frame.columns), None)
    if column is None:
        scores = next(s for s in names.SCORES if set(s) <= set(frame.columns))
        try:
            a, b = (frame[s].cast(pl.Float64).to_numpy() for s in scores)
        except pl.exceptions.PolarsError:
            raise FeedbackError(f"{name}: columns {scores[0]} and {scores[1]} hold words where scores belong") from None
        return np.select([a > b, a < b, a == b], [LEFT, RIGHT, TIE], -1).astype(np.int8)
    words, said = _words(frame[column].cast(pl.String))
    meanings = _verdicts(labels)
    # One entry a distinct word, and one for no word at all, which -1 finds at the end.
    meaning = np.array([meanings.get(word.strip().lower(), -1) for word in words] + [-1], dtype=np.int8)
    outcome: NDArray[np.int8] = meaning[said]
    if (meaning[:-1] < 0).any():
        # A verdict may also be the winner's own name, which goes before any meaning of the word.
        places = {item: i for i, item in enumerate(items)}
        item = np.array([places.get(word.strip(), -2) for word in words] + [-2])
        outcome = np.select([item[said] == left, item[said] == right], [LEFT, RIGHT], outcome).astype(np.int8)
    empty = np.array([not word.strip() for word in words] + [True])
    strange = (outcome < 0) & ~empty[said] & (left >= 0) & (right >= 0)
    if strange.any():
        row = int(strange.argmax())
        word = words[said[row]][:60]
        raise FeedbackError(
            f"{name}, row {row + 1}, field '{column}': {int(strange.sum()):,} verdicts are not known, the first is "
            f"'{word}'; write model_a, model_b, tie, both_bad or the winner's name, or say what the words mean: "
            f"labels={{'{word}': 'left'}}"
        )
    return outcome


def _words(values: pl.Series) -> tuple[list[str], NDArray[Any]]:
    """Distinct strings and each value's place among them [n], -1 for null; a few of them are found by comparing."""
    if values.null_count():
        return encoded(values)
    words: list[str] = []
    place = np.full(len(values), -1, dtype=np.int8)
    row = 0
    while len(words) < FEW and place[row] < 0:
        words.append(values[row])
        place[(values == words[-1]).to_numpy()] = len(words) - 1
        row = int(place.argmin())
    return (words, place) if not len(place) or place[row] >= 0 else encoded(values)


def _verdicts(labels: Mapping[str, str]) -> dict[str, int]:
    known = dict(VERDICTS)
    for theirs, ours in labels.items():
        if str(ours).lower() not in VERDICTS:
            raise OptionError(f"labels: '{ours}' is no verdict; use left, right, tie or both_bad")
        known[str(theirs).lower()] = VERDICTS[str(ours).lower()]
    return known


def encoded(values: pl.Series) -> tuple[list[str], NDArray[np.int32]]:
    """Sorted distinct strings and each value's place among them [n], -1 for null.

    >>> encoded(pl.Series(["b", None, "a"]))
    (['a', 'b'], array([ 1, -1,  0], dtype=int32))
    """
    category = values.cast(pl.Categorical)
    seen = category.unique().drop_nulls()
    distinct = seen.cast(pl.String)
    order = distinct.arg_sort().to_numpy()
    # Physical codes are places in a store that other columns may share, so they are mapped to our own.
    physical = seen.to_physical().to_numpy()
    place = np.full(int(physical.max()) + 2 if len(physical) else 1, -1, dtype=np.int32)
    place[physical[order]] = np.arange(len(order), dtype=np.int32)
    codes = category.to_physical()
    codes = codes.fill_null(len(place) - 1) if codes.null_count() else codes
    return distinct.gather(order).to_list(), place[codes.to_numpy()]


def _weight(frame: pl.DataFrame, name: str) -> NDArray[np.float64]:
    try:
        weight = frame["weight"].cast(pl.Float64).to_numpy()
    except pl.exceptions.PolarsError:
        raise FeedbackError(f"{name}, field 'weight': holds words where numbers belong") from None
    bad = ~(weight >= 0) | np.isinf(weight)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise FeedbackError(
            f"{name}, row {row + 1}, field 'weight': {weight[row]} is no weight; use a number of votes, zero or more"
        )
    return np.asarray(weight)


def _first(frame: pl.DataFrame) -> NDArray[np.int8] | None:
    """Who was at home [N]: the left side, or nobody (-1) on neutral ground, where a table says which that was."""
    if "neutral" not in frame.columns:
        return None
    neutral = frame["neutral"].cast(pl.String).str.to_lowercase().is_in(["true", "1", "yes"])
    return np.where(neutral.fill_null(False).to_numpy(), -1, 0).astype(np.int8)


def _days(frame: pl.DataFrame, name: str) -> NDArray[np.float64]:
    time = frame["time"]
    if time.dtype == pl.String:
        time = _parsed_time(time)
        if time.null_count() == len(time):
            raise FeedbackError(f"{name}, field 'time': '{frame['time'][0]}' is no time; write 2024-12-31 or seconds")
    if time.dtype.is_numeric():
        # Seconds since 1970, as arenas record them; smaller numbers are days or rounds and stay as they are.
        days = time.cast(pl.Float64).to_numpy()
        return np.asarray(days / 86_400 if np.nanmedian(days) > 1e8 else days)
    return np.asarray(time.cast(pl.Datetime("us")).dt.epoch("us").to_numpy() / 86_400e6)


def _parsed_time(words: pl.Series) -> pl.Series:
    """Words as times or numbers, whichever reading understands most of them."""
    found = [words.cast(pl.Float64, strict=False)]
    for read_as in (words.str.to_datetime, words.str.to_date):
        try:
            found.append(read_as(strict=False))
        except pl.exceptions.PolarsError:
            # No date format fits even the first of them.
            continue
    return min(found, key=lambda s: s.null_count())


def _from_feedback(feedback: Feedback) -> Votes:
    """Votes from the record: pairs as they are, rankings as all their pairs."""
    kinds = feedback.kinds
    if kinds["rankings"] or kinds["choices"] or kinds["ratings"]:
        feedback = feedback.pairs()
    frame = pl.DataFrame(feedback.table.select(_COLUMNS)).filter(pl.col("responses").list.len() == 2)
    side = [pl.col("responses").list.get(i) for i in (0, 1)]
    text = [s.struct.field("messages").list.eval(pl.element().struct.field("content")).list.join("\n\n") for s in side]
    sides = [
        pl.coalesce(s.struct.field("model"), s.struct.field("id"), pl.when(t != "").then(t)).alias(name)
        for s, t, name in zip(side, text, ("left", "right"), strict=True)
    ]
    rank = [pl.col("ranks").list.get(i, null_on_oob=True) for i in (0, 1)]
    signed = pl.col("strength").sign()
    soft = (pl.col("probability") - 0.5).sign()
    said = pl.coalesce((rank[1] - rank[0]).sign().cast(pl.Float64), signed, soft)
    outcome = pl.when(pl.col("both_bad")).then(BOTH_BAD).when(said > 0).then(LEFT).when(said < 0).then(RIGHT)
    shown = pl.col("positions").list.get(0, null_on_oob=True) - pl.col("positions").list.get(1, null_on_oob=True)
    frame = frame.select(
        *sides,
        outcome.when(said == 0).then(TIE).cast(pl.Int8).alias("outcome"),
        pl.when(shown < 0).then(0).when(shown > 0).then(1).otherwise(-1).cast(pl.Int8).alias("first"),
        *(pl.col(c) for c in _COLUMNS if c not in ("responses", "ranks", "positions", "both_bad")),
    )
    total = len(frame)
    frame = frame.filter(pl.all_horizontal(pl.col("left", "right", "outcome").is_not_null()))
    dropped = Counter({"no-item-or-verdict": total - len(frame)})
    same = frame["left"] == frame["right"]
    dropped["same-item-twice"] = int(same.sum())
    frame = frame.filter(~same)
    if not len(frame):
        raise FeedbackError("no row says which of two named items won; give votes between models, or rankings")
    items, codes = encoded(pl.concat([frame["left"], frame["right"]]))
    who = encoded(frame["annotator"]) if frame["annotator"].null_count() < len(frame) else None
    prompts = frame["prompt_id"]
    weight = frame["weight"]
    first = frame["first"].to_numpy()
    return Votes(
        items,
        codes[: len(frame)],
        codes[len(frame) :],
        frame["outcome"].to_numpy(),
        weight=None if weight.null_count() == len(weight) else weight.fill_null(1.0).to_numpy(),
        first=first if (first >= 0).any() else None,
        annotator=None if who is None else who[1],
        annotators=() if who is None else who[0],
        prompt=None if prompts.null_count() == len(prompts) else encoded(prompts)[1],
        days=None if frame["time"].null_count() == len(frame) else frame["time"].dt.epoch("us").to_numpy() / 86_400e6,
        extra=frame.select("strength", "criterion", "context", "source"),
        dropped=+dropped,
    )


_COLUMNS = [
    "responses",
    "ranks",
    "positions",
    "both_bad",
    "strength",
    "probability",
    "weight",
    "annotator",
    "time",
    "prompt_id",
    "criterion",
    "context",
    "source",
]
