"""Does the feedback contradict itself: one pair both ways, cycles, ratings against choices."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from pluralign.feedback.audit.cells import BATCH, Cells
from pluralign.feedback.audit.finding import Detail, Finding, count, percent, plural
from pluralign.intervals import clustered_wilson, wilson


def keyed_pairs(cells: Cells) -> pl.DataFrame:
    """The compared pairs with what was asked of whom, and the two items in an order of their own.

    Columns `low` and `high`, the items; `toward`, 1 where `low` was preferred, -1 where `high`, 0 for a tie; `asked`,
    one number for prompt, criterion and context; `question`, one for those and the two items.
    """
    item = cells.lines["item"]
    row = cells.pairs["row"]
    # Grouping by one number and not by five columns takes a third of the time and of the memory.
    asked = cells.rows.select(pl.struct("prompt", "criterion", "context").hash(seed=15)).to_series()
    swap = pl.col("item_a") > pl.col("item_b")
    return (
        cells.pairs.with_columns(
            item.gather(cells.pairs["a"]).alias("item_a"),
            item.gather(cells.pairs["b"]).alias("item_b"),
            asked.gather(row).alias("asked"),
            cells.rows["annotator"].gather(row).alias("annotator"),
            cells.rows["weight"].gather(row).fill_null(1.0).alias("weight"),
            pl.Series(cells.has_text).gather(cells.pairs["a"]).alias("text"),
        )
        .filter(pl.col("item_a") != pl.col("item_b"))
        .select(
            "row",
            "asked",
            "annotator",
            "weight",
            "text",
            pl.when(swap).then("item_b").otherwise("item_a").alias("low"),
            pl.when(swap).then("item_a").otherwise("item_b").alias("high"),
            pl.when(swap).then(-pl.col("outcome")).otherwise("outcome").alias("toward"),
        )
        .with_columns(pl.struct("asked", "low", "high").hash(seed=16).alias("question"))
    )


def contradictions(keyed: pl.DataFrame) -> list[Finding]:
    """The same two responses to the same prompt, preferred in both directions.

    One person who says both, or votes whose author is not named, are a fault of the file. Two named people who differ
    are a fact about taste and are counted apart.
    """
    # Unnamed votes between names alone are an election, in which people differ; between texts, one of them is wrong.
    decided = keyed.filter((pl.col("toward") != 0) & (pl.col("text") | pl.col("annotator").is_not_null()))
    person = ["question", "annotator"]
    votes = (
        pl.len().alias("votes"),
        (pl.col("toward") > 0).any().alias("up"),
        (pl.col("toward") < 0).any().alias("down"),
    )
    own = decided.group_by(person).agg(*votes)
    repeated, both = own.filter(pl.col("votes") > 1), own.filter(pl.col("up") & pl.col("down"))
    findings = []
    if len(both):
        n, of = len(both), len(repeated)
        rows = decided.join(both.select(person), on=person, how="semi", nulls_equal=True)["row"].unique()
        who = "the same annotator" if both["annotator"].null_count() == 0 else "the same or an unnamed annotator"
        findings.append(
            Finding(
                "contradiction",
                "warning",
                f"Of {plural(of, 'time')} that {who} judged a pair more than once, {n:,} went both ways; that"
                " share is a lower bound on noise.",
                "Drop the rows, keep the later vote, or keep them and train with a noise-aware objective.",
                n,
                of,
                n / of,
                wilson(n, of),
                rows=rows.sort().to_numpy().astype(np.int64),
            )
        )
    steady = own.filter(~(pl.col("up") & pl.col("down")) & pl.col("annotator").is_not_null())
    asked = steady.group_by("question").agg(pl.len().alias("votes"), pl.col("up").any(), pl.col("down").any())
    asked = asked.filter(pl.col("votes") > 1)
    apart = asked.filter(pl.col("up") & pl.col("down"))
    if len(apart):
        n, of = len(apart), len(asked)
        rows = decided.join(apart.select("question"), on="question", how="semi")["row"].unique()
        findings.append(
            Finding(
                "disagreement",
                "info",
                f"Of {plural(of, 'pair')} judged by several annotators, {n:,} had some preferring one side and"
                " some the other.",
                "Nothing is wrong with such rows: keep them, and look at agreement before fitting one taste to all.",
                n,
                of,
                n / of,
                wilson(n, of),
                rows=rows.sort().to_numpy().astype(np.int64),
            )
        )
    return findings


def cycles(keyed: pl.DataFrame) -> list[Finding]:
    """Triads in which A beats B, B beats C and C beats A, by majority of the votes on each pair."""
    majority = (
        keyed.group_by("asked", "low", "high")
        .agg((pl.col("toward") * pl.col("weight")).sum().alias("net"))
        .filter(pl.col("net") != 0)
    )
    if majority.height < 3:
        return []
    ends = [majority.select(pl.struct("asked", side).hash(seed=17)).to_series().to_numpy() for side in ("low", "high")]
    node = np.unique(np.concatenate(ends), return_inverse=True)[1]
    low, high = np.split(node, 2)
    size = int(node.max()) + 1
    ahead = majority["net"].to_numpy() > 0
    winner, loser = np.where(ahead, low, high), np.where(ahead, high, low)
    beats = csr_array((np.ones(len(winner), np.int64), (winner, loser)), shape=(size, size))
    linked = beats + beats.T
    # For an edge w -> l, (beats @ beats)[l, w] counts the ways back, each of which closes a cycle.
    back = np.asarray((beats @ beats)[loser, winner]).ravel()
    sides = np.asarray((linked @ linked)[winner, loser]).ravel()
    cyclic, triads = int(back.sum()) // 3, int(sides.sum()) // 3
    if not triads:
        return []
    group = majority["asked"].to_numpy()
    interval: tuple[float, float] | None = None
    why: str | None = None
    interval, why = None, "all triads belong to one question and share comparisons"
    if len(np.unique(group)) > 1:
        per = pl.DataFrame({"q": group, "c": back, "t": sides}).group_by("q").sum().filter(pl.col("t") > 0)
        values, weights = (per["c"] / per["t"]).to_numpy(), per["t"].to_numpy()
        repeat = np.maximum(1, weights // 3)
        if repeat.sum() <= 5_000_000:
            interval, why = clustered_wilson(np.repeat(values, repeat), np.repeat(per["q"].to_numpy(), repeat)), None
    on_cycle = majority.filter(pl.Series(back > 0)).select("asked", "low", "high")
    rows = keyed.join(on_cycle, on=["asked", "low", "high"], how="semi")["row"].unique().to_numpy()
    rate = cyclic / triads
    worse = rate >= 0.125  # half of what coin flips give
    return [
        Finding(
            "cyclic-triad",
            "warning" if worse else "info",
            f"{cyclic:,} of {triads:,} triads of fully compared responses are cyclic ({percent(rate)}); coin flips"
            " would give 25%.",
            "A share near 25% means that no single scale fits; fit a general-preference or plural model, or look for"
            " several tastes.",
            cyclic,
            triads,
            rate,
            interval,
            why,
            0.25,
            rows.astype(np.int64),
        )
    ]


def ratings_against_choices(cells: Cells) -> list[Finding]:
    """Ratings against choices of the same person: within a row, and of a row against ratings given in other rows."""
    if not len(cells.decided) or not len(_ratings(cells)):
        return []
    here = _contrary(
        cells,
        elsewhere=False,
        name="rating-against-choice",
        where="the response preferred is not the one rated highest in the same row",
    )
    other = _contrary(
        cells,
        elsewhere=True,
        name="rating-against-other-row",
        where="the response preferred is not the one that the same annotator rated highest in other rows",
    )
    return here + other


def _contrary(cells: Cells, *, elsewhere: bool, name: str, where: str) -> list[Finding]:
    pairs, rated = cells.decided, _ratings(cells)
    body: list[tuple[str, int, int, int, int, int]] = []
    best: tuple[str, np.ndarray[tuple[int], np.dtype[np.int64]], int] | None = None
    for aspect in rated["aspect"].unique().sort():
        scored = _score(cells, rated.filter(pl.col("aspect") == aspect), elsewhere)
        gap = scored.gather(pairs["winner"]) - scored.gather(pairs["loser"])
        known = pairs.with_columns(gap.alias("gap")).filter(pl.col("gap").is_not_null())
        if not len(known):
            continue
        with_, equal, against = (int((known["gap"].sign() == s).sum()) for s in (1, 0, -1))
        contrary = known.filter(pl.col("gap") < 0)["row"].unique().to_numpy()
        of = known["row"].n_unique()
        body.append((aspect, with_, equal, against, len(contrary), of))
        if best is None or len(contrary) / of < len(best[1]) / best[2]:
            best = (aspect, contrary, of)
    if best is None or not len(best[1]):
        return []
    aspect, contrary, of = best
    more = "" if len(body) == 1 else f" (of {len(body)} aspects, the one that agrees best with the choices)"
    return [
        count(
            name,
            "warning",
            contrary,
            of,
            f"In {plural(len(contrary), 'row')} of {of:,} {where}, by '{aspect}'{more}.",
            "Ask which of the two was meant; drop the rows, or train on ratings or on choices, but not on both"
            " as if they agreed.",
            [
                Detail(
                    "Pairs by what the ratings say of the response that was chosen",
                    ("aspect", "rated higher", "rated equal", "rated lower", "rows against", "rows"),
                    tuple(body),
                )
            ],
        )
    ]


def _ratings(cells: Cells) -> pl.DataFrame:
    lines = cells.ratings()
    return lines.filter(pl.col("value").is_not_null() & pl.col("value").is_not_nan())


def _score(cells: Cells, values: pl.DataFrame, elsewhere: bool) -> pl.Series:
    """[M] one aspect's rating of each line: its own, or the mean one its annotator gave the item in other rows."""
    row = cells.lines["row"]
    own = values.group_by("line").agg(pl.col("value").mean())
    lines = (
        cells.lines.select("item")
        .with_row_index("line")
        .with_columns(
            cells.rows["annotator"].gather(row).alias("annotator"), cells.rows["prompt"].gather(row).alias("prompt")
        )
    )
    lines = lines.with_columns(pl.col("line").cast(own.schema["line"]))
    lines = lines.join(own, on="line", how="left", maintain_order="left")
    if not elsewhere:
        return lines["value"]
    key = ["annotator", "prompt", "item"]
    named = lines.filter(pl.col("annotator").is_not_null() & pl.col("value").is_not_null())
    given = named.group_by(key).agg(pl.col("value").mean().alias("given"))
    lines = lines.join(given, on=key, how="left", nulls_equal=True, maintain_order="left")
    return lines.select(pl.when(pl.col("value").is_null()).then("given")).to_series()


