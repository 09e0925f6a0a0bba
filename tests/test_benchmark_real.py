"""The benchmark on real feedback holds out whole groups, each once."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

import pluralign
from benchmarks import real
from benchmarks.real import CANDIDATES, TASKS, Task, folds, some
from benchmarks.real_page import over_groups, picture, right, tables
from pluralign.train import Run


def test_folds_keep_groups_whole_and_are_of_like_size():
    groups = [g for g, n in {"a": 50, "b": 30, "c": 25, "d": 5}.items() for _ in range(n)]
    fold = folds(groups, 2)
    assert {g: len({int(f) for f, h in zip(fold, groups, strict=True) if h == g}) for g in "abcd"} == dict.fromkeys(
        "abcd", 1
    )
    assert sorted(np.bincount(fold)) == [55, 55]


def test_folds_do_not_depend_on_the_order_of_rows():
    groups = np.array(list("aaaabbbcc"))
    order = np.random.default_rng(1).permutation(len(groups))
    assert folds(list(groups), 2)[order].tolist() == folds(list(groups[order]), 2).tolist()


def test_interval_over_groups_is_students():
    # Means 0, 1 and 0.5: standard error 0.5 / sqrt(3), quantile of t with two degrees of freedom 4.302653.
    figure = over_groups(np.array([0.0, 0.0, 1.0, 1.0, 0.0]), np.array(["a", "a", "b", "c", "c"]))
    assert figure.value == pytest.approx(0.5)
    assert figure.high - figure.value == pytest.approx(4.302653 * 0.5 / np.sqrt(3), rel=1e-5)


def test_rules_and_tables():
    scores = pl.DataFrame(
        {
            "group": ["a", "a", "b", "b"],
            "reward_chosen": [1.0, 2.0, 3.0, 0.0],
            "reward_rejected": [0.0, 1.0, 4.0, 0.0],
            "logp_chosen": [-4.0] * 4,
            "logp_rejected": [-6.0] * 4,
            "ref_logp_chosen": [-6.0] * 4,
            "ref_logp_rejected": [-4.0] * 4,
            "length_chosen": [2] * 4,
            "length_rejected": [4] * 4,
            "characters_chosen": [10, 10, 10, 30],
            "characters_rejected": [11, 30, 10, 10],
        }
    )
    rules = right(scores)
    assert rules["aligned model, implicit reward"].tolist() == [1, 1, 0, 0.5]
    assert rules["aligned model, mean log-prob"].tolist() == [0, 0, 0, 0]
    assert rules["longer wins"].tolist() == [0, 0, 0.5, 1]
    trials = [[{"candidate": i, "share": {"value": 0.9 - i / 10}} for i in range(len(CANDIDATES))]]
    page = tables(scores, "debate", frozenset(), [str(c) for c in CANDIDATES], trials)
    assert "| of like length (within 20%) | 2 | 0.500" in page
    assert "| 0.900, taken |" in page
    assert page.count("taken") == 1


def test_settings_are_chosen_without_the_held_out_fold_and_judged_on_groups_they_did_not_learn_from(
    tmp_path, monkeypatch
):
    rows = [
        {"prompt": f"topic {i % 9}", "chosen": f"yes {i}", "rejected": f"no {i}", "topic": str(i % 9)}
        for i in range(90)
    ]
    pluralign.read(rows).write(tmp_path / "rows.jsonl")
    monkeypatch.setitem(TASKS, "toy", Task("topic", lambda j: j.meta["topic"]))
    learnt, judged = [], []

    def topics(feedback):
        return {j.meta["topic"] for j in feedback}

    def aligned(rows, model, candidate, out):
        learnt.append((topics(rows), candidate))
        return Run(out)

    def evaluate(run, rows, **_):
        judged.append(topics(rows))
        figure = {"value": [0.2, 0.1, 0.3][len(judged) % 3]}
        return SimpleNamespace(figures={"accuracy": {"implicit reward": figure}})

    monkeypatch.setattr(real, "aligned", aligned)
    monkeypatch.setattr(real.pluralign, "evaluate", evaluate)
    monkeypatch.setattr(real, "scored", lambda run, held_out, task: topics(held_out))
    (tmp_path / "out" / "fold-1").mkdir(parents=True)
    held_out = real.one_fold("toy", str(tmp_path / "rows.jsonl"), tmp_path / "out", None, 3, 0)
    assert held_out
    assert judged[-1] == held_out
    *trials, (last, taken) = learnt
    assert not last & held_out
    assert taken == CANDIDATES[1]
    for (seen, _), looked_at in zip(trials, judged[:-1], strict=True):
        assert looked_at
        assert not seen & looked_at
        assert not (seen | looked_at) & held_out


def test_at_most_so_many_rows_are_drawn_and_only_where_the_mask_holds():
    feedback = pluralign.read([{"prompt": str(i), "chosen": "a", "rejected": "b"} for i in range(20)])
    mask = np.arange(20) % 2 == 0
    drawn = [int(j.prompt[0].content) for j in some(feedback, mask, 4)]
    assert len(drawn) == 4
    assert not any(i % 2 for i in drawn)
    assert len(some(feedback, mask, 50)) == 10


def test_the_picture_has_a_row_for_every_group(tmp_path):
    n = 40
    rng = np.random.default_rng(0)
    columns = {f"{a}_{b}": rng.normal(size=n) for a in ("reward", "logp", "ref_logp") for b in ("chosen", "rejected")}
    lengths = {f"{a}_{b}": rng.integers(1, 9, n) for a in ("length", "characters") for b in ("chosen", "rejected")}
    scores = pl.DataFrame({**columns, **lengths, "group": ["cats-or-dogs", "tea-or-coffee"] * (n // 2)})
    picture(scores, "debate", tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
