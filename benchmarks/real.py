"""A lab model aligned on real feedback, measured on debates or prompts that it has not seen.

    python -m benchmarks.real ukpconvarg1 --data FOLDER --out FOLDER
    python -m benchmarks.real hh_rlhf --data FILE --out FOLDER

Groups (debates, prompts) are dealt into folds; each fold is held out once from a run of its own, so that every pair is
judged by a model that saw nothing of its group. The settings of that run are chosen within its training side, where a
part of the groups is held out again. Rewrites its table in docs/real-data.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import pluralign
from benchmarks.real_page import PAGE, into_page, picture, tables
from pluralign.evaluate.figures import Array
from pluralign.feedback import Feedback, Judgement
from pluralign.feedback.convert import prompt_key
from pluralign.feedback.record import plain
from pluralign.train import Run

OPTIONS: dict[str, Any] = {
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 8,
    "max_length": 256,
    "save_strategy": "no",
    "num_train_epochs": 1,
    "pretrain_steps": 60,
}
CANDIDATES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("dpo", {"learning_rate": 2e-4}),
    ("nll_augmented", {"alpha": 10, "learning_rate": 2e-4}),
    ("nll_augmented", {"alpha": 10, "learning_rate": 1e-3}),
)
LEARN, TRY, LOOK = 2000, 1000, 500
"""Most pairs that a run learns from, that a trial of settings learns from, and that a trial is judged on."""


@dataclass(frozen=True)
class Task:
    """One data set: what a group is called and how to tell it.

    looked_at: groups that served as held-out ones in the trials that `CANDIDATES` come from.
    """

    group: str
    key: Callable[[Judgement], str]
    looked_at: frozenset[str] = frozenset()


def debate(j: Judgement) -> str:
    """The debate of an argument pair, the same for its two sides."""
    return str(j.prompt_id).partition("_")[0]


def opening(j: Judgement) -> str:
    """The first human turn: rows that share it are variations of one conversation."""
    return j.prompt[0].content or "" if j.prompt else prompt_key(j)


TASKS = {
    "ukpconvarg1": Task(
        group="debate",
        key=debate,
        looked_at=frozenset(
            {
                "firefox-vs-internet-explorer",
                "human-growth-and-development-should-parents-use-spanking-as-an-option-to-discipline-",
                "is-it-better-to-have-a-lousy-father-or-to-be-fatherless-",
                "is-porn-wrong-",
            }
        ),
    ),
    "hh_rlhf": Task(group="opening turn", key=opening),
}


def folds(groups: Sequence[str], k: int) -> Array:
    """A fold [n] for every row: whole groups, the largest first, each to the fold that has fewest rows yet."""
    size: dict[int, int] = dict.fromkeys(range(k), 0)
    place: dict[str, int] = {}
    for group, n in sorted(Counter(groups).items(), key=lambda item: (-item[1], item[0])):
        place[group] = min(size, key=lambda fold: (size[fold], fold))
        size[place[group]] += n
    return np.array([place[g] for g in groups])


def some(feedback: Feedback, rows: Array, most: int) -> Feedback:
    """At most so many of the rows of a mask [n], drawn at random."""
    drawn = np.random.default_rng(0).permutation(np.flatnonzero(rows))[:most]
    return feedback.where(np.isin(np.arange(len(feedback)), drawn))


def sampled(data: str, pairs: int | None) -> Feedback:
    """The release, or as many of its rows, drawn without looking at them."""
    feedback = pluralign.read(data)
    return feedback if pairs is None else some(feedback, np.ones(len(feedback), dtype=bool), pairs)


def aligned(rows: Feedback, model: str, candidate: tuple[str, dict[str, Any]], out: Path) -> Run:
    """A run with these settings; what it is judged on is given to `evaluate`."""
    objective, options = candidate
    return pluralign.align(rows, model, objective, output_dir=out, eval_data=0, **OPTIONS, **options)


def choose(task: Task, train: Feedback, k: int, out: Path) -> list[dict[str, Any]]:
    """Every candidate, tried within the training side, best first.

    A k-th of the training groups is set aside to judge the trials on. The trials share one starting model, made from
    the texts they learn from.
    """
    inner = folds([task.key(j) for j in train], k)
    learn, look = some(train, inner != 0, TRY), some(train, inner == 0, LOOK)
    model, tried = "lab:tiny", []
    for i, candidate in enumerate(CANDIDATES):
        run = aligned(learn, model, candidate, out / f"trial-{i + 1}")
        model = model if i else str(run.path / "reference")
        figures = pluralign.evaluate(run, look, cluster=task.key, samples=0).figures
        tried.append({"candidate": i, "share": figures["accuracy"]["implicit reward"]})
    return sorted(tried, key=lambda t: -t["share"]["value"])


def one_fold(name: str, data: str, out: Path, pairs: int | None, k: int, i: int) -> pl.DataFrame:
    """Choose settings and align on all folds but the i-th, and score that one."""
    task, feedback = TASKS[name], sampled(data, pairs)
    fold, out = folds([task.key(j) for j in feedback], k), out / f"fold-{i + 1}"
    train, held_out = feedback.where(fold != i), feedback.where(fold == i)
    tried = choose(task, train, k, out)
    run = aligned(some(feedback, fold != i, LEARN), "lab:tiny", CANDIDATES[tried[0]["candidate"]], out / "run")
    # Samples are drawn for the report of the first run alone; the figures here need none.
    pluralign.evaluate(run, held_out, cluster=task.key, samples=16 if i == 0 else 0, max_new_tokens=64)
    (out / "trials.json").write_text(json.dumps(tried, indent=1) + "\n")
    return scored(run, held_out, task)


def cross_fit(name: str, data: str, out: Path, pairs: int | None, k: int, workers: int) -> pl.DataFrame:
    """Scores of every usable pair by the run that did not see its group; one row a pair."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(partial(one_fold, name, data, out, pairs, k), range(k)))
    pluralign.report(out / "fold-1" / "run")
    return pl.concat(parts)


