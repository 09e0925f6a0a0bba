"""Preferences that a model fitted to the other rows thinks wrong: candidates for label errors (cross-fitted loss)."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array, vstack
from scipy.special import expit

from pluralign.feedback.audit.cells import Cells, batches
from pluralign.feedback.audit.finding import CENSUS, Finding, percent, plural
from pluralign.intervals import wilson

FOLDS = 5
SUSPECT = 0.1  # the chance the model gives to what was recorded, below which it is doubted
_BUCKETS = 1 << 12
_MOST = 100_000  # pairs looked at; a sample of them beyond
_LEAST = 200
_RIDGES = (1.0, 30.0, 1000.0, 30_000.0)


def cross_fitted(
    differences: ArrayLike | csr_array, group: ArrayLike, *, ridge: float | None = None
) -> NDArray[np.float64]:
    """[n] chance of each recorded preference under a logistic model fitted to the rows of other groups.

    differences [n, d]: features of the preferred response minus those of the other. group [n]: rows of one group (a
    prompt) are in one of five folds, and a row's chance comes from the model of the other four. -log of it is the
    row's cross-fitted loss: the largest are candidates for label errors. ridge: penalty on the squared weights, each
    feature scaled to unit mean square; left out, the one of four whose cross-fitted loss is least.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(400, 2)) + [3, 0]
    >>> x[:10] *= -1
    >>> bool(np.median(cross_fitted(x, np.arange(400))[:10]) < 0.3)
    True
    """
    x = csr_array(differences, dtype=np.float64)
    fold = pl.Series(np.asarray(group)).hash(seed=31).to_numpy() % FOLDS
    # Words are many and rows are few: a penalty too small gives chances near 0 and 1 that mean nothing.
    tried = [_chances(x, fold, each) for each in ((ridge,) if ridge is not None else _RIDGES)]
    return min(tried, key=lambda chance: float(-np.log(np.maximum(chance, 1e-12)).sum()))


def _chances(x: csr_array, fold: NDArray[np.uint64], ridge: float) -> NDArray[np.float64]:
    chance = np.full(x.shape[0], 0.5)
    for held in range(FOLDS):
        train, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        if len(train) and len(test):
            part = x[train]
            scale = 1 / np.sqrt(np.maximum(part.multiply(part).mean(axis=0), 1e-9))
            chance[test] = expit(x[test] @ (scale * _fit(part, scale, ridge)))
    return chance


def _fit(x: csr_array, scale: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = x @ (scale * w)
        value = np.logaddexp(0, -margin).sum() + ridge / 2 * (w @ w)
        return float(value), -scale * (x.T @ expit(-margin)) + ridge * w

    found: NDArray[np.float64] = minimize(
        loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200}
    ).x
    return found


def suspects(cells: Cells) -> list[Finding]:
    """Preferences between texts that the words of the rows under other prompts speak against."""
    has_text = pl.Series(cells.has_text)
    decided = cells.decided
    decided = decided.filter(has_text.gather(decided["a"]) & has_text.gather(decided["b"]))
    of = len(decided)
    if of < _LEAST:
        return []
    if of > _MOST:
        decided = decided[np.sort(np.random.default_rng(0).choice(of, _MOST, replace=False))]
    winner, loser = (_features(cells.responses.gather(decided[side])) for side in ("winner", "loser"))
    group = cells.rows["prompt"].gather(decided["row"]).fill_null(decided["row"].cast(pl.UInt64))
    chance = cross_fitted(winner - loser, group)
    n = len(chance)
    right = float((chance > 0.5).sum() + (chance == 0.5).sum() / 2)
    low, high = wilson(right, n)
    told = (
        f"A model of words and length, fitted to the rows under other prompts, agrees with {percent(right / n)}"
        f" ({percent(low)} to {percent(high)}) of {plural(n, 'preference')}"
        f"{f' (a sample of {of:,})' if of > n else ''}"
    )
    doubted = np.unique(decided["row"].to_numpy()[chance < SUSPECT]) if low > 0.5 else np.zeros(0, np.int64)
    if not len(doubted):
        why = f"gives none a chance under {percent(SUSPECT)}" if low > 0.5 else "can doubt none of them"
        return [Finding("suspect-label", "info", f"{told}; it {why}.", "Nothing to do.", 0, n, no_interval=CENSUS)]
    return [
        Finding(
            "suspect-label",
            "info",
            f"{told}; to {plural(len(doubted), 'row')} it gives a chance under {percent(SUSPECT)}.",
            "Read them again: some are labels on the wrong side, others a taste that words do not tell. Drop what is"
            " wrong, not all of them unread.",
            len(doubted),
            n,
            len(doubted) / n,
            wilson(len(doubted), n),
            rows=doubted.astype(np.int64),
        )
    ]


def _features(texts: pl.Series) -> csr_array:
    """[n, buckets + 1] log counts of hashed words, and the log of how many there are."""
    parts = []
    for _, batch in batches(texts):
        words = batch.str.to_lowercase().str.extract_all(r"\w+")
        size = words.list.len().to_numpy()
        owner = np.repeat(np.arange(len(batch)), size)
        place = (words.explode().drop_nulls().hash(seed=33).to_numpy() % _BUCKETS).astype(np.int64)
        counts = csr_array((np.ones(len(place)), (owner, place)), shape=(len(batch), _BUCKETS + 1))
        counts.sum_duplicates()
        counts = counts + csr_array(
            (size.astype(float), (np.arange(len(batch)), np.full(len(batch), _BUCKETS))), shape=counts.shape
        )
        counts.data = np.log1p(counts.data)
        parts.append(counts)
    return vstack(parts, format="csr")
