"""Intervals: textbook values, coverage, and what clusters must do."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, ttest_1samp

from pluralign.intervals import (
    bootstrap,
    clustered_auc,
    clustered_t,
    clustered_wilson,
    placements,
    rarer,
    sign_flip,
    t_test,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "expected"),
    # 81/263 is the worked example of Newcombe (1998), method 3.
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (29, 29, (0.8830, 1.0))],
)
def test_wilson_published_values(successes, n, expected):
    assert wilson(successes, n) == pytest.approx(expected, abs=5e-5)


@given(st.integers(0, 300), st.integers(1, 300), st.floats(0.5, 0.999))
def test_wilson_holds_the_estimate_and_mirrors(successes, n, level):
    successes = min(successes, n)
    low, high = wilson(successes, n, level)
    assert 0 <= low <= successes / n <= high <= 1
    assert wilson(n - successes, n, level) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_without_data_knows_nothing():
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="successes <= n"):
        wilson(3, 2)


def test_nominal_coverage_in_simulation():
    rng = np.random.default_rng(1)
    for p, n in [(0.5, 40), (0.9, 60)]:
        wins = rng.binomial(n, p, size=2000)
        covered = np.mean([low <= p <= high for low, high in (wilson(int(w), n) for w in wins)])
        assert 0.93 <= covered <= 0.975


def test_duplicated_rows_do_not_shrink_the_clustered_intervals():
    rng = np.random.default_rng(2)
    v = (rng.random(200) < 0.6).astype(float)
    ids = np.arange(200)
    twice, both = np.tile(v, 5), np.tile(ids, 5)

    def width(interval):
        return interval[1] - interval[0]

    assert width(bootstrap(np.mean, twice, both)) == pytest.approx(width(bootstrap(np.mean, v)), rel=0.02)
    assert width(clustered_wilson(twice, both)) == pytest.approx(width(wilson(v.sum(), 200)), rel=0.02)
    assert width(bootstrap(np.mean, twice)) < 0.6 * width(bootstrap(np.mean, v))


def test_clustered_wilson_covers_when_values_are_correlated():
    rng = np.random.default_rng(3)
    hits = naive = 0
    for _ in range(600):
        truth = rng.beta(2, 2, size=60)
        v = (rng.random((60, 10)) < truth[:, None]).astype(float).ravel()
        low, high = clustered_wilson(v, np.repeat(np.arange(60), 10))
        hits += low <= 0.5 <= high
        low, high = wilson(v.sum(), v.size)
        naive += low <= 0.5 <= high
    assert hits / 600 > 0.92
    assert naive / 600 < 0.85


def test_any_statistic_agrees_with_the_fast_mean():
    v = np.random.default_rng(4).normal(size=300)
    groups = np.repeat(np.arange(100), 3)
    slow = bootstrap(lambda x: float(x.mean()), v, groups, replicates=4000)
    assert slow == pytest.approx(bootstrap(np.mean, v, groups, replicates=4000), abs=0.01)


def test_bootstrap_is_seeded_and_takes_rows():
    v = np.random.default_rng(5).normal(size=(50, 2))
    first = bootstrap(lambda x: float(x[:, 0].mean() / x[:, 1].std()), v, seed=7)
    assert first == bootstrap(lambda x: float(x[:, 0].mean() / x[:, 1].std()), v, seed=7)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap(np.mean, [])
    with pytest.raises(ValueError, match="one entry a value"):
        bootstrap(np.mean, [1.0, 2.0], clusters=[1])


@pytest.mark.parametrize("groups", [5, 11, 30])
def test_few_clusters_still_cover(groups):
    rng = np.random.default_rng(6)
    ids, tries = np.repeat(np.arange(groups), 20), 800
    covered = dict.fromkeys(["share", "mean", "paired difference", "bootstrap"], 0)

    def right(effect):
        return (rng.random(ids.size) < 1 / (1 + np.exp(-effect[ids]))).astype(float)

    for _ in range(tries):
        effect, other = rng.normal(size=(2, groups))
        v = right(effect)
        x = effect[ids] + rng.normal(size=ids.size)
        for name, (low, high), truth in (
            ("share", clustered_wilson(v, ids), 0.5),
            ("mean", clustered_t(x, ids), 0),
            ("paired difference", clustered_t(v - right(effect + other), ids), 0),
            ("bootstrap", bootstrap(np.mean, x, ids, replicates=200), 0),
        ):
            covered[name] += low <= truth <= high
    assert 0.925 <= covered["share"] / tries <= 0.985
    assert 0.93 <= covered["mean"] / tries <= 0.97
    assert 0.93 <= covered["paired difference"] / tries <= 0.97
    if groups < 30:
        assert covered["bootstrap"] < covered["mean"] - 20  # what the t interval is for


def test_t_interval_by_hand():
    # Cluster sums of residuals -2, 0, 2 of n = 6: variance 3/2 * 8 / 36, quantile of t with two degrees 4.302653.
    low, high = clustered_t([1.0, 1.0, 2.0, 2.0, 3.0, 3.0], [0, 0, 1, 1, 2, 2])
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), rel=1e-6)


def test_one_cluster_gives_no_t_interval():
    with pytest.raises(ValueError, match="one cluster"):
        clustered_t([1.0, 2.0], [0, 0])


@pytest.mark.parametrize(("ahead", "behind"), [(8, 1), (41, 12), (5, 5), (0, 0), (300, 200), (0, 1)])
def test_sign_flips_of_single_pairs_are_mcnemars_exact_test(ahead, behind):
    v = [1.0] * ahead + [-1.0] * behind + [0.0] * 7
    expected = binomtest(ahead, ahead + behind).pvalue if ahead + behind else 1.0
    assert sign_flip(v, range(len(v))) == pytest.approx(expected, rel=1e-6)


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 7)), min_size=1, max_size=20))
def test_sign_flips_count_all_signs_of_the_clusters(rows):
    v, ids = np.array([r[0] / 2 for r in rows]), np.array([r[1] for r in rows])
    sums = np.bincount(ids, weights=v)
    totals = np.array(list(itertools.product([-1, 1], repeat=len(sums)))) @ sums
    assert sign_flip(v, ids) == pytest.approx(np.mean(np.abs(totals) >= abs(sums.sum()) - 1e-9), abs=1e-11)
    assert sign_flip(-v, ids) == pytest.approx(sign_flip(v, ids), abs=1e-11)


def test_sign_flips_keep_their_level_where_pairs_of_a_cluster_go_together():
    rng = np.random.default_rng(8)
    ids, tries = np.repeat(np.arange(30), 8), 600
    ours = pairs = 0
    for _ in range(tries):
        lean = rng.normal(0, 1.5, size=30)[ids]
        v = np.where(rng.random(ids.size) < 1 / (1 + np.exp(-lean)), 1.0, -1.0)
        ours += sign_flip(v, ids) <= 0.05
        pairs += sign_flip(v, range(ids.size)) <= 0.05
    assert ours / tries < 0.05 + 3 * (0.05 * 0.95 / tries) ** 0.5
    assert pairs / tries > 0.15  # pair by pair the same test would claim too much


def test_sign_flips_need_counted_differences():
    with pytest.raises(ValueError, match="one half"):
        sign_flip([0.3, 1.0], [0, 1])


def test_t_test_of_single_values_is_students():
    v = np.random.default_rng(9).normal(0.3, 1, 25)
    assert t_test(v, range(25)) == pytest.approx(ttest_1samp(v, 0).pvalue)
    assert t_test([0.0, 0.0], [0, 1]) == 1


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_placements_average_to_the_share_of_couples_in_the_right_order(rows):
    s, good = np.array([float(r[0]) for r in rows]), np.array([r[1] for r in rows])
    if good.all() or not good.any():
        with pytest.raises(ValueError, match="good and bad"):
            placements(s, good)
        return
    couples = np.sign(s[good][:, None] - s[~good][None, :]) / 2 + 0.5
    assert placements(s, good).mean() == pytest.approx(couples.mean())


def test_spread_of_placements_is_delongs():
    # By hand: good 4, 2, 2 against bad 3, 1. Right shares: good 1, 1/2, 1/2, bad 1/3, 1; AUC 2/3.
    # Sums of squares about it: 1/6 over 3 good, squared; 2/9 over 2 bad, squared; times n / (n - 1).
    u = placements([4.0, 2.0, 2.0, 3.0, 1.0], [True, True, True, False, False])
    expected = ((1 / 6) / 9 + (2 / 9) / 4) * 5 / 4
    assert np.var(u, ddof=1) / 5 == pytest.approx(expected)


@pytest.mark.parametrize(
    ("groups", "size", "apart", "share"), [(5, 20, 0, 0.5), (30, 20, 0, 0.5), (60, 1, 1.5, 0.5), (100, 1, 1, 0.1)]
)
def test_an_auc_is_covered(groups, size, apart, share):
    rng = np.random.default_rng(10)
    ids, tries = np.repeat(np.arange(groups), size), 600
    truth, spread = norm.cdf(apart / 2**0.5), float(size > 1)
    inside = paired = 0
    for _ in range(tries):
        lean = spread * rng.normal(size=groups)[ids] + np.log(share / (1 - share))
        good = rng.random(ids.size) < 1 / (1 + np.exp(-lean))
        both = spread * rng.normal(size=groups)[ids] + apart * good
        x, y = both + rng.normal(size=(2, ids.size))
        low, high = clustered_auc(x, good, ids)
        inside += low <= truth <= high
        low, high = clustered_t(placements(x, good) - placements(y, good), ids, freedom=rarer(good, ids) - 1)
        paired += low <= 0 <= high
    assert 0.92 <= inside / tries <= 0.98
    assert 0.92 <= paired / tries <= 0.985


def test_a_perfect_auc_proves_no_more_than_the_rarer_class():
    good = np.array([True] * 4 + [False] * 200)
    assert clustered_auc(good.astype(float), good, range(204)) == wilson(4, 4)
