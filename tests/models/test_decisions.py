"""From many to one: the figures of the cards, and what each rule promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from pluralign.errors import OptionError, PluralignError
from pluralign.models.decisions import (
    conjunction,
    level,
    log_good,
    lottery,
    lower_bound,
    maxmin,
    pessimistic,
    standing,
    verdicts,
    welfare,
)

values = st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3)


@settings(deadline=None)
@given(values, st.floats(-30, 1), st.floats(0, 30))
def test_welfare_never_rises_as_power_falls(v: list[float], power: float, less: float) -> None:
    assert welfare(v, power - less) <= welfare(v, power) + 1e-6
    assert min(v) - 1e-6 <= welfare(v, power) <= np.mean(v) + 1e-6


def test_welfare_has_its_three_known_cases_as_limits() -> None:
    v = [[0.9, 0.4, 0.2], [0.5, 0.5, 0.5]]
    np.testing.assert_allclose(welfare(v, 1), np.mean(v, 1))
    np.testing.assert_allclose(welfare(v, 0), np.exp(np.log(v).mean(1)))
    np.testing.assert_allclose(welfare(v, 1e-7), welfare(v, 0), rtol=1e-5)
    np.testing.assert_allclose(welfare(v, -2000), welfare(v, -np.inf), rtol=1e-3)
    assert welfare([0.0, 1.0], -1) == 0 == welfare([0.0, 1.0], 0)
    # A group of no people has no say, also where it has nothing.
    assert welfare([0.0, 0.7], -np.inf, [0, 1]) == welfare([0.0, 0.7], 0, [0, 1]) == pytest.approx(0.7)
    with pytest.raises(OptionError, match="above zero"):
        welfare([-1.0, 1.0])
    with pytest.raises(OptionError, match="well off"):
        welfare([1.0, 1.0], 2)


def test_the_transform_has_the_figures_and_slopes_of_its_card() -> None:
    gap = np.array([-2.0, 0.0, 2.0])
    np.testing.assert_allclose(log_good(gap), [-2.126928, -0.693147, -0.126928], atol=1e-6)
    slope = (log_good(gap + 1e-6) - log_good(gap - 1e-6)) / 2e-6
    np.testing.assert_allclose(slope, [0.880797, 0.5, 0.119203], atol=1e-6)
    np.testing.assert_allclose(log_good(-40.0), -40.0)  # linear far below
    assert log_good(40.0) == pytest.approx(0, abs=1e-15)


def test_the_sum_of_transforms_is_an_and() -> None:
    np.testing.assert_allclose(conjunction([[5.0, -3.0], [1.0, 1.0]]), [-3.055, -0.627], atol=1e-3)
    assert conjunction([3.0, -3.0]) < conjunction([0.0, 0.0])
    # What a prompt adds to all its rewards changes nothing.
    ordinary, shift = np.random.default_rng(0).normal(size=(64, 2)), np.array([7.0, -3.0])
    new = np.array([[0.3, 1.0], [1.0, -2.0]])
    np.testing.assert_allclose(
        conjunction(new, level(ordinary)), conjunction(new + shift, level(ordinary + shift)), atol=1e-12
    )
    # The 85th percentile of a normal sample is 1.036433 standard deviations above its mean.
    assert level(np.random.default_rng(1).normal(size=(400_000, 1)))[0] == pytest.approx(1.036433, abs=0.01)


def test_maxmin_has_the_policy_of_its_card() -> None:
    rewards = np.array([[1.0, 0.0], [0.0, 0.8], [0.6, 0.5]])
    found = maxmin(rewards, beta=0.1)
    np.testing.assert_allclose(found.weights, [0.41523, 0.58477], atol=1e-5)
    np.testing.assert_allclose(found.policy[0], [0.16057, 0.27168, 0.56775], atol=1e-5)
    np.testing.assert_allclose(found.rewards, [0.50122, 0.50122], atol=1e-5)
    assert 0 <= found.gap < 1e-6
    mean = softmax(rewards.mean(1) / 0.1)
    np.testing.assert_allclose(mean @ rewards, [0.6594, 0.3708], atol=1e-4)


def test_maxmin_without_a_price_takes_the_arm_or_the_mixture_with_the_larger_floor() -> None:
    arms = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.6]])
    np.testing.assert_allclose(maxmin(arms).policy, [[0, 0, 1]], atol=1e-9)
    arms[2] = 0.4
    np.testing.assert_allclose(maxmin(arms).policy, [[0.5, 0.5, 0]], atol=1e-9)
    without = maxmin(arms, [[0.5, 0.0, 0.5]])
    assert without.policy[0, 1] == 0
    # Two prompts may each serve one group.
    both = maxmin(np.array([[[1.0, 0.0], [0.4, 0.4]], [[0.0, 1.0], [0.4, 0.4]]]))
    np.testing.assert_allclose(both.rewards, [0.5, 0.5], atol=1e-9)
    assert abs(both.gap) < 1e-9


def test_maxmin_is_certified_and_of_one_group_is_the_tilted_reference() -> None:
    random = np.random.default_rng(3)
    rewards, reference = random.normal(size=(5, 4, 3)), random.dirichlet(np.ones(4), 5)
    found = maxmin(rewards, reference, beta=0.7)
    assert found.gap < 1e-6
    value = found.rewards.min() - 0.7 * found.kl
    for w in random.dirichlet(np.ones(3), 200):  # weak duality: no policy of the family does better
        p = reference * np.exp(rewards @ w / 0.7)
        p /= p.sum(1, keepdims=True)
        kl = (p * np.log(p / reference)).sum(1).mean()
        assert np.einsum("pr,prk->k", p, rewards).min() / 5 - 0.7 * kl <= value + 1e-6
    one = maxmin(rewards[..., :1], reference, beta=0.7)
    tilted = reference * np.exp(rewards[..., 0] / 0.7)
    np.testing.assert_allclose(one.policy, tilted / tilted.sum(1, keepdims=True), atol=1e-9)


def test_pessimism_avoids_the_arm_that_was_lucky() -> None:
    """Eight arms, one of which was seen twice: greedy takes it in some runs, the lower bound in none."""
    random, arms = np.random.default_rng(0), np.eye(8)
    worth = np.linspace(1, 0, 8)
    greedy = careful = 0
    for _ in range(200):
        rows = np.concatenate([np.repeat(np.arange(7), 60), [7, 7]])
        rival = random.integers(0, 7, len(rows))
        wins = random.random(len(rows)) < expit(worth[rows] - worth[rival])
        x = (arms[rows] - arms[rival]) * np.where(wins, 1, -1)[:, None]
        theta = np.zeros(8)
        for _ in range(15):  # Newton's method on the ridge logistic loss
            p = expit(x @ theta)
            bend = (x * (p * (1 - p))[:, None]).T @ x + 0.5 * np.eye(8)
            theta -= np.linalg.solve(bend, -x.T @ (1 - p) + 0.5 * theta)
        greedy += lower_bound(arms, theta, x, bound=0).argmax() == 7
        careful += lower_bound(arms, theta, x, bound=0.5, ridge=1e-3, origin=arms[:7].mean(0)).argmax() == 7
    assert greedy > 5
    assert careful == 0


def test_an_ensemble_is_as_sure_as_its_members_agree() -> None:
    members = np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 2.0]])
    np.testing.assert_allclose(pessimistic(members, 0.0), members.mean(1))
    np.testing.assert_allclose(pessimistic(members), members.min(1))
    np.testing.assert_allclose(pessimistic(members[:, :1], 5.0), members[:, 0])
    with pytest.raises(OptionError, match="below zero"):
        pessimistic(members, -1.0)


def test_the_lottery_takes_who_beats_all_and_shares_between_clones() -> None:
    rewards = np.array([[2.0, 1.0], [0.0, 0.0], [-1.0, 0.5]])
    np.testing.assert_allclose(lottery(rewards), [1, 0, 0], atol=1e-7)
    cycle = np.array([[2.0, 0.0, 1.0], [1.0, 2.0, 0.0], [0.0, 1.0, 2.0]])
    twice = lottery(np.vstack([cycle, cycle[:1]]))
    np.testing.assert_allclose([twice[0] + twice[3], twice[1], twice[2]], lottery(cycle), atol=1e-6)


def test_verdicts_part_where_the_majority_is_not_all() -> None:
    rewards = [[3.0, -3.0], [1.0, 1.0], [-3.0, 3.0]]
    table = verdicts(rewards, ["most", "both", "few"], shares=[0.9, 0.1])
    best = {rule: table["response"][int(table[rule].arg_max() or 0)] for rule in ("mean", "worst", "good for all")}
    assert best == {"mean": "most", "worst": "both", "good for all": "both"}
    assert table["group 0"].to_list() == pytest.approx(standing(rewards, rewards)[:, 0])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: maxmin([1.0, 2.0]), "prompts, responses, groups"),
        (lambda: maxmin([[1.0, np.nan]]), "finite"),
        (lambda: maxmin([[1.0, 2.0]], [[0.0]], 0.1), "reference"),
        (lambda: maxmin([[1.0, 2.0]], beta=-1), "below zero"),
        (lambda: verdicts([[1.0]], ["a", "b"]), "a row for each"),
        (lambda: lottery([[1.0, 2.0]], [1.0]), "2 numbers"),
        (lambda: lower_bound([[1.0]], [1.0], [[1.0]], ridge=0), "above"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(call: object, says: str) -> None:
    with pytest.raises(PluralignError, match=says):
        call()  # type: ignore[operator]
