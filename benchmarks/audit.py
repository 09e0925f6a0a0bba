"""Time and peak memory of `pluralign audit` on one million rows of pair text.

    python benchmarks/audit.py [ROWS]

Writes seeded rows (a prompt and two replies each, about 620 characters a row, a part of them near-copies, with 500
annotators and 20 models) to a Parquet file, audits it in a process of its own, and prints a table row.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pluralign.feedback.record import SCHEMA

BATCH = 50_000
CHILD = """
import json, resource, sys, time
start = time.perf_counter()
import pluralign
feedback = pluralign.read(sys.argv[1])
read = time.perf_counter()
steps = []
report = feedback.audit(max_length=256, progress=lambda name: steps.append((name, time.perf_counter() - read)))
report.to_html(sys.argv[1] + ".html")
end = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
print(json.dumps({"rows": len(feedback), "read": read - start, "audit": end - read, "peak": peak, "steps": steps,
                  "findings": {f.name: f.n for f in report.findings}}))
"""


def write(path: Path, rows: int, seed: int = 0) -> int:
    """Write the rows; returns the characters of text in them."""
    rng = np.random.default_rng(seed)
    words = np.array(["".join(rng.choice(list("etaoinshrdlucmfwyp"), rng.integers(2, 9))) for _ in range(8000)])
    popularity = 1 / (np.arange(len(words)) + 10.0)
    popularity /= popularity.sum()
    characters = 0
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for start in range(0, rows, BATCH):
            n = min(BATCH, rows - start)
            columns = [_texts(rng, words, popularity, n, mean) for mean in (16, 42, 42)]
            for texts in columns:
                # One text in a hundred is an earlier one with a word added: a planted near-copy.
                copies = rng.choice(n, n // 100, replace=False)
                for copy in copies:
                    texts[copy] = texts[int(rng.integers(n))] + " indeed"
            characters += sum(len(t) for texts in columns for t in texts)
            writer.write_table(_table(rng, start, n, columns))
    return characters


def _texts(rng: np.random.Generator, words: np.ndarray, popularity: np.ndarray, n: int, mean: int) -> list[str]:
    length = rng.poisson(mean, n) + 1
    flat = words[rng.choice(len(words), length.sum(), p=popularity)]
    ends = np.cumsum(length)
    return [" ".join(flat[e - k : e]) for e, k in zip(ends, length, strict=True)]


def _messages(texts: list[str]) -> pa.Array:
    none = pa.nulls(len(texts))
    message = pa.StructArray.from_arrays(
        [none.cast(pa.string()), pa.array(texts), none.cast(pa.float64()), none.cast(pa.string())],
        names=["role", "content", "label", "extra"],
    )
    return pa.ListArray.from_arrays(pa.array(np.arange(len(texts) + 1, dtype=np.int32)), message)


def _table(rng: np.random.Generator, start: int, n: int, columns: list[list[str]]) -> pa.Table:
    prompt, one, two = columns
    both = [text for pair in zip(one, two, strict=True) for text in pair]
    models = pa.array([f"model-{i}" for i in rng.integers(20, size=2 * n)])
    response = SCHEMA.field("responses").type.value_type
    rated = pa.nulls(2 * n, response.field("ratings").type)
    responses = pa.StructArray.from_arrays(
        [_messages(both), models, pa.nulls(2 * n, pa.string()), rated], fields=list(response)
    )
    pairs = pa.array(np.arange(0, 2 * n + 1, 2, dtype=np.int32))
    ranks = np.where(rng.random(n)[:, None] < 0.5, [1, 2], [2, 1]).ravel().astype(np.int32)
    given = {
        "prompt": _messages(prompt),
        "responses": pa.ListArray.from_arrays(pairs, responses),
        "ranks": pa.ListArray.from_arrays(pairs, pa.array(ranks)),
        "annotator": pa.array([f"annotator-{i}" for i in rng.integers(500, size=n)]),
        "source": pa.array(["generated"] * n),
        "row": pa.array(np.arange(start, start + n)),
        "format": pa.array(["generated"] * n),
    }
    arrays = [given[f.name].cast(f.type) if f.name in given else pa.nulls(n, f.type) for f in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.parquet"
        characters = write(path, rows)
        done = subprocess.run([sys.executable, "-c", CHILD, str(path)], check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    print("| rows | characters of text | read, s | audit and page, s | peak memory, GB (1e9 bytes) |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    print(
        f"| {result['rows']:,} | {characters:,} | {result['read']:.1f} | {result['audit']:.1f} | {result['peak']:.2f} |"
    )
    for name, at in result["steps"]:
        print(f"  {at:7.1f} s  {name}", file=sys.stderr)
    print(result["findings"], file=sys.stderr)


if __name__ == "__main__":
    main()
