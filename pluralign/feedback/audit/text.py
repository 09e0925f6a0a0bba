"""The cells themselves: empty, not text, in another script than the rest, and how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pluralign.feedback.audit.cells import Cells, batches
from pluralign.feedback.audit.finding import CENSUS, Detail, Finding, count, percent, plural

Tokenize = Callable[[list[str]], Sequence[Sequence[int]]]

_SCRIPTS = {
    "Latin": r"\p{Latin}",
    "Han": r"[\p{Han}\p{Hiragana}\p{Katakana}]",
    "Cyrillic": r"\p{Cyrillic}",
    "Arabic": r"\p{Arabic}",
    "Greek": r"\p{Greek}",
    "Hangul": r"\p{Hangul}",
    "Devanagari": r"\p{Devanagari}",
    "Hebrew": r"\p{Hebrew}",
    "Thai": r"\p{Thai}",
}
_BROKEN = r"[\x{FFFD}\x00-\x08\x0B\x0C\x0E-\x1F]|Ã[\x{80}-\x{BF}]|â€"
_LEAST = 20  # characters below which the share of letters and the script say nothing
_LETTERS = 0.2
_BANDS = 24


def script(texts: pl.Series) -> pl.DataFrame:
    """`script`: the writing system of most letters (null for short texts); `text`: is it text at all; `broken`: signs
    of a wrong decoding."""
    parts = []
    for _, batch in batches(texts):
        frame = pl.DataFrame({"t": batch})
        # Pure ASCII is Latin: the other eight counts are needed for the rest only.
        ascii_ = ~pl.col("t").str.contains(r"[^\x00-\x7F]")
        counted = frame.with_columns(ascii_.alias("ascii"), pl.col("t").str.len_chars().alias("n"))
        names = list(_SCRIPTS)
        for name, pattern in _SCRIPTS.items():
            of_all = pl.col("t").str.count_matches(r"[A-Za-z]" if name == "Latin" else r"[^\s\S]")
            counted = counted.with_columns(
                pl.when("ascii")
                .then(of_all if name == "Latin" else 0)
                .otherwise(pl.when(~pl.col("ascii")).then(pl.col("t")).str.count_matches(pattern))
                .alias(name)
            )
        letters = pl.sum_horizontal(names)
        most = pl.max_horizontal(names)
        pick = pl.coalesce(pl.when(pl.col(name) == most).then(pl.lit(name)) for name in names)
        long = pl.col("n") >= _LEAST
        parts.append(
            counted.select(
                pl.when(long & (most > 0.5 * letters) & (letters > _LETTERS * pl.col("n"))).then(pick).alias("script"),
                (~long | (letters >= _LETTERS * pl.col("n")) | pl.col("t").str.contains("```", literal=True)).alias(
                    "text"
                ),
                pl.when("ascii")
                .then(pl.col("t").str.contains(r"[\x00-\x08\x0B\x0C\x0E-\x1F]"))
                .otherwise(pl.col("t").str.contains(_BROKEN))
                .alias("broken"),
            )
        )
    return pl.concat([pl.DataFrame(schema={"script": pl.String, "text": pl.Boolean, "broken": pl.Boolean}), *parts])


def contents(cells: Cells) -> list[Finding]:
    """Empty, non-text, broken and other-script cells."""
    row = cells.lines["row"].to_numpy()
    n = len(cells.rows)
    findings = []
    blank = cells.responses.str.contains(r"^\s*$").to_numpy() & cells.has_text
    if blank.any():
        findings.append(
            count(
                "empty-response",
                "warning",
                row[blank],
                n,
                f"{plural(int(blank.sum()), 'response is', 'responses are')} empty or blank.",
                "Drop the rows, unless silence was an answer that could be chosen.",
            )
        )
    no_prompt = cells.prompts.str.contains(r"^\s*$").to_numpy()
    texted = np.zeros(n, dtype=bool)
    texted[row[cells.has_text]] = True
    missing = np.flatnonzero(no_prompt & texted)
    if 0 < len(missing) < texted.sum():
        findings.append(
            count(
                "empty-prompt",
                "warning",
                missing,
                int(texted.sum()),
                f"{plural(len(missing), 'row has', 'rows have')} no prompt while others have one.",
                "Fill in the prompt or drop the rows; the responses answer nothing.",
            )
        )
    replies, asked = script(cells.responses), script(cells.prompts)
    for name, severity, flag, message, remedy in (
        (
            "non-text",
            "warning",
            "text",
            "holds hardly any letters",
            "Look at the cells: ids, numbers or markup in place of words point to a wrong column.",
        ),
        (
            "broken-encoding",
            "warning",
            "broken",
            "shows signs of a wrong decoding (replacement or control characters)",
            "Read the source with its true encoding and import again.",
        ),
    ):
        hit = (replies[flag] if flag == "broken" else ~replies[flag]).to_numpy() & cells.has_text & ~blank
        hit_prompt = (asked[flag] if flag == "broken" else ~asked[flag]).to_numpy() & ~no_prompt
        cells_hit = int(hit.sum() + hit_prompt.sum())
        if cells_hit:
            rows = np.concatenate((row[hit], np.flatnonzero(hit_prompt)))
            verb = message if cells_hit == 1 else message.replace("holds", "hold").replace("shows", "show")
            findings.append(count(name, severity, rows, n, f"{plural(cells_hit, 'cell')} {verb}.", remedy))  # type: ignore[arg-type]
    findings += _other_script(cells, row, replies["script"], asked["script"])
    return findings


def _other_script(cells: Cells, row: NDArray[np.generic], replies: pl.Series, asked: pl.Series) -> list[Finding]:
    usual = asked.gather(row)
    frame = pl.DataFrame({"row": row, "is": replies, "asked": usual}).drop_nulls("is")
    if not len(frame):
        return []
    top = frame["is"].value_counts(sort=True, normalize=True)
    main, share = top.row(0)
    # Against the prompt, where its script is known and replies usually keep to it; else against the file, if one
    # script clearly rules it.
    asked_too = frame.drop_nulls("asked")
    follow = len(asked_too) > 0 and 2 * int((asked_too["is"] == asked_too["asked"]).sum()) >= len(asked_too)
    ruling = pl.lit(main if share >= 0.9 else None, dtype=pl.String)
    expected = pl.coalesce("asked", ruling) if follow else ruling
    other = frame.filter(pl.col("is") != expected)
    if not len(other):
        return []
    body = tuple(
        other.group_by("asked", "is")
        .len()
        .sort("len", descending=True)
        .with_columns(pl.col("asked").fill_null(f"{main} (file)"))
        .rows()
    )
    return [
        count(
            "other-script",
            "info",
            other["row"].to_numpy(),
            len(cells.rows),
            f"{plural(len(other), 'response is', 'responses are')} written in another script than the prompt (or,"
            " without one, the rest of the file).",
            "Often a wrong language: check them; drop them unless translation was asked for.",
            [Detail("Scripts", ("expected", "found", "responses"), body)],
        )
    ]


def lengths(
    cells: Cells, max_length: int | None, tokenize: Tokenize | None, unit: str
) -> tuple[list[Finding], dict[str, object]]:
    """How long prompt + response are, and what a limit would cut. Returns findings and the histogram for the page."""
    if not cells.has_text.any():
        return [], {}
    size_prompt, size = _sizes(cells.prompts, tokenize), _sizes(cells.responses, tokenize)
    row = cells.lines["row"].to_numpy()
    total = (size + size_prompt[row])[cells.has_text]
    owner = row[cells.has_text]
    quantiles = {
        f"{q:.0%}": int(v)
        for q, v in zip((0.5, 0.9, 0.99, 1.0), np.quantile(total, (0.5, 0.9, 0.99, 1.0)), strict=True)
    }
    edges = np.linspace(0, max(1, np.quantile(total, 0.995)), _BANDS + 1)
    counts = np.histogram(np.minimum(total, edges[-1]), edges)[0]
    chart = {
        "unit": unit,
        "counts": counts.tolist(),
        "quantiles": quantiles,
        "labels": [f"{int(a):,} to {int(b):,}" for a, b in pairwise(edges)],
        "prompt_median": int(np.median(size_prompt)),
        "response_median": int(np.median(size[cells.has_text])),
    }
    middle, late, most = (quantiles[q] for q in ("50%", "99%", "100%"))
    sentence = (
        f"Prompt and response together have a median length of {middle:,} {unit}, {late:,} at the 99th percentile,"
        f" {most:,} at most."
    )
    if max_length is None:
        return [
            Finding(
                "length",
                "info",
                sentence,
                "Give --max-length to see what a limit would cut.",
                len(total),
                len(total),
                no_interval=CENSUS,
            )
        ], chart
    cut = total > max_length
    rows = owner[cut]
    # Where the prompt alone fills the limit nothing of the response is left, and every objective divides by its length.
    gone = np.unique(owner[(size_prompt[owner] >= max_length)])
    extra = f" In {plural(len(gone), 'row')} the prompt alone reaches it." if len(gone) else ""
    finding = count(
        "over-max-length",
        "warning" if cut.any() else "info",
        rows,
        len(cells.rows),
        f"A limit of {max_length:,} {unit} would cut {plural(int(cut.sum()), 'response')} of {len(total):,}"
        f" ({percent(float(cut.mean()))}).{extra} {sentence}",
        "Raise the limit, drop the rows, or accept that the ends of these are not learnt."
        if cut.any()
        else "Nothing to do.",
    )
    return [finding], chart


def _sizes(texts: pl.Series, tokenize: Tokenize | None) -> NDArray[np.int64]:
    out = np.zeros(len(texts), dtype=np.int64)
    for start, batch in batches(texts):
        if tokenize is None:
            out[start : start + len(batch)] = batch.str.count_matches(r"\S+").to_numpy()
        else:
            out[start : start + len(batch)] = [len(ids) for ids in tokenize(batch.to_list())]
    return out
