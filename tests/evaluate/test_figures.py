"""Statistics over scores: the cards' properties of win rates, accuracy and calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pluralign.evaluate.figures import (
    Figure,
    calibration,
    difference,
    histogram,
    idealised,
    mean,
    preferred,
    share,
    spelled,
)
from pluralign.evaluate.measures import LONGER, POLICY, REWARD, Pairs
from pluralign.evaluate.slices import sliced
from pluralign.intervals import wilson
from pluralign.objectives import PolicyBatch, dpo

MARGINS = arrays(np.float64, st.integers(2, 40), elements=st.floats(-6, 6, width=32))


def alone(n: int) -> np.ndarray:
    return np.arange(n)


def test_a_scorer_that_cannot_tell_gets_one_half():
    assert preferred(np.array([2.0, 0.0, -1.0])).tolist() == [1.0, 0.5, 0.0]


@given(MARGINS)
def test_a_ranking_and_its_opposite_share_the_pairs_out(margins):
    assert preferred(margins).mean() + preferred(-margins).mean() == pytest.approx(1)


def test_independent_pairs_get_the_wilson_interval():
    figure = share(np.array([1.0] * 8 + [0.0] * 2), alone(10))
    assert (figure.low, figure.high) == wilson(8, 10)
    assert figure.method == "Wilson"


def test_rows_repeated_within_their_cluster_tell_nothing_new():
    rng = np.random.default_rng(0)
    wins = preferred(rng.normal(0.2, 1, 80).round())  # rounding makes ties
    once, twice = mean(wins, alone(80)), mean(np.tile(wins, 2), np.tile(alone(80), 2))
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))
    a, b = share(wins, alone(80)), share(np.tile(wins, 2), np.tile(alone(80), 2))
    assert b.high - b.low >= 0.98 * (a.high - a.low)
    # Read as independent, the same rows would claim more than they know.
    naive = share(np.tile(wins, 2), alone(160))
    assert naive.high - naive.low < 0.8 * (b.high - b.low)


@pytest.mark.parametrize("interval", [share, mean])
def test_a_win_rate_with_ties_is_covered_at_the_stated_level(interval):
    rng = np.random.default_rng(1)
    truth, tries, inside = 0.45 + 0.2 / 2, 400, 0
    for _ in range(tries):
        wins = rng.choice([1.0, 0.5, 0.0], size=80, p=[0.45, 0.2, 0.35])
        figure = interval(wins, alone(80))
        inside += figure.low <= truth <= figure.high
    # Ties vary less than a coin, so Wilson is a little wide; neither may fall clearly short of 95%.
    assert inside / tries > 0.95 - 3 * math.sqrt(0.95 * 0.05 / tries)


def test_a_difference_on_the_same_pairs_knows_more_than_two_separate_figures():
    rng = np.random.default_rng(2)
    common = rng.normal(size=300)
    ours, theirs = preferred(common + 0.15), preferred(common)
    paired = mean(ours - theirs, alone(300))
    a, b = mean(ours, alone(300)), mean(theirs, alone(300))
    assert paired.value == pytest.approx(a.value - b.value)
    assert paired.low > 0
    assert a.low < b.high  # apart, the two intervals overlap


def test_no_margin_is_a_coin():
    figures = calibration(np.zeros(10), alone(10))
    assert figures["ece"]["value"] == pytest.approx(0)
    assert figures["brier"]["value"] == pytest.approx(0.25)
    assert figures["log_loss"]["value"] == pytest.approx(math.log(2))


def test_right_by_the_same_margin_every_time_is_off_by_what_is_missing_to_one():
    figures = calibration(np.full(12, 2.0), alone(12))
    p = 1 / (1 + math.exp(-2))
    assert figures["ece"]["value"] == pytest.approx(1 - p)
    assert figures["brier"]["value"] == pytest.approx((1 - p) ** 2)
    assert figures["log_loss"]["value"] == pytest.approx(-math.log(p))


@given(MARGINS)
def test_the_reliability_table_reads_the_same_from_both_orders(margins):
    # Off the edges of the bins, where a probability and its complement may round to different sides.
    p = 1 / (1 + np.exp(-margins))
    margins = margins[np.abs(p * 10 - np.round(p * 10)) > 1e-6]
    if not len(margins):
        return
    table = calibration(margins, alone(len(margins)))["table"]
    for a, b in zip(table, reversed(table), strict=True):
        assert a["predicted"] == pytest.approx(1 - b["predicted"], abs=1e-9)
        assert a["observed"]["value"] == pytest.approx(1 - b["observed"]["value"], abs=1e-9)


def test_honest_probabilities_are_calibrated_and_doubled_margins_are_not():
    rng = np.random.default_rng(3)
    size = np.abs(rng.normal(0, 1.5, 20_000))
    right = rng.random(20_000) < 1 / (1 + np.exp(-size))
    margins = np.where(right, size, -size)
    honest, bold = calibration(margins, alone(20_000)), calibration(3 * margins, alone(20_000))
    assert honest["ece"]["value"] < 0.015
    assert bold["ece"]["value"] > 0.1
    for name in ("brier", "log_loss"):
        assert honest[name]["high"] < bold[name]["low"]


def test_huge_margins_stay_finite():
    figures = calibration(np.array([1e4, -1e4, 1e4]), alone(3))
    assert figures["log_loss"]["value"] == pytest.approx(1e4 / 3)
    assert math.isfinite(figures["brier"]["value"])


@given(MARGINS)
def test_a_histogram_loses_no_row(margins):
    drawn = histogram(margins)
    assert sum(drawn["counts"]) == len(margins)
    assert len(drawn["edges"]) == len(drawn["counts"]) + 1


def test_one_cluster_shows_no_spread_between_clusters():
    figure = mean(np.array([1.0, 2.0, 6.0]), np.zeros(3))
    assert figure.as_dict() | {"low": None, "high": None} == figure.as_dict()
    assert str(figure) == "3.000 [one cluster: no interval]"
    assert calibration(np.array([1.0, -2.0]), np.zeros(2))["ece"]["high"] is None


def test_figures_are_spelled_with_both_ends():
    figure = Figure(-0.05, -0.1, 0.02, 10, 10, "Wilson").as_dict()
    assert spelled(figure, 1, "+", unit=0.01) == "-5.0 [-10.0, +2.0]"


# Chen et al. 2024: ranking accuracy, its ideal, and when a pair is hard.


@given(st.floats(-30, 30), st.floats(-10, 10))
def test_a_pair_is_ranked_right_exactly_where_the_loss_of_dpo_is_below_its_threshold(hardness, beyond):
    beta = 0.1
    if abs(beyond) < 1e-3:
        return
    # The reference ranks it wrong by `hardness`; the policy right by `beyond`.
    values = [[v] for v in (beyond, 0.0, -hardness, 0.0, 1.0, 1.0)]
    batch = PolicyBatch.from_pairs(*(torch.tensor(v[0:1], dtype=torch.float64) for v in values))
    loss = float(dpo(batch, beta=beta))
    assert (loss <= np.logaddexp(0, -beta * hardness)) == (preferred(np.array([beyond]))[0] == 1)


@given(MARGINS, st.floats(0.01, 5))
def test_people_who_are_split_ask_for_nothing_and_people_of_one_mind_for_everything(margins, beta):
    assert idealised(margins, 0.5, beta) == pytest.approx(margins)
    assert (preferred(idealised(margins, 1.0, beta)) == 1).all()


@given(MARGINS, st.floats(0.51, 0.99))
def test_a_smaller_beta_lets_more_pairs_be_ranked_right(margins, share_of_people):
    strict, loose = (preferred(idealised(margins, share_of_people, beta)).mean() for beta in (1.0, 0.1))
    assert loose >= strict


def test_a_policy_may_be_right_by_reward_in_every_pair_and_by_likelihood_in_none():
    n = 20
    ref = np.stack([np.full(n, -30.0), np.full(n, -10.0)], 1)
    logp = ref + np.array([5.0, -5.0])
    ones = np.ones((n, 2))
    pairs = Pairs(0.1 * (logp - ref), logp, ref, ones, ones, np.zeros(n), alone(n))
    found = pairs.measure()["accuracy"]
    assert (found[REWARD]["value"], found[POLICY]["value"]) == (1.0, 0.0)


def pairs(n: int, *, logp: list[float], ref: list[float], length: list[float], characters: list[float]) -> Pairs:
    """The same pair n times, in clusters of their own; reward as of DPO with beta 0.1."""
    logp_, ref_, length_, characters_ = (np.tile(np.array(v), (n, 1)) for v in (logp, ref, length, characters))
    return Pairs(0.1 * (logp_ - ref_), logp_, ref_, length_, characters_, np.zeros(n), alone(n))


def test_a_sum_over_more_tokens_may_rank_what_the_mean_does_not():
    # Log-ratios +8 over 20 tokens and +3 over 5: more in sum, less a token.
    found = pairs(12, logp=[-32, -7], ref=[-40, -10], length=[20, 5], characters=[80, 20]).measure()["accuracy"]
    assert (found[REWARD]["value"], found["mean log-ratio"]["value"]) == (1.0, 0.0)


def test_pairs_of_like_length_stand_apart_from_those_that_length_explains():
    n = 30
    both = pairs(2 * n, logp=[-9, -12], ref=[-10, -10], length=[9, 9], characters=[60, 20])
    # Half of the pairs are of like length (120 characters against 100), and the reward gets every other of them right.
    both.characters[n:] = [100, 120]
    both.reward[n::2] = [0, 1]
    slices = sliced(both, {}, "prompt")["slices"]
    found = {s["value"]: s for s in slices if s["by"] == "longer side"}
    assert {value: s["n"] for value, s in found.items()} == {"of like length": n, "preferred is longer": n}
    assert found["preferred is longer"]["accuracy"][REWARD]["value"] == 1
    assert found["preferred is longer"]["accuracy"][LONGER]["value"] == 1
    assert found["of like length"]["accuracy"][REWARD]["value"] == 0.5
    # All pairs of one kind: they are still said to be.
    (only,) = (s for s in sliced(both.part(slice(n, None)), {}, "prompt")["slices"] if s["by"] == "longer side")
    assert (only["value"], only["n"]) == ("of like length", n)


def test_a_paired_difference_by_hand():
    ours, theirs = np.array([1.0, 1.0, 1.0, 0.5, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    found = difference(ours, theirs, alone(6))
    assert (found["ahead"], found["behind"], found["n"]) == (4, 1, 6)
    # Differences 1, 1, 0, 1/2, -1, 1: mean 5/12, standard error by hand, quantile of t with five degrees 2.570582.
    gaps = [1, 1, 0, 0.5, -1, 1]
    error = math.sqrt(sum((g - 5 / 12) ** 2 for g in gaps) / 5 / 6)
    assert found["value"] == pytest.approx(5 / 12)
    assert found["high"] - found["value"] == pytest.approx(2.570582 * error, rel=1e-6)
    # The total is 5/2. Of 32 signs, 6 give that or more (+1/2 and at most one 1 turned; -1/2 and none), 6 its opposite.
    assert found["p"] == pytest.approx(12 / 32)


def test_pairs_that_all_differ_alike_prove_no_more_than_their_number():
    few, many = (difference(np.ones(n), np.zeros(n), alone(n)) for n in (3, 300))
    assert (few["value"], few["high"], few["p"]) == (1, 1, 0.25)
    assert few["low"] == pytest.approx(2 * wilson(3, 3)[0] - 1)
    assert many["low"] > 0.97
    # Two rankings that always agree may still differ on pairs not seen.
    alike = difference(np.ones(50), np.ones(50), alone(50))
    assert (alike["low"], alike["high"], alike["p"]) == (-wilson(0, 50)[1], wilson(0, 50)[1], 1.0)


def test_first_shown_is_compared_where_places_are_known():
    found = pairs(8, logp=[-9, -12], ref=[-10, -10], length=[9, 9], characters=[60, 20])
    found.shown[:3] = [1, -1, -1]
    versus = found.measure()["difference"]["implicit reward - first shown wins"]
    assert (versus["n"], versus["ahead"], versus["behind"]) == (3, 2, 0)
    found.shown[:] = 0
    assert "implicit reward - first shown wins" not in found.measure()["difference"]