def both_sides_equal(cells: Cells) -> list[Finding]:
    """Pairs with nothing to choose between: equal texts, or equal but for blanks."""
    two = cells.lines.with_row_index("line").filter(
        pl.Series(cells.has_text) & (cells.rows["k"].gather(cells.lines["row"]) == 2)
    )
    if not len(two):
        return []
    a, b = two.filter(pl.col("side") == 0), two.filter(pl.col("side") == 1)
    both = a.select("row", "line").join(b.select("row", pl.col("line").alias("other")), on="row")
    equal, alike = [], []
    for start in range(0, len(both), BATCH):
        part = both.slice(start, BATCH)
        texts = pl.DataFrame({"a": cells.responses.gather(part["line"]), "b": cells.responses.gather(part["other"])})
        bare = [pl.col(c).str.replace_all(r"[^\S ]\s*| \s+", " ").str.strip_chars() for c in ("a", "b")]
        flags = texts.select((pl.col("a") == pl.col("b")).alias("same"), (bare[0] == bare[1]).alias("bare"))
        equal.append(part.filter(flags["same"])["row"].to_numpy())
        alike.append(part.filter(flags["bare"] & ~flags["same"])["row"].to_numpy())
    same, blank = np.concatenate(equal), np.concatenate(alike)
    findings = []
    if len(same):
        findings.append(
            count(
                "equal-responses",
                "error",
                same,
                len(both),
                f"{plural(len(same), 'pair has', 'pairs have')} two equal responses: there is nothing to prefer.",
                "Drop them for training, where they only add noise; between two named models the vote still counts on a"
                " leaderboard.",
            )
        )
    if len(blank):
        findings.append(
            count(
                "equal-but-blanks",
                "warning",
                blank,
                len(both),
                f"{plural(len(blank), 'pair differs', 'pairs differ')} in blanks and line breaks only.",
                "Drop them, unless layout is what was judged.",
            )
        )
    return findings


