"""Rankings from scattered measurements: equal to means where nothing is missing, better where much is."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import kendalltau

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank import PlackettLuce, Rankings, rank_measurements
from pluralign.rank.measurements import choices, orders_of


def benchmark(seed, models=20, samples=5000, spread=3.0):
    """[samples, models] whether each was solved, abilities, difficulties."""
    rng = np.random.default_rng(seed)
    ability, hardness = np.linspace(-spread, spread, models), rng.normal(scale=1.5, size=samples)
    solved = rng.random((samples, models)) < 1 / (1 + np.exp(-(ability - hardness[:, None])))
    return solved, ability, hardness


def rows(solved, kept):
    sample, item = np.nonzero(kept)
    return pl.DataFrame(
        {"sample": sample, "item": np.char.add("m", item.astype(str)), "value": solved[kept].astype(float)}
    )


def scores(model, n):
    place = {item: i for i, item in enumerate(model.items_)}
    return np.array([model.scores_[place[f"m{i}"]] for i in range(n)])


def test_complete_data_of_equal_difficulty_rank_as_mean_accuracy():
    rng = np.random.default_rng(1)
    solved = rng.random((3000, 8)) < np.linspace(0.2, 0.8, 8)
    model = rank_measurements(rows(solved, np.ones_like(solved)))
    assert np.array_equal(np.argsort(scores(model, 8)), np.argsort(solved.mean(0)))


def test_five_entries_in_a_hundred_are_enough_where_means_mislead():
    full, thin, means = [], [], []
    for seed in range(3):
        solved, ability, hardness = benchmark(seed)
        rng = np.random.default_rng(seed + 50)
        board = scores(rank_measurements(rows(solved[:400], np.ones((400, 20), bool))), 20)
        full.append(kendalltau(board, ability).statistic)
        # Better models meet harder samples: what is left out depends on both.
        pull = 1.5 * np.sign(np.outer(hardness, ability)) * np.sqrt(np.abs(np.outer(hardness, ability)))
        kept = rng.random(solved.shape) < 0.05 * np.exp(pull) / np.exp(pull).mean()
        found = scores(rank_measurements(rows(solved, kept)), 20)
        thin.append(kendalltau(found, board).statistic)
        mean = np.where(kept, solved, 0).sum(0) / kept.sum(0)
        means.append(kendalltau(mean, board).statistic)
        at_random = rng.random(solved.shape) < 0.05
        assert kendalltau(scores(rank_measurements(rows(solved, at_random)), 20), board).statistic > 0.9
    assert min(full) > 0.95
    assert min(thin) > 0.85
    assert max(means) < min(thin) - 0.1


def test_numbers_count_by_their_order_on_one_sample_and_metric():
    frame = {
        "sample": ["s", "s", "s", "t", "t", "u"],
        "metric": ["acc", "acc", "acc", "ppl", "ppl", "acc"],
        "item": ["a", "b", "c", "a", "b", "c"],
        "value": [0.9, 0.9, 0.1, 12.0, 8.0, 1.0],
    }
    orders = orders_of(frame, ["ppl"], {})
    assert [orders.names(i) for i in range(len(orders))] == [[["a", "b"], ["c"]], [["b"], ["a"]]]
    assert orders.dropped == {"fewer-than-two-items": 1}
    scaled = dict(frame, value=[9000.0, 9000.0, -3.0, 1.2, 0.8, 5.0])
    one, two = rank_measurements(frame, lower_is_better=["ppl"]), rank_measurements(scaled, lower_is_better=["ppl"])
    assert one.scores_ == pytest.approx(two.scores_)
    assert [one.items_[i] for i in np.argsort(-one.scores_)] == ["b", "a", "c"]


def test_choices_of_whole_rankings_are_plackett_luce():
    orders = Rankings.of([["a", "b", "c", "d"], ["b", "d", "a", "c"], ["d", "a", "c", "b"]])
    assert PlackettLuce().fit(choices(orders)).scores_ == pytest.approx(PlackettLuce().fit(orders).scores_, abs=1e-7)
    weighted = Rankings.of(
        pl.DataFrame(
            {"ranking": [1, 1, 2, 2], "item": ["a", "b", "b", "a"], "rank": [1, 2, 1, 2], "weight": [3, 3, 1, 1]}
        )
    )
    assert choices(weighted).weights.tolist() == [3, 1]


def test_tables_that_are_none_are_refused(tmp_path):
    frame = {"sample": [1, 1], "item": ["a", "b"], "value": [1.0, 1.0]}
    with pytest.raises(FeedbackError, match="no sample puts one item above another"):
        rank_measurements(frame)
    with pytest.raises(FeedbackError, match=r"no column 'value'.*columns=\{'value': 'sample'\}"):
        rank_measurements({"sample": [1], "item": ["a"], "score": [1]})
    with pytest.raises(FeedbackError, match="no column 'points'"):
        rank_measurements(frame, columns={"value": "points"})
    with pytest.raises(FeedbackError, match="words where measured numbers"):
        rank_measurements(dict(frame, value=["good", "bad"]))
    with pytest.raises(OptionError, match="no metric 'ppl'"):
        rank_measurements(dict(frame, value=[1.0, 0.0]), lower_is_better=["ppl"])
    path = tmp_path / "results.csv"
    pl.DataFrame({"question": [1, 1], "model": ["a", "b"], "correct": [1, 0]}).write_csv(path)
    model = rank_measurements(path, columns={"sample": "question", "item": "model", "value": "correct"})
    assert model.scores_[0] > model.scores_[1]


def test_columns_of_mixed_kinds_are_refused_in_a_sentence():
    with pytest.raises(FeedbackError, match="values of one kind"):
        rank_measurements({"sample": [1, 1], "item": ["a", "b"], "value": [1, "x"]})
