"""Leaderboards against choix, evalica, arena-rank and FastChat: time from a table of strings to scores, and memory.

    python -m venv .peers
    .peers/bin/pip install -r benchmarks/peers.txt
    python -m benchmarks.rank [--cases a b c d errors votes items] [--peers .peers/bin/python]

The first two commands make the environment in which the peers live; a peer that is missing is left out with the reason.
Every contender runs in processes of its own that take turns on one core with one thread, and is judged by the CPU time
(user and system) of its best run. Scores are compared with those of a solver that shares no code with ours. Every case
is kept in benchmarks/results/rank.json as soon as it is measured; those not named are taken from there. Rewrites
docs/rank-speed.md and its pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import cg, splu

from benchmarks import rank_page
from benchmarks.rank_cases import CASES, Array, Case, anyone, write
from benchmarks.rank_targets import PATIENCE, REPLICATES, SLOW, Measured

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "rank.json"
POOLS = ("OMP", "OPENBLAS", "NUMEXPR", "MKL", "RAYON", "POLARS")
ONE_THREAD = {f"{pool}_{'MAX' if pool == 'POLARS' else 'NUM'}_THREADS": "1" for pool in POOLS}
OURS = ("pluralign", "floor", "group_by")
PEERS = {
    "fastchat": "fastchat.serve.monitor.rating_systems",
    "evalica": "evalica",
    "evalica_tight": "evalica",
    "evalica_bootstrap": "evalica",
    "arena_rank": "arena_rank.models.bradley_terry",
    "arena_rank_tight": "arena_rank.models.bradley_terry",
    "choix": "choix",
}
"""Contenders, and what must be there to import."""
COMMANDS = "python -m venv .peers; .peers/bin/pip install -r benchmarks/peers.txt"


def reference(table: pl.DataFrame) -> tuple[list[str], Array]:
    """Sorted names and scores of mean zero, by Newton's method on SciPy's general solvers, to the last digits.

    Factors where the graph is small or thin, conjugate gradients to 1e-11 votes where it is neither.
    """
    names = sorted(set(table["model_a"].unique()) | set(table["model_b"].unique()))
    place = pl.Enum(names)
    i, j = (table[c].cast(place).to_physical().to_numpy().astype(np.int64) for c in ("model_a", "model_b"))
    share = table["winner"].replace_strict({"model_a": 1.0, "model_b": 0.0, "tie": 0.5}).to_numpy()
    n = len(names)
    wins = coo_array((np.r_[share, 1 - share], (np.r_[i, j], np.r_[j, i])), shape=(n, n)).tocsr().tocoo()
    a, b = wins.coords
    theta = np.zeros(n)
    for _ in range(100):
        lost = 1 / (1 + np.exp(theta[a] - theta[b]))
        gradient = np.bincount(b, wins.data * lost, n) - np.bincount(a, wins.data * lost, n)
        h = wins.data * lost * (1 - lost)
        off = coo_array((np.r_[h, h], (np.r_[a, b], np.r_[b, a])), shape=(n, n)).tocsr()
        matrix = (diags_array(off.sum(1)) - off).tocsc()
        if n < 5000:
            # One item held at zero makes the system definite.
            step = np.append(splu(matrix[:-1, :-1]).solve(gradient[:-1]), 0.0)
        else:
            # Of votes, of which every item has dozens: what is left is far below 1e-10 logits.
            step, failed = cg(
                matrix, gradient, rtol=0, atol=1e-11, maxiter=10_000, M=diags_array(1 / matrix.diagonal())
            )
            assert not failed
        step -= step.mean()
        theta -= step / max(1.0, np.abs(step).max() / 2)
        if np.abs(step).max() < 1e-10:
            return names, theta - theta.mean()
    raise RuntimeError("the reference did not converge")


def run(name: str, table: Path, python: str, *, repeats: int, pinned: bool = True) -> Measured:
    """One process; `failed` says why where it did not finish, and `least` how long it had worked by then."""
    out = table.with_suffix(f".{name}.npz")
    out.unlink(missing_ok=True)
    command = [python, str(HERE / "rank_child.py"), name, str(table), str(out), str(repeats)]
    # Reading files is for all cores; small matrices are not.
    threads = {k: v for k, v in ONE_THREAD.items() if pinned or k != "POLARS_MAX_THREADS"}
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), **threads}
    limit = REPLICATES if name.endswith("bootstrap") else PATIENCE

    def confine() -> None:
        if pinned and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        if name in PEERS:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, preexec_fn=confine)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode and spent >= limit - 1:
        return {"failed": f"stopped after {limit} s of CPU time", "least": spent}
    if done.returncode < 0:
        return {"failed": f"killed after {spent:.0f} s of CPU time", "least": spent}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["killed"])[-1][:100]}
    found: Measured = json.loads(done.stdout.splitlines()[-1])
    found["scores"] = np.load(out)["scores"] if out.exists() else None
    return found


def peers(python: Path) -> dict[str, str]:
    """The interpreter of every peer that is there; says which are not, and what to do."""
    if not python.exists():
        print(f"no {python}, so no peers; to have them: {COMMANDS}", file=sys.stderr)
        return {}
    found, missing = {}, {}
    for module in sorted(set(PEERS.values())):
        done = subprocess.run([str(python), "-c", f"import {module}"], capture_output=True, text=True)
        if done.returncode:
            missing[module] = done.stderr.strip().splitlines()[-1]
    for name, module in PEERS.items():
        if module in missing:
            print(f"{name} is left out: {missing[module]}; {COMMANDS}", file=sys.stderr)
        else:
            found[name] = str(python.absolute())
    return found


def merged(old: Measured | None, new: Measured) -> Measured:
    """Two measurements of one contender as one; the latest scores."""
    if old is None or "failed" in old:
        return new
    if "failed" in new:
        return old
    most = {key: max(filter(None, (old[key], new[key])), default=None) for key in ("above", "peak")}
    return {**new, **most, "cpu": old["cpu"] + new["cpu"], "wall": old["wall"] + new["wall"]}


def turns(contenders: Iterable[str], table: Path, pythons: dict[str, str], rounds: int) -> dict[str, Measured]:
    """Contenders one after another, round after round, so that all see the machine's moods alike."""
    found: dict[str, Measured] = {}
    for round_ in range(rounds):
        for name in contenders:
            if name not in pythons:
                continue
            before = found.get(name)
            if round_ and before is not None and ("failed" in before or min(before["cpu"]) > SLOW):
                continue
            found[name] = merged(before, run(name, table, pythons[name], repeats=3 if name in OURS else 2))
            print(f"  {table.stem} {name}: {said(found[name])}", file=sys.stderr, flush=True)
    return found


