"""One contender of `benchmarks.rank` in a process of its own, possibly with another interpreter.

    python benchmarks/rank_child.py CONTENDER TABLE.parquet OUT.npz REPEATS

Reads a table of strings into the form the contender takes, then times from that table to scores, several times over.
Writes scores in logits, by the sorted names of the items, and prints the measurements as JSON. Standard library and
the contender's own packages only.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Named = tuple[Any, Any]
"""Item names and scores in logits, in the same order."""
Work = Callable[[], Any]


def pluralign(path: str) -> Work:
    import polars as pl

    from pluralign.rank import BradleyTerry

    frame = pl.read_parquet(path)

    def run() -> Named:
        model = BradleyTerry(ties="half").fit(frame)
        return model.items_, model.scores_

    return run


def floor(path: str) -> Work:
    """Two columns of strings as numbers, and the distinct pairs counted: what nobody can do without."""
    import polars as pl

    frame = pl.read_parquet(path)

    def run() -> None:
        codes = pl.concat([frame["model_a"], frame["model_b"]]).cast(pl.Categorical).to_physical().to_numpy()
        n = int(codes.max()) + 1
        key = codes[: len(frame)].astype(np.int64) * n + codes[len(frame) :]
        if n * n <= len(key):
            np.bincount(key, minlength=n * n)
        else:
            np.unique(key, return_counts=True)

    return run


def group_by(path: str) -> Work:
    """The same floor in one line: a group-by of the table as it is."""
    import polars as pl

    frame = pl.read_parquet(path)

    def run() -> None:
        frame.group_by("model_a", "model_b").len()

    return run


def arena_rank(path: str, ftol: float = 1e-9, gtol: float = 1e-9, most: int = 1000) -> Work:
    import pandas as pd
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.utils.data_utils import PairDataset

    frame = pd.read_parquet(path)

    def run() -> Named:
        data = PairDataset.from_pandas(frame)
        model = BradleyTerry(data.n_competitors, ftol=ftol, gtol=gtol, max_iter=most).fit(data)
        return data.competitors, np.asarray(model.params["ratings"])

    return run


def arena_rank_tight(path: str) -> Work:
    return arena_rank(path, ftol=0.0, gtol=1e-13, most=20_000)


def evalica(path: str, tolerance: float = 1e-6, limit: int = 100) -> Work:
    import evalica as library
    import pandas as pd

    frame = pd.read_parquet(path)
    meaning = {"model_a": library.Winner.X, "model_b": library.Winner.Y, "tie": library.Winner.Draw}

    def run() -> Named:
        winners = frame["winner"].map(meaning).tolist()
        fit = library.bradley_terry(frame["model_a"], frame["model_b"], winners, tolerance=tolerance, limit=limit)
        return fit.scores.index.tolist(), np.log(fit.scores.to_numpy())

    return run


def evalica_tight(path: str) -> Work:
    return evalica(path, tolerance=1e-9, limit=1_000_000)


def fastchat(path: str) -> Work:
    import pandas as pd
    from fastchat.serve.monitor.rating_systems import compute_bt

    frame = pd.read_parquet(path)

    def run() -> Named:
        ratings = compute_bt(frame)
        return ratings.index.tolist(), ratings.to_numpy() / 400 * np.log(10)

    return run


def choix(path: str) -> Work:
    """I-LSR on the matrix of wins, which is its quick way; the matrix has to be made by hand."""
    import choix as library
    import pandas as pd

    frame = pd.read_parquet(path)

    def run() -> Named:
        codes, names = pd.factorize(pd.concat([frame["model_a"], frame["model_b"]]))
        left, right = codes[: len(frame)], codes[len(frame) :]
        share = frame["winner"].map({"model_a": 1.0, "model_b": 0.0, "tie": 0.5}).to_numpy()
        wins = np.zeros((len(names), len(names)))
        np.add.at(wins, (left, right), share)
        np.add.at(wins, (right, left), 1 - share)
        return names.tolist(), library.ilsr_pairwise_dense(wins, max_iter=10_000)

    return run


REPLICATES = 1000


def pluralign_bootstrap(path: str) -> Work:
    import polars as pl

    from pluralign.rank import BradleyTerry
    from pluralign.rank.bootstrap import bootstrap

    model = BradleyTerry(ties="half").fit(pl.read_parquet(path))

    def run() -> None:
        np.quantile(bootstrap(model, REPLICATES), [0.025, 0.975], axis=0)

    return run


def draws(path: str) -> Work:
    """Only the counts of the replicates."""
    import polars as pl

    counts = pl.read_parquet(path).group_by("model_a", "model_b", "winner").len()["len"].to_numpy()

    def run() -> None:
        rng = np.random.default_rng(0)
        for _ in range(0, REPLICATES, 100):
            rng.multinomial(counts.sum(), counts / counts.sum(), size=100)

    return run


def evalica_bootstrap(path: str) -> Work:
    import evalica as library
    import pandas as pd

    frame = pd.read_parquet(path)
    meaning = {"model_a": library.Winner.X, "model_b": library.Winner.Y, "tie": library.Winner.Draw}
    winners = frame["winner"].map(meaning).tolist()

    def run() -> None:
        library.bootstrap(
            library.bradley_terry,
            frame["model_a"],
            frame["model_b"],
            winners,
            n_resamples=REPLICATES,
            bootstrap_method="percentile",
            random_state=0,
        )

    return run


def pluralign_sandwich(path: str) -> Work:
    import polars as pl

    from pluralign.rank import BradleyTerry

    model = BradleyTerry(ties="half").fit(pl.read_parquet(path))

    def run() -> None:
        model.covariance("sandwich")

    return run


def pluralign_path(path: str) -> Work:
    """From a file on disk, as `pluralign rank` reads it: large ones are counted as they stream by."""
    from pluralign.rank import BradleyTerry, Votes
    from pluralign.rank.scan import scan

    def run() -> Named:
        model = BradleyTerry(ties="half").fit(scan(path) or Votes.of(path))
        return model.items_, model.scores_

    return run


def path_group_by(path: str) -> Work:
    """The pairs of the file counted by polars, streamed.

    As categories, which takes three quarters of the time of strings and half their memory.
    """
    import polars as pl

    def run() -> None:
        sides = pl.scan_parquet(path).select(pl.col("model_a", "model_b").cast(pl.Categorical))
        sides.group_by("model_a", "model_b").len().collect(engine="streaming")

    return run


def memory(field: str) -> int | None:
    """VmRSS (now) or VmHWM (peak) in bytes, where the system tells."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def reset_peak() -> None:
    """Let the peak begin from what is held now."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def main() -> None:
    name, path, out, repeats = sys.argv[1:5]
    work = globals()[name](path)
    cpu, wall = [], []
    held, peak = memory("VmRSS"), None
    for round_ in range(int(repeats)):
        gc.collect()
        if round_ == 0:
            reset_peak()
        wall_start, start = time.perf_counter(), time.process_time()
        result = work()
        cpu.append(time.process_time() - start)
        wall.append(time.perf_counter() - wall_start)
        if round_ == 0:
            peak = memory("VmHWM")
    if isinstance(result, tuple):
        order = np.argsort(np.asarray(result[0], dtype=str))
        np.savez(out, scores=np.asarray(result[1], dtype=np.float64)[order])
    above = None if held is None or peak is None else peak - held
    print(json.dumps({"cpu": cpu, "wall": wall, "above": above, "peak": peak}))


if __name__ == "__main__":
    main()
