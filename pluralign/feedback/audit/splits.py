"""What two files, or the splits of one, share."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pluralign.feedback.audit.cells import Cells
from pluralign.feedback.audit.duplicates import Labels
from pluralign.feedback.audit.finding import Detail, Finding, count, plural

_LEAST_VOTES = 20
_MOST_ITEMS = 2000


def shared_prompts(cells: Cells, exact: Labels, near: Labels) -> list[Finding]:
    """Prompts, and near-duplicates of prompts, that stand in more than one source."""
    frame = pl.DataFrame({"source": cells.rows["source"], "exact": exact, "near": near}).with_row_index("row")
    frame = frame.filter((pl.col("exact") >= 0) & pl.col("source").is_not_null())
    if frame["source"].n_unique() < 2:
        return []
    findings = []
    for key, name, words in (
        ("exact", "shared-prompt", "the same prompt"),
        ("near", "near-shared-prompt", "nearly the same prompt"),
    ):
        spread = frame.filter(pl.col("source").n_unique().over(key) > 1)
        if key == "near":
            spread = spread.filter(pl.col("source").n_unique().over("exact") == 1)
        if not len(spread):
            continue
        # The rows of the first source are the ones to drop: by habit it is the training set, and test sets stay whole.
        first = frame["source"].min()
        rows = spread.filter(pl.col("source") == first)["row"].to_numpy()
        if not len(rows):
            rows = spread.filter(pl.col("source") != spread["source"].max())["row"].to_numpy()
        names = cells.names("source")
        body = tuple((names[s], n) for s, n in spread.group_by("source").agg(pl.col("row").len()).sort("source").rows())
        findings.append(
            count(
                name,
                "warning" if frame["source"].n_unique() == 2 else "info",
                rows,
                len(frame),
                f"{plural(spread[key].n_unique(), 'prompt')} stand{'s' if spread[key].n_unique() == 1 else ''} in"
                f" more than one source ({words}), in {plural(len(spread), 'row')}.",
                "If the sources are train and test, drop the rows from train; results on such prompts measure memory.",
                [Detail("Rows by source", ("source", "rows"), body)],
            )
        )
    return findings


def relabelled(cells: Cells) -> list[Finding]:
    """Two sources over the same names that agree only after the names are exchanged.

    For each source the share of wins of every item over every other is taken. If the two disagree by much more than
    sampling allows as named, and by no more than sampling allows when the items of equal mean rank are put against
    each other, one of the files has its names on the wrong items.
    """
    source = cells.rows["source"]
    names = cells.model()
    row = cells.pairs["row"]
    pairs = cells.pairs.with_columns(
        names.gather(cells.pairs["a"]).alias("x"),
        names.gather(cells.pairs["b"]).alias("y"),
        source.gather(row).alias("source"),
        cells.rows["weight"].gather(row).fill_null(1.0).alias("w"),
    ).drop_nulls(["x", "y", "source"])
    full = {}
    for key, part in pairs.partition_by("source", as_dict=True).items():
        known = pl.concat([part["x"], part["y"]]).unique().sort().to_list()
        if 3 <= len(known) <= _MOST_ITEMS:
            share, votes = _wins(part, known)
            if (votes >= _LEAST_VOTES).sum() > 0.8 * len(known) * (len(known) - 1):
                full[key[0]] = (known, share, votes)
    labels = cells.names("source")
    findings = []
    for one, two in combinations(sorted(full), 2):
        (known, share_1, votes_1), (other, share_2, votes_2) = full[one], full[two]
        same = same_names(known, other)
        n = len(known)
        if same is None:
            continue
        share_2, votes_2 = share_2[np.ix_(same, same)], votes_2[np.ix_(same, same)]
        noise = _noise(share_1, votes_1, votes_2)
        place_1, place_2 = _order(share_1), _order(share_2)
        to = np.empty(n, dtype=np.int64)
        to[place_1] = place_2  # the item of `two` that stands where each item of `one` stands
        named, moved = _rms(share_1, share_2), _rms(share_1, share_2[np.ix_(to, to)])
        if (to == np.arange(n)).all() or named < 4 * noise or moved > 1.5 * noise:
            continue
        body = tuple((known[i], other[same[int(to[i])]]) for i in range(n))
        rows = cells.rows.with_row_index("row").filter(pl.col("source") == one)["row"].to_numpy()
        changed = int((to != np.arange(n)).sum())
        fit = "exactly" if moved < 1e-9 else f"within sampling error ({moved:.3f}; {noise:.3f} expected)"
        findings.append(
            Finding(
                "relabelled-items",
                "error",
                f"{labels[one]} and {labels[two]} name the same {n} items but disagree (root mean square difference of"
                f" pairwise win shares {named:.3f}); with {changed} names exchanged they agree {fit}.",
                "One of the two files has its names on the wrong items: compare both with the original source"
                " before using either.",
                changed,
                n,
                named,
                no_interval=f"sampling alone would give {noise:.3f}",
                null=0.0,
                rows=rows.astype(np.int64),
                details=[Detail("What looks like the same item", (str(labels[one]), str(labels[two])), body)],
            )
        )
    return findings


def same_names(one: list[str], two: list[str]) -> list[int] | None:
    """For each name of `one` the place in `two` of the name that means the same, None unless all match one to one.

    Letters and digits are compared, and a gloss in brackets counts as a name of its own.

    >>> same_names(["fatty_tuna", "Egg"], ["tamago (egg)", "toro (fatty tuna)"])
    [1, 0]
    """
    place = {alias: i for i, name in enumerate(two) for alias in _aliases(name)}
    found = [{place[alias] for alias in _aliases(name) if alias in place} for name in one]
    if len(one) != len(two) or any(len(f) != 1 for f in found):
        return None
    match = [f.pop() for f in found]
    return match if len(set(match)) == len(two) else None


def _aliases(name: str) -> set[str]:
    parts = [name, re.sub(r"\(.*?\)", " ", name), *re.findall(r"\((.*?)\)", name)]
    return {re.sub(r"[\W_]+", " ", part.lower()).strip() for part in parts} - {""}


def _wins(pairs: pl.DataFrame, known: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[n, n] share of wins of the row item over the column item (ties half), and the votes behind each."""
    n, names = len(known), pl.Enum(known)
    x, y = (pairs[c].cast(names).to_physical().to_numpy().astype(np.int64) for c in ("x", "y"))
    w = pairs["w"].to_numpy()
    gain = (pairs["outcome"].to_numpy() + 1) / 2
    won = np.bincount(x * n + y, weights=w * gain, minlength=n * n).reshape(n, n)
    won += np.bincount(y * n + x, weights=w * (1 - gain), minlength=n * n).reshape(n, n)
    votes = won + won.T
    share: NDArray[np.float64] = np.divide(won, votes, out=np.full((n, n), 0.5), where=votes > 0)
    return share, votes.astype(np.float64)


def _order(share: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.argsort(-share.sum(axis=1), kind="stable")


def _rms(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    off = ~np.eye(len(a), dtype=bool)
    return float(np.sqrt(np.mean((a - b)[off] ** 2)))


def _noise(share: NDArray[np.float64], votes_1: NDArray[np.float64], votes_2: NDArray[np.float64]) -> float:
    off = ~np.eye(len(share), dtype=bool)
    variance = share * (1 - share) * (1 / np.maximum(votes_1, 1) + 1 / np.maximum(votes_2, 1))
    return float(np.sqrt(variance[off].mean()))
