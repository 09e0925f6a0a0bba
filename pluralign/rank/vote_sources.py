"""Where votes come from: plain tables by the names of their columns, and the record of feedback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pluralign.errors import FeedbackError, OptionError
from pluralign.feedback import Feedback, read
from pluralign.feedback.formats import table as names
from pluralign.feedback.source import is_tabular
from pluralign.rank.votes import BOTH_BAD, LEFT, RIGHT, TIE, Votes, blocks, encoded

SIDES = (*names.SIDES, ("winner", "loser"))
_OF_RANKS = {(1, 2): LEFT, (2, 1): RIGHT, (1, 1): TIE}
VERDICTS = {
    **{word: _OF_RANKS[ranks] for word, ranks in names.LABELS.items()},
    **dict.fromkeys(names.BOTH_BAD, BOTH_BAD),
}
HOME = (("home_team", "away_team"), ("home", "away"))
RANKING = "ranking_row"
"""The column beside votes that are pairs of rankings: a number for the ranking that each is of."""
FEW = 8
"""Up to so many distinct verdicts it is quicker to look for each than to give every value a code."""
VERDICT_COLUMNS = names.VERDICTS
Table = TypeVar("Table", pl.DataFrame, pl.LazyFrame)
_PLAIN = (".csv", ".tsv", ".parquet")


def votes_of(data: Any, columns: Mapping[str, str], labels: Mapping[str, str]) -> Votes:
    """See `Votes.of`."""
    if isinstance(data, Feedback):
        return _from_feedback(data)
    frame, name = frame_of(data)
    if frame is not None:
        frame = renamed(frame, frame.columns, columns, name)
        if _sides(frame) is not None:
            return _from_frame(frame, labels, name)
    if labels:
        raise OptionError("labels are for tables with plain columns; this source is read by its own format")
    return _from_feedback(read(data, columns=columns or None))


def frame_of(data: Any) -> tuple[pl.DataFrame | None, str]:
    """A frame of plain columns and what to call it, or None where the source has none."""
    if isinstance(data, pl.DataFrame):
        return data, "frame"
    if isinstance(data, Mapping):
        try:
            return pl.DataFrame(data), "columns"
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            what = str(error).partition("\n")[0]
            raise FeedbackError(f"columns have equal lengths and values of one kind each: {what}") from None
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


def renamed(frame: Table, known: Sequence[str], columns: Mapping[str, str], name: str) -> Table:
    """A frame, read or yet to be read, whose columns `known` have our names where mapping or custom give one."""
    for ours, theirs in columns.items():
        if theirs not in known:
            raise FeedbackError(
                f"{name}: there is no column '{theirs}' to use as {ours}; its columns are {', '.join(known)}"
            )
    gone = [ours for ours in columns if ours in known and ours not in columns.values()]
    mapping = {theirs: ours for ours, theirs in columns.items()}
    present = {mapping.get(column, column) for column in known if column not in gone}
    for synonym, ours in names.SYNONYMS.items():
        if synonym in present and ours not in present:
            mapping[next((theirs for theirs, mine in mapping.items() if mine == synonym), synonym)] = ours
            present.add(ours)
    # Neither is free where there is nothing to do.
    frame = frame.drop(gone) if gone else frame
    return frame.rename(mapping) if mapping else frame


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
    dropped: Counter[str] = Counter()
    alone = any((left[block] == right[block]).any() for block in blocks(len(left)))
    if alone or min(values.min(initial=0) for values in (left, right, outcome)) < 0:
        same = left == right
        known = (left >= 0) & (right >= 0) & (outcome >= 0)
        keep = known & ~same
        dropped += Counter({"no-item-or-verdict": int((~known).sum()), "same-item-twice": int((known & same).sum())})
        frame, left, right, outcome = frame.filter(keep), left[keep], right[keep], outcome[keep]
    if not len(left):
        raise FeedbackError(f"{name}: no row says which of two items won")
    weight = _weight(frame, name) if "weight" in frame.columns else None
    who = encoded(frame["annotator"].cast(pl.String)) if "annotator" in frame.columns else None
    prompt = next((encoded(frame[c].cast(pl.String))[1] for c in names.PROMPTS if c in frame.columns), None)
    days, dated = _days(frame, name) if "time" in frame.columns else (None, False)
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
        days=days,
        dated=dated,
        extra=_without(frame, sides),
        dropped=dropped,
    )


def _without(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Quicker than `frame.drop`, which asks the query engine."""
    rest = frame.clone()
    for column in columns:
        rest.drop_in_place(column)
    return rest


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
    outcome: NDArray[np.int8] = meaning[said] if len(words) > FEW else _chosen(meaning, said)
    if (meaning[:-1] < 0).any():
        # A verdict may also be the winner's own name, which goes before any meaning of the word.
        places = {item: i for i, item in enumerate(items)}
        item = np.array([places.get(word.strip(), -2) for word in words] + [-2])
        outcome = np.select([item[said] == left, item[said] == right], [LEFT, RIGHT], outcome).astype(np.int8)
    if outcome.min(initial=0) >= 0:
        return outcome
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
    if values.null_count() or not len(values):
        return encoded(values)
    words: list[str] = []
    after = np.zeros(len(values), dtype=np.int8)
    row = 0
    while len(words) < FEW and after[row] == 0:
        words.append(values[row])
        here = (values == words[-1]).to_numpy(writable=True).view(np.int8)
        here *= len(words)
        after += here
        row = int(after.argmin())
    after -= 1
    return (words, after) if after[row] >= 0 else encoded(values)