def ties(cells: Cells) -> list[Finding]:
    """Ties, both-bad and rows that say nothing."""
    two = cells.pairs.filter(cells.rows["k"].gather(cells.pairs["row"]) == 2)
    findings = []
    bad = cells.rows["both_bad"].fill_null(False).arg_true().to_numpy()
    tied = np.setdiff1d(two.filter(pl.col("outcome") == 0)["row"].to_numpy(), bad)
    if len(tied):
        findings.append(
            count(
                "tie",
                "info",
                tied,
                len(two),
                f"{plural(len(tied), 'comparison')} of {len(two):,} ended in a tie.",
                "Keep them for models with ties (Davidson, Rao-Kupper); pairwise losses without ties leave them out.",
            )
        )
    if len(bad):
        findings.append(
            count(
                "both-bad",
                "info",
                bad,
                len(two),
                f"In {plural(len(bad), 'comparison')} both responses were judged bad.",
                "They are no ties: use them as unpaired negatives, or drop them.",
            )
        )
    silent = _silent(cells)
    if len(silent):
        findings.append(
            count(
                "no-judgement",
                "warning",
                silent,
                len(cells.rows),
                f"{plural(len(silent), 'row carries', 'rows carry')} no judgement at all.",
                "Drop them, or check the column mapping if there should be one.",
            )
        )
    return findings


def _silent(cells: Cells) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    said = np.zeros(len(cells.rows), dtype=bool)
    said[cells.pairs["row"].to_numpy()] = True
    for name in ("thumb", "both_bad", "strength", "probability"):
        said |= cells.rows[name].is_not_null().to_numpy()
    ranked = cells.lines.filter(pl.col("rank").is_not_null())["row"].to_numpy()
    said[ranked] = True
    said[cells.ratings()["row"].to_numpy()] = True
    said |= cells.step_labels()
    return np.flatnonzero(~said)
