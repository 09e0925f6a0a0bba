"""The cards of GPM and DPL."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.errors import OptionError
from pluralign.models import Answers, GeneralPreference, LowRank, MeanVariance, MixtureModel, PreferenceModel, Score

ONE = torch.ones(1)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), kind=st.sampled_from([GeneralPreference, MeanVariance]))
def test_swapping_sides_changes_the_sign(seed: int, kind: type[Score]) -> None:
    torch.manual_seed(seed)
    score = kind(3, 1).double()
    left, right = torch.randn(2, 5, 3, dtype=torch.float64)
    assert torch.allclose(score.margin(left, right, ONE), -score.margin(right, left, ONE), atol=1e-12)
    assert torch.allclose(score.margin(left, left, ONE), torch.zeros(5, dtype=torch.float64), atol=1e-12)
    assert torch.equal(score.prototypes(left, right)[..., 0], score.margin(left, right, ONE))


def test_gpm_at_three_angles() -> None:
    score = GeneralPreference(3, size=2).double()
    angle = torch.arange(3.0, dtype=torch.float64) * 2 * pi / 3
    score.projector.weight.data = torch.stack([angle.cos(), angle.sin()])
    items = torch.eye(3, dtype=torch.float64)
    along = score.margin(items, items.roll(-1, 0), ONE)
    assert along.tolist() == pytest.approx([0.866025] * 3, abs=1e-6)
    assert torch.sigmoid(along / 0.1).tolist() == pytest.approx([0.999827] * 3, abs=1e-6)


def test_gpm_with_a_constant_is_a_scalar_reward() -> None:
    score = GeneralPreference(2, size=2)
    score.projector.weight.data = torch.eye(2)
    rewards = torch.randn(2, 7)
    left, right = (torch.stack([r, torch.full_like(r, 3.0)], -1) for r in rewards)
    assert torch.allclose(score.margin(left, right, ONE), 3 * (rewards[0] - rewards[1]), atol=1e-5)


def test_gpm_learns_a_cycle_and_a_scalar_cannot() -> None:
    items = np.eye(3)
    cycle = Answers.of(np.tile(items, (20, 1)), np.tile(np.roll(items, -1, 0), (20, 1)), np.ones(60))
    general = PreferenceModel(GeneralPreference(3, size=4), epochs=100, lr=0.05).fit(cycle)
    scalar = PreferenceModel(LowRank(3, 1), epochs=100, lr=0.05).fit(cycle)
    assert general.accuracy(cycle) == 1
    assert scalar.accuracy(cycle) <= 2 / 3
    assert scalar.log_loss(cycle) >= np.log(2) - 1e-6
    with pytest.raises(OptionError, match="no score to a response alone"):
        general.export().of(torch.eye(3))


def test_dpl_finds_the_response_that_people_disagree_about() -> None:
    # Everybody puts item 0 above item 2; item 1 is for half of them the best and for half the worst.
    a, b = np.array([[0, 1], [0, 2], [1, 2]] * 100).T
    chance = np.tile([0.5, 0.98, 0.5], 100)
    answers = Answers.of(np.eye(3)[a], np.eye(3)[b], chance)
    model = PreferenceModel(MeanVariance(3), epochs=200, lr=0.05).fit(answers)
    assert isinstance(model.scorer, MeanVariance)
    spread = model.scorer.spread(torch.eye(3)).tolist()
    assert model.scorer.explained(torch.eye(3)) < 0.95
    assert model.predict_proba(answers)[:3] == pytest.approx([0.5, 0.98, 0.5], abs=0.06)
    assert spread[1] > max(spread[0], spread[2])


def test_pairs_give_the_borda_order_and_not_the_mean_utility() -> None:
    utilities, share = np.array([[3, 2.9, 0], [0, 2, 3]]), np.array([0.6, 0.4])
    assert share @ utilities == pytest.approx([1.8, 2.54, 1.2])
    a, b = np.array([[0, 1], [0, 2], [1, 2]]).T
    chance = share @ (utilities[:, a] > utilities[:, b])
    answers = Answers.of(np.eye(3)[a], np.eye(3)[b], chance)
    found = MixtureModel(1, ridge=1e-9).fit(answers).coefficients_[0]
    assert found - found.mean() == pytest.approx([0.271541, 0, -0.271541], abs=1e-6)


def test_one_taste_is_said() -> None:
    for kind in (GeneralPreference, MeanVariance):
        with pytest.raises(OptionError, match="groups=1"):
            kind(3, 2)
    with pytest.raises(OptionError, match="even number"):
        GeneralPreference(3, size=3)
