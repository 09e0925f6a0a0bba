"""MinHash: unbiased, follows the S curve, and blind to the order of the texts."""

import numpy as np
import polars as pl
import pytest

from pluralign.feedback.audit import minhash
from pluralign.feedback.audit.minhash import BANDS, BINS, CROWD, cluster, jaccard, normalise, signatures

ALPHABET = [chr(c) for c in range(0x4E00, 0x4E00 + 3000)]


def pairs_at(similarity: float, n: int, rng: np.random.Generator, length: int = 400) -> tuple[pl.Series, pl.Series]:
    """Text pairs whose shingle sets have about the given Jaccard similarity: equal beginnings, own endings."""
    shared = round(length * 2 * similarity / (1 + similarity))
    draw = [rng.choice(ALPHABET, 2 * length - shared) for _ in range(n)]
    one = ["".join(d[:length]) for d in draw]
    two = ["".join(d[:shared]) + "".join(d[length:]) for d in draw]
    return pl.Series(one), pl.Series(two)


def plain_jaccard(a: str, b: str) -> float:
    x, y = ({t[i : i + 5] for i in range(len(t) - 4)} for t in (x.ljust(5) for x in normalise(pl.Series([a, b]))))
    return len(x & y) / len(x | y)


@pytest.mark.parametrize("similarity", [0.3, 0.6, 0.9])
def test_estimate_is_unbiased(similarity):
    one, two = pairs_at(similarity, 400, np.random.default_rng(0))
    n = len(one)
    exact = jaccard(pl.concat([one, two]), np.arange(n), np.arange(n) + n)
    estimate = (signatures(one) == signatures(two)).mean(axis=1)
    error = estimate - exact
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(n) + 1e-3
    assert error.std() < 1.5 * np.sqrt(similarity * (1 - similarity) / BINS)


def test_estimate_is_unbiased_where_most_bins_are_empty():
    one, two = pairs_at(0.5, 1500, np.random.default_rng(1), length=24)
    n = len(one)
    exact = jaccard(pl.concat([one, two]), np.arange(n), np.arange(n) + n)
    error = (signatures(one) == signatures(two)).mean(axis=1) - exact
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(n)


def test_candidates_follow_the_s_curve():
    rng = np.random.default_rng(2)
    for similarity in (0.5, 0.7, 0.8, 0.9):
        one, two = pairs_at(similarity, 1200, rng)
        n = len(one)
        exact = jaccard(pl.concat([one, two]), np.arange(n), np.arange(n) + n)
        met = (minhash._bands(signatures(one)) == minhash._bands(signatures(two))).any(axis=1).mean()
        expected = (1 - (1 - exact ** (BINS // BANDS)) ** BANDS).mean()
        assert met == pytest.approx(expected, abs=0.05)


def test_jaccard_equals_the_plain_computation():
    texts = ["The cat sat on the mat", "the  CAT sat on a mat", "", "abc", "Ünïcode ist schön", "unicode is fine"]
    i, j = np.triu_indices(len(texts), 1)
    expected = [plain_jaccard(texts[a], texts[b]) for a, b in zip(i, j, strict=True)]
    assert jaccard(pl.Series(texts), i, j) == pytest.approx(expected)


def test_clusters_do_not_depend_on_the_order():
    rng = np.random.default_rng(3)
    base = ["".join(rng.choice(ALPHABET[:200], 60)) for _ in range(300)]
    texts = base + [t[:30] + "x" + t[31:] for t in base[:80]] + [t + "yz" for t in base[:40]]
    shuffled = rng.permutation(len(texts))
    plain = cluster(pl.Series(texts)).labels
    mixed = cluster(pl.Series([texts[i] for i in shuffled])).labels
    back = np.empty_like(mixed)
    back[shuffled] = mixed
    together = {frozenset(np.flatnonzero(plain == label)) for label in plain}
    assert together == {frozenset(np.flatnonzero(back == label)) for label in back}
    assert plain[300] == plain[0]
    assert len(together) < 310


def test_a_crowded_bucket_is_counted_and_not_squared():
    texts = pl.Series([f"thank you very much for the kind and helpful answer number {i:04d}" for i in range(3000)])
    found = cluster(texts)
    assert found.crowded > 0
    assert found.crowded_texts > CROWD
    assert len(np.unique(found.labels)) < 30


def test_short_and_empty_texts():
    found = cluster(pl.Series(["a", "b", "ab", " "]))
    assert len(np.unique(found.labels)) == 4
    assert len(cluster(pl.Series([], dtype=pl.String)).labels) == 0
