"""What the pages on rankings tell is counted right."""

import numpy as np
import pytest

from benchmarks import rank_dots, rank_skating, rank_sushi
from pluralign.rank import PlackettLuce, Rankings


def test_every_rule_finds_the_true_order_of_dots(shared_data):
    for name in rank_dots.FILES.values():
        rankings = Rankings.of(shared_data / "preflib" / name)
        shuffled = rankings.renumbered(rankings.items[::-1])
        assert set(map(tuple, rank_dots.orders(shuffled).values())) == {tuple(rank_dots.truth(rankings))}
    assert len(rank_dots.single(rankings)) == 800


def test_small_crowds_find_it_less_often_and_never_by_the_order_of_numbers(shared_data, monkeypatch):
    monkeypatch.setattr(rank_dots, "DRAWS", 80)
    rankings = Rankings.of(shared_data / "preflib" / rank_dots.FILES["7 dots apart"])
    few, many = (rank_dots.recovered(rankings, size) for size in (1, 80))
    # One worker is right as often as one is: one in six.
    assert few["Mallows"] == pytest.approx(0.161, abs=0.12)
    assert few["most often first"] < 0.2
    assert many["Mallows"] > 0.85


def test_chance_of_an_order():
    assert rank_dots._right([0.25] * 4) == pytest.approx(1 / 24)
    assert rank_dots._right([0.5, 0.3, 0.2]) == pytest.approx(0.5 * 0.6)


def test_places_of_judges_share_the_middle_of_ties():
    rankings = Rankings.of([["a", ["b", "c"], "d"], ["d", "c", "b", "a"]])
    assert rank_skating.places(rankings).tolist() == [[1, 2.5, 2.5, 4], [4, 3, 2, 1]]


def test_ties_broken_at_random_are_around_the_sum_over_orders():
    rows = [
        ["a", ["b", "c"], "d"],
        ["b", "a", "d", "c"],
        ["d", "c", "a", "b"],
        ["c", "d", "b", "a"],
        ["a", "d", "c", "b"],
    ]
    rankings = Rankings.of(rows)
    drawn = rank_skating.broken(rankings)
    assert drawn.mean(0) == pytest.approx(PlackettLuce().fit(rankings).scores_, abs=0.05)
    assert np.ptp(drawn, axis=0).max() > 0.1


def test_shares_of_places_and_what_models_expect():
    rankings = Rankings.of([["a", "b", "c"], ["b", "a", "c"], ["a", "c", "b"], ["a", "b", "c"]])
    assert rank_sushi.place_shares(rankings).tolist() == [[0.75, 0.25, 0], [0.25, 0.5, 0.25], [0, 0.25, 0.75]]
    expected = rank_sushi.drawn(np.log([[3.0, 2.0, 1.0]]), np.ones(1))
    assert expected[:, 0] == pytest.approx([1 / 2, 1 / 3, 1 / 6], abs=0.01)
    assert expected.sum(0) == pytest.approx(np.ones(3))
