"""Do annotators agree: Krippendorff's alpha, pairs of annotators, those who differ, those who always say the same."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from pluralign.feedback.audit.cells import Cells
from pluralign.feedback.audit.finding import Detail, Finding, percent, plural
from pluralign.intervals import bootstrap, wilson

_ENOUGH = 10  # judgements below which nothing is said about one annotator
_SHOWN = 30  # annotator pairs listed on the page
_RING = 30  # votes on one question beyond which not every two are paired


def krippendorff(units: ArrayLike, labels: ArrayLike, metric: str = "nominal") -> float:
    """Krippendorff's alpha: 1 - observed / expected disagreement (Krippendorff 2004, ch. 11).

    units [n], labels [n]: one entry a judgement; missing judgements are simply absent. metric "nominal" (labels of any
    kind) or "interval" (numbers, squared difference). NaN where no unit has two judgements or all labels are equal.

    >>> krippendorff([1, 1, 2, 2, 3, 3], ["a", "a", "b", "b", "a", "a"])
    1.0
    >>> round(krippendorff([1, 1, 2, 2, 3, 3, 4, 4], [1, 1, 2, 2, 3, 3, 1, 2]), 4)
    0.6667
    """
    return _alpha(_unit_counts(units, labels, metric), metric)


def krippendorff_interval(
    units: ArrayLike, labels: ArrayLike, metric: str = "nominal", seed: int = 0
) -> tuple[float, float]:
    """95% interval of alpha: units resampled as a whole."""
    counts = _unit_counts(units, labels, metric)
    # Two thousand replicates of many units cost minutes and change no digit that is shown.
    replicates = int(np.clip(4e7 / max(1, counts.size), 200, 2000))
    return bootstrap(lambda c: _alpha(c, metric), counts, replicates=replicates, seed=seed)


def _unit_counts(units: ArrayLike, labels: ArrayLike, metric: str) -> NDArray[np.float64]:
    """[U, 1 + C] one line a unit of two or more judgements: its disagreement, then its values' part of the margins."""
    _, unit = np.unique(np.asarray(units), return_inverse=True)
    size = np.bincount(unit)
    keep = size[unit] > 1
    _, unit = np.unique(unit[keep], return_inverse=True)
    m = np.bincount(unit).astype(np.float64)
    if metric == "interval":
        x = np.asarray(labels, dtype=np.float64)[keep]
        total, square = np.bincount(unit, weights=x), np.bincount(unit, weights=x * x)
        within = (2 * m * square - 2 * total**2) / np.maximum(m - 1, 1)
        return np.column_stack((within, m, total, square))
    _, label = np.unique(np.asarray(labels)[keep], return_inverse=True)
    classes = int(label.max()) + 1 if len(label) else 0
    table = np.bincount(unit * classes + label, minlength=len(m) * classes).reshape(len(m), classes).astype(np.float64)
    within = (m**2 - (table**2).sum(1)) / np.maximum(m - 1, 1) if len(m) else m
    return np.column_stack((within, table))


def _alpha(counts: NDArray[np.float64], metric: str) -> float:
    total = counts.sum(axis=0)
    if metric == "interval":
        n = total[1] if len(counts) else 0
        expected = (2 * n * total[3] - 2 * total[2] ** 2) / (n - 1) if n > 1 else 0.0
    else:
        n = total[1:].sum()
        expected = (n**2 - (total[1:] ** 2).sum()) / (n - 1) if n > 1 else 0.0
    return float(1 - total[0] / expected) if expected > 1e-12 else float("nan")


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
        f"Two annotators agree on {percent(same / of)} of what both judged ({plural(units, 'question')});"
        " Krippendorff's"
        f" alpha is {'not defined, as all answers are equal' if flat else f'{alpha:.3f}'}.",
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
        parts.append(
            met.group_by("who", "other").agg(pl.len().alias("n"), (pl.col("said") == pl.col("theirs")).sum().alias("k"))
        )
    people = pl.concat(parts).group_by("who", "other").sum()
    names = cells.names("annotator")
    shown = people.sort("n", "who", "other", descending=[True, False, False]).head(_SHOWN)
    body = []
    for who, other, n, k in shown.rows():
        a, b = wilson(k, n)
        body.append((names[who], names[other], n, percent(k / n), f"{percent(a)} to {percent(b)}"))
    note = f"; questions with more than {_RING} votes pair neighbours only" if most > _RING else ""
    caption = f"Pairs of annotators, most shared questions first ({len(shown)} of {len(people):,}{note})"
    return [Detail(caption, ("annotator", "and", "shared", "agree", "95% interval"), tuple(body))]


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
