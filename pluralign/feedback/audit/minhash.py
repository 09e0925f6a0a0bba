"""Near-duplicate texts: character shingles, MinHash, LSH bands, exact Jaccard, connected components.

Signatures are one-permutation MinHash (Li, Owen and Zhang 2012): each shingle falls into one of K bins and each bin
keeps its minimum, so a text costs one hash a shingle and not K. Empty bins borrow from the first filled bin in a
random order of their own (optimal densification, Shrivastava 2017, without replacement), which keeps the fraction of
equal entries an unbiased estimate of the Jaccard similarity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SHINGLE = 5  # characters
BINS = 128
BANDS = 16  # of 8 entries: a pair of similarity J is compared with probability 1 - (1 - J^8)^16
THRESHOLD = 0.8
CROWD = 32  # texts in one bucket beyond which only leaders and neighbours are compared
NEIGHBOURS = 4
_EMPTY = np.uint32(0xFFFFFFFF)
_TEXTS = 20_000  # texts hashed at once
_PAIRS = 20_000  # pairs verified at once
_CHARACTERS = 500_000  # characters hashed at once: what stays in the cache


@dataclass(frozen=True)
class Clusters:
    """labels: [n] texts with the same label are near-duplicates, directly or through others.

    crowded: buckets with more than `CROWD` texts, in which each text was compared with the bucket's first and its
    nearest neighbours by length only; `crowded_texts`: the most texts such a bucket held.
    """

    labels: NDArray[np.int64]
    crowded: int
    crowded_texts: int


def normalise(texts: pl.Series) -> pl.Series:
    """Unicode NFKC, lower case, runs of blanks as one space, ends trimmed.

    >>> normalise(pl.Series([" Ａ  b\\n"]))[0]
    'a b'
    """
    # ASCII is in NFKC already, and a single space needs no replacing: both save most of the work on most texts.
    unusual = pl.when(pl.col("t").str.contains(r"[^\x00-\x7F]")).then("t").str.normalize("NFKC")
    expr = pl.coalesce(unusual, "t").str.to_lowercase().str.replace_all(r"[^\S ]\s*| \s+", " ").str.strip_chars()
    return pl.DataFrame({"t": texts}).select(expr).to_series()


def signatures(texts: pl.Series) -> NDArray[np.uint32]:
    """[n, BINS] MinHash signature of each text; equal entries of two rows estimate their Jaccard similarity."""
    out = np.full((len(texts), BINS), _EMPTY, dtype=np.uint32)
    for start, stop in _spans(texts):
        owner, code = shingles(texts.slice(start, stop - start))
        index = owner * BINS + (code >> np.uint64(57)).astype(np.int64)
        part = out[start:stop].reshape(-1)
        # One sort-free pass: minimum.at has an indexed loop in numpy >= 1.25.
        np.minimum.at(part, index, ((code >> np.uint64(20)) & np.uint64(0xFFFFFFFE)).astype(np.uint32))
    return _densify(out)


def shingles(texts: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Owner (number of the text) and 64-bit hash of every run of `SHINGLE` characters of normalised texts."""
    texts = normalise(texts).str.pad_end(SHINGLE, " ")
    length = texts.str.len_chars().to_numpy().astype(np.int64)
    joined = "".join(texts.to_list())
    if joined.isascii():
        points = np.frombuffer(joined.encode("ascii"), dtype=np.uint8).astype(np.uint64)
    else:
        points = np.frombuffer(joined.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    end = np.cumsum(length)
    owner = np.repeat(np.arange(len(length)), length - SHINGLE + 1)
    first = np.arange(len(owner)) + owner * (SHINGLE - 1)
    assert len(points) == (end[-1] if len(end) else 0)
    code = np.zeros(len(points), dtype=np.uint64)
    size = max(0, len(points) - SHINGLE + 1)
    for i in range(SHINGLE):
        code[:size] *= np.uint64(0x9E3779B97F4A7C15)
        code[:size] += points[i : i + size]
    return owner, _mix(code[first])


def cluster(texts: pl.Series, which: NDArray[np.int64] | None = None, threshold: float = THRESHOLD) -> Clusters:
    """Group texts whose Jaccard similarity over shingles is at least `threshold`. Texts should be distinct.

    which: positions of the texts to group, all by default; labels [len(which)] follow it.

    The grouping does not depend on the order of the texts.
    """
    which = np.arange(len(texts)) if which is None else which
    n = len(which)
    # A fixed order of the texts makes bucket leaders and neighbours independent of the order they came in.
    order = np.lexsort((texts.hash(seed=11).to_numpy()[which], texts.str.len_chars().to_numpy()[which]))
    # Gathering copies text, so it is done a batch at a time and never for all.
    place = which[order]
    bands = np.empty((n, BANDS), dtype=np.uint32)
    for start in range(0, n, _TEXTS):
        bands[start : start + _TEXTS] = _bands(signatures(texts.gather(place[start : start + _TEXTS])))
    labels = np.arange(n)
    rejected = np.zeros(0, dtype=np.int64)
    crowded = most = 0
    for band in range(BANDS):
        i, j, crowds = _candidates(bands[:, band])
        crowded, most = crowded + len(crowds), max(most, int(crowds.max(initial=0)))
        fresh = labels[i] != labels[j]
        key = np.unique(i[fresh] * n + j[fresh])
        key = key[~np.isin(key, rejected, assume_unique=True)]
        same = jaccard(texts, place[key // n], place[key % n]) >= threshold
        rejected = np.union1d(rejected, key[~same])
        labels = _merge(labels, key[same] // n, key[same] % n)
    back = np.empty(n, dtype=np.int64)
    back[order] = labels
    return Clusters(back, crowded, most)


def jaccard(texts: pl.Series, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
    """Jaccard similarity of the shingle sets of texts i and j, one value a pair (shingles compared by 40-bit hash)."""
    out = np.empty(len(i))
    length = texts.str.len_bytes().to_numpy()
    weight = np.cumsum(length[i] + length[j])
    start = 0
    while start < len(i):
        before = weight[start - 1] if start else 0
        stop = max(start + 1, min(start + _PAIRS, int(np.searchsorted(weight, before + _CHARACTERS))))
        a, b = (_keys(texts.gather(side[start:stop])) for side in (i, j))
        both = np.sort(np.concatenate((a, b)))
        shared = both[1:][both[1:] == both[:-1]]
        size = stop - start
        common, in_a, in_b = (
            np.bincount((x >> np.uint64(40)).astype(np.int64), minlength=size) for x in (shared, a, b)
        )
        out[start:stop] = common / (in_a + in_b - common)
        start = stop
    return out


def _keys(texts: pl.Series) -> NDArray[np.uint64]:
    owner, code = shingles(texts)
    key = np.sort((owner.astype(np.uint64) << np.uint64(40)) | (code >> np.uint64(24)))
    kept: NDArray[np.uint64] = key[np.concatenate(([True], key[1:] != key[:-1]))]
    return kept


def _spans(texts: pl.Series) -> list[tuple[int, int]]:
    """Runs of texts with at most `_CHARACTERS` bytes each (one text at least)."""
    end = np.cumsum(texts.str.len_bytes().to_numpy())
    spans, start = [], 0
    while start < len(texts):
        before = int(end[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(end, before + _CHARACTERS)))
        spans.append((start, stop))
        start = stop
    return spans


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every input bit over the output (the finaliser of SplitMix64)."""
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


_DETOUR = np.random.default_rng(20170803).permuted(np.tile(np.arange(BINS), (BINS, 1)), axis=1)


def _densify(signature: NDArray[np.uint32]) -> NDArray[np.uint32]:
    text, bin_ = np.nonzero(signature == _EMPTY)
    filled = signature != _EMPTY
    out = signature.copy()
    for step in range(BINS):
        if not len(text):
            break
        source = _DETOUR[bin_, step]
        found = filled[text, source]
        out[text[found], bin_[found]] = signature[text[found], source[found]]
        text, bin_ = text[~found], bin_[~found]
    return out


def _bands(signature: NDArray[np.uint32]) -> NDArray[np.uint32]:
    split = signature.reshape(len(signature), BANDS, BINS // BANDS).astype(np.uint64)
    key = np.zeros(split.shape[:2], dtype=np.uint64)
    for entry in range(split.shape[2]):
        key = _mix((key ^ split[:, :, entry]) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1))
    return (key >> np.uint64(32)).astype(np.uint32)


def _candidates(keys: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs i < j worth comparing, and the sizes of buckets that were too crowded for all pairs."""
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    start = np.flatnonzero(np.concatenate(([True], sorted_keys[1:] != sorted_keys[:-1]))) if len(keys) else order[:0]
    size = np.diff(np.concatenate((start, [len(keys)])))
    left, right = [order[:0]], [order[:0]]
    for m in np.unique(size[(size > 1) & (size <= CROWD)]):
        members = order[start[size == m][:, None] + np.arange(m)]
        a, b = np.triu_indices(int(m), 1)
        left.append(members[:, a].ravel())
        right.append(members[:, b].ravel())
    big = size > CROWD
    for s, m in zip(start[big], size[big], strict=True):
        members = order[s : s + m]
        left.append(np.full(m - 1, members[0]))
        right.append(members[1:])
        for gap in range(1, NEIGHBOURS + 1):
            left.append(members[:-gap])
            right.append(members[gap:])
    a, b = np.concatenate(left), np.concatenate(right)
    return np.minimum(a, b), np.maximum(a, b), size[big]


def _merge(labels: NDArray[np.int64], i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.int64]:
    if not len(i):
        return labels
    n = len(labels)
    graph = coo_array((np.ones(len(i), dtype=bool), (labels[i], labels[j])), shape=(n, n))
    component = connected_components(graph, directed=False)[1]
    # The smallest member names the cluster, so that labels stay comparable from band to band.
    smallest = np.full(n, n, dtype=np.int64)
    np.minimum.at(smallest, component, np.arange(n))
    merged: NDArray[np.int64] = smallest[component][labels]
    return merged
