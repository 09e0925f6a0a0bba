"""`compare`: objectives side by side on the same data, from the same model, for the same budget."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from pluralign.compare.cell import CHOOSE, REPORT, folder, result, run_cell
from pluralign.compare.plan import Cell, Plan, budget, cells, read_grid
from pluralign.compare.summary import Summary, summarise
from pluralign.compare.worker import run_all
from pluralign.errors import FeedbackError, OptionError

PROBE = 1, 2, 10
"""Steps of short runs: one that fills the cache of the reference, two whose difference is what steps take."""
PROBED = 1_000_000
"""Seeds from here on are theirs."""
MADE = {"train.parquet", f"{CHOOSE}.parquet", f"{REPORT}.parquet", "model"}
"""What stands in the folder before there is a plan."""


@dataclass(frozen=True)
class Comparison:
    """What came out. path: the page. table: a row for each objective, the best first. verdict: in a sentence or two."""

    path: Path
    summary: Summary

    @property
    def table(self) -> pl.DataFrame:
        """A row for each objective that was measured, the best first."""
        return self.summary.table

    @property
    def verdict(self) -> str:
        """Which one, and by how much."""
        return self.summary.verdict

    def __str__(self) -> str:
        return "\n".join([self.verdict, *self.summary.notes])


def compare(
    data: Any,
    objectives: Sequence[str],
    *,
    model: str = "lab:tiny",
    output_dir: str | Path,
    grid: str | Mapping[str, Sequence[Mapping[str, Any]]] = "small",
    budget: str = "30m",
    seeds: int = 1,
    eval_data: Any = 0.2,
    scorer: str | Callable[[str, str], float] | None = None,
    samples: int = 64,
    max_new_tokens: int = 64,
    cluster: str = "prompt",
    processes: int | None = None,
    part: tuple[int, int] = (1, 1),
    **options: Any,
) -> Comparison:
    """Train every objective on the same rows from the same model for as many steps, and say which did best.

    data, model, eval_data: as in `align`; half of the held-out rows choose an objective's setting, the figures are of
    the other half. grid: "one" (the usual learning rate), "small" (a third and three times of it too), "wide" (the
    same of beta), or objective -> list of settings. budget: for everything, such as "30m", from which the number of
    steps follows, the same for all; or "200 steps". Runs that had not begun when it is spent are left out, and the
    page says so. scorer: "length", "module:function" or a function of (prompt, response), for win rates of samples
    over the starting model's. samples, max_new_tokens, cluster: as in `evaluate`. processes: runs at a time; as many
    as there are cores, or one with an accelerator. part: (i, n) does the i-th n-th of the runs, for a cluster: part 1
    is started first. options: of `align` and the trainer, for all.

    Finished runs stay: the same call with the same `output_dir` goes on where it was interrupted, and with more
    objectives or settings it adds those. Raises `OptionError` and `FeedbackError` for what does not fit together.

    >>> import tempfile
    >>> rows = [{"prompt": f"{i}?", "chosen": f"{i + i}", "rejected": "no idea"} for i in range(40)]
    >>> found = compare(rows, ["dpo"], output_dir=tempfile.mkdtemp(), grid="one", budget="1 steps", samples=0,
    ...     processes=1, pretrain_steps=1)
    >>> found.table["objective"].to_list()
    ['dpo']
    """
    began, out, console = time.monotonic(), Path(output_dir), Console(stderr=True)
    seconds, steps = _checked(budget, scorer, samples, part, processes)
    if clash := {"objective", "eval_data", "max_steps", "num_train_epochs", "seed", "output_dir"} & set(options):
        raise OptionError(f"compare sets '{min(clash)}' itself; leave it out")
    asked = _asked(objectives, grid, seeds, model, options)
    mine = asked[part[0] - 1 :: part[1]]
    plan = _prepared(out, part, data, model, eval_data, scorer, samples, max_new_tokens, cluster, options, console)
    processes = processes or _processes(len(mine))
    if callable(scorer) and processes > 1:
        processes = 1  # a function in memory cannot be handed to another process
    if not plan.steps and part[0] != 1:
        raise OptionError(f"part 1/{part[1]} has not settled the number of steps yet; wait until its first run begins")
    if not plan.steps:
        plan = _timed(out, plan, asked, scorer, seconds, steps, processes, began, console)
    todo = [cell for cell in mine if result(out, cell) is None]
    console.print(
        f"{len(asked)} runs of {plan.steps} steps, {len(mine) - len(todo)} there already; {processes} at a time",
        highlight=False,
    )

    def late() -> bool:
        return seconds is not None and time.monotonic() - began > seconds

    def told(cell: Cell) -> None:
        found = result(out, cell) or {}
        said = found.get("problem") or f"accuracy {found[REPORT]['accuracy']['implicit reward']['value']:.3f}"
        done = sum(result(out, c) is not None for c in asked)
        console.print(f"{done}/{len(asked)} {cell.objective} ({cell.setting}): {said}", highlight=False, markup=False)

    if todo and processes == 1:
        judge = _function(scorer)
        for cell in todo:
            if late():
                break
            run_cell(out, cell, judge)
            told(cell)
    elif todo:
        if not (out / "reference-cache").is_dir():
            # The first alone, on all cores: it computes what the others find in the cache.
            first = todo.pop(0)
            run_cell(out, first, _function(scorer))
            told(first)
        if todo:
            run_all(out, todo, processes, late, told)
    summary = summarise(out, plan, asked)
    from pluralign.compare.page import write_page

    return Comparison(write_page(out, summary), summary)


def _checked(
    text: str, scorer: Any, samples: int, part: tuple[int, int], processes: int | None
) -> tuple[float | None, int | None]:
    if not 1 <= part[0] <= part[1]:
        raise OptionError(f"part {part[0]}/{part[1]} is not one of 1/{part[1]} to {part[1]}/{part[1]}")
    if processes is not None and processes < 1:
        raise OptionError(f"processes must be 1 or more, got {processes}")
    if samples < 0:
        raise OptionError(f"samples must be 0 or more, got {samples}")
    _function(scorer)
    return budget(text)


def _function(scorer: str | Callable[[str, str], float] | None) -> Callable[[str, str], float] | None:
    from pluralign.evaluate.scorers import load_function

    return load_function(scorer) if isinstance(scorer, str) else scorer


def _asked(
    objectives: Sequence[str],
    grid: str | Mapping[str, Sequence[Mapping[str, Any]]],
    seeds: int,
    model: str,
    options: Mapping[str, Any],
) -> list[Cell]:
    """All cells of the comparison, every option checked before anything is read or made."""
    from pluralign.train.arguments import usual_learning_rate
    from pluralign.train.options import AlignOptions, resolve

    usual = AlignOptions.model_validate({"model": model, "lora": options.get("lora")})
    rate = options.get("learning_rate")
    asked = cells(
        objectives,
        read_grid(grid) if isinstance(grid, str) else grid,
        seeds,
        lambda goal: float(rate) if rate is not None else usual_learning_rate(usual, goal),
    )
    for cell in asked:
        resolve({"model": model, "objective": cell.objective, **options, **cell.options})
    return asked


def _prepared(
    out: Path,
    part: tuple[int, int],
    data: Any,
    model: str,
    eval_data: Any,
    scorer: Any,
    samples: int,
    max_new_tokens: int,
    cluster: str,
    options: Mapping[str, Any],
    console: Console,
) -> Plan:
    """The rows split and the model made, once; the plan of an earlier call where it is the same."""
    from pluralign.feedback import read

    if (out / "plan.json").is_file():
        plan = Plan.read(out)
        now = {
            "samples": samples,
            "max_new_tokens": max_new_tokens,
            "cluster": cluster,
            "scorer": _named(scorer),
            "options": _shared(options),
        }
        if changed := [name for name, value in now.items() if getattr(plan, name) != value]:
            raise OptionError(
                f"{out} holds a comparison with other {changed[0]} ({getattr(plan, changed[0])}); give the same, or "
                "choose another folder"
            )
        if data is not None and read(data, options.get("format"), options.get("columns")).fingerprint != plan.data:
            raise OptionError(f"{out} holds a comparison on other data; choose another folder")
        return plan
    if part[0] != 1:
        raise OptionError(f"{out} holds no comparison yet: start part 1/{part[1]} first, it splits the data for all")
    if out.exists() and {path.name for path in out.iterdir() if not path.name.startswith(".")} - MADE:
        raise OptionError(f"{out} is not empty and holds no comparison; choose another folder")
    whole = read(data, options.get("format"), options.get("columns"))
    if whole.report is not None:
        console.print(str(whole.report), markup=False, highlight=False)
    by = options.get("split_by", "prompt")
    if isinstance(eval_data, int | float):
        if not 0 < eval_data < 1:
            raise OptionError(
                f"eval_data is the share of rows to hold out, between 0 and 1, or a source; got {eval_data}"
            )
        train, held_out = whole.split(float(eval_data), by=by)
    else:
        train, held_out = whole, read(eval_data)
    # Another seed than that of the first split: groups are drawn by it, and those just drawn would all fall alike.
    choose, report = held_out.split(0.5, by=by, seed=1)
    for name, rows in (("train", train), (CHOOSE, choose), (REPORT, report)):
        if not any(rows.kinds[kind] for kind in ("pairs", "thumbs")) and name != "train":
            raise FeedbackError("too few held-out pairs to choose settings on some and report on others; hold out more")
        rows.write(out / f"{name}.parquet")
    plan = Plan(
        data=whole.fingerprint,
        model=_made(out, model, train, options, console),
        steps=0,
        options=_shared(options),
        samples=samples,
        max_new_tokens=max_new_tokens,
        cluster=cluster,
        scorer=_named(scorer),
    )
    plan.write(out)
    return plan


def _named(scorer: Any) -> str | None:
    return scorer if scorer is None or isinstance(scorer, str) else None


def _shared(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of every cell; what reading and the making of the model have used is gone, and cells set the rate."""
    used = {"format", "columns", "split_by", "pretrain_steps", "learning_rate"}
    return {name: value for name, value in options.items() if name not in used}


