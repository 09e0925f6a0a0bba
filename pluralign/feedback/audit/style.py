"""Does a surface feature win: length, place, lists, headers, bold, code, emoji, tone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pluralign.feedback.audit.cells import Cells, batches
from pluralign.feedback.audit.finding import Detail, Finding, percent, plural
from pluralign.intervals import clustered_wilson

_PROMPTS = 10
LOUD = 0.05  # a rate this far from one half, with its interval clear of it, is worth a warning

_FENCE = r"(?s)```.*?(?:```|\z)"
# Counted outside code fences, so that a comment in Python is no header.
_MARKS = {
    "headers": r"(?m)^#{1,6} ",
    "lists": r"(?m)^[ \t]*(?:\d+[.)]|[-*+]) ",
    "bold": r"\*\*[^*\n]+\*\*|__[^_\n]+__",
}
_PLAIN = {
    "code": r"```",
    "emoji": r"\p{Extended_Pictographic}",
    "exclamation": r"!",
    "citation": r"\[\d+\]|https?://",
    "refusal": r"(?i)\bI(?:'m| am) sorry,? but\b|\bas an AI\b"
    r"|\bI (?:can(?:no|')t|am unable to|won't) (?:help|assist|provide|answer|do)\b",
    "hedge": r"(?i)\bI (?:think|believe|guess|suppose|feel)\b|\bin my opinion\b|\bI'm not (?:sure|certain)\b",
}
_WORDS = {
    "headers": "headers",
    "lists": "a list",
    "bold": "bold text",
    "markdown": "markdown (headers, lists, bold or code)",
    "code": "a code block",
    "emoji": "emoji",
    "exclamation": "an exclamation mark",
    "citation": "a citation or link",
    "refusal": "a refusal phrase",
    "hedge": "a first-person hedge",
}


def features(texts: pl.Series) -> pl.DataFrame:
    """Length in characters and counts of each mark, one line a text.

    >>> counts = features(pl.Series(["# Why\\n- one\\n- **two**", "```\\n# no header\\n```"]))
    >>> counts["headers", "lists", "bold", "code"].rows()
    [(1, 2, 1, 0), (0, 0, 0, 2)]
    """
    parts = []
    for _, batch in batches(texts):
        frame = pl.DataFrame({"t": batch})
        # Few texts hold a fence; cutting it out only where it stands saves a pass over all the others.
        bare = pl.when(pl.col("t").str.contains("```", literal=True)).then(pl.col("t").str.replace_all(_FENCE, ""))
        frame = frame.with_columns(bare.otherwise("t").alias("bare"))
        parts.append(
            frame.select(
                pl.col("t").str.len_chars().cast(pl.Int32).alias("characters"),
                *(pl.col("bare").str.count_matches(p).cast(pl.Int32).alias(n) for n, p in _MARKS.items()),
                *(pl.col("t").str.count_matches(p).cast(pl.Int32).alias(n) for n, p in _PLAIN.items()),
            )
        )
    kinds = dict.fromkeys(("characters", *_MARKS, *_PLAIN), pl.Int32)
    return pl.concat([pl.DataFrame(schema=kinds), *parts])


def style(cells: Cells, counts: pl.DataFrame) -> list[Finding]:
    """How often the side with more of a feature wins among decided pairs in which the sides differ."""
    pairs = cells.decided
    text = cells.has_text
    told = text[pairs["winner"].to_numpy()] & text[pairs["loser"].to_numpy()]
    pairs = pairs.filter(pl.Series(told))
    if not len(pairs):
        return []
    winner, loser = (pairs[c].to_numpy() for c in ("winner", "loser"))
    row = _clusters(cells, pairs)
    findings = []
    length = counts["characters"].to_numpy()
    gap = length[winner].astype(np.int64) - length[loser]
    found = _rate(
        "longer-wins",
        "The longer response",
        gap,
        row,
        len(pairs),
        "in which the sides differ in length (characters)",
        _length_details(gap, row),
    )
    findings += found
    marks = {n: counts[n].to_numpy() > 0 for n in counts.columns if n != "characters"}
    marks["markdown"] = marks["headers"] | marks["lists"] | marks["bold"] | marks["code"]
    for name in _WORDS:
        has = marks[name]
        gap = has[winner].astype(np.int64) - has[loser]
        findings += _rate(
            f"{name}-wins", f"The response with {_WORDS[name]}", gap, row, len(pairs), "in which one side only has it"
        )
    return findings


def first_shown(cells: Cells) -> list[Finding]:
    """How often the response shown first wins, where the place is known; else how often the first column does."""
    pairs = cells.decided
    position = cells.lines["position"].to_numpy()
    place_w, place_l = position[pairs["winner"].to_numpy()], position[pairs["loser"].to_numpy()]
    known = ~np.isnan(place_w) & ~np.isnan(place_l)
    row = _clusters(cells, pairs)
    if known.any():
        return _rate(
            "first-shown-wins",
            "The response shown first",
            (place_l - place_w)[known],
            row[known],
            len(pairs),
            "in which it is known what was shown first",
        )
    return []


def _clusters(cells: Cells, pairs: pl.DataFrame) -> NDArray[np.uint64]:
    """What is one independent observation: a prompt, whose pairs and judges share its responses; else a row.

    With few prompts their spread cannot be estimated, and rows are taken.
    """
    prompt = cells.rows["prompt"].gather(pairs["row"])
    row = pairs["row"].hash(seed=14)
    if prompt.drop_nulls().n_unique() < _PROMPTS:
        return row.to_numpy()
    return pl.select(pl.coalesce(prompt, row)).to_series().to_numpy()


def _rate(
    name: str,
    who: str,
    gap: NDArray[Any],
    row: NDArray[Any],
    of: int,
    where: str,
    details: tuple[Detail, ...] = (),
) -> list[Finding]:
    differ = gap != 0
    n = int(differ.sum())
    if not n:
        return []
    won = (gap > 0)[differ]
    rate = float(won.mean())
    low, high = clustered_wilson(won, row[differ])
    clear = low > 0.5 or high < 0.5
    loud = clear and abs(rate - 0.5) >= LOUD
    verdict = "" if clear else ", which is what chance would give"
    return [
        Finding(
            name,
            "warning" if loud else "info",
            f"{who} wins {percent(rate)} of the {plural(n, 'decided pair')} (of {of:,}) {where}{verdict}.",
            "A model trained on this learns the feature too: balance it, control for it in evaluation, or use a"
            " length-normalised objective."
            if loud
            else "Nothing to do.",
            n,
            of,
            rate,
            (low, high),
            null=0.5,
            details=details,
        )
    ]


def _length_details(gap: NDArray[np.int64], row: NDArray[Any]) -> tuple[Detail, ...]:
    """The same rate by how much longer: a real length preference grows with the difference."""
    size = np.abs(gap)
    if len(size[size > 0]) < 40:
        return ()
    edges = np.unique(np.quantile(size[size > 0], [0, 0.25, 0.5, 0.75, 1]).astype(int))
    body = []
    for low, high in pairwise(edges):
        inside = (size >= max(low, 1)) & ((size < high) | (high == edges[-1]))
        if inside.any():
            won = (gap > 0)[inside]
            a, b = clustered_wilson(won, row[inside])
            body.append(
                (
                    f"{max(low, 1):,} to {high:,}",
                    int(inside.sum()),
                    percent(float(won.mean())),
                    f"{percent(a)} to {percent(b)}",
                )
            )
    return (
        Detail("By difference in length", ("characters longer", "pairs", "longer wins", "95% interval"), tuple(body)),
    )
