"""Kemeny's order against all orders; Mallows against sums over all rankings, closed forms and its own draws."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.errors import FeedbackError
from pluralign.rank import Rankings
from pluralign.rank.kemeny import cost, kemeny
from pluralign.rank.mallows import Mallows

MATRICES = st.integers(2, 6).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 9), min_size=n, max_size=n), min_size=n, max_size=n)
)


@settings(max_examples=60, deadline=None)
@given(MATRICES)
def test_no_order_costs_less(rows):
    votes = np.array(rows, dtype=float)
    np.fill_diagonal(votes, 0)
    least = min(cost(votes, np.array(p)) for p in itertools.permutations(range(len(votes))))
    exact, searched = kemeny(votes), kemeny(votes, exact=0)
    assert exact.cost == exact.bound == least
    assert exact.exact
    assert searched.bound <= least <= searched.cost
    assert cost(votes, searched.order) == searched.cost


def test_majorities_without_circles_are_followed_however_many_items():
    rng = np.random.default_rng(0)
    order = rng.permutation(80)
    place = np.argsort(order)
    votes = rng.integers(0, 5, (80, 80)) + 6.0 * (place[:, None] < place[None])
    found = kemeny(votes)
    assert (found.order == order).all()
    assert found.exact


def test_a_large_circle_is_searched_and_says_how_far_off_it_may_be():
    rng = np.random.default_rng(1)
    truth = np.arange(40)
    votes = rng.poisson(6 + 6 * (truth[:, None] < truth[None]) / 3)
    found = kemeny(votes)
    assert found.bound <= found.cost <= cost(votes - np.diag(np.diag(votes)).astype(float), truth)
    assert found.cost < 1.05 * found.bound


def all_orders(theta, center, rows):
    """Log-probability of levels by summing over every order of the items that are named."""
    out = []
    for row in rows:
        levels = [level if isinstance(level, list) else [level] for level in row]
        level = {item: i for i, group in enumerate(levels) for item in group}
        place = {item: i for i, item in enumerate(c for c in center if c in level)}
        fits = total = 0.0
        for order in itertools.permutations(level):
            d = sum(place[b] < place[a] for a, b in itertools.combinations(order, 2))
            p = np.exp(-theta * d)
            total += p
            fits += p * all(level[a] <= level[b] for a, b in itertools.pairwise(order))
        out.append(np.log(fits / total))
    return out


ROWS = [
    ["a", "b", "c", "d", "e"],
    ["b", "a", "c", ["d", "e"]],
    [["a", "c"], ["b", "d", "e"]],
    ["c", "a", "e"],
    ["e", "d"],
    ["a", "b", ["c", "d"]],
    ["d", ["a", "b", "c", "e"]],
]


def test_ties_and_parts_are_summed_over_exactly():
    model = Mallows().fit(ROWS)
    assert model.kemeny_.exact
    assert 0 < model.theta_ < 3
    assert model.log_likelihood(ROWS) == pytest.approx(all_orders(model.theta_, model.center_, ROWS), abs=1e-12)
    assert model.nll_ == pytest.approx(-sum(all_orders(model.theta_, model.center_, ROWS)))


def test_probabilities_of_all_rankings_add_up_to_one():
    model = Mallows().fit(ROWS)
    every = [list(p) for p in itertools.permutations("abcde")]
    assert np.exp(model.log_likelihood(every)).sum() == pytest.approx(1)
    p = np.exp(model.log_likelihood(every))
    for a, b in itertools.permutations("abcde", 2):
        above = sum(q for q, row in zip(p, every, strict=True) if row.index(a) < row.index(b))
        assert model.predict_proba(a, b) == pytest.approx([above, 1 - above, 0])


def test_centre_and_dispersion_are_the_most_likely_ones():
    model = Mallows().fit(ROWS)
    best = -model.nll_
    for center in itertools.permutations("abcde"):
        assert sum(all_orders(model.theta_, center, ROWS)) <= best + 1e-9
    at = [sum(all_orders(model.theta_ + step, model.center_, ROWS)) for step in (-1e-3, 0, 1e-3)]
    assert at[1] > max(at[0], at[2])
    curvature = (2 * at[1] - at[0] - at[2]) / 1e-6
    assert model.error_ == pytest.approx(curvature**-0.5, rel=1e-3)


@pytest.mark.parametrize("theta", [0.5, 1.0])
def test_draws_have_the_dispersion_they_were_drawn_with(theta):
    model = Mallows().fit([list("abcdefgh")] * 5 + [list("bacdefgh")])
    model.theta_ = theta
    hits = []
    for seed in range(40):
        again = Mallows().fit(model.sample(300, seed))
        hits.append(abs(again.theta_ - theta) < 1.96 * again.error_)
        assert again.center_ == model.center_
    assert 0.87 <= np.mean(hits) <= 1


def test_limits_of_dispersion():
    agreed = Mallows().fit([["a", "b", "c"]] * 3)
    assert agreed.theta_ == np.inf
    assert agreed.nll_ == 0
    assert agreed.predict_proba("a", "c") == pytest.approx([1, 0, 0])
    assert agreed.log_likelihood([["b", "a", "c"]])[0] == -np.inf
    chance = Mallows().fit([list(p) for p in itertools.permutations("abc")])
    assert chance.theta_ == 0
    assert chance.nll_ == pytest.approx(6 * np.log(6))
    assert chance.predict_proba("a", "b") == pytest.approx([0.5, 0.5, 0])
    with pytest.raises(FeedbackError, match="one big tie"):
        Mallows().fit([[["a", "b"]]])


def test_weights_stand_for_rankings():
    rows = [["a", "b", "c"], ["b", "a", "c"], ["c", "a", "b"]]
    times = [5, 3, 1]
    one = Rankings.of(rows)
    heavy = Rankings(one.items, one.flat, one.level, one.offsets, one.unranked_below, weight=np.array(times, float))
    many = Mallows().fit([row for row, n in zip(rows, times, strict=True) for _ in range(n)])
    model = Mallows().fit(heavy)
    assert (model.theta_, model.nll_, model.error_) == pytest.approx((many.theta_, many.nll_, many.error_))


def test_dots_are_put_in_their_true_order(shared_data):
    model = Mallows().fit(shared_data / "preflib" / "00024-00000003.soc")
    # The fewest dots first, as workers were asked.
    assert model.center_ == sorted(model.items_, key=int)
    assert model.kemeny_.exact
