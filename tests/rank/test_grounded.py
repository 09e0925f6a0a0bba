"""Grounded Rao-Kupper: the card's numbers, derivatives, planted scores, and what has no answer."""

import numpy as np
import pytest
from scipy.special import expit

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank import BradleyTerry, GroundedRaoKupper, Votes
from pluralign.rank.grounded import _terms
from tests.rank.golden import g2


def planted(theta, eta, m, seed=0):
    rng = np.random.default_rng(seed)
    n = len(theta)
    left = rng.integers(n, size=m)
    right = (left + 1 + rng.integers(n - 1, size=m)) % n
    p = np.exp(_terms(theta[left], theta[right], eta)[0])
    outcome = (rng.random(m)[:, None] > p.cumsum(1)).sum(1)
    return Votes([f"m{i}" for i in range(n)], left.astype(np.int32), right.astype(np.int32), outcome.astype(np.int8))


def test_the_cards_probabilities():
    log, _ = _terms(np.array([1.0]), np.array([0.0]), np.log(0.5))
    assert np.exp(log[0]) == pytest.approx([0.520915, 0.164543, 0.102600, 0.211942], abs=1e-6)
    shifted, _ = _terms(np.array([2.0]), np.array([1.0]), np.log(0.5))
    assert np.abs(shifted - log).max() > 0.1


def test_probabilities_sum_to_one_and_slopes_are_finite_differences():
    rng = np.random.default_rng(0)
    a, b = rng.normal(scale=3, size=(2, 40))
    for eta in (-3.0, 0.4, 2.0):
        log, slopes = _terms(a, b, eta)
        assert np.exp(log).sum(1) == pytest.approx(np.ones(40))
        h = 1e-6
        for k, move in enumerate(np.eye(3) * h):
            up = _terms(a + move[0], b + move[1], eta + move[2])[0]
            down = _terms(a - move[0], b - move[1], eta - move[2])[0]
            assert (up - down) / (2 * h) == pytest.approx(slopes[:, :, k], abs=1e-7)


def test_a_threshold_of_one_is_a_choice_of_three():
    log, _ = _terms(np.array([0.7]), np.array([-0.2]), -40.0)
    worth = np.exp([0.7, -0.2, 0.0])
    assert np.exp(log[0, [0, 1, 3]]) == pytest.approx(worth / worth.sum())
    assert np.exp(log[0, 2]) < 1e-15


def test_planted_scores_come_back_with_their_zero_and_their_errors():
    theta = np.array([1.5, 0.8, 0.0, -0.6, -1.2])
    off = []
    for seed in range(40):
        model = GroundedRaoKupper().fit(planted(theta, -0.2, 3000, seed))
        off.append((model.scores_ - theta) / np.sqrt(np.diag(model.covariance())))
    # Standard normal: 200 of them.
    assert np.std(off) == pytest.approx(1, abs=0.15)
    assert np.mean(off) == pytest.approx(0, abs=0.35)
    assert model.tie_ == pytest.approx(np.log(1 + np.exp(-0.2)), abs=0.1)
    assert model.better_than_nothing() == pytest.approx(expit(model.scores_))
    assert model.certificate_.step < 1e-7
    p = model.predict_proba(["m0", "m1"], ["m1", "m4"])
    assert p.sum(-1) == pytest.approx([1, 1])
    # Differences are those of the usual model, about.
    assert np.diff(model.scores_) == pytest.approx(np.diff(theta), abs=0.35)


def test_the_fit_does_not_depend_on_sides_and_names():
    data = planted(np.array([1.0, 0.0, -1.0]), 0.0, 900)
    flip = np.where(data.outcome < 2, 1 - data.outcome, data.outcome).astype(np.int8)
    a = GroundedRaoKupper().fit(data)
    b = GroundedRaoKupper().fit(Votes(data.items, data.right, data.left, flip))
    assert a.scores_ == pytest.approx(b.scores_, abs=1e-9)


def test_items_that_votes_leave_infinite_are_held():
    # "best" is never bad and never loses.
    votes = [("x", "y", w) for w in ("left", "right", "tie", "both_bad")] * 5 + [("best", "x", "left")] * 3
    left, right, label = zip(*votes, strict=True)
    model = GroundedRaoKupper().fit({"left": left, "right": right, "label": label})
    assert dict(zip(model.items_, model.penalised_.tolist(), strict=True)) == {"best": True, "x": False, "y": False}
    assert np.isfinite(model.scores_).all()
    assert model.items_[int(model.scores_.argmax())] == "best"
    assert np.sqrt(np.diag(model.covariance())).argmax() == model.items_.index("best")


def test_what_has_no_zero_is_said():
    with pytest.raises(FeedbackError, match="both were bad"):
        GroundedRaoKupper().fit(g2())
    with pytest.raises(FeedbackError, match="tie between good"):
        GroundedRaoKupper().fit({"left": ["a", "b"], "right": ["b", "a"], "label": ["left", "both_bad"]})
    with pytest.raises(OptionError, match="'z' is not among"):
        GroundedRaoKupper().fit(planted(np.array([1.0, 0.0]), 0.0, 200)).predict_proba("z", "m0")
    assert BradleyTerry(both_bad="drop").fit(planted(np.array([1.0, 0.0]), 0.0, 200)).scores_[0] > 0
