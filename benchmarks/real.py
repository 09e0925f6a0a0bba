"""A lab model aligned on real feedback, measured on debates or prompts that it has not seen.

    python -m benchmarks.real ukpconvarg1 --data FOLDER --out FOLDER
    python -m benchmarks.real hh_rlhf --data FILE --out FOLDER

Groups (debates, prompts) are dealt into folds; each fold is held out once from a run of its own, so that every pair is
judged by a model that saw nothing of its group. Rewrites its table in docs/real-data.md.
"""

from __future__ import annotations

import argparse
import json
import re
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
from scipy import stats

import pluralign
from pluralign.evaluate.figures import Array, Figure, mean, preferred, share
from pluralign.feedback import Feedback, Judgement
from pluralign.feedback.convert import prompt_key
from pluralign.feedback.record import plain
from pluralign.train import Run

PAGE = Path(__file__).resolve().parents[1] / "docs" / "real-data.md"
OPTIONS: dict[str, Any] = {
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 8,
    "max_length": 256,
    "eval_strategy": "no",
    "save_strategy": "no",
}
CLOSE = 0.2
"""Two texts are of like length when the longer has at most this share more characters."""


@dataclass(frozen=True)
class Task:
    """One data set: what a group is called and how to tell it, and the settings of its runs."""

    group: str
    key: Callable[[Judgement], str]
    objective: str
    options: dict[str, Any]


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
        objective="dpo",
        options={"num_train_epochs": 1},
    ),
    "hh_rlhf": Task(
        group="opening turn",
        key=opening,
        objective="dpo",
        options={"num_train_epochs": 1},
    ),
}


def folds(groups: Sequence[str], k: int) -> Array:
    """A fold [n] for every row: whole groups, the largest first, each to the fold that has fewest rows yet."""
    size: dict[int, int] = dict.fromkeys(range(k), 0)
    place: dict[str, int] = {}
    for group, n in sorted(Counter(groups).items(), key=lambda item: (-item[1], item[0])):
        place[group] = min(size, key=lambda fold: (size[fold], fold))
        size[place[group]] += n
    return np.array([place[g] for g in groups])


def sampled(data: str, pairs: int | None) -> Feedback:
    """The release, or as many of its rows, drawn without looking at them."""
    feedback = pluralign.read(data)
    if pairs is None or pairs >= len(feedback):
        return feedback
    drawn = np.random.default_rng(0).permutation(len(feedback))[:pairs]
    return feedback.where(np.isin(np.arange(len(feedback)), drawn))


def one_fold(name: str, data: str, out: Path, pairs: int | None, k: int, i: int) -> pl.DataFrame:
    """Align on all folds but the i-th and score that one."""
    task, feedback = TASKS[name], sampled(data, pairs)
    fold = folds([task.key(j) for j in feedback], k)
    run = pluralign.align(
        feedback.where(fold != i),
        "lab:tiny",
        task.objective,
        output_dir=out / f"fold-{i + 1}",
        eval_data=feedback.where(fold == i),
        **OPTIONS,
        **task.options,
    )
    # Samples are drawn for the report of the first run alone; the figures here need none.
    pluralign.evaluate(run, cluster=task.key, samples=16 if i == 0 else 0, max_new_tokens=64)
    return scored(run, task)


