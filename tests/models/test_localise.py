"""Localising new people: exact, certified, and nobody's answers change anybody else's place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from pluralign.errors import FeedbackError, OptionError
from pluralign.models import dirichlet, localise
from pluralign.models.localise import _Task


def task(seed: int, people: int, k: int, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), random.integers(0, most + 1, people))
    return random.normal(size=(len(person), k)) * 2, person, random.integers(0, 2, len(person)).astype(float)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 5), pull=st.sampled_from([0.0, 0.3, 2.0]))
def test_no_other_weights_fit_better(seed: int, k: int, pull: float) -> None:
    margins, person, chance = task(seed, 4, k, 8)
    prior = np.full(k, pull)
    found = localise(margins, person, 4, probability=chance, prior=prior)
    assert found.weights.sum(1) == pytest.approx(1)
    assert (found.weights >= 0).all()
    assert found.gap.max() < 1e-6

    def loss(w: np.ndarray, who: int) -> float:
        z = margins[person == who] @ w
        return float((np.logaddexp(0, -z) + (1 - chance[person == who]) * z).sum() - prior @ np.log(w))

    for who in range(4):
        other = minimize(
            lambda logits, who=who: loss(np.exp(logits) / np.exp(logits).sum(), who), np.zeros(k), method="BFGS"
        )
        assert loss(np.maximum(found.weights[who], 1e-300), who) <= other.fun + 1e-6


def test_who_has_not_answered_lies_at_the_mean_of_the_prior() -> None:
    found = localise(np.zeros((0, 3)), [], 2, prior=[1.0, 2.0, 5.0])
    assert found.weights == pytest.approx(np.tile([0.125, 0.25, 0.625], (2, 1)), abs=1e-7)


def test_people_do_not_touch_each_other_and_order_does_not_matter() -> None:
    margins, person, chance = task(3, 5000, 3, 6)
    whole = localise(margins, person, 5000, probability=chance, prior=np.ones(3))
    shuffled = np.random.default_rng(0).permutation(len(person))
    again = localise(margins[shuffled], person[shuffled], 5000, probability=chance[shuffled], prior=np.ones(3))
    assert np.abs(whole.weights - again.weights).max() < 1e-7
    one = person == 17
    alone = localise(margins[one], np.zeros(one.sum()), 1, probability=chance[one], prior=np.ones(3))
    assert alone.weights[0] == pytest.approx(whole.weights[17], abs=1e-7)
    assert alone.errors[0] == pytest.approx(whole.errors[17], abs=1e-7)


@pytest.mark.parametrize(("pull", "most"), [(2.0, 25), (0.0, 90)])
def test_newton_stops_at_the_optimum(pull: float, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    margins, person, chance = task(5, 300, 4, 20)
    steps: list[float] = []
    plain = _Task.derivatives

    def counted(self: _Task, w: np.ndarray, barrier: float) -> tuple[np.ndarray, np.ndarray]:
        steps.append(barrier)
        return plain(self, w, barrier)

    monkeypatch.setattr(_Task, "derivatives", counted)
    found = localise(margins, person, 300, probability=chance, prior=np.full(4, pull))
    assert found.gap.max() < 1e-8
    # Of each barrier as many steps as it takes, and none spent on rounding: 40 are the most there can be.
    assert len(steps) < most
    assert max(steps.count(barrier) for barrier in set(steps)) < 30


def test_errors_shrink_with_answers_and_a_weight_of_two_is_an_answer_given_twice() -> None:
    margins = np.array([[2.0, -1.0], [-1.5, 1.0], [1.0, -2.0]])
    twice = localise(np.tile(margins, (2, 1)), np.zeros(6), 1, prior=[1.0, 1.0])
    heavy = localise(margins, np.zeros(3), 1, weight=np.full(3, 2.0), prior=[1.0, 1.0])
    once = localise(margins, np.zeros(3), 1, prior=[1.0, 1.0])
    assert heavy.weights == pytest.approx(twice.weights, abs=1e-7)
    assert (heavy.errors < once.errors).all()
    assert once.covariance[0].sum(1) == pytest.approx(0, abs=1e-12)


def test_a_prior_from_weights_has_their_mean() -> None:
    weights = np.random.default_rng(0).dirichlet([0.4, 1.0, 2.0], 50_000)
    prior = dirichlet(weights)
    assert prior / prior.sum() == pytest.approx(weights.mean(0))
    assert prior.sum() == pytest.approx(3.4, rel=0.03)
    assert dirichlet(np.ones((5, 1))).tolist() == [0.0]


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(OptionError, match="needs 2 values"):
        localise([[1.0, 0.0]], [0], 1, prior=[1.0])
    with pytest.raises(FeedbackError, match="not as many people"):
        localise([[1.0, 0.0]], [0, 0], 1)
    with pytest.raises(FeedbackError, match="outside 0 to 0"):
        localise([[1.0, 0.0]], [1], 1)


def test_uncertainty_is_no_wider_than_the_simplex() -> None:
    """With no prior and one answer that tells little, Laplace's normal distribution would leave the simplex."""
    found = localise([[0.1, -0.1, 0.0]], [0], 2)
    widest = 1 - (found.weights**2).sum(1)
    assert found.weights[1] == pytest.approx(1 / 3)
    assert (found.covariance.trace(axis1=1, axis2=2) <= widest + 1e-12).all()
    assert found.covariance[1] == pytest.approx(np.eye(3) / 3 - 1 / 9, abs=1e-6)
