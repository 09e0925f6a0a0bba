"""Items ranked from scattered measurements: each sample says only in which order it puts the items it was run on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank.plackett_luce import PlackettLuce
from pluralign.rank.ranking_sources import LONG
from pluralign.rank.rankings import Rankings
from pluralign.rank.vote_sources import frame_of

COLUMNS = ("sample", "item", "value")


def rank_measurements(
    data: Any, *, lower_is_better: Collection[str] = (), columns: Mapping[str, str] | None = None, ridge: float = 0.01
) -> PlackettLuce:
    """Plackett-Luce scores of items from measurements of many kinds, of which most are missing.

    data: a table (frame, file or columns) of one measurement a row: sample, item, value, and metric where there are
    several. Values of different samples are never compared, so scales and difficulties do not matter, and an item may
    have been run on easy samples only. lower_is_better: metrics whose small values are good. columns: our names -> the
    source's. ridge: of the fit; it holds items that won or lost everything. To rank for one purpose, give the rows of
    its samples.

    ONEBench (Ghosh et al. 2024): orders become choices of one item from those it beats, see `choices`. Raises
    `FeedbackError` for what is no such table.

    >>> rows = {"sample": [1, 1, 2, 2, 3, 3], "item": ["a", "b", "b", "c", "a", "c"], "value": [1.0, 0, 7.5, 2.5, 0, 1]}
    >>> model = rank_measurements(rows)
    >>> [model.items_[i] for i in np.argsort(-model.scores_)]
    ['a', 'b', 'c']
    """
    return PlackettLuce(ridge=ridge).fit(choices(orders_of(data, lower_is_better, columns or {})))


def orders_of(data: Any, lower_is_better: Collection[str], columns: Mapping[str, str]) -> Rankings:
    """A ranking with ties for every sample (and metric) on which two items or more were measured."""
    frame, name = frame_of(data)
    if frame is None:
        raise FeedbackError(
            f"{name}: measurements come as a frame, a mapping of columns, or a CSV, TSV or Parquet file"
        )
    for ours, theirs in columns.items():
        if theirs not in frame.columns:
            raise FeedbackError(
                f"{name}: there is no column '{theirs}' to use as {ours}; its columns are {', '.join(frame.columns)}"
            )
    frame = frame.rename({theirs: ours for ours, theirs in columns.items()})
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise FeedbackError(
            f"{name}: there is no column '{missing[0]}'; measurements have sample, item and value, or say which they "
            f"are: columns={{'{missing[0]}': '{frame.columns[0]}'}}"
        )
    try:
        value = frame["value"].cast(pl.Float64)
    except pl.exceptions.PolarsError:
        raise FeedbackError(f"{name}, field 'value': holds words where measured numbers belong") from None
    metric = (
        frame["metric"].cast(pl.String) if "metric" in frame.columns else pl.Series([""]).new_from_index(0, len(frame))
    )
    unknown = sorted(set(lower_is_better) - set(metric.unique()))
    if unknown:
        raise OptionError(
            f"lower_is_better: there is no metric '{unknown[0]}' among {', '.join(metric.unique().sort())}"
        )
    rows = pl.DataFrame(
        {
            "sample": frame["sample"].cast(pl.String),
            "metric": metric,
            "item": frame["item"].cast(pl.String),
            "place": pl.select(pl.when(metric.is_in(list(lower_is_better))).then(value).otherwise(-value)).to_series(),
        }
    ).filter(pl.col("place").is_not_nan())
    rows = rows.drop_nulls()
    # A number for each sample and metric, and places from 1 within it.
    rows = rows.select(
        pl.struct("sample", "metric").rank("dense").alias(LONG[0]),
        pl.col("item").alias(LONG[1]),
        pl.col("place").rank("dense").over("sample", "metric").alias(LONG[2]),
    )
    return Rankings.of(rows)


def choices(rankings: Rankings) -> Rankings:
    """Every item chosen by itself from those it stands above: ties say nothing, and nothing is lost to them.

    >>> chosen = choices(Rankings.of([[["a", "b"], ["c", "d"]]]))
    >>> [chosen.names(i) for i in range(len(chosen))]
    [[['a'], ['c', 'd']], [['b'], ['c', 'd']]]
    """
    upper, lower, ranking = rankings.above()
    if not len(upper):
        raise FeedbackError("no sample puts one item above another, so there is nothing to rank by")
    # Pairs of one ranking and one upper item stand together, best first.
    fresh = np.concatenate(([True], (ranking[1:] != ranking[:-1]) | (upper[1:] != upper[:-1])))
    start = np.flatnonzero(fresh)
    beaten = np.diff(np.append(start, len(upper)))
    offsets = np.concatenate(([0], np.cumsum(beaten + 1)))
    flat = np.empty(offsets[-1], dtype=np.int32)
    level = np.ones(offsets[-1], dtype=np.int32)
    chosen = offsets[:-1]
    level[chosen] = 0
    flat[chosen] = upper[start]
    flat[level == 1] = lower
    owner = ranking[start]
    return replace(
        rankings,
        flat=flat,
        level=level,
        offsets=offsets,
        unranked_below=beaten > 1,
        weight=None if rankings.weight is None else rankings.weight[owner],
        annotator=None if rankings.annotator is None else rankings.annotator[owner],
    )
