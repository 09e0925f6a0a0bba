"""The card of mixtures by EM."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from pluralign.errors import OptionError
from pluralign.models import Answers, LowRank, MixtureModel, PreferenceModel


def world(minority: int, seed: int = 0, each: int = 40) -> tuple[Answers, np.ndarray, np.ndarray]:
    """40 people compare 6 items; the last `minority` of them have the opposite taste."""
    random = np.random.default_rng(seed)
    theta = np.linspace(-1.5, 1.5, 6)[random.permutation(6)]
    opposite = np.arange(40) >= 40 - minority
    person = np.repeat(np.arange(40), each)
    a, b = np.array([random.choice(6, 2, replace=False) for _ in person]).T
    z = (theta[a] - theta[b]) * np.where(opposite[person], -1, 1)
    won = random.random(len(z)) < 1 / (1 + np.exp(-z))
    return Answers.of(np.eye(6)[a], np.eye(6)[b], won.astype(float), [f"p{i:02d}" for i in person]), theta, opposite


@pytest.mark.parametrize("minority", [20, 12, 4])
@pytest.mark.parametrize("hard", [False, True])
def test_people_of_opposite_tastes_are_told_apart(minority: int, hard: bool) -> None:
    answers, theta, opposite = world(minority)
    model = MixtureModel(2, hard=hard, restarts=3).fit(answers)
    group = model.weights_.argmax(1)
    minor = group[-1]
    assert ((group == minor) == opposite).all()
    assert model.shares_[minor] == pytest.approx(minority / 40, abs=0.02)
    assert np.corrcoef(model.coefficients_[minor], -theta)[0, 1] > 0.94 - 0.1 * (minority == 4)
    assert np.corrcoef(model.coefficients_[1 - minor], theta)[0, 1] > 0.94
    one = MixtureModel(1).fit(answers)
    i, j = np.triu_indices(6, 1)
    right = np.sign(theta[j] - theta[i])
    of_one, of_minor = (np.sign(c[i] - c[j]) == right for c in (one.coefficients_[0], model.coefficients_[minor]))
    assert of_minor.mean() >= 0.85
    if minority < 20:
        assert of_one.mean() <= 0.27


@pytest.mark.parametrize("hard", [False, True])
def test_likelihood_never_falls(hard: bool) -> None:
    path = MixtureModel(3, hard=hard, restarts=1, seed=2).fit(world(12)[0]).path_
    assert len(path) > 2
    assert np.diff(path).min() > -1e-8


def test_a_search_cut_short_says_so() -> None:
    with pytest.warns(RuntimeWarning, match="ended after 2 rounds, the last of which still gained"):
        MixtureModel(2, restarts=1, most=2).fit(world(12)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MixtureModel(2, restarts=1).fit(world(12)[0])


def test_one_group_is_logistic_regression() -> None:
    answers = world(0)[0]
    one = MixtureModel(1, ridge=1e-6).fit(answers)
    shared = PreferenceModel(LowRank(6, 1), epochs=300, lr=0.02).fit(answers)
    assert one.log_loss(answers) == pytest.approx(shared.log_loss(answers), abs=1e-3)


def test_somebody_new_is_placed_by_their_answers() -> None:
    model = MixtureModel(2, restarts=3).fit(world(20)[0])
    answers, _, opposite = world(20, seed=0, each=20)
    chances = model.localise(answers).weights
    assert chances.sum(1) == pytest.approx(1)
    group = chances.argmax(1) == model.weights_[-1].argmax()
    assert (group == opposite).mean() > 0.9
    nobody = Answers.of(np.zeros((0, 6)), np.zeros((0, 6)), [], [], people=["ann"])
    assert model.localise(nobody).weights[0] == pytest.approx(model.shares_)
    with pytest.raises(OptionError, match="at least 1"):
        MixtureModel(0)
