"""Prompts of other files, benchmarks above all, that stand word for word inside the rows: a leak, found by 13-grams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pluralign.feedback.audit.cells import BATCH, Cells, joined
from pluralign.feedback.audit.finding import Detail, Finding, count, percent, plural

N = 13  # words in a row that two texts on one subject hardly ever share by chance (Brown et al. 2020, appendix C)
_LEAST = 5  # words below which a prompt ("Continue.") is looked for nowhere
# Scripts that set no blanks between words are read a character at a time.
_WORD = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|[\w--[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]]+"
_SHOWN = 30
_EXCERPT = 100


def contaminated(cells: Cells, against: Mapping[str, pa.Table]) -> list[Finding]:
    """Rows that hold 13 words in a row of a prompt of another file, in their prompt or in any response.

    against: name of each other file -> its table of `record.SCHEMA`. A prompt of 5 to 12 words is found where it is all
    of a row's prompt; shorter ones are not looked for, and how many there were is said. Words are compared in lower
    case, without punctuation.
    """
    findings: dict[str, NDArray[np.int64]] = {}
    body: list[tuple[object, ...]] = []
    shown: list[tuple[object, ...]] = []
    short = hits = of = 0
    for name, table in against.items():
        prompts = pl.Series(joined(table["prompt"])).unique(maintain_order=True)
        items = _words(prompts)
        size = np.bincount(items[0], minlength=len(prompts))
        short += int((size < _LEAST).sum())
        usable = int((size >= _LEAST).sum())
        rows, covered = _found(cells, items, size)
        hit = np.flatnonzero(covered)
        findings[name] = rows
        share = covered[hit] / np.maximum(1, size[hit])
        hits, of = hits + len(hit), of + usable
        body.append((name, len(hit), usable, len(rows), percent(float(share.mean())) if len(hit) else ""))
        order = np.argsort(-share, kind="stable")[: _SHOWN - len(shown)]
        shown += [(name, percent(float(share[i])), _excerpt(prompts[int(hit[i])])) for i in order]
    rows = np.unique(np.concatenate([np.zeros(0, np.int64), *findings.values()]))
    details = [Detail("By file", ("file", "prompts found", "of", "rows", "mean share of words found"), tuple(body))]
    if shown:
        caption = f"Prompts found, most of their words first ({len(shown)} of {hits:,})"
        details.append(Detail(caption, ("file", "words found", "prompt"), tuple(shown)))
    note = f" {plural(short, 'prompt')} of fewer than {_LEAST} words {'was' if short == 1 else 'were'} not looked for."
    return [
        count(
            "contaminated",
            "error" if len(rows) else "info",
            rows,
            len(cells.rows),
            f"{plural(len(rows), 'row holds', 'rows hold')} {N} words in a row of {hits:,} of {of:,} prompts of"
            f" {', '.join(list(against)[:4])}.{note if short else ''}",
            "Drop the rows before training: results on those prompts would measure memory."
            if len(rows)
            else "Nothing to do.",
            details,
        )
    ]


def _found(
    cells: Cells, items: tuple[NDArray[np.int64], NDArray[np.uint64]], size: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows [r] that hold something of the items, and how many words of each item were found."""
    owner, gram, place = _grams(*items, N)
    order = np.argsort(gram, kind="stable")
    known, first = np.unique(gram[order], return_index=True)
    seen = np.zeros(len(known), dtype=bool)
    whole = _whole(*items, len(size))
    brief = np.flatnonzero((size >= _LEAST) & (size < N))
    met = np.zeros(len(size), dtype=bool)
    rows = []
    for start, part, is_prompt in _texts(cells):
        words = _words(part)
        text, code, _ = _grams(*words, N)
        if len(known):
            at = np.minimum(np.searchsorted(known, code), len(known) - 1)
            same = known[at] == code
            seen[at[same]] = True
            rows.append(_rows_of(cells, start, np.unique(text[same]), is_prompt))
        if is_prompt and len(brief):
            prompts = _whole(*words, len(part))
            equal = np.isin(prompts, whole[brief])
            met[brief[np.isin(whole[brief], prompts)]] = True
            rows.append(np.flatnonzero(equal) + start)
    covered = _covered(owner[order], place[order], np.repeat(seen, np.diff(np.append(first, len(gram)))), size)
    covered[met] = size[met]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *rows])), covered


def _texts(cells: Cells) -> Iterator[tuple[int, pl.Series, bool]]:
    for texts, is_prompt in ((cells.prompts, True), (cells.responses, False)):
        for start in range(0, len(texts), BATCH):
            yield start, texts.slice(start, BATCH), is_prompt


def _rows_of(cells: Cells, start: int, found: NDArray[np.int64], is_prompt: bool) -> NDArray[np.int64]:
    if is_prompt:
        return found + start
    return cells.lines["row"].to_numpy()[found + start].astype(np.int64)


def _words(texts: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Number of the text and hash of each word of normalised texts, in order."""
    frame = pl.DataFrame({"t": texts.str.normalize("NFKC").str.to_lowercase()})
    words = frame.select(pl.col("t").str.extract_all(_WORD)).to_series()
    owner = np.repeat(np.arange(len(texts)), words.list.len().to_numpy())
    return owner, words.explode().drop_nulls().hash(seed=21).to_numpy()


def _grams(
    owner: NDArray[np.int64], word: NDArray[np.uint64], n: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
    """Text, hash and place of the first word of every run of n words inside one text."""
    size = max(0, len(word) - n + 1)
    code = np.zeros(size, dtype=np.uint64)
    for i in range(n):
        code *= np.uint64(0x9E3779B97F4A7C15)
        code += word[i : i + size]
    inside = owner[:size] == owner[n - 1 : n - 1 + size]
    place = np.flatnonzero(inside)
    begin = np.searchsorted(owner, owner[:size][inside])
    return owner[:size][inside], code[inside], place - begin


def _whole(owner: NDArray[np.int64], word: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """[n] one hash of all the words of each text, in order."""
    begin = np.searchsorted(owner, np.arange(n))
    place = (np.arange(len(owner)) - begin[owner]).astype(np.uint64)
    mixed = pl.DataFrame({"w": word, "p": place}).select(pl.struct("w", "p").hash(seed=22)).to_series().to_numpy()
    total = np.zeros(n, dtype=np.uint64)
    np.add.at(total, owner, mixed)
    return total


def _covered(
    owner: NDArray[np.int64], place: NDArray[np.int64], seen: NDArray[np.bool_], size: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many words of each text lie in a run that was seen."""
    begin = np.cumsum(size) - size
    edge = np.zeros(int(size.sum()) + 1, dtype=np.int64)
    at = begin[owner[seen]] + place[seen]
    np.add.at(edge, at, 1)
    np.add.at(edge, at + N, -1)
    inside = (np.cumsum(edge)[:-1] > 0).astype(np.int64)
    return np.bincount(np.repeat(np.arange(len(size)), size), weights=inside, minlength=len(size)).astype(np.int64)


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT else line[:_EXCERPT].rstrip() + " …"
