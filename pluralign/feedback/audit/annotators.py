"""Do annotators agree: as a crowd, two by two; those who differ; those who always say the same."""

from __future__ import annotations

import numpy as np
import polars as pl

from pluralign.feedback.audit.agreement import cohen_of, fleiss, krippendorff, krippendorff_interval
from pluralign.feedback.audit.cells import Cells
from pluralign.feedback.audit.finding import Detail, Finding, percent, plural
from pluralign.intervals import wilson

_ENOUGH = 10  # judgements below which nothing is said about one annotator
_SHOWN = 30  # annotator pairs listed on the page
_RING = 30  # votes on one question beyond which not every two are paired


def agreement(cells: Cells, keyed: pl.DataFrame) -> list[Finding]:
    """Alpha and raw agreement of the choices, and of each rated aspect, with annotators who stand apart."""
    named = keyed.filter(pl.col("annotator").is_not_null())
    # Somebody's second vote on the same question is no second annotator.
    named = named.unique(["question", "annotator"], keep="last", maintain_order=True)
    findings: list[Finding] = []
    if len(named):
        votes = named.select("row", unit="question", who="annotator", said="toward")
        votes = votes.filter(pl.len().over("unit") > 1)
        if len(votes):
            findings += _choices(cells, votes)
    findings += _rated(cells)
    return findings


def _choices(cells: Cells, votes: pl.DataFrame) -> list[Finding]:
    votes = votes.with_columns(pl.len().over("unit").alias("m"), pl.len().over("unit", "said").alias("alike"))
    same, of = int((votes["alike"] - 1).sum()), int((votes["m"].cast(pl.Int64) - 1).sum())
    alpha = krippendorff(votes["unit"], votes["said"])
    units, flat = votes["unit"].n_unique(), np.isnan(alpha)
    finding = Finding(
        "agreement",
        "warning" if not flat and alpha < 0.4 else "info",
        f"Two annotators agree on {percent(same / of)} of what both judged ({plural(units, 'question')})"
        + (
            "; all answers are equal, so chance agreement cannot be told."
            if flat
            else f". Krippendorff's alpha is {alpha:.3f}, Fleiss' kappa {fleiss(votes['unit'], votes['said']):.3f}."
        ),
        "Low alpha is noise or real difference of taste: see who differs, and consider a plural model before"
        " averaging.",
        same // 2,
        of // 2,
        None if flat else alpha,
        None if flat else krippendorff_interval(votes["unit"], votes["said"]),
        "all answers are equal" if flat else None,
        0.0,
        details=_by_pair(cells, votes),
    )
    return [finding, *_dissenters(cells, votes)]


def _by_pair(cells: Cells, votes: pl.DataFrame) -> list[Detail]:
    """Agreement of every two annotators. In a question with more than `_RING` votes only neighbours are paired."""
    votes = votes.sort("unit", "who").with_columns(pl.int_range(pl.len()).over("unit").alias("at"))
    left = votes.select("unit", "who", "said", "at")
    parts = []
    most = int(votes["m"].to_numpy().max())
    for gap in range(1, min(most, _RING)):
        right = left.select("unit", pl.col("at") - gap, pl.col("who").alias("other"), pl.col("said").alias("theirs"))
        met = left.join(right, on=["unit", "at"])
        parts.append(met.group_by("who", "other", "said", "theirs").len("n"))
    cases = pl.concat(parts).group_by("who", "other", "said", "theirs").sum()
    alike = pl.when(pl.col("said") == pl.col("theirs")).then("n").otherwise(0)
    people = cases.group_by("who", "other").agg(pl.col("n").sum(), alike.sum().alias("k"))
    names = cells.names("annotator")
    shown = people.sort("n", "who", "other", descending=[True, False, False]).head(_SHOWN)
    body = []
    for who, other, n, k in shown.rows():
        a, b = wilson(k, n)
        table = np.zeros((3, 3))
        for said, theirs, count in cases.filter(who=who, other=other).select("said", "theirs", "n").rows():
            table[said + 1, theirs + 1] = count
        kappa = f"{cohen_of(table):.3f}" if np.count_nonzero(table.sum(0) + table.sum(1)) > 1 else "one answer only"
        body.append((names[who], names[other], n, percent(k / n), f"{percent(a)} to {percent(b)}", kappa))
    note = f"; questions with more than {_RING} votes pair neighbours only" if most > _RING else ""
    caption = f"Pairs of annotators, most shared questions first ({len(shown)} of {len(people):,}{note})"
    return [Detail(caption, ("annotator", "and", "shared", "agree", "95% interval", "Cohen's kappa"), tuple(body))]