def scored(run: Run, held_out: Feedback, task: Task) -> pl.DataFrame:
    """The table that evaluate wrote, with the group and the characters of both texts beside each row."""
    scores = pl.read_parquet(run.path / "evaluation" / "heldout.parquet")
    rows = list(held_out)
    told: dict[str, list[Any]] = defaultdict(list)
    for i in scores["row"].to_list():
        j = rows[int(i)]
        first = j.ranks is not None and j.ranks[0] == 1
        texts = [plain(r.messages) for r in (j.responses if first else j.responses[::-1])]
        told["group"].append(task.key(j))
        told["characters_chosen"].append(len(texts[0]))
        told["characters_rejected"].append(len(texts[1]))
    return scores.with_columns(**{name: pl.Series(values) for name, values in told.items()})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one data set from reading to the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data", required=True, help="file or folder of the release")
    parser.add_argument("--out", required=True, type=Path, help="a new folder for runs, scores and the report")
    parser.add_argument("--pairs", type=int, help="use a random sample of so many pairs; all by default")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="folds trained at a time")
    given = parser.parse_args(arguments)
    start = time.perf_counter()
    task = TASKS[given.task]
    scores = cross_fit(given.task, given.data, given.out, given.pairs, given.folds, given.workers)
    scores.write_parquet(given.out / "scores.parquet")
    seconds = time.perf_counter() - start
    (given.out / "run.json").write_text(json.dumps({"seconds": seconds, "folds": given.folds}) + "\n")
    trials = [json.loads((given.out / f"fold-{i + 1}" / "trials.json").read_text()) for i in range(given.folds)]
    n = scores["group"].n_unique()
    told = [f"{name} {value}" for name, value in OPTIONS.items() if not isinstance(value, str)]
    headline = (
        f"{len(scores):,} pairs, each held out once, in {n:,} {task.group}s, {given.folds} folds, `lab:tiny`, at most "
        f"{LEARN:,} pairs to learn from in a fold, {', '.join(told)}; {seconds / 60:.0f} minutes."
    )
    settings = [", ".join([name, *(f"{k} {v:g}" for k, v in options.items())]) for name, options in CANDIDATES]
    text = f"{headline}\n\n{tables(scores, task.group, task.looked_at, settings, trials)}"
    if n <= 30:
        drawn = PAGE.parent / f"real-{given.task}.png"
        picture(scores, task.group, drawn)
        text += f"\n\n![Share of held-out pairs put in the right order, by {task.group}]({drawn.name})"
    print(text)
    into_page(given.task, text)


if __name__ == "__main__":
    main()
