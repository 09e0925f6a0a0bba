"""PAL-A and PAL-B under every distance, and PAL's option that everybody belongs to one prototype."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pluralign.errors import OptionError
from pluralign.models import Answers, IdealPoint, LowRank, Population, PreferenceModel, TwoTower
from pluralign.models.scores import scaled_cosine

DISTANCES = ("squared", "euclid", "unit", "cosine")


@pytest.mark.parametrize("distance", DISTANCES)
def test_pal_b_of_constant_prompts_is_pal_a_with_the_same_distance(distance: Any) -> None:
    """The card: g_k constant in x is PAL-A."""
    pal_b = TwoTower(3, 2, prompt_features=1, distance=distance, projector="linear", width=4)
    pal_a = IdealPoint(3, 2, mixing="Pw", distance=distance, projector="linear", width=4)
    pal_a.projector.load_state_dict(pal_b.projector.state_dict())
    pal_a.points.data = torch.stack([head.weight[:, 0] for head in pal_b.heads]).detach()  # type: ignore[union-attr,index,misc]
    left, right = torch.randn(2, 6, 3)
    weights = torch.softmax(torch.randn(6, 2), -1)
    b, a = pal_b.margin(left, right, weights, torch.ones(6, 1)), pal_a.margin(left, right, weights)
    assert torch.allclose(b, a, atol=1e-5)
    assert float(b.detach().abs().max()) > 0.01
    assert pal_b.linear == pal_a.linear == (distance == "squared")


def test_distances_golden() -> None:
    """Of (3, 0) and the ideal point (0, 4): 5, 25, the diagonal of a unit square, and at right angles."""
    place = torch.tensor([[3.0, 0.0]])
    for distance, told in zip(DISTANCES, (-25.0, -5.0, -(2.0**0.5), 0.0), strict=True):
        score = IdealPoint(2, 1, mixing="Pw", distance=distance, projector="identity")  # type: ignore[arg-type]
        score.points.data = torch.tensor([[0.0, 4.0]])
        assert score(place, torch.ones(1, 1)).item() == pytest.approx(told, abs=1e-5)
    # At unit length the squared distance is two less twice the cosine: the order is the same.
    z, a = torch.randn(2, 50, 4)
    unit = IdealPoint(4, 1, mixing="Pw", distance="unit", projector="identity").nearness(z, a)
    assert torch.allclose(unit**2, 2 - 2 * scaled_cosine(z, a, torch.zeros(())), atol=1e-5)
    with pytest.raises(OptionError, match="'city' is not one of squared, euclid, unit, cosine"):
        TwoTower(2, 2, prompt_features=1, distance="city")  # type: ignore[arg-type]


def by_prompt(people: int, each: int, seed: int) -> Answers:
    """One half of the people likes the first feature when asked one thing, the other half when asked another."""
    random = np.random.default_rng(seed)
    person, kind = np.repeat(np.arange(people), each), random.integers(0, 2, people * each)
    left, right = random.normal(size=(2, len(person), 3))
    won = (left[:, 0] > right[:, 0]) == (kind == person % 2)
    return Answers.of(left, right, won.astype(float), [f"p{i:02d}" for i in person], prompt=np.eye(2)[kind])


@pytest.mark.parametrize(("distance", "bar"), [("squared", 0.95), ("euclid", 0.93), ("unit", 0.88)])
def test_pal_b_learns_what_the_prompt_decides_under_every_distance(distance: Any, bar: float) -> None:
    """Margins of unit vectors end at 2, so that the logistic loss never lets them alone."""
    train, test = by_prompt(12, 60, 0), by_prompt(12, 60, 1)
    score = TwoTower(3, 2, prompt_features=2, distance=distance, width=8)
    model = PreferenceModel(score, epochs=30, batch=120, lr=0.03).fit(train)
    assert model.accuracy(test) > bar
    assert model.accuracy(test, model.localise(by_prompt(12, 20, 2)).weights) > bar


def test_partitioned_people_have_one_prototype_each(tmp_path: Path) -> None:
    random = np.random.default_rng(0)

    def answers(each: int) -> Answers:
        person = np.repeat(np.arange(12), each)
        left, right = random.normal(size=(2, len(person), 3))
        z = 4 * np.where(person % 3 == 0, -1, 1) * (left - right)[:, 0]
        won = random.random(len(z)) < 1 / (1 + np.exp(-z))
        return Answers.of(left, right, won.astype(float), [f"p{i:02d}" for i in person])

    seen, few, test = answers(30), answers(8), answers(200)
    options: dict[str, Any] = {"epochs": 20, "batch": 90, "lr": 0.05}
    soft = PreferenceModel(LowRank(3, 2), **options).fit(seen)
    hard = PreferenceModel(LowRank(3, 2), partition=True, **options).fit(seen)
    # Softmax in training, the largest weight once fitted.
    assert np.array_equal(hard.weights_, np.eye(2)[soft.weights_.argmax(1)])
    assert all(torch.equal(a, b) for a, b in zip(hard.scorer.parameters(), soft.scorer.parameters(), strict=True))
    assert hard.accuracy(test) > 0.85
    assert hard.groups().table["people"].to_list() in ([4, 8], [8, 4])
    found = hard.localise(few)
    assert np.array_equal(found.weights, hard.weights_)
    # How sure one is of the group: the variance of a coin.
    assert found.errors[:, 0] == pytest.approx(found.errors[:, 1])
    assert found.errors.max() <= 0.5
    nobody = hard.localise(Answers.of(np.zeros((0, 3)), np.zeros((0, 3)), [], [], people=["ann"]))
    assert nobody.weights[0].max() == 1
    assert nobody.errors[0, 0] == pytest.approx((1 / 3 * 2 / 3) ** 0.5)
    again = Population.load(hard.save(tmp_path))
    assert np.array_equal(again.localise(few).weights, found.weights)