def _chosen(meaning: NDArray[np.int8], said: NDArray[Any]) -> NDArray[np.int8]:
    """meaning[said] for a few meanings, the last one for -1: comparing is quicker than looking up."""
    outcome = np.full(len(said), meaning[-1], dtype=np.int8)
    for block in blocks(len(said)):
        for k, value in enumerate(meaning[:-1]):
            outcome[block] += (said[block] == k).view(np.int8) * (value - meaning[-1])
    return outcome


def _verdicts(labels: Mapping[str, str]) -> dict[str, int]:
    known = dict(VERDICTS)
    for theirs, ours in labels.items():
        if str(ours).lower() not in VERDICTS:
            raise OptionError(f"labels: '{ours}' is no verdict; use left, right, tie or both_bad")
        known[str(theirs).lower()] = VERDICTS[str(ours).lower()]
    return known


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


def _days(frame: pl.DataFrame, name: str) -> tuple[NDArray[np.float64], bool]:
    """Times of votes [N], and whether they are days since 1970."""
    time = frame["time"]
    if time.dtype == pl.String:
        time = _parsed_time(time)
        if time.null_count() == len(time):
            raise FeedbackError(f"{name}, field 'time': '{frame['time'][0]}' is no time; write 2024-12-31 or seconds")
    if time.dtype.is_numeric():
        # Seconds since 1970, as arenas record them; smaller numbers are days or rounds and stay as they are.
        days = time.cast(pl.Float64).to_numpy()
        dated = bool(np.nanmedian(days) > 1e8)
        return np.asarray(days / 86_400 if dated else days), dated
    return np.asarray(time.cast(pl.Datetime("us")).dt.epoch("us").to_numpy() / 86_400e6), True


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
        feedback = feedback.pairs(equal_texts="keep")
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
        *(pl.when(t != "").then(t).alias(name) for t, name in zip(text, ("response_a", "response_b"), strict=True)),
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
    extra = frame.select("strength", "criterion", "context", "source", "meta", "response_a", "response_b")
    whole = frame.select(pl.struct("source", "row").rank("dense").cast(pl.Int64).alias(RANKING)).to_series()
    if kinds["rankings"] and whole.n_unique() < len(whole):
        extra = extra.with_columns(whole)
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
        dated=True,
        extra=extra,
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
    "row",
    "meta",
]
