"""Differences of exported rewards are the model's margins, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.models import (
    Answers,
    AttributeAttention,
    Compositional,
    Conditioned,
    Head,
    IdealPoint,
    LowRank,
    Population,
    ReliableModel,
    Reward,
    RewardModel,
    Score,
    Ties,
    TwoTower,
)
from pluralign.models.kinds import KINDS, build
from tests.models.test_population import opposite

ANSWERS = opposite(6, 20)
MIXED = {"mixture", "routed"}
"""Populations in which chances of groups are mixed: no scalar reward has their margins."""
BRIEF: dict[str, dict[str, Any]] = {
    "mixture": {"restarts": 1},
    "routed": {"epochs": 2, "hidden": 4},
    "hierarchical": {"spread": 1.0},
    "variational": {"steps": 3, "hidden": 4},
    "few-shot": {"steps": 3, "hidden": 4},
    "attribute-attention": {"attributes": 1, "epochs": 2, "width": 4},
    "multi-objective": {"steps": 3},
}


def gaps(reward: Reward, answers: Answers) -> list[float]:
    left, right = (reward.of(side, answers.prompt_features) for side in answers.features)
    found: list[float] = (left - right).double().tolist()
    return found


@pytest.mark.parametrize("name", sorted(set(KINDS) - MIXED))
def test_of_every_person_group_and_mean(name: str) -> None:
    model: Population = build(ANSWERS, name, 2, BRIEF.get(name, {"epochs": 2})).fit(ANSWERS)
    for who in ("p03", None, model.weights_[1]):
        reward = model.export(who)
        assert gaps(reward, ANSWERS) == model.margins(ANSWERS, reward.weights).tolist()
    # Everybody's own answers under their own reward are the margins that everybody has.
    for person, called in enumerate(ANSWERS.people):
        own = ANSWERS.take(ANSWERS.person == person)
        assert gaps(model.export(called), own) == model.margins(own).tolist()


HEADS: dict[str, Callable[[], Any]] = {
    "linear": lambda: RewardModel(Head(3), epochs=2),
    "mlp": lambda: RewardModel(Head(3, hidden=5), epochs=2),
    "attributes": lambda: RewardModel(Head(3, 2, hidden=5), epochs=2),
    "by prompt": lambda: RewardModel(Conditioned(3, prompt_features=2, hidden=4), epochs=2),
    "ties": lambda: RewardModel(Head(3), Ties("grounded"), epochs=2),
    "reliable": lambda: ReliableModel(Head(3), epochs=2),
    "compositional": lambda: Compositional(strengths=[1.0]),
    "compositional l1": lambda: Compositional(strengths=[1.0], penalty="l1"),
}


@pytest.mark.parametrize("name", HEADS)
def test_of_every_head(name: str) -> None:
    model = HEADS[name]().fit(ANSWERS)
    assert gaps(model.export(), ANSWERS) == model.margins(ANSWERS).tolist()


SCORES: dict[str, Callable[[], Score]] = {
    "linear": lambda: Head(3, 2),
    "mlp": lambda: Head(3, 2, hidden=5),
    "low rank": lambda: LowRank(3, 2),
    "f(Pw)": lambda: IdealPoint(3, 2),
    "Pw": lambda: IdealPoint(3, 2, mixing="Pw", distance="squared"),
    "f(P)w": lambda: IdealPoint(3, 2, mixing="f(P)w", distance="cosine"),
    "attention": lambda: AttributeAttention(3, 2, attributes=1, width=4),
    "two towers": lambda: TwoTower(3, 2, prompt_features=2, width=4),
}


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    name=st.sampled_from(list(SCORES)),
    double=st.booleans(),
    size=st.floats(1e-3, 1e3),
    rows=st.integers(1, 40),
)
def test_of_any_vectors_in_both_precisions(seed: int, name: str, double: bool, size: float, rows: int) -> None:
    torch.manual_seed(seed)
    dtype = torch.float64 if double else torch.float32
    score = SCORES[name]().to(dtype).eval()
    left, right = size * torch.randn(2, rows, 3, dtype=dtype)
    prompts = torch.randn(rows, 2, dtype=dtype)
    one = torch.softmax(torch.randn(2, dtype=dtype), -1)
    reward = Reward(score, one)
    with torch.no_grad():
        margin = score.margin(left, right, one.expand(rows, -1), prompts)
    assert torch.equal(reward.of(left, prompts) - reward.of(right, prompts), margin)


def test_exchanged_sides_of_named_features_change_the_sign_and_nothing_else() -> None:
    model = Compositional(strengths=[1.0]).fit(ANSWERS)
    left, right = ANSWERS.features
    there, back = (model.margins(Answers.of(a, b, np.ones(len(a)))) for a, b in ((left, right), (right, left)))
    assert there.tolist() == (-back).tolist()
