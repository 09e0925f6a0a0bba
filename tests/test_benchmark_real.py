"""The benchmark on real feedback holds out whole groups, each once."""

import numpy as np
import polars as pl
import pytest

from benchmarks.real import TASKS, folds, over_groups, right, tables


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
    assert "| of like length (within 20%) | 2 | 0.500" in tables(TASKS["ukpconvarg1"], scores, 2, 60.0)
