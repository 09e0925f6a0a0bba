"""Exact and near duplicates of prompts, responses and whole pairs."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pluralign.feedback.audit.cells import Cells, batches
from pluralign.feedback.audit.finding import Finding, count, plural
from pluralign.feedback.audit.minhash import BANDS, BINS, CROWD, NEIGHBOURS, THRESHOLD, Clusters, cluster, normalise

Labels = NDArray[np.int32]
"""A number for every text, equal for equal texts; half the size of numpy's own, for there are two a response."""


def near_labels(texts: pl.Series, use: NDArray[np.bool_]) -> tuple[Labels, Labels, Clusters]:
    """Label every used text twice: by equal words (after normalising) and by near-duplicate cluster; -1 where unused.

    Returns (exact [n], near [n], the clusters among distinct texts).
    """
    key = np.zeros(len(texts), dtype=np.uint64)
    for start, batch in batches(texts):
        key[start : start + len(batch)] = normalise(batch).hash(seed=5).to_numpy()
    used = np.flatnonzero(use)
    _, first, inverse = np.unique(key[used], return_index=True, return_inverse=True)
    clusters = cluster(texts, used[first])
    exact, near = np.full(len(texts), -1, np.int32), np.full(len(texts), -1, np.int32)
    exact[used] = inverse
    near[used] = clusters.labels[inverse]
    return exact, near, clusters


def prompts(cells: Cells, exact: Labels, near: Labels, clusters: Clusters) -> list[Finding]:
    """Prompts asked in several wordings that are nearly one."""
    of = len(np.unique(exact[exact >= 0]))
    again = _reworded(exact, near)
    if not len(again):
        return []
    groups = len(np.unique(near[again]))
    return [
        Finding(
            "near-duplicate-prompt",
            "info",
            f"{plural(_distinct(exact, again), 'prompt')} of {of:,} distinct ones nearly"
            f" repeat{'s' if len(again) == 1 else ''}"
            f" another (Jaccard similarity {THRESHOLD:g} or more over 5-character shingles), in"
            f" {plural(groups, 'group')}.",
            "Keep each group on one side of a split (split by prompt group); drop the rows only if repetition is"
            " unwanted." + crowded(clusters),
            _distinct(exact, again),
            of,
            _distinct(exact, again) / of,
            no_interval="a count of this file, not an estimate",
            rows=again,
        )
    ]


def responses(cells: Cells, exact: Labels, near: Labels, clusters: Clusters) -> list[Finding]:
    """The same reply under different prompts, near-duplicate replies, and one text under two producers' names."""
    row = cells.lines["row"].to_numpy()
    prompt = cells.rows["prompt"].gather(row)
    # A name as a hash of it: two million strings are not carried through every step below.
    model = pl.select(pl.when(cells.model().is_not_null()).then(cells.model().hash(seed=6))).to_series()
    frame = pl.DataFrame({"row": row, "exact": exact, "prompt": prompt, "model": model})
    frame = frame.filter(pl.col("exact") >= 0)
    of = frame["exact"].n_unique()
    findings = []
    spread = _several(frame, ["exact"], "prompt")
    if len(spread):
        under = frame.join(spread, on="exact", how="semi").sort("row")
        later = under.filter(pl.col("prompt") != pl.col("prompt").first().over("exact"))["row"].unique().to_numpy()
        findings.append(
            count(
                "duplicate-response",
                "info",
                later,
                len(cells.rows),
                f"{plural(len(spread), 'response text stands', 'response texts stand')} under more than one prompt.",
                "Look for refusals, greetings and error strings; drop them if they are not answers.",
            )
        )
    again = _reworded(exact, near)
    if len(again):
        n, groups = _distinct(exact, again), len(np.unique(near[again]))
        findings.append(
            Finding(
                "near-duplicate-response",
                "info",
                f"{plural(n, 'response text')} of {of:,} distinct ones nearly {'repeats' if n == 1 else 'repeat'}"
                " another, in"
                f" {plural(groups, 'group')}.",
                "Usual for samples of one model; drop them where the near-copy is the other side of a pair."
                + crowded(clusters),
                n,
                of,
                n / of,
                no_interval="a count of this file, not an estimate",
                rows=np.unique(row[again]),
            )
        )
    named = frame.filter(pl.col("model").is_not_null() & pl.col("prompt").is_not_null())
    if len(named):
        two = _several(named, ["prompt", "exact"], "model")
        if len(two):
            rows = named.join(two, on=["prompt", "exact"], how="semi")["row"].unique().to_numpy()
            findings.append(
                count(
                    "same-text-two-models",
                    "warning",
                    rows,
                    len(cells.rows),
                    f"{plural(len(two), 'response text is', 'response texts are')} given to two or more models"
                    " under the same prompt.",
                    "Check the join that named the models; equal texts cannot tell models apart.",
                )
            )
    return findings