def said(measured: Measured) -> str:
    """For the log."""
    return measured["failed"] if "failed" in measured else f"{min(measured['cpu']):.4f} s CPU"


def errors(found: dict[str, Measured], truth: Array) -> None:
    """The largest error of each contender's scores, in logits, in their place."""
    for measured in found.values():
        scores = measured.pop("scores", None)
        if scores is not None and len(scores) == len(truth):
            measured["error"] = float(np.abs(scores - scores.mean() - truth).max())


def curve(cases: dict[str, Case], folder: Path, pythons: dict[str, str]) -> dict[str, dict[str, Measured]]:
    """Ours and the group-by from files on disk, on all cores."""
    found = {}
    for name, case in cases.items():
        path = folder / f"{name}.parquet"
        write(path, case)
        repeats = 1 if case.votes > 20_000_000 else 3
        found[name] = {
            who: run(who, path, pythons["pluralign"], repeats=repeats, pinned=False)
            for who in ("pluralign_path", "path_group_by")
        }
        for measured in found[name].values():
            measured.pop("scores", None)
        print(f"  {name}: {', '.join(f'{k} {said(v)}' for k, v in found[name].items())}", file=sys.stderr, flush=True)
        path.unlink()
    return found


def compare(name: str, folder: Path, pythons: dict[str, str], rounds: int) -> dict[str, Measured]:
    """Every contender on one case, its errors beside its times."""
    path = folder / f"{name}.parquet"
    write(path, CASES[name])
    _, truth = reference(pl.read_parquet(path))
    # A dense walk over 20,000 items would take hours, and evalica does not come to an end as it is.
    left_out = {"evalica_bootstrap", *({"choix", "evalica_tight"} if name == "c" else ())}
    found = turns([c for c in (*OURS, *PEERS) if c not in left_out], path, pythons, rounds)
    errors(found, truth)
    return found


def resample(folder: Path, pythons: dict[str, str], rounds: int) -> dict[str, Measured]:
    """Errors and replicates of case (a)."""
    path = folder / "a.parquet"
    write(path, CASES["a"])
    found = turns(["pluralign_sandwich", "pluralign_bootstrap", "draws"], path, pythons, min(rounds, 3))
    found |= turns(["evalica_bootstrap"], path, pythons, 1)
    for measured in found.values():
        measured.pop("scores", None)
    return found


def curves(what: str, folder: Path, pythons: dict[str, str]) -> dict[str, dict[str, Measured]]:
    """Time against votes or against items."""
    if what == "votes":
        cases = {f"1e{k}": Case(500, 10**k, 0.14, 1.0, anyone, "") for k in range(5, 9)}
    else:
        cases = {f"1e{k}": Case(10**k, max(10**6, 50 * 10**k), 0.0, 0.7, anyone, "") for k in range(2, 6)}
    return curve(cases, folder, pythons)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--peers", type=Path, default=Path(".peers/bin/python"), help="Python of the peers' environment"
    )
    parts = [*CASES, "errors", "votes", "items"]
    parser.add_argument("--cases", nargs="+", choices=parts, default=parts, help="what to measure anew")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pythons = dict.fromkeys((*OURS, "pluralign_bootstrap", "pluralign_sandwich", "draws"), sys.executable)
    pythons |= peers(options.peers)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in options.cases:
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if part in CASES:
                found: dict[str, Any] = compare(part, folder, pythons, options.rounds)
            elif part == "errors":
                found = resample(folder, pythons, options.rounds)
            else:
                found = curves(part, folder, pythons)
        results[part] = {"found": found, "rounds": options.rounds, "load": load, "cores": os.cpu_count()}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    rank_page.write({part: results[part] for part in parts if part in results})


if __name__ == "__main__":
    main()
