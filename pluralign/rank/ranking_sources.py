"""Rankings from what people have them in: PrefLib files, tables of ranks, lists of names, the record, votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pluralign.errors import BadRow, FeedbackError
from pluralign.feedback import Feedback, read
from pluralign.feedback.formats import preflib
from pluralign.feedback.formats._files import lines
from pluralign.rank.rankings import Rankings, Unranked
from pluralign.rank.vote_sources import frame_of
from pluralign.rank.votes import BOTH_BAD, LEFT, RIGHT, TIE, Votes, encoded

LONG = ("ranking", "item", "rank")


def rankings(data: Any, unranked: Unranked) -> Rankings:
    """See `Rankings.of`."""
    if isinstance(data, Votes):
        return _from_votes(data)
    if isinstance(data, Feedback):
        return _from_feedback(data, unranked)
    if isinstance(data, (pl.DataFrame, Mapping)) or hasattr(data, "__arrow_c_stream__") or hasattr(data, "columns"):
        return _from_frame(pl.DataFrame(data), unranked)
    if isinstance(data, (str, Path)):
        return _from_path(Path(data), unranked)
    rows = list(data)
    if rows and all(isinstance(row, (list, tuple)) for row in rows):
        return _from_lists(rows)
    return _from_feedback(read(rows), unranked)


def orders(data: Any) -> bool:
    """Whether a source holds orders or ranks of items as such, rather than votes or the record of feedback."""
    if isinstance(data, (str, Path)):
        path = Path(data)
        frame, _ = frame_of(path)
        return _ordered(frame) if frame is not None else _is_preflib(path)
    if isinstance(data, (pl.DataFrame, Mapping)) or hasattr(data, "__arrow_c_stream__") or hasattr(data, "columns"):
        return not isinstance(data, Feedback) and _ordered(pl.DataFrame(data))
    return isinstance(data, Sequence) and bool(data) and all(isinstance(row, (list, tuple)) for row in data)


def _ordered(frame: pl.DataFrame) -> bool:
    return set(LONG) <= set(frame.columns) or _ranks(frame) is not None


def _is_preflib(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return preflib.MARK in file.read(4096)


def _made(
    items: Sequence[str],
    ranking: NDArray[Any],
    code: NDArray[np.int32],
    place: NDArray[Any],
    count: int,
    *,
    below: NDArray[np.bool_] | None = None,
    weight: NDArray[np.float64] | None = None,
    annotator: NDArray[np.int32] | None = None,
    annotators: Sequence[str] = (),
) -> Rankings:
    """Rankings from entries in any order: numbers of the ranking (below `count`), the item and the place."""
    order = np.lexsort((code, place, ranking))
    ranking, code, place = ranking[order], code[order], place[order]
    pair = np.sort(ranking.astype(np.int64) * len(items) + code)
    twice = np.flatnonzero(pair[1:] == pair[:-1])
    if len(twice):
        row, item = divmod(int(pair[twice[0]]), len(items))
        raise FeedbackError(f"ranking {row + 1}: '{items[item]}' is in it twice; give every item one place")
    size = np.bincount(ranking, minlength=count)
    keep = size > 1
    dropped = Counter({"fewer-than-two-items": int((~keep).sum())})
    inside = keep[ranking]
    ranking, code, place = ranking[inside], code[inside], place[inside]
    if not len(code):
        raise FeedbackError("no ranking holds two items or more, so there is nothing to rank by")
    offsets = np.concatenate(([0], np.cumsum(size[keep])))
    step = np.zeros(len(code), dtype=np.int32)
    step[1:] = place[1:] != place[:-1]
    step[offsets[:-1]] = 0
    level = np.cumsum(step, dtype=np.int32)
    level -= np.repeat(level[offsets[:-1]], size[keep])
    return Rankings(
        items,
        np.ascontiguousarray(code, dtype=np.int32),
        level.astype(np.int32),
        offsets.astype(np.int64),
        np.zeros(int(keep.sum()), dtype=bool) if below is None else below[keep],
        weight=None if weight is None else weight[keep],
        annotator=None if annotator is None else annotator[keep],
        annotators=annotators,
        dropped=+dropped,
    )


def _coded(values: pl.Series) -> tuple[list[str], NDArray[np.int32]]:
    """Names and codes; numbers are ordered as numbers."""
    if not values.dtype.is_integer():
        return encoded(values.cast(pl.String))
    distinct, code = np.unique(values.to_numpy(), return_inverse=True)
    return [str(v) for v in distinct], code.astype(np.int32)


def _from_lists(rows: Sequence[Sequence[Any]]) -> Rankings:
    tied = (list, tuple, set, frozenset)
    if any(isinstance(entry, tied) for row in rows for entry in row):
        groups = [[list(e) if isinstance(e, tied) else [e] for e in row] for row in rows]
        entries = [(r, p, item) for r, row in enumerate(groups) for p, group in enumerate(row) for item in group]
        ranking, place = (np.array([e[k] for e in entries], dtype=np.int64) for k in (0, 1))
        flat = [e[2] for e in entries]
    else:
        lengths = np.array([len(row) for row in rows])
        ranking = np.repeat(np.arange(len(rows)), lengths)
        place = np.arange(len(ranking)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        flat = list(chain.from_iterable(rows))
    if not all(isinstance(item, (str, int, np.integer)) for item in flat):
        strange = next(item for item in flat if not isinstance(item, (str, int, np.integer)))
        raise FeedbackError(f"rankings as lists hold names or numbers of items, and {strange!r} is neither")
    numbers = bool(flat) and all(not isinstance(item, str) for item in flat)
    items, code = _coded(pl.Series(flat if numbers else [str(item) for item in flat]))
    return _made(items, ranking, code, place, len(rows))


def _from_path(path: Path, unranked: Unranked) -> Rankings:
    """Orders and tables of ranks without the record between; everything else by way of it."""
    frame, _ = frame_of(path)
    if frame is not None and _ordered(frame):
        return _from_frame(frame, unranked)
    if _is_preflib(path):
        return _from_preflib(path, unranked)
    return _from_feedback(read(path), unranked)


def _from_preflib(path: Path, unranked: Unranked) -> Rankings:
    header, orders = preflib.headed(lines(path))
    items = preflib.names(header, preflib.ALTERNATIVE)
    found, weight, dropped = [], [], Counter[str]()
    for line in orders:
        try:
            count, places = preflib.order(line, len(items))
        except BadRow as error:
            dropped[error.reason] += 1
            continue
        found.append(places)
        weight.append(count)
    ranks = np.array(found, dtype=np.float64).reshape(-1, len(items))
    made = _from_ranks(items, ranks, unranked, _checked(np.array(weight)))
    return replace(made, dropped=made.dropped + dropped)


def _ranks(frame: pl.DataFrame) -> NDArray[np.float64] | None:
    """[R, n] ranks where every column holds whole numbers, 1 the best of every row; else None."""
    if len(frame.columns) < 2 or not all(kind.is_numeric() for kind in frame.dtypes) or not len(frame):
        return None
    ranks = frame.select(pl.all().cast(pl.Float64)).to_numpy()
    best = np.where(np.isnan(ranks), np.inf, ranks).min(1)
    whole = np.array_equal(ranks, np.round(ranks), equal_nan=True)
    return ranks if whole and bool(np.isin(best, (1, np.inf)).all()) else None


def _from_frame(frame: pl.DataFrame, unranked: Unranked) -> Rankings:
    if set(LONG) <= set(frame.columns):
        return _from_long(frame)
    ranks = _ranks(frame)
    if ranks is None:
        raise FeedbackError(
            "a frame of rankings has the columns ranking, item and rank, or one column an item with its rank in every "
            f"cell, 1 for the best; this one has {', '.join(frame.columns)}"
        )
    return _from_ranks(frame.columns, ranks, unranked)


def _from_ranks(
    items: Sequence[str],
    ranks: NDArray[np.float64],
    unranked: Unranked,
    weight: NDArray[np.float64] | None = None,
) -> Rankings:
    """Rankings from ranks [R, n], NaN where an item has none."""
    below = np.zeros(len(ranks), dtype=bool)
    if unranked == "below":
        gap = np.isnan(ranks)
        below[gap.any(1)] = True
        ranks = np.where(gap, np.inf, ranks)
    ranking, code = np.nonzero(~np.isnan(ranks))
    place = ranks[ranking, code]
    return _made(items, ranking, code.astype(np.int32), place, len(ranks), below=below, weight=weight)


def _from_long(frame: pl.DataFrame) -> Rankings:
    missing = frame.select(pl.any_horizontal(pl.col(LONG).is_null())).to_series()
    if missing.any():
        row = int(missing.arg_max() or 0) + 1
        raise FeedbackError(f"row {row} lacks a ranking, an item or a rank; fill it in or leave the row out")
    _, ranking = _coded(frame["ranking"])
    items, code = _coded(frame["item"])
    try:
        place = frame["rank"].cast(pl.Float64).to_numpy()
    except pl.exceptions.PolarsError:
        raise FeedbackError("field 'rank': holds words where places belong; write 1 for the best") from None
    count = int(ranking.max()) + 1 if len(ranking) else 0
    first = np.full(count, len(ranking))
    np.minimum.at(first, ranking, np.arange(len(ranking)))
    who = _coded(frame["annotator"]) if "annotator" in frame.columns else None
    weight = frame["weight"].cast(pl.Float64).to_numpy()[first] if "weight" in frame.columns else None
    return _made(
        items,
        ranking,
        code,
        place,
        count,
        weight=None if weight is None else _checked(weight),
        annotator=None if who is None else who[1][first],
        annotators=() if who is None else who[0],
    )


def _checked(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    bad = ~(weight >= 0) | np.isinf(weight)
    if bad.any():
        row = int(bad.argmax())
        raise FeedbackError(f"ranking {row + 1}: {weight[row]} is no weight; use a number of rankings, zero or more")
    return weight


def _from_votes(votes: Votes) -> Rankings:
    known = votes.outcome != BOTH_BAD
    rows = np.flatnonzero(known)
    swap = votes.outcome[rows] == RIGHT
    first, second = (
        np.where(swap, a[rows], b[rows]) for a, b in ((votes.right, votes.left), (votes.left, votes.right))
    )
    level = np.zeros((len(rows), 2), dtype=np.int32)
    level[:, 1] = votes.outcome[rows] != TIE
    assert LEFT == 0
    return Rankings(
        votes.items,
        np.stack([first, second], 1).ravel().astype(np.int32),
        level.ravel(),
        np.arange(0, 2 * len(rows) + 1, 2),
        np.zeros(len(rows), dtype=bool),
        weight=None if votes.weight is None else votes.weight[rows],
        annotator=None if votes.annotator is None else votes.annotator[rows],
        annotators=votes.annotators,
        dropped=+Counter({"both-bad": int((~known).sum())}),
    )


def _from_feedback(feedback: Feedback, unranked: Unranked) -> Rankings:
    """Rankings from the record, without a step of Python for each row."""
    frame = pl.DataFrame(feedback.table.select(["responses", "ranks", "unranked_below", "weight", "annotator"]))
    frame = frame.with_row_index("row").filter(pl.col("ranks").list.len() > 1)
    if not len(frame):
        raise FeedbackError("no row ranks two responses or more; ratings become rankings by feedback.rankings()")
    response = pl.col("responses").struct
    text = response.field("messages").list.eval(pl.element().struct.field("content")).list.join("\n\n")
    entries = frame.select(
        pl.int_range(pl.len()).alias("ranking"), "row", "responses", "ranks", "unranked_below"
    ).explode("responses", "ranks")
    entries = entries.select(
        "ranking",
        "row",
        "ranks",
        pl.coalesce(response.field("model"), response.field("id"), pl.when(text != "").then(text)).alias("item"),
        pl.col("unranked_below").fill_null(False).alias("below"),
    )
    if entries["item"].null_count():
        row = int(entries.filter(pl.col("item").is_null())["row"][0]) + 1
        raise FeedbackError(f"row {row}: a response has neither a name nor a text, so it is no item to rank")
    if unranked == "below":
        entries = entries.with_columns(pl.lit(True).alias("below"))
    if unranked == "absent":
        entries = entries.with_columns(pl.lit(False).alias("below"))
    entries = entries.filter(pl.col("ranks").is_not_null() | pl.col("below"))
    items, code = encoded(entries["item"])
    place = entries["ranks"].fill_null(np.iinfo(np.int32).max).to_numpy()
    ranking = entries["ranking"].to_numpy()
    below = np.zeros(len(frame), dtype=bool)
    below[ranking[entries["ranks"].is_null().to_numpy()]] = True
    who = encoded(frame["annotator"]) if frame["annotator"].null_count() < len(frame) else None
    weight = frame["weight"]
    return _made(
        items,
        ranking,
        code,
        place,
        len(frame),
        below=below,
        weight=None if weight.null_count() == len(weight) else weight.fill_null(1.0).to_numpy(),
        annotator=None if who is None else who[1],
        annotators=() if who is None else who[0],
    )