def pairs(
    cells: Cells,
    prompt: tuple[Labels, Labels],
    reply: tuple[Labels, Labels],
) -> list[Finding]:
    """Rows that repeat an earlier row: same prompt, same responses in any order, same annotator and question."""
    exact = _signature(cells, prompt[0], reply[0])
    near = _signature(cells, prompt[1], reply[1])
    who = cells.rows.select(pl.struct("annotator", "criterion", "context").hash(seed=14)).to_series()
    frame = pl.DataFrame({"exact": exact, "near": near, "who": who, "said": _side(cells)}).with_row_index("row")
    has = np.zeros(len(frame), dtype=bool)
    has[cells.lines["row"].to_numpy()[cells.has_text]] = True
    frame = frame.filter(pl.Series(has))
    findings = []
    repeated = ~pl.struct("exact", "said", "who").is_first_distinct()
    rows = frame.filter(repeated)["row"].to_numpy()
    if len(rows):
        findings.append(
            count(
                "duplicate-pair",
                "warning",
                rows,
                len(frame),
                f"{plural(len(rows), 'row repeats', 'rows repeat')} an earlier one: same prompt, same responses, same"
                " judgement, same or unnamed annotator.",
                "Drop them; a copy is not a second opinion, and it leaks across random splits.",
            )
        )
    nearly = frame.filter(~repeated).filter(~pl.struct("near", "who").is_first_distinct())
    # Rows that equal an earlier one in all but the judgement are contradictions and are found there.
    others = nearly.filter(pl.struct("exact", "who").is_first_distinct())
    first = frame.group_by("near", "who").agg(pl.col("exact").first().alias("lead"))
    others = others.join(first, on=["near", "who"], how="left").filter(pl.col("exact") != pl.col("lead"))
    if len(others):
        findings.append(
            count(
                "near-duplicate-pair",
                "warning",
                others["row"].to_numpy(),
                len(frame),
                f"{plural(len(others), 'row nearly repeats', 'rows nearly repeat')} an earlier one: prompt and"
                " responses differ in a few characters only.",
                "Drop them, or split by prompt group so that no copy is on both sides.",
            )
        )
    return findings


def _several(frame: pl.DataFrame, group: list[str], column: str) -> pl.DataFrame:
    """The groups with more than one distinct value of a column that is not null."""
    # Distinct rows first: counting distinct values within groups holds a list for every group.
    distinct = frame.lazy().select(*group, column).drop_nulls().unique()
    return distinct.group_by(group).len().filter(pl.col("len") > 1).select(group).collect()


def crowded(clusters: Clusters) -> str:
    """What was not compared in full, for the remedy; empty where everything was."""
    if not clusters.crowded:
        return ""
    return (
        f" Note: {plural(clusters.crowded, 'hash bucket')} of {BANDS} x {BINS // BANDS} held more than {CROWD}"
        " texts (up to"
        f" {clusters.crowded_texts:,}); inside those each text was compared with the first and with {NEIGHBOURS}"
        " neighbours"
        " by length on either side, so some near-duplicates there may be missed."
    )


def _reworded(exact: Labels, near: Labels) -> NDArray[np.int64]:
    """Positions whose text differs from, but nearly equals, the first text of their cluster."""
    used = np.flatnonzero(exact >= 0)
    _, first, inverse = np.unique(near[used], return_index=True, return_inverse=True)
    lead = exact[used][first][inverse]
    again: NDArray[np.int64] = used[exact[used] != lead]
    return again


def _distinct(exact: Labels, rows: NDArray[np.int64]) -> int:
    return len(np.unique(exact[rows]))


def _signature(cells: Cells, prompt: Labels, reply: Labels) -> NDArray[np.uint64]:
    """[N] one number for (prompt, set of responses); the order in which responses stand does not matter."""
    mixed = pl.Series(reply).hash(seed=9).to_numpy()
    total = np.zeros(len(cells.rows), dtype=np.uint64)
    np.add.at(total, cells.lines["row"].to_numpy(), mixed)
    key: NDArray[np.uint64] = total * np.uint64(0x9E3779B97F4A7C15) ^ pl.Series(prompt).hash(seed=10).to_numpy()
    return key


def _side(cells: Cells) -> pl.Series:
    """[N] what the row says, by item and not by side, so that a swapped copy counts as a copy."""
    said = np.zeros(len(cells.rows), dtype=np.uint64)
    rank = cells.lines["rank"].fill_null(0)
    frame = pl.DataFrame({"item": cells.lines["item"], "rank": rank})
    np.add.at(
        said,
        cells.lines["row"].to_numpy(),
        frame.select(pl.struct("item", "rank").hash(seed=12)).to_series().to_numpy(),
    )
    other = cells.rows.select(pl.struct("strength", "probability", "thumb", "both_bad").hash(seed=13)).to_series()
    return pl.Series(said ^ other.to_numpy())
