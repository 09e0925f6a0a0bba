"""Rewards of named features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pluralign.errors import OptionError
from pluralign.models import Answers, Compositional, Head, RewardModel

W = np.array([1.2, -0.8, 0.5, 0.0, 0.3, 0.0, -0.4])


def pairs(n: int, seed: int, scale: float = 1.0) -> Answers:
    draw = np.random.default_rng(seed)
    left, right = draw.normal(size=(2, n, 7))
    said = draw.random(n) < 1 / (1 + np.exp(-(left - right) @ W * scale))
    return Answers.of(left * 3 + 1, right * 3 + 1, said.astype(float))


def test_planted_weights_come_back() -> None:
    model = Compositional().fit(pairs(2000, 0))
    assert np.corrcoef(model.weights_, W)[0, 1] > 0.98


def test_exchanging_the_sides_changes_the_sign_exactly() -> None:
    answers = pairs(300, 1)
    model = Compositional(strengths=[1.0]).fit(answers)
    left, right = answers.features
    back = Answers.of(right, left, 1 - answers.probability)
    assert np.array_equal(model.margins(back), -model.margins(answers))
    # Pairs written the other way round give the same model: there is no intercept.
    assert Compositional(strengths=[1.0]).fit(back).weights_ == pytest.approx(model.weights_, abs=1e-9)


def test_rewards_give_the_margins() -> None:
    answers = pairs(200, 2)
    model = Compositional(strengths=[0.1, 1.0]).fit(answers)
    reward = model.export()
    left, right = answers.features
    assert (reward.of(left) - reward.of(right)).numpy() == pytest.approx(model.margins(answers), abs=1e-4)


def test_l1_leaves_features_out_and_satisfies_its_optimality_conditions() -> None:
    answers = pairs(400, 3)
    model = Compositional(penalty="l1", strengths=[0.05]).fit(answers)
    assert (np.abs(model.weights_) < 1e-8).sum() >= 2
    x, y, _, _ = model._design(answers)
    slope = x.T @ (1 / (1 + np.exp(-x @ model.weights_)) - y)
    kept = np.abs(model.weights_) > 1e-8
    assert slope[kept] == pytest.approx(-np.sign(model.weights_[kept]) / 0.05, rel=1e-3)
    assert (np.abs(slope[~kept]) <= 1 / 0.05 + 1e-3).all()


def test_seven_named_features_beat_five_hundred_raw_ones_on_940_pairs() -> None:
    draw = np.random.default_rng(4)
    left, right = draw.normal(size=(2, 1940, 7))
    said = (draw.random(1940) < 1 / (1 + np.exp(-2 * (left - right) @ W))).astype(float)
    mix = draw.normal(size=(7, 500))
    raw = [side @ mix + draw.normal(0, 4, (1940, 500)) for side in (left, right)]
    named, noisy = Answers.of(left, right, said), Answers.of(*raw, said)
    train, test = np.arange(940), np.arange(940, 1940)
    names = ["fluency", "coherence", "specificity", "coverage", "sentiment", "relevance", "faithfulness"]
    model = Compositional(names, strengths=[0.01, 0.1, 1.0]).fit(named.take(train))
    wide = RewardModel(Head(500), epochs=20, lr=0.01, weight_decay=0.1).fit(noisy.take(train))
    assert model.accuracy(named.take(test)) > wide.accuracy(noisy.take(test)) + 0.02
    table = model.table(named.take(test))
    assert table["feature"].to_list()[:3] == ["fluency", "coherence", "specificity"]
    assert set(table["feature"].to_list()[-2:]) == {"coverage", "relevance"}


def test_soft_labels_tell_how_divided_people_are_and_hard_ones_do_not() -> None:
    draw = np.random.default_rng(5)
    left, right = draw.normal(size=(2, 300, 3))
    logit = (left - right) @ np.array([1.0, -1.0, 0.0]) * 0.4
    # A third are paraphrases: nobody can tell them apart.
    right[:100] = left[:100] + draw.normal(0, 0.05, (100, 3))
    logit[:100] = 0.0
    share = 1 / (1 + np.exp(-logit))
    hard = Answers.of(left, right, (share > 0.5).astype(float) + (share == 0.5) * (draw.random(300) < 0.5))
    soft = Answers.of(left, right, share)
    options = {"epochs": 80, "lr": 0.05}
    one, other = (RewardModel(Head(3, hidden=16), **options).fit(a).margins(soft) for a in (soft, hard))
    assert np.corrcoef(one, logit)[0, 1] > np.corrcoef(other, logit)[0, 1]
    assert np.abs(one[:100]).mean() < np.abs(other[:100]).mean()
    assert np.abs(one - logit).mean() < 0.2


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(OptionError, match="l1, l2"):
        Compositional(penalty="l3")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="7 features and 1 names"):
        Compositional(["one"]).fit(pairs(20, 0))
    with pytest.raises(OptionError, match="above 0"):
        Compositional(strengths=[0.0])
    assert torch.is_tensor(Compositional(strengths=[1.0]).fit(pairs(50, 0)).export([1.0] * 7).of(torch.ones(2, 7)))
