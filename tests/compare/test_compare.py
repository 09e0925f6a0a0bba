"""`compare` end to end on a model made on the spot: alike for all, honest halves, nothing lost when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

import pluralign
from pluralign.compare import Cell, Comparison, compare, comparison
from pluralign.compare.cell import folder
from pluralign.compare.plan import cells
from pluralign.errors import OptionError
from pluralign.objectives import find

ROWS = [
    {"prompt": f"{i} plus {7 * i % 50}?", "chosen": f"It is {i + 7 * i % 50}.", "rejected": "No idea" + "!" * (i % 9)}
    for i in range(80)
]
QUICK: dict[str, Any] = {
    "budget": "3 steps",
    "samples": 4,
    "max_new_tokens": 6,
    "eval_data": 0.5,
    "scorer": "length",
    "processes": 1,
    "pretrain_steps": 5,
}
GRID = {"dpo": [{"beta": 0.1}, {"beta": 1.0}], "simpo": [{"beta": 2.0}], "mmpo": [{}]}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    out = tmp_path_factory.mktemp("compare") / "out"
    return compare(ROWS, ["dpo", "simpo", "mmpo"], output_dir=out, grid=GRID, **QUICK)


def finished(out: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in out.glob("cells/*/cell.json")}


def test_every_run_has_the_same_start_rows_and_steps(compared: Comparison) -> None:
    out = compared.path.parent
    runs = [folder(out, Cell(**{k: c[k] for k in ("objective", "options", "seed")})) for c in finished(out).values()]
    runs = [run for run in runs if (run / "config.json").is_file()]
    assert len(runs) == 3
    for file, key in (("reference.json", "fingerprint"), ("data.json", "fingerprint")):
        assert len({json.loads((run / file).read_text())[key] for run in runs}) == 1
    assert {c["steps"] for c in finished(out).values()} == {3}
    assert not list(out.glob("cells/*/model"))


def test_the_reference_is_paid_for_once(compared: Comparison) -> None:
    """The first run and its evaluation write all log-probs; a later one that computed any would write the file."""
    out = compared.path.parent
    (cache,) = (out / "reference-cache").glob("*.npy")
    begun = sorted(path.stat().st_mtime_ns for path in out.glob("cells/*/config.json"))
    assert len(begun) == 3
    assert cache.stat().st_mtime_ns < begun[1]
    assert len(np.load(cache)) >= 2 * len(pluralign.read(out / "train.parquet"))


def test_settings_are_chosen_on_rows_that_figures_are_not_of(compared: Comparison) -> None:
    out = compared.path.parent
    prompts = {
        name: {j.prompt for j in pluralign.read(out / f"{name}.parquet")} for name in ("train", "choose", "report")
    }
    assert not prompts["train"] & prompts["choose"]
    assert not prompts["choose"] & prompts["report"]
    assert not prompts["train"] & prompts["report"]
    assert sum(map(len, prompts.values())) == 80
    dpo = next(e for e in compared.summary.entries if e.objective == "dpo")
    by_setting = {
        c["options"]["beta"]: c["choose"]["accuracy"]["implicit reward"]["value"]
        for c in finished(out).values()
        if c["objective"] == "dpo"
    }
    assert by_setting[dpo.options["beta"]] == max(by_setting.values()) == dpo.chosen_by


def test_figures_are_those_of_evaluate(compared: Comparison) -> None:
    out = compared.path.parent
    for entry in compared.summary.entries:
        found = finished(out)[Cell(entry.objective, entry.options, 0).name]["report"]
        assert entry.accuracy["value"] == found["accuracy"]["implicit reward"]["value"]
        assert entry.figures["KL"] == found["generations"]["kl"]
        assert entry.figures["win rate"] == found["generations"]["win_rate"]
    best, other = compared.summary.entries
    assert other.behind is not None
    np.testing.assert_allclose(other.behind["value"], best.accuracy["value"] - other.accuracy["value"], atol=1e-12)
    assert isinstance(compared.table, pl.DataFrame)
    assert compared.table["objective"].to_list() == [best.objective, other.objective]


def test_what_cannot_learn_from_the_rows_is_named_with_its_reason(compared: Comparison) -> None:
    assert any(note.startswith("mmpo: ") and "rating" in note for note in compared.summary.notes)
    page = compared.path.read_text()
    assert compared.summary.entries[0].objective in page
    assert "no-rating" in page
    numbers = json.loads(compared.path.with_suffix(".json").read_text())
    assert numbers["verdict"] == compared.verdict


def test_the_same_folder_takes_more_objectives_and_keeps_what_is_there(compared: Comparison) -> None:
    out = compared.path.parent
    before = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/cell.json")}
    grid = {**GRID, "ipo": [{}]}
    more = compare(ROWS, ["dpo", "simpo", "ipo"], output_dir=out, grid=grid, **QUICK)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert set(more.table["objective"]) == {"dpo", "simpo", "ipo"}
    for change, said in (({"samples": 5}, "other samples"), ({"max_length": 50}, "other options")):
        with pytest.raises(OptionError, match=said):
            compare(ROWS, ["dpo"], output_dir=out, grid=GRID, **{**QUICK, **change})
    with pytest.raises(OptionError, match="other data"):
        compare(ROWS[:60], ["dpo"], output_dir=out, grid=GRID, **QUICK)


def test_when_the_budget_is_spent_the_rest_is_named(compared: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(comparison, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    grid = {**GRID, "cpo": [{}]}
    found = compare(ROWS, ["dpo", "cpo"], output_dir=compared.path.parent, grid=grid, **{**QUICK, "budget": "1m"})
    assert found.table["objective"].to_list() == ["dpo"]
    assert any("1 of 3 runs were not made within the budget (cpo)" in note for note in found.summary.notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"objectives": ["dpoo"]}, "did you mean dpo"),
        ({"objectives": []}, "at least one objective"),
        ({"objectives": ["dpo", "dpo"]}, "named twice"),
        ({"grid": "huge"}, "there is no grid 'huge'"),
        ({"grid": {"dpo": [{"betta": 1.0}]}}, "does not use 'betta'"),
        ({"grid": {"dpo": [{"beta": -1.0}]}}, "beta"),
        ({"grid": {"simpo": [{}]}}, "no settings for dpo"),
        ({"budget": "soon"}, "not a length such as 30m"),
        ({"budget": "0 steps"}, "trains nothing"),
        ({"seeds": 0}, "at least one seed"),
        ({"samples": -1}, "samples must be 0 or more"),
        ({"processes": 0}, "processes must be 1 or more"),
        ({"part": (3, 2)}, "part 3/2"),
        ({"part": (2, 2)}, "start part 1/2 first"),
        ({"eval_data": 0}, "between 0 and 1"),
        ({"scorer": "nowhere"}, "module:function"),
        ({"max_steps": 5}, "compare sets 'max_steps' itself"),
        ({"learning_rte": 1e-4}, "learning_rte"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_input_gets_one_sentence(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    given = {"objectives": ["dpo"], "grid": "one", **QUICK, **change}
    with pytest.raises(OptionError, match=said) as error:
        compare(ROWS, given.pop("objectives"), output_dir=tmp_path / "out", **given)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(OptionError, match="not empty and holds no comparison"):
        compare(ROWS, ["dpo"], output_dir=tmp_path, grid="one", **QUICK)


def test_a_budget_that_cannot_hold_its_runs_says_so(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="do not fit the budget"):
        compare(ROWS, ["dpo"], output_dir=tmp_path / "out", grid="one", **{**QUICK, "budget": "1s"})


@pytest.mark.parametrize(("grid", "number"), [("one", 1), ("small", 3), ("wide", 9)])
def test_the_usual_setting_of_every_objective_comes_first(grid: str, number: int) -> None:
    found = cells(["dpo", "simper"], grid, 1, lambda goal: 1e-4)
    assert [(c.objective, c.options["learning_rate"]) for c in found[:2]] == [("dpo", 1e-4), ("simper", 1e-4)]
    assert sum(c.objective == "dpo" for c in found) == number
    assert len({c.name for c in found}) == len(found)
    for cell in found:
        find(cell.objective).checked({k: v for k, v in cell.options.items() if k != "learning_rate"})


@pytest.mark.slow
def test_killed_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """The whole process group is killed without warning after the first runs; nothing that was done is done again."""
    data, out = tmp_path / "rows.jsonl", tmp_path / "out"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    command = [sys.executable, "-m", "pluralign", "compare", str(data), "--objectives", "dpo,simpo,ipo", "-o", str(out)]
    command += ["--budget", "3 steps", "--samples", "0", "--eval-data", "0.5", "--processes", "2"]
    command += ["--pretrain-steps", "5"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    while first.poll() is None and len(list(out.glob("cells/*/cell.json"))) < 2:
        time.sleep(0.05)
    assert first.poll() is None, "it ended before it could be killed"
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/cell.json")}
    assert 2 <= len(done) < 9
    assert not (out / "compare.html").exists()
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"9 runs of 3 steps, {len(done)} there already" in second.stderr
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert len(list(out.glob("cells/*/cell.json"))) == 9
    assert (out / "compare.html").is_file()