def _dissenters(cells: Cells, votes: pl.DataFrame) -> list[Finding]:
    # A question counts once, by the share of the others who said the same: those others are one crowd, not many proofs.
    share = (pl.col("alike") - 1) / (pl.col("m") - 1)
    per = votes.group_by("who").agg(pl.len().alias("n"), share.sum().alias("k")).filter(pl.col("n") >= _ENOUGH)
    if len(per) < 3:
        return []
    pool = float(per["k"].to_numpy().sum() / per["n"].to_numpy().sum())
    level = 1 - 0.05 / len(per)  # so that in a crowd of honest people one false name is rare
    names, out, body = cells.names("annotator"), [], []
    for who, n, k in per.sort("who").rows():
        if wilson(min(k, n), n, level)[1] < pool:
            out.append(who)
            a, b = wilson(min(k, n), n)
            body.append((names[who], n, percent(k / n), f"{percent(a)} to {percent(b)}"))
    if not out:
        return []
    rows = cells.rows.with_row_index("row").filter(pl.col("annotator").is_in(out))["row"].to_numpy()
    return [
        Finding(
            "dissenting-annotator",
            "warning",
            f"{plural(len(out), 'annotator agrees', 'annotators agree')} with the others clearly less than the"
            f" average ({percent(pool)}).",
            "Look at their answers: careless work can be dropped by name; a different taste should be modelled.",
            len(out),
            len(per),
            len(out) / len(per),
            wilson(len(out), len(per)),
            rows=rows.astype(np.int64),
            details=[Detail("Who", ("annotator", "questions shared", "agree", "95% interval"), tuple(body))],
        )
    ]


def always_alike(cells: Cells) -> list[Finding]:
    """Annotators who answer with the same side (or always a tie) though the others do not."""
    two = cells.pairs.filter(cells.rows["k"].gather(cells.pairs["row"]) == 2)
    two = two.with_columns(cells.rows["annotator"].gather(two["row"]).alias("who")).filter(pl.col("who").is_not_null())
    shares = two["outcome"].value_counts(normalize=True)
    if len(shares) < 2:
        return []  # chosen always stands first in such files: the side says nothing about the annotator
    usual = dict(shares.rows())
    per = two.group_by("who").agg(
        pl.len().alias("n"), pl.col("outcome").n_unique().alias("kinds"), pl.col("outcome").first()
    )
    people = per.filter(pl.col("n") >= _ENOUGH)
    # Chance that somebody who answers like the crowd would give one answer n times, over all the people looked at.
    alike = [
        (who, n, said)
        for who, n, kinds, said in people.sort("who").rows()
        if kinds == 1 and usual[said] ** n * len(people) < 0.01
    ]
    if not alike:
        return []
    names, label = cells.names("annotator"), {1: "first", -1: "second", 0: "tie"}
    rows = cells.rows.with_row_index("row").filter(pl.col("annotator").is_in([a[0] for a in alike]))["row"].to_numpy()
    return [
        Finding(
            "constant-annotator",
            "warning",
            f"{plural(len(alike), 'annotator gives', 'annotators give')} the same answer every time (of"
            f" {len(people):,} with {_ENOUGH} or more answers).",
            "Drop them by name, unless the order of the sides was fixed for them.",
            len(alike),
            len(people),
            len(alike) / len(people),
            wilson(len(alike), len(people)),
            rows=rows.astype(np.int64),
            details=[
                Detail("Who", ("annotator", "answers", "always"), tuple((names[w], n, label[s]) for w, n, s in alike))
            ],
        )
    ]


def _rated(cells: Cells) -> list[Finding]:
    ratings = cells.ratings()
    if not len(ratings):
        return []
    line = ratings["line"]
    frame = ratings.with_columns(
        cells.lines["item"].gather(line).alias("item"),
        *(cells.rows[n].gather(ratings["row"]).alias(n) for n in ("prompt", "criterion", "context", "annotator")),
    ).filter(pl.col("annotator").is_not_null() & pl.col("item").is_not_null() & pl.col("value").is_not_nan())
    key = ["aspect", "prompt", "criterion", "context", "item"]
    frame = frame.unique([*key, "annotator"], keep="last", maintain_order=True).filter(pl.len().over(key) > 1)
    findings, body, worst = [], [], 1.0
    for aspect in frame["aspect"].unique().sort():
        part = frame.filter(pl.col("aspect") == aspect)
        unit = part.select(pl.struct(key).rank("dense")).to_series().to_numpy()
        alpha = krippendorff(unit, part["value"], "interval")
        if np.isnan(alpha):
            body.append((aspect, part["annotator"].n_unique(), len(np.unique(unit)), "all ratings equal", ""))
            continue
        low, high = krippendorff_interval(unit, part["value"], "interval")
        worst = min(worst, alpha)
        body.append(
            (aspect, part["annotator"].n_unique(), len(np.unique(unit)), f"{alpha:.3f}", f"{low:.3f} to {high:.3f}")
        )
    if body:
        findings.append(
            Finding(
                "rating-agreement",
                "warning" if worst < 0.4 else "info",
                "Ratings of the same response by several annotators: lowest Krippendorff's alpha (interval"
                f" scale) over {plural(len(body), 'aspect')} is {worst:.3f}.",
                "Where alpha is low, a mean rating hides disagreement: keep annotators in the model.",
                len(frame),
                len(ratings),
                worst,
                no_interval="given for each aspect",
                null=0.0,
                details=[Detail("By aspect", ("aspect", "annotators", "units", "alpha", "95% interval"), tuple(body))],
            )
        )
    return findings
