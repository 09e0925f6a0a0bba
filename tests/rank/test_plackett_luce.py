"""Golden set 4, exact sums over orders, derivatives and invariances of Plackett-Luce with and without ties."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank import BradleyTerry, NotConverged
from pluralign.rank import luce_solvers as solvers
from pluralign.rank.davidson_luce import DavidsonLuce
from pluralign.rank.luce import Luce
from pluralign.rank.plackett_luce import PlackettLuce
from pluralign.rank.rankings import Rankings
from tests.rank.golden import G4, g1, g2

TIED = [
    [0, 1, 2, 3],
    [[0, 1], 2, 3],
    [0, [1, 2, 4], 3],
    [[3, 4, 5], [0, 1]],
    [[0, 1], [2, 3], [4, 5]],
    [5, 0],
    [[0, 2, 5]],
]


@pytest.mark.parametrize("solver", ["newton", "mm", "ilsr"])
def test_golden_set_4_by_every_solver(solver):
    model = PlackettLuce(solver=solver).fit(G4)
    assert model.scores_ == pytest.approx([0.832885, 0.317757, -0.479122, -0.671520], abs=1e-6)
    assert model.nll_ == pytest.approx(14.219017, abs=1e-6)
    assert model.scores_ == pytest.approx(PlackettLuce().fit(G4).scores_, abs=1e-8)
    assert model.certificate_.gradient < 1e-8


def test_pairs_are_bradley_terry():
    assert PlackettLuce().fit(g1()).scores_ == pytest.approx(BradleyTerry().fit(g1()).scores_, abs=1e-8)
    ours, theirs = PlackettLuce(ties="davidson-luce").fit(g2()), BradleyTerry(ties="davidson").fit(g2())
    assert ours.scores_ == pytest.approx(theirs.scores_, abs=1e-7)
    assert ours.tie_[2] == pytest.approx(0.669651, abs=1e-6)
    assert ours.nll_ == pytest.approx(34.497504, abs=1e-6)
    assert ours.predict_proba("0", "1") == pytest.approx(theirs.predict_proba("0", "1"), abs=1e-7)
    for kind in ("model", "sandwich"):
        assert ours.covariance(kind) == pytest.approx(theirs.covariance(kind)[:5, :5], abs=1e-6)


def by_orders(theta, levels):
    """Sum over all orders of tied items, one by one."""
    total = 0.0
    for orders in itertools.product(*map(itertools.permutations, levels)):
        order = [i for part in orders for i in part]
        total += np.prod([np.exp(theta[order[t]]) / np.exp(theta[order[t:]]).sum() for t in range(len(order))])
    return np.log(total)


def by_subsets(theta, log_delta, levels):
    log = 0.0
    for t, level in enumerate(levels):
        rest = [i for part in levels[t:] for i in part]
        if len(rest) > 1:
            total = sum(
                np.exp(d + theta[list(s)].mean()) for k, d in log_delta.items() for s in itertools.combinations(rest, k)
            )
            log += log_delta[len(level)] + theta[level].mean() - np.log(total)
    return log


def as_levels(row):
    return [level if isinstance(level, list) else [level] for level in row]


@pytest.mark.parametrize("spread", [0.5, 3.0, 15.0])
def test_ties_are_summed_over_all_orders(spread):
    theta = np.random.default_rng(1).normal(size=6) * spread
    found = Luce(Rankings.of(TIED)).log_likelihood(theta)
    assert found == pytest.approx([by_orders(theta, as_levels(row)) for row in TIED], abs=1e-11)


def test_ties_as_outcomes_weigh_every_subset():
    likelihood = DavidsonLuce(Rankings.of(TIED))
    x = np.random.default_rng(2).normal(size=6 + len(likelihood.orders))
    log_delta = {1: 0.0} | dict(zip(likelihood.orders, x[6:], strict=True))
    assert likelihood.orders == [2, 3]
    found = likelihood.log_likelihood(x)
    assert found == pytest.approx([by_subsets(x[:6], log_delta, as_levels(row)) for row in TIED], abs=1e-11)


@pytest.mark.parametrize("likelihood", [Luce, DavidsonLuce])
def test_derivatives_by_finite_differences(likelihood):
    rng = np.random.default_rng(3)
    made = likelihood(Rankings.of(TIED))
    x = rng.normal(size=6 + (len(made.orders) if likelihood is DavidsonLuce else 0))
    weight = rng.random(len(TIED))
    value, gradient = made.gradient(x, weight)
    assert value == pytest.approx(-weight @ made.log_likelihood(x))
    steps = np.eye(len(x)) * 1e-5
    by_value = [-weight @ (made.log_likelihood(x + h) - made.log_likelihood(x - h)) / 2e-5 for h in steps]
    assert gradient == pytest.approx(by_value, abs=1e-8)
    by_gradient = [(made.gradient(x + h, weight)[1] - made.gradient(x - h, weight)[1]) / 2e-5 for h in steps]
    assert made.hessian(x, weight) == pytest.approx(np.array(by_gradient), abs=1e-8)
    row, place, slope = made.gradients(x)
    assert np.bincount(place, -slope * weight[row], len(x)) == pytest.approx(gradient, abs=1e-12)


def test_products_with_the_second_derivative():
    rng = np.random.default_rng(4)
    made, theta, weight = Luce(Rankings.of(TIED)), rng.normal(size=6), rng.random(len(TIED))
    matrix = made.hessian(theta, weight)
    product = made.products(theta, weight)
    assert np.stack([product(v) for v in np.eye(6)]) == pytest.approx(matrix, abs=1e-12)
    assert made.diagonal(theta, weight) == pytest.approx(np.diag(matrix), abs=1e-12)


def test_many_items_are_solved_without_the_matrix(monkeypatch):
    dense = PlackettLuce().fit(G4)
    monkeypatch.setattr("pluralign.rank.plackett_luce.DENSE", 2)
    iterative = PlackettLuce().fit(G4)
    assert iterative.scores_ == pytest.approx(dense.scores_, abs=1e-8)


def test_probabilities_of_all_orders_sum_to_one():
    model = PlackettLuce().fit(G4)
    chances = np.exp(model.log_likelihood([list(order) for order in itertools.permutations(range(4))]))
    assert chances.sum() == pytest.approx(1)
    # So do those of all ways to put three items on places, where ties are outcomes.
    rows = [[0, 1, 2], [[0, 1], 2], [2, [0, 1]], [[0, 1, 2]], [1, 0, 2], [2, 1, 0]]
    tied = PlackettLuce(ties="davidson-luce").fit(rows)
    weak = [[list(s) for s in p] for p in _weak_orders([0, 1, 2])]
    assert np.exp(tied.log_likelihood(weak)).sum() == pytest.approx(1)


def _weak_orders(items):
    if not items:
        yield []
    for k in range(1, len(items) + 1):
        for first in itertools.combinations(items, k):
            for rest in _weak_orders([i for i in items if i not in first]):
                yield [first, *rest]


def test_first_choices_are_a_multinomial_logit():
    frame = {"a": [1, None, None], "b": [None, 1, None], "c": [None, None, 1]}

    rankings = Rankings.of(pl.DataFrame(frame), unranked="below")
    weighted = Rankings(**{**vars(rankings), "weight": np.array([5.0, 3.0, 2.0])})
    model = PlackettLuce().fit(weighted)
    share = np.exp(model.scores_) / np.exp(model.scores_).sum()
    assert share == pytest.approx([0.5, 0.3, 0.2], abs=1e-9)


orders = st.lists(st.permutations(range(4)), min_size=3, max_size=8)


@settings(max_examples=30, deadline=None)
@given(orders, st.permutations(range(4)), st.randoms())
def test_names_and_the_order_of_rows_do_not_matter(rows, names, random):
    model = PlackettLuce().fit(rows)
    shuffled = [[f"item {names[i]}" for i in row] for row in rows]
    random.shuffle(shuffled)
    other = PlackettLuce().fit(shuffled)
    place = other.index([f"item {names[int(i)]}" for i in model.items_])
    assert other.scores_[place] == pytest.approx(model.scores_, abs=1e-7)


@settings(max_examples=20, deadline=None)
@given(orders)
def test_solvers_agree_and_copies_stand_for_weights(rows):
    newton = PlackettLuce(virtual=0.3).fit(rows)
    for solver in ("mm", "ilsr"):
        assert PlackettLuce(virtual=0.3, solver=solver).fit(rows).scores_ == pytest.approx(newton.scores_, abs=1e-7)
    rankings = Rankings.of(rows)
    double = Rankings(**{**vars(rankings), "weight": np.full(len(rows), 2.0)})
    assert PlackettLuce(virtual=0.3).fit(double).scores_ == pytest.approx(
        PlackettLuce(virtual=0.3).fit([*rows, *rows]).scores_, abs=1e-7
    )


def test_reversed_rankings_are_not_reversed_scores():
    forward, back = PlackettLuce().fit(G4), PlackettLuce().fit([row[::-1] for row in G4])
    assert np.abs(forward.scores_ + back.scores_).max() > 0.05


def test_unbeaten_items_and_strangers_are_named():
    model = PlackettLuce().fit([[0, 1, 2], [0, 2, 1], ["x", "y"], ["y", "x"]])
    assert [i for i, flag in zip(model.items_, model.graph_.unbeaten, strict=True) if flag] == ["0"]
    assert [i for i, held in zip(model.items_, model.penalised_, strict=True) if held] == ["0", "1", "2"]
    assert np.isfinite(model.scores_).all()
    assert np.isnan(model.predict_proba("0", "x")).all()
    assert (np.sqrt(np.diag(model.covariance("model")))[:3] > 0.3).all()


def test_covariances_agree_where_the_model_is_right():
    rng = np.random.default_rng(5)
    theta = np.linspace(1, -1, 5)
    rows = [np.argsort(-(theta + rng.gumbel(size=5))).tolist() for _ in range(4000)]
    model = PlackettLuce().fit(rows)
    by_curve, by_row = model.covariance("model"), model.covariance("sandwich")
    assert np.sqrt(np.diag(by_row)) == pytest.approx(np.sqrt(np.diag(by_curve)), rel=0.08)
    assert np.abs((model.scores_ - theta) / np.sqrt(np.diag(by_row))).max() < 3.5
    # Everybody four times over: clusters know that nothing was learnt, the sandwich does not.
    copied = PlackettLuce().fit(rows[:1000] * 4)
    once = PlackettLuce().fit(rows[:1000])
    clustered = copied.covariance("cluster", np.tile(np.arange(1000), 4))
    assert clustered == pytest.approx(once.covariance("sandwich") * 1000 / 999, rel=1e-6, abs=1e-12)


def test_options_and_data_that_do_not_fit():
    with pytest.raises(OptionError, match="without ties"):
        PlackettLuce(solver="mm").fit(TIED)
    with pytest.raises(OptionError, match="ridge"):
        PlackettLuce(solver="ilsr", ridge=1.0).fit(G4)
    with pytest.raises(OptionError, match="not among"):
        PlackettLuce().fit(G4).log_likelihood([[0, 9]])
    with pytest.raises(FeedbackError, match="one big tie"):
        PlackettLuce().fit([[[0, 1]], [[1, 2]]])
    with pytest.raises(OptionError, match="ties of 3"):
        PlackettLuce(ties="davidson-luce").fit([[0, 1, 2], [[0, 1], 2], [2, 1, 0]]).log_likelihood([[[0, 1, 2]]])


def test_a_fixed_point_that_is_not_reached_is_an_error(monkeypatch):
    monkeypatch.setattr(solvers, "SWEEPS", 3)
    for solver in ("mm", "ilsr"):
        with pytest.raises(NotConverged, match="still move"):
            PlackettLuce(solver=solver).fit(G4)


def test_solvers_know_components():
    rows = [[0, 1, 2], [2, 0, 1], [1, 2, 0], [0, 2, 1], ["x", "y"], ["y", "x"], ["x", "y"]]
    newton = PlackettLuce().fit(rows)
    for solver in ("mm", "ilsr"):
        assert PlackettLuce(solver=solver).fit(rows).scores_ == pytest.approx(newton.scores_, abs=1e-8)
    assert newton.scores_[3:] == pytest.approx([np.log(2) / 2, -np.log(2) / 2])


def test_sushi(shared_data):
    model = PlackettLuce().fit(shared_data / "preflib" / "sushi_rankings.csv")
    order = [model.items_[i] for i in np.argsort(-model.scores_)]
    assert (order[0], order[-1]) == ("fatty tuna", "cucumber roll")
    assert model.certificate_.gradient < 1e-8
    assert PlackettLuce(solver="mm").fit(model.rankings_).scores_ == pytest.approx(model.scores_, abs=1e-8)


@pytest.mark.parametrize("name", ["00006-00000013.toc", "00032-00000006.toi"])
def test_ties_of_real_judges(shared_data, name):
    path = shared_data / "preflib" / name
    for ties in ("orders", "davidson-luce"):
        model = PlackettLuce(ties=ties).fit(path)
        assert model.certificate_.gradient < 1e-8
        assert np.isfinite(model.scores_).all()
