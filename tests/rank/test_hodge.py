"""HodgeRank: the card's numbers, orthogonal parts, and a test that knows noise from circles."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.errors import OptionError
from pluralign.rank import HodgeRank, Pairwise, Votes, cyclicity_test
from pluralign.rank import hodge as module
from pluralign.rank.hodge import Flow
from tests.rank.golden import g1
from tests.rank.test_leaderboard import league


def flow(edges, weight=None, n=None):
    low, high = np.array(list(edges), dtype=np.int32).T
    value = np.array(list(edges.values()), dtype=float)
    return Flow(n or int(high.max()) + 1, low, high, value, np.ones(len(value)) if weight is None else np.array(weight))


def test_golden_decompositions():
    circle = flow({(0, 1): 1, (0, 2): -1, (1, 2): 1})
    assert np.abs(circle.potential).max() < 1e-12
    assert circle.shares == pytest.approx((0, 1, 0), abs=1e-12)
    three = flow({(0, 1): 2, (0, 2): 3, (1, 2): 4})
    assert three.potential == pytest.approx([1.666667, 0.666667, -2.333333], abs=1e-6)
    assert three.shares == pytest.approx((0.896552, 0.103448, 0), abs=1e-6)
    square = flow({(0, 1): 1, (0, 3): -1, (1, 2): 1, (2, 3): 1})
    assert square.shares == pytest.approx((0, 0, 1), abs=1e-12)
    four = flow({(0, 1): 1, (0, 2): 2, (0, 3): 0.5, (1, 2): 1.5, (1, 3): -1, (2, 3): 2}, [3.0, 1, 2, 2, 1, 4])
    assert four.potential == pytest.approx([0.753401, 0.079932, 0.052721, -0.886054], abs=1e-6)
    assert four.shares == pytest.approx((0.403003, 0.596997, 0), abs=1e-6)
    assert four.cyclicity == pytest.approx(0.596997, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_parts_are_orthogonal_and_what_they_say(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 9))
    pairs = [p for p in itertools.combinations(range(n), 2) if rng.random() < 0.6] or [(0, 1)]
    low, high = np.array(pairs, dtype=np.int32).T
    found = Flow(n, low, high, rng.normal(size=len(pairs)), rng.uniform(0.5, 4, len(pairs)))
    parts = found.gradient, found.curl, found.harmonic
    assert sum(parts) == pytest.approx(found.value)
    scale = found.energy(found.value)
    for one, other in itertools.combinations(parts, 2):
        assert abs(found.weight @ (one * other)) < 1e-9 * scale
    # The harmonic part has no net flow out of any item and none around any triangle.
    net = np.bincount(low, found.weight * found.harmonic, n) - np.bincount(high, found.weight * found.harmonic, n)
    sides, turn = found.triangles
    assert np.abs(net).max() < 1e-7
    assert np.abs((found.harmonic[sides] * turn).sum(1)).max(initial=0) < 1e-6
    met = set(pairs)
    expected = {t for t in itertools.combinations(range(n), 3) if met.issuperset(itertools.combinations(t, 2))}
    assert {(low[a], high[a], high[b]) for a, b, _ in sides} == expected


def test_a_complete_graph_gives_borda_scores_and_an_additive_flow_no_circles():
    rng = np.random.default_rng(0)
    table = rng.integers(1, 9, size=(6, 6)).astype(float)
    np.fill_diagonal(table, 0)
    # Equal votes on every pair, so that equal weights make scores row means.
    table = table / (table + table.T + np.eye(6)) * 10
    model = HodgeRank().fit(Pairwise([*"abcdef"], table, np.zeros((6, 6))))
    assert model.scores_ == pytest.approx((table - table.T).sum(1) / 10 / 6)
    scores = rng.normal(size=6)
    low, high = np.triu_indices(6, 1)
    additive = Flow(6, low, high, scores[low] - scores[high], rng.uniform(1, 5, 15))
    assert additive.cyclicity < 1e-12
    assert additive.potential == pytest.approx(scores - scores.mean())


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(4)), st.sampled_from(["margin", "logit"]))
def test_names_do_not_matter_and_a_reversal_turns_signs(order, kind):
    table = Pairwise.of(g1())
    plain = HodgeRank(kind).fit(table)
    renamed = HodgeRank(kind).fit(Pairwise(table.items, table.wins[np.ix_(order, order)], table.ties))
    assert renamed.scores_ == pytest.approx(plain.scores_[list(order)])
    assert renamed.cyclicity_ == pytest.approx(plain.cyclicity_)
    turned = HodgeRank(kind).fit(Pairwise(table.items, table.wins.T, table.ties))
    assert turned.scores_ == pytest.approx(-plain.scores_)
    assert turned.cyclicity_ == pytest.approx(plain.cyclicity_)


def test_components_are_centred_apart():
    votes = Votes([*"abcd"], *np.array([[0, 0, 2], [1, 1, 3]], np.int32), np.array([0, 0, 1], np.int8))
    scores = HodgeRank().fit(votes).scores_
    assert scores == pytest.approx([0.5, -0.5, -0.5, 0.5])


def test_circles_are_told_by_name():
    table = [["rock", "scissors", "paper"], ["scissors", "paper", "rock"], ["paper", "rock", "scissors"]]
    found = HodgeRank().fit(table).circles()
    assert found.height == 1
    a, b, c, turn, weakest, votes = found.row(0)
    assert {(a, b), (b, c), (c, a)} == {("rock", "scissors"), ("scissors", "paper"), ("paper", "rock")}
    assert (turn, weakest, votes) == pytest.approx((1, 1 / 3, 3))
    assert HodgeRank().fit([["a", "b", "c"]]).circles().is_empty()


def test_chance_is_told_from_circles():
    rng = np.random.default_rng(3)
    theta = np.linspace(-1, 1, 8)
    p = [cyclicity_test(league(theta, 12, rng), replicates=99, seed=k).p_value for k in range(40)]
    # Nearly uniform where one score is true: neither shy nor eager.
    assert np.mean(np.array(p) <= 0.1) < 0.2
    assert 0.35 < np.mean(p) < 0.65
    circle = league(theta, 30, rng)
    beats = (circle.left + 1) % 8 == circle.right
    circle.outcome[beats] = 1
    circle.outcome[(circle.left == 0) & (circle.right == 7)] = 0
    assert cyclicity_test(circle, replicates=99).p_value == 0.01
    orders = [np.argsort(-(theta + rng.gumbel(size=8))).tolist() for _ in range(60)]
    test = cyclicity_test(orders, replicates=99)
    assert test.p_value > 0.02
    assert "p = " in str(test)


def test_what_cannot_be_done_is_said(monkeypatch):
    with pytest.raises(OptionError, match="flow is 'margin' or 'logit'"):
        HodgeRank("odds").fit(g1())
    with pytest.raises(OptionError, match="replicates"):
        cyclicity_test(g1(), replicates=0)
    monkeypatch.setattr(module, "TRIANGLES", 3)
    model = HodgeRank().fit(g1())
    assert 0 < model.cyclicity_ < 1
    with pytest.raises(OptionError, match="4 triangles are too many"):
        _ = model.flow_.curl
    monkeypatch.setattr(module, "PATHS", 3)
    with pytest.raises(OptionError, match="4 paths are too many"):
        HodgeRank().fit(g1()).circles()
