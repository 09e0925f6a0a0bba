"""A table of judgements laid out for counting: one frame a row, one a response, one a compared pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

BATCH = 50_000  # texts worked on at once; keeps the working set near 100 MB for ordinary replies
_NUMBERED = ("both_bad", "strength", "probability", "thumb", "weight", "unranked_below")
_NAMED = ("annotator", "criterion", "context", "source")


@dataclass(frozen=True)
class Cells:
    """What the checks read. Texts are polars strings that share the Arrow buffers of the table.

    prompts: [N] text of each row's prompt ('' where there is none).
    responses: [M] text of every response, rows in order; `has_text` [M] is False where only a producer is named.
    rows: [N] frame with `k` (number of responses), `prompt` (key: same prompt, same number), `annotator`, `criterion`,
        `context`, `source` (keys as numbers, null where not given), `both_bad`, `strength`, `probability`, `weight`.
    lines: [M] frame with `row`, `side` (0 is the first response of the row), `rank`, `position`, `item` (key: the
        response's id, else its text, else its model).
    """

    table: pa.Table
    prompts: pl.Series
    responses: pl.Series
    has_text: NDArray[np.bool_]
    rows: pl.DataFrame
    lines: pl.DataFrame

    @cached_property
    def pairs(self) -> pl.DataFrame:
        """Every pair of responses of one row about which the row says something.

        Columns `row`, `a`, `b` (lines; a comes first in the row), `outcome`: 1 a is better, -1 b is better, 0 a tie.
        """
        return _pairs(self)

    @cached_property
    def decided(self) -> pl.DataFrame:
        """The pairs without ties, with `winner` and `loser` (lines) added."""
        won = pl.col("outcome") > 0
        return self.pairs.filter(pl.col("outcome") != 0).with_columns(
            pl.when(won).then("a").otherwise("b").alias("winner"), pl.when(won).then("b").otherwise("a").alias("loser")
        )

    def column(self, name: str) -> pl.Series:
        """A top-level column of the table as polars."""
        return _series(self.table[name])

    def names(self, column: str) -> pl.Series:
        """The names behind the numbers in `rows[column]`, by number."""
        return _series(pa.chunked_array([self.table[column].combine_chunks().dictionary_encode().dictionary]))

    def ratings(self) -> pl.DataFrame:
        """Every rating given: `row`, `line`, `aspect`, `value`."""
        return self._ratings

    @cached_property
    def _ratings(self) -> pl.DataFrame:
        parts, line = [], 0
        for chunk in self.table["responses"].chunks:
            lists = pc.struct_field(pc.list_flatten(chunk), "ratings")
            size = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
            flat = pc.list_flatten(lists)
            owner = np.repeat(np.arange(len(lists)) + line, size).astype(np.int32)
            aspect, value = (pl.from_arrow(pc.struct_field(flat, name)) for name in ("aspect", "value"))
            parts.append(pl.DataFrame({"line": owner, "aspect": aspect, "value": value}))
            line += len(lists)
        kinds = {"line": pl.Int32, "aspect": pl.String, "value": pl.Float64}
        ratings = pl.concat([pl.DataFrame(schema=kinds), *(p.match_to_schema(kinds) for p in parts)])
        return ratings.with_columns(self.lines["row"].gather(ratings["line"]).alias("row"))

    def step_labels(self) -> NDArray[np.bool_]:
        """[N] whether any step of the row's responses carries a label of its own."""
        found = np.zeros(len(self.rows), dtype=bool)
        line = 0
        row = self.lines["row"].to_numpy()
        for chunk in self.table["responses"].chunks:
            messages = pc.struct_field(pc.list_flatten(chunk), "messages")
            label = pc.struct_field(pc.list_flatten(messages), "label")
            if label.null_count < len(label):
                owner = np.asarray(pc.list_parent_indices(messages))[pc.is_valid(label).to_numpy(zero_copy_only=False)]
                found[row[owner + line]] = True
            line += len(messages)
        return found

    def model(self) -> pl.Series:
        """[M] name of what produced each response, null where not given."""
        return _series(_field(self.table["responses"], "model"))

    def response_id(self) -> pl.Series:
        """[M] id of each response's text, null where not given."""
        return _series(_field(self.table["responses"], "id"))


def cells(table: pa.Table) -> Cells:
    """Lay a table of `record.SCHEMA` out for the checks."""
    responses = table["responses"]
    k = pc.fill_null(pc.list_value_length(responses), 0).to_numpy().astype(np.int32)
    row = np.repeat(np.arange(table.num_rows, dtype=np.int32), k)
    start = np.cumsum(k) - k
    side = (np.arange(len(row)) - start[row]).astype(np.int16)
    messages = _field(responses, "messages")
    texts = _series(joined(messages))
    prompts = _series(joined(table["prompt"]))
    has_text = pc.fill_null(pc.list_value_length(messages), 0).to_numpy() > 0
    frame = pl.DataFrame({"k": k}).with_columns(
        _prompt_key(table, prompts).alias("prompt"),
        *(_codes(table[name]).alias(name) for name in _NAMED),
        *(_series(table[name]).alias(name) for name in _NUMBERED if name in table.column_names),
    )
    lines = pl.DataFrame({"row": row, "side": side}).with_columns(
        _per_line(table["ranks"], k, side, row).alias("rank"),
        _per_line(table["positions"], k, side, row).alias("position"),
        _item_key(_field(responses, "id"), _field(responses, "model"), texts, has_text).alias("item"),
    )
    pa.default_memory_pool().release_unused()  # or Arrow keeps what the layout needed on the way
    return Cells(table, prompts, texts, has_text, frame, lines)


def batches(texts: pl.Series) -> Iterator[tuple[int, pl.Series]]:
    """The texts a batch at a time, with the number of the first."""
    for start in range(0, len(texts), BATCH):
        yield start, texts.slice(start, BATCH)


def text_hash(texts: pl.Series) -> NDArray[np.uint64]:
    """[n] 64-bit hash of each text as it stands."""
    return texts.hash(seed=1).to_numpy()


def _series(column: pa.ChunkedArray) -> pl.Series:
    series = pl.from_arrow(column)
    assert isinstance(series, pl.Series)
    return series


def _codes(column: pa.ChunkedArray) -> pl.Series:
    return _series(pa.chunked_array([column.combine_chunks().dictionary_encode().indices]))


def _field(lists: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    chunks = [pc.struct_field(pc.list_flatten(chunk), name) for chunk in lists.chunks]
    kind = lists.type.value_type.field(name).type
    return pa.chunked_array(chunks, type=kind)


def joined(messages: pa.ChunkedArray) -> pa.ChunkedArray:
    """`record.plain` of every list of messages, a chunk at a time; one-message lists are not copied."""
    out = []
    for chunk in messages.chunks:
        sizes = pc.fill_null(pc.list_value_length(chunk), 0).to_numpy(zero_copy_only=False)
        content = pc.struct_field(pc.list_flatten(chunk), "content")
        if (sizes == 1).all():
            out.append(content if content.null_count == 0 else pc.fill_null(content, ""))
            continue
        keep = pc.fill_null(pc.not_equal(content, ""), False)
        parent = np.repeat(np.arange(len(chunk)), sizes)[keep.to_numpy(zero_copy_only=False)]
        counts = np.bincount(parent, minlength=len(chunk))
        offsets = pa.array(np.concatenate(([0], np.cumsum(counts))), pa.int32())
        out.append(pc.binary_join(pa.ListArray.from_arrays(offsets, content.filter(keep)), "\n\n"))
    return pa.chunked_array(out, type=pa.string())


def _prompt_key(table: pa.Table, prompts: pl.Series) -> pl.Series:
    """Same number, same prompt: by its id where given, else by its words; null where a row has neither."""
    ids = _series(table["prompt_id"])
    frame = pl.DataFrame({"id": ids.hash(seed=2), "no_id": ids.is_null(), "text": prompts.hash(seed=1)})
    frame = frame.with_columns((prompts == "").alias("empty"))
    key = pl.when(~pl.col("no_id")).then("id").when(~pl.col("empty")).then("text")
    return frame.select(key.alias("prompt")).to_series()


def _item_key(
    ids: pa.ChunkedArray, models: pa.ChunkedArray, texts: pl.Series, has_text: NDArray[np.bool_]
) -> pl.Series:
    id_, model = _series(ids), _series(models)
    frame = pl.DataFrame(
        {
            "id": id_.hash(seed=3),
            "has_id": id_.is_not_null(),
            "text": texts.hash(seed=1),
            "has_text": pl.Series(has_text),
            "model": model.hash(seed=4),
            "has_model": model.is_not_null(),
        }
    )
    key = pl.when("has_id").then("id").when("has_text").then("text").when("has_model").then("model")
    return frame.select(key.alias("item")).to_series()


def _per_line(
    lists: pa.ChunkedArray, k: NDArray[np.int32], side: NDArray[np.int16], row: NDArray[np.int32]
) -> pl.Series:
    """A list column with one entry a response as one value a line; null where the row has no such list."""
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    values = _series(pa.chunked_array([pc.list_flatten(chunk) for chunk in lists.chunks], type=lists.type.value_type))
    start = np.cumsum(sizes) - sizes
    fits = (sizes == k)[row]
    index = pl.Series(np.where(fits, start[row] + side, 0).astype(np.uint32))
    index = pl.select(pl.when(pl.Series(fits)).then(index)).to_series()
    return values.gather(index) if len(values) else pl.Series([None] * len(row), dtype=pl.Int32)


def _pairs(cells: Cells) -> pl.DataFrame:
    k = cells.rows["k"].to_numpy()
    start = np.cumsum(k) - k
    rank = cells.lines["rank"].cast(pl.Float64).to_numpy().copy()
    below = cells.rows["unranked_below"].fill_null(False).to_numpy() if "unranked_below" in cells.rows else None
    if below is not None and below.any():
        line_below = below[cells.lines["row"].to_numpy()]
        rank[line_below & np.isnan(rank)] = np.inf
    parts: list[tuple[NDArray[np.int64], ...]] = []
    for size in np.unique(k[k > 1]):
        rows = np.flatnonzero(k == size)
        left, right = np.triu_indices(int(size), 1)
        a = (start[rows][:, None] + left).ravel()
        b = (start[rows][:, None] + right).ravel()
        row = np.repeat(rows, len(left))
        outcome = np.sign(np.nan_to_num(rank[b], posinf=1e9) - np.nan_to_num(rank[a], posinf=1e9))
        known = ~np.isnan(rank[a]) & ~np.isnan(rank[b]) & ~(np.isinf(rank[a]) & np.isinf(rank[b]))
        if size == 2:
            # Where no ranks were given, a signed strength or a soft label still says which side was preferred.
            strength = cells.rows["strength"].to_numpy()[rows]
            soft = cells.rows["probability"].to_numpy()[rows] - 0.5
            other = np.where(np.isnan(strength), soft, strength)
            outcome = np.where(known, outcome, np.sign(other))
            known |= ~np.isnan(other)
        parts.append((row[known], a[known], b[known], outcome[known].astype(np.int64)))
    columns = [np.concatenate([p[i] for p in parts]) if parts else np.zeros(0, np.int64) for i in range(4)]
    kinds = (np.int32, np.int32, np.int32, np.int8)
    names = ("row", "a", "b", "outcome")
    return pl.DataFrame({n: c.astype(t) for n, c, t in zip(names, columns, kinds, strict=True)}).sort("row")