def _made(out: Path, model: str, train: Any, options: Mapping[str, Any], console: Console) -> str:
    """A lab model is made once, so that all start from the very same."""
    if not model.startswith("lab:"):
        return model
    from pluralign.lab.tiny import written
    from pluralign.policy.load import load
    from pluralign.progress import bar

    texts = sorted({written((*j.prompt, *r.messages)) for j in train for r in j.responses})
    with bar(f"making {model}", None, console) as step:
        made, tokenizer = load(model, texts=texts, seed=0, steps=options.get("pretrain_steps"), progress=step)
    made.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    return str(out / "model")


def _timed(
    out: Path,
    plan: Plan,
    asked: Sequence[Cell],
    scorer: Any,
    seconds: float | None,
    steps: int | None,
    processes: int,
    began: float,
    console: Console,
) -> Plan:
    """The plan with its number of steps: as given, or as many as two short runs say the budget allows."""
    if steps is None:
        assert seconds is not None
        console.print("timing a step", highlight=False)
        training = []
        for few in PROBE:
            probe = Cell(asked[0].objective, asked[0].options, seed=PROBED + few)
            before = time.monotonic()
            run_cell(out, probe, _function(scorer), steps=few, measure=few == PROBE[-1])
            whole = time.monotonic() - before
            found = result(out, probe) or {}
            if problem := found.get("problem"):
                raise OptionError(f"{asked[0].objective} cannot be trained on these rows: {problem}")
            training.append(found["seconds"])
            shutil.rmtree(folder(out, probe))
        step = max((training[-1] - training[-2]) / (PROBE[-1] - PROBE[-2]), 1e-3)
        rest = max(whole - PROBE[-1] * step, 0.0)
        each = 0.9 * (seconds - (time.monotonic() - began)) * processes / len(asked)
        steps = int((each - rest) / step)
        if steps < 1:
            raise OptionError(
                f"{len(asked)} runs do not fit the budget: beside its steps each takes {rest:.0f} s, and has "
                f"{max(each, 0):.0f}; give a larger --budget, fewer --objectives or --samples, or --grid one"
            )
    plan = dataclasses.replace(plan, steps=steps)
    plan.write(out)
    return plan


def _processes(runs: int) -> int:
    import torch

    if torch.accelerator.is_available():
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, runs))