def cross_fit(name: str, data: str, out: Path, pairs: int | None, k: int, workers: int) -> pl.DataFrame:
    """Scores of every usable pair by the run that did not see its group; one row a pair."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(partial(one_fold, name, data, out, pairs, k), range(k)))
    pluralign.report(out / "fold-1")
    return pl.concat(parts)


def scored(run: Run, task: Task) -> pl.DataFrame:
    """The table that evaluate wrote, with the group and the characters of both texts beside each row."""
    scores = pl.read_parquet(run.path / "evaluation" / "heldout.parquet")
    rows = list(run.heldout())
    told: dict[str, list[Any]] = defaultdict(list)
    for i in scores["row"].to_list():
        j = rows[int(i)]
        first = j.ranks is not None and j.ranks[0] == 1
        texts = [plain(r.messages) for r in (j.responses if first else j.responses[::-1])]
        told["group"].append(task.key(j))
        told["characters_chosen"].append(len(texts[0]))
        told["characters_rejected"].append(len(texts[1]))
    return scores.with_columns(**{name: pl.Series(values) for name, values in told.items()})


def right(scores: pl.DataFrame) -> dict[str, Array]:
    """For each rule, 1 where it puts the preferred text first, one half where it cannot tell; each [n]."""

    def gap(name: str) -> Array:
        return (scores[f"{name}_chosen"] - scores[f"{name}_rejected"]).to_numpy().astype(float)

    def by_token(name: str) -> Array:
        chosen, rejected = (scores[f"{name}_{s}"] / scores[f"length_{s}"] for s in ("chosen", "rejected"))
        return (chosen - rejected).to_numpy()

    rules = {
        "aligned model, implicit reward": gap("reward"),
        "aligned model, log-prob": gap("logp"),
        "aligned model, mean log-prob": by_token("logp"),
        "reference, log-prob": gap("ref_logp"),
        "reference, mean log-prob": by_token("ref_logp"),
        "longer wins": gap("characters"),
    }
    return {name: preferred(margins) for name, margins in rules.items()}


def over_groups(values: Array, groups: Array) -> Figure:
    """The mean over groups, each counted once, with Student's interval: a second opinion where groups are few."""
    means = np.array([values[groups == g].mean() for g in np.unique(groups)])
    half = float(stats.t.ppf(0.975, len(means) - 1) * stats.sem(means))
    centre = float(means.mean())
    return Figure(centre, centre - half, centre + half, len(values), len(means), "t over groups")


def line(name: str, *cells: Any) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join([name, *map(str, cells)])} |"


def tables(task: Task, scores: pl.DataFrame, k: int, seconds: float) -> str:
    """All figures as Markdown."""
    rules = right(scores)
    groups = scores["group"].to_numpy()
    reward, reference = rules["aligned model, implicit reward"], "reference, mean log-prob"
    if rules["reference, log-prob"].mean() > rules[reference].mean():
        reference = "reference, log-prob"
    n = len(np.unique(groups))
    plural = f"{task.group}s"
    lines = [
        f"{len(scores):,} pairs, each held out once, in {n:,} {plural}, {k} folds, `lab:tiny`, {task.objective}, "
        + ", ".join(f"{name} {value}" for name, value in (OPTIONS | task.options).items() if not isinstance(value, str))
        + f"; {seconds / 60:.0f} minutes.",
        "",
        f"| rule | share right, 95% interval over pairs, clustered by {task.group} | mean over {plural}, Student's t |",
        "| --- | --- | --- |",
    ]
    lines += [line(name, share(v, groups), over_groups(v, groups)) for name, v in rules.items()]
    lines += ["", f"| implicit reward minus | difference | mean over {plural} | {plural} where it is ahead |"]
    lines += ["| --- | --- | --- | --- |"]
    for other in (reference, "longer wins"):
        ahead = [float((reward - rules[other])[groups == g].mean()) > 0 for g in np.unique(groups)]
        difference = reward - rules[other]
        cells = (mean(difference, groups), over_groups(difference, groups), f"{sum(ahead)} of {n:,}")
        lines.append(line(other, *cells))
    chosen, rejected = (scores[f"characters_{s}"].to_numpy().astype(float) for s in ("chosen", "rejected"))
    like = np.maximum(chosen, rejected) <= (1 + CLOSE) * np.minimum(chosen, rejected)
    slices = {
        "the preferred text is the longer": chosen > rejected,
        "the preferred text is the shorter": chosen < rejected,
        f"of like length (within {CLOSE:.0%})": like,
    }
    lines += [
        "",
        f"| pairs | how many | implicit reward | {reference} | longer wins |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, rows in slices.items():
        figures = [share(v[rows], groups[rows]) for v in (reward, rules[reference], rules["longer wins"])]
        lines.append(line(name, f"{int(rows.sum()):,}", *figures))
    if n <= 30:
        lines += ["", f"| {task.group} | pairs | implicit reward | {reference} | longer wins |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for g in np.unique(groups):
            rows = groups == g
            values = (f"{v[rows].mean():.3f}" for v in (reward, rules[reference], rules["longer wins"]))
            lines.append(line(g.replace("-", " ").strip(), f"{int(rows.sum()):,}", *values))
    return "\n".join(lines)


def into_page(name: str, text: str) -> None:
    """Put the tables between the marks of this data set in the page."""
    page = PAGE.read_text()
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if not marked.search(page):
        raise SystemExit(f"{PAGE} has no marks for {name}")
    PAGE.write_text(marked.sub(lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page))


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
    text = tables(task, scores, given.folds, seconds)
    print(text)
    into_page(given.task, text)


if __name__ == "__main__":
    main()
