"""Cards of linear social choice, of one number from many, and of committees from biased rankings."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from pluralign.errors import OptionError
from pluralign.rank import Pairwise, biased_rankings, committee, leximax_copeland, uniform_phantom
from pluralign.rank.voting import copeland

E, D = 0.05, 0.1
FEATURES = {
    "a": (2.0, 1.0),
    "b": (1.0, 1.0),
    "c": (0.0, 0.0),
    "a'": (2 - E, 1.0),
    "b'": (1 - E, 1.0),
    "c'": (-E, D * E),
}
VOTES = [["a", "a'", "b", "b'", "c'", "c"]] * 7 + [["c'", "c", "b'", "b", "a'", "a"]] * 3


def bradley_terry(table, x):
    """Weights on features by maximum likelihood of all votes."""
    i, j = np.nonzero(table.wins)
    z, n = x[i] - x[j], table.wins[i, j]
    return minimize(lambda w: n @ np.logaddexp(0, -z @ w), np.zeros(x.shape[1]), method="BFGS", tol=1e-10).x


def test_likelihood_goes_against_all_voters_and_leximax_copeland_does_not():
    table = Pairwise.of(VOTES)
    x = np.array([FEATURES[item] for item in table.items])
    theta = bradley_terry(table, x)
    assert theta == pytest.approx([0.567, 0.014], abs=2e-3)
    assert (np.array(FEATURES["c'"]) - FEATURES["c"]) @ theta == pytest.approx(-0.028, abs=1e-3)
    found = leximax_copeland(table, FEATURES)
    assert found.order == ["a", "a'", "b", "b'", "c'", "c"]
    scores = np.array([FEATURES[item] for item in found.order]) @ found.weights
    assert (np.diff(scores) <= -1 + 1e-6).all()


def electorate(seed, voters=7, items=6, d=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(items, d))
    features = {str(i): x[i] for i in range(items)}
    tastes = rng.normal(size=(voters, d)) + rng.normal(size=d)
    return x, features, tastes, [[str(i) for i in np.argsort(-x @ w)] for w in tastes]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000))
def test_leximax_copeland_keeps_to_unanimous_pairs_and_to_linear_majorities(seed):
    x, features, _, ballots = electorate(seed)
    found = leximax_copeland(ballots, features)
    place = {item: k for k, item in enumerate(found.order)}
    table = Pairwise.of(ballots)
    for a, b in itertools.permutations(table.items, 2):
        if all(ballot.index(a) < ballot.index(b) for ballot in ballots):
            assert place[a] < place[b]
    scores = np.array([features[item] for item in found.order]) @ found.weights
    assert (np.diff(scores) < 0).all()
    # A majority of one mind is linear, and its ranking is the outcome.
    crowd = ballots[:3] + [ballots[0]] * 4
    assert leximax_copeland(crowd, features).order == ballots[0]
    # Nothing else could stand first with more majorities: every item above it in Copeland's order is infeasible on top.
    first = found.order[0]
    better = [
        item
        for item, s in zip(table.items, found.copeland, strict=True)
        if s > found.copeland[list(table.items).index(first)]
    ]
    for item in better:
        rows = np.array([features[item] - features[other] for other in table.items if other != item])
        agreed = [
            features[a] - features[b]
            for a, b in itertools.permutations(table.items, 2)
            if all(v.index(a) < v.index(b) for v in ballots)
        ]
        draws = np.random.default_rng(0).normal(size=(4000, x.shape[1]))
        rows = np.vstack([rows, *agreed]) if agreed else rows
        assert not ((draws @ rows.T) > 1e-3).all(1).any()


def test_unanimous_and_feasible_copeland():
    _, features, _, ballots = electorate(3)
    assert leximax_copeland([ballots[0]] * 4, features).order == ballots[0]
    one = {item: [float(k)] for k, item in enumerate("wxyz")}
    votes = [["z", "y", "x", "w"]] * 3 + [["w", "x", "y", "z"]] * 2
    table = Pairwise.of(votes)
    by_score = [table.items[i] for i in np.argsort(-copeland(table))]
    assert leximax_copeland(votes, one).order == by_score == list("zyxw")


def test_names_do_not_matter():
    _, features, _, ballots = electorate(11, voters=31)
    names = dict(zip(features, "zyxwvu", strict=True))
    found = leximax_copeland([[names[i] for i in b] for b in ballots], {names[i]: v for i, v in features.items()})
    assert found.order == [names[i] for i in leximax_copeland(ballots, features).order]


def test_features_that_cannot_rank_are_refused():
    votes = [["a", "b", "c"]] * 2
    with pytest.raises(OptionError, match="there are none of 'c'"):
        leximax_copeland(votes, {"a": [1], "b": [2]})
    with pytest.raises(OptionError, match="'a' and 'c' are equal"):
        leximax_copeland(votes, {"a": [1], "b": [2], "c": [1]})
    with pytest.raises(OptionError, match="no weights on these features agree"):
        leximax_copeland(votes, {"a": [1], "b": [3], "c": [2]})
    # Without the pairs on which all agree, what most majorities want comes first, and the rest follows from weights.
    assert leximax_copeland(votes, {"a": [1], "b": [3], "c": [2]}, pareto=False).order == ["a", "c", "b"]
    with pytest.raises(OptionError, match="1 to 2 numbers"):
        leximax_copeland(votes, {"a": [1], "b": [3, 1], "c": [2]})


@pytest.mark.parametrize(
    ("reports", "outcome"),
    [((0, 0, 1), 1 / 3), ((0.2, 0.2, 0.9), 1 / 3), ((0, 1), 0.5), ((0.3, 0.3, 0.3, 0.3), 0.3), ((0.7,), 0.7)],
)
def test_the_uniform_phantom_rule(reports, outcome):
    assert uniform_phantom(reports) == pytest.approx(outcome)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7), st.data())
def test_nobody_gains_by_a_lie_and_groups_pull_by_size(reports, data):
    outcome = uniform_phantom(reports)
    liar = data.draw(st.integers(0, len(reports) - 1))
    for lie in np.linspace(0, 1, 21):
        other = uniform_phantom([*reports[:liar], lie, *reports[liar + 1 :]])
        assert abs(other - reports[liar]) >= abs(outcome - reports[liar]) - 1e-12
    extreme = [float(r > 0.5) for r in reports]
    assert uniform_phantom(extreme) == pytest.approx(np.mean(extreme))
    assert uniform_phantom([1 - r for r in reports]) == pytest.approx(1 - outcome)
    assert uniform_phantom(reports[::-1]) == outcome


def test_reports_outside_the_range_are_refused():
    for bad in ([1.2], [float("nan")], [-0.1, 0.5]):
        with pytest.raises(OptionError, match="between 0 and 1"):
            uniform_phantom(bad)
    with pytest.raises(OptionError, match="at least one report"):
        uniform_phantom([])


def points(ballots, members, rule, k):
    """The score of a set of members by its definition, ballots being full and strict."""
    n = len(ballots[0])
    total = 0.0
    for ballot in ballots:
        at = sorted(ballot.index(m) for m in members)
        total += {
            "borda": sum(n - 1 - p for p in at),
            "sntv": sum(p == 0 for p in at),
            "bloc": sum(p < k for p in at),
            "chamberlin-courant": n - 1 - at[0],
        }[rule]
    return total


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.permutations("abcdef"), min_size=1, max_size=6),
    st.integers(1, 4),
    st.sampled_from(["borda", "sntv", "bloc", "chamberlin-courant"]),
    st.booleans(),
)
def test_committees_against_all_sets(ballots, k, rule, grouped):
    groups = dict(zip("abcdef", "xxxyyz", strict=True))
    least = {"y": min(1, k), "z": int(k > 1)}
    found = committee([list(b) for b in ballots], k, rule, groups=groups if grouped else None, least=least)
    allowed = [
        members
        for members in itertools.combinations("abcdef", k)
        if not grouped or all(sum(groups[m] == g for m in members) >= q for g, q in least.items())
    ]
    assert tuple(sorted(found.members)) in allowed
    best = max(points(ballots, members, rule, k) for members in allowed)
    assert found.score == pytest.approx(points(ballots, found.members, rule, k))
    if found.exact:
        assert found.score == pytest.approx(best)
    else:
        assert found.score >= (1 / 2 if grouped else 1 - 1 / np.e) * best - 1e-9


def test_bounds_recover_what_bias_hides():
    n, k = 50, 10
    rng = np.random.default_rng(0)
    half = np.arange(n) < n // 2
    quality = rng.uniform(0.2, 1, n)
    quality[half] = quality[~half]  # both groups are equally good
    rankings = biased_rankings(quality, half, 0.5, 200, seed=1)
    groups = {str(i): "under-rated" if half[i] else "rest" for i in range(n)}
    plain, bound = committee(rankings, k), committee(rankings, k, groups=groups)
    share = np.mean([half[int(m)] for m in plain.members])
    assert share < 0.2
    best = np.sort(quality)[::-1][:k].sum()
    assert quality[[int(m) for m in bound.members]].sum() >= 0.95 * best
    assert quality[[int(m) for m in plain.members]].sum() < quality[[int(m) for m in bound.members]].sum()


def test_partial_ballots_and_ties_share_points():
    assert committee([["a", ["b", "c"]], [["a", "b"], "c"]], 1, "sntv").score == 1.5
    assert committee([["a", ["b", "c"]]], 2, "bloc").score == 1.5
    assert committee([["a", "b"], ["c", "d", "a"]], 1).members == ["c"]
    for size, message in ((0, "0 cannot be chosen"), (5, "5 cannot be chosen from 4")):
        with pytest.raises(OptionError, match=message):
            committee([["a", "b", "c", "d"]], size)
    with pytest.raises(OptionError, match="'d' is in none"):
        committee([["a", "b", "c", "d"]], 2, groups=dict.fromkeys("abc", "x"))
    with pytest.raises(OptionError, match="2 of group 'y' are asked for, which has 0"):
        committee([["a", "b"]], 2, groups=dict.fromkeys("ab", "x"), least={"y": 2})
    with pytest.raises(OptionError, match="3 members are asked for"):
        committee([["a", "b", "c"]], 2, groups=dict.fromkeys("abc", "x"), least={"x": 3})
