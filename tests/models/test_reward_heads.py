"""Heads of reward models, each on the world that its card describes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.errors import OptionError
from pluralign.models import (
    Adapter,
    Answers,
    Categorical,
    Conditioned,
    GeneralPreference,
    Head,
    Judged,
    MeanVariance,
    Pairwise,
    RewardModel,
    Score,
    aggregated,
    route,
)

ONE = torch.ones(1)
F64 = torch.float64


def made(kind: str) -> tuple[Score, bool]:
    """A score, and whether it reads prompts."""
    torch.manual_seed(1)
    return {
        "gpm": (GeneralPreference(3, size=4), False),
        "gated gpm": (GeneralPreference(3, size=4, prompt_features=2), True),
        "pairwise": (Pairwise(3), False),
        "pairwise with prompts": (Pairwise(3, prompt_features=2), True),
        "mean and variance": (MeanVariance(3), False),
        "categorical": (Categorical(3), False),
        "linear": (Head(3), False),
        "mlp": (Head(3, hidden=5), False),
        "conditioned": (Conditioned(3, prompt_features=2, hidden=4), True),
    }[kind]


KINDS = ["gpm", "gated gpm", "pairwise", "pairwise with prompts", "mean and variance", "categorical", "linear", "mlp"]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), kind=st.sampled_from([*KINDS, "conditioned"]))
def test_chances_of_both_orders_sum_to_one(seed: int, kind: str) -> None:
    score, reads = made(kind)
    score = score.double()
    draw = torch.Generator().manual_seed(seed)
    left, right = torch.randn(2, 6, 3, generator=draw, dtype=torch.float64)
    prompts = torch.randn(6, 2, generator=draw, dtype=torch.float64) if reads else None
    one = torch.ones(6, 1, dtype=torch.float64)
    there, back = (score.margin(a, b, one, prompts) for a, b in ((left, right), (right, left)))
    assert torch.allclose(torch.sigmoid(there) + torch.sigmoid(back), one[:, 0], atol=1e-12)
    assert torch.allclose(score.margin(left, left, one, prompts), 0 * there, atol=1e-12)


@pytest.mark.parametrize("kind", ["gpm", "pairwise", "categorical", "mlp"])
def test_slopes_of_heads_are_those_of_finite_differences(kind: str) -> None:
    score, _ = made(kind)
    score = score.double()
    left, right = torch.randn(2, 3, 3, dtype=torch.float64)
    one = torch.ones(3, 1, dtype=torch.float64)
    names = [n for n, _ in score.named_parameters()]

    def total(*values: torch.Tensor) -> torch.Tensor:
        def margin() -> torch.Tensor:
            return torch.func.functional_call(
                _Margin(score), dict(zip([f"s.{n}" for n in names], values, strict=True)), (left, right, one)
            )

        return torch.nn.functional.softplus(-margin()).sum()

    assert torch.autograd.gradcheck(total, tuple(p.detach().requires_grad_(True) for p in score.parameters()))


class _Margin(torch.nn.Module):
    def __init__(self, score: Score) -> None:
        super().__init__()
        self.s = score

    def forward(self, left: torch.Tensor, right: torch.Tensor, one: torch.Tensor) -> torch.Tensor:
        return self.s.margin(left, right, one)


def test_categorical_chances_are_those_of_two_independent_draws() -> None:
    score = Categorical(4, atoms=6)
    torch.nn.init.normal_(score.projector.weight)
    left, right = torch.randn(2, 4)
    p, q = (score.distribution(x).detach().double().numpy() for x in (left, right))
    want = sum(p[u] * q[v] * (1.0 if u > v else 0.5 if u == v else 0.0) for u in range(6) for v in range(6))
    assert torch.sigmoid(score.margin(left, right, ONE)).item() == pytest.approx(want, abs=1e-6)


def test_categorical_sees_the_response_that_divides_people() -> None:
    # Everybody puts item 0 above item 2; item 1 is for half of them the best and for half the worst.
    a, b = np.array([[0, 1], [0, 2], [1, 2]] * 50).T
    answers = Answers.of(np.eye(3)[a], np.eye(3)[b], np.tile([0.5, 0.98, 0.5], 50))
    score = RewardModel(Categorical(3), epochs=100, lr=0.15).fit(answers).scorer
    assert isinstance(score, Categorical)
    items = torch.eye(3)
    variance = score.distribution(items) @ score.worth**2 - score(items, ONE) ** 2
    assert variance.argmax() == 1
    assert score.quantile(items, 0.2).argmax() == 0
    assert score.explained(items) < 0.95
    even = RewardModel(Categorical(3, entropy_penalty=1.0), epochs=100, lr=0.15).fit(answers).scorer
    assert isinstance(even, Categorical)

    def entropy(s: Categorical) -> float:
        mean = s.distribution(items).mean(0)
        return -float(torch.xlogy(mean, mean).sum())

    assert entropy(even) > entropy(score)


def test_a_cautious_reward_puts_the_divisive_response_lower() -> None:
    score = MeanVariance(2)
    score.projector.weight.data = torch.tensor([[1.0, 1.1], [0.0, 3.0]])
    items = torch.eye(2)
    assert score(items, ONE).argmax() == 1
    assert score.cautious(items, 1.0).argmax() == 0


CYCLE = Answers.of(np.tile(np.eye(3), (10, 1)), np.tile(np.roll(np.eye(3), -1, 0), (10, 1)), np.ones(30))


@pytest.mark.parametrize("score", [GeneralPreference(3, size=4, temperature=0.1), Pairwise(3)])
def test_a_cycle_is_learnt_by_scores_of_pairs(score: Score) -> None:
    model = RewardModel(score, epochs=60, lr=0.05).fit(CYCLE)
    assert model.accuracy(CYCLE) == 1
    assert model.log_loss(CYCLE) < 0.1


@pytest.mark.parametrize("score", [Head(3), Head(3, hidden=16)])
def test_no_score_of_single_responses_does_better_than_a_coin_on_a_cycle(score: Score) -> None:
    model = RewardModel(score, epochs=60, lr=0.05).fit(CYCLE)
    assert model.log_loss(CYCLE) >= np.log(2) - 1e-5
    assert model.accuracy(CYCLE) <= 2 / 3


def test_distributions_hold_a_weak_cycle_as_dice_do() -> None:
    # Each of these dice beats the next five times in nine.
    score = Categorical(3, atoms=9)
    faces = torch.tensor([[1, 3, 8], [0, 5, 7], [2, 4, 6]])
    score.projector.weight.data = torch.full((9, 3), -50.0).scatter(0, faces.T, 50.0)
    items = torch.eye(3)
    chances = torch.sigmoid(score.margin(items, items.roll(-1, 0), ONE))
    assert chances.tolist() == pytest.approx([5 / 9] * 3, abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), k=st.integers(2, 7), gated=st.booleans())
def test_all_pairs_of_k_responses_cost_k_passes(seed: int, k: int, gated: bool) -> None:
    score = made("gated gpm" if gated else "gpm")[0].double()
    assert isinstance(score, GeneralPreference)
    draw = torch.Generator().manual_seed(seed)
    items, prompt = torch.randn(k, 3, generator=draw, dtype=F64), torch.randn(2, generator=draw, dtype=F64)
    i, j = (at.flatten() for at in torch.meshgrid(torch.arange(k), torch.arange(k), indexing="ij"))
    each = score.margin(items[i], items[j], ONE.double(), prompt.expand(k * k, -1))
    passed: list[int] = []
    score.projector.register_forward_hook(lambda _, given, __: passed.append(len(given[0])))
    whole = score.matrix(items, prompt if gated else None)
    assert passed == [k]
    assert torch.allclose(whole.flatten(), each, atol=1e-12)
    assert torch.equal(whole, -whole.T)


def test_any_antisymmetric_preferences_of_n_responses_are_held_by_n_numbers() -> None:
    draw = np.random.default_rng(0)
    n = 4
    want = np.triu(draw.normal(size=(n, n)), 1)
    i, j = np.triu_indices(n, 1)
    chance = 1 / (1 + np.exp(-want[i, j]))
    answers = Answers.of(np.eye(n)[i], np.eye(n)[j], chance)
    model = RewardModel(GeneralPreference(n, size=n), epochs=400, lr=0.05).fit(answers)
    assert model.margins(answers) == pytest.approx(want[i, j], abs=0.02)


def test_the_prompt_says_which_area_counts() -> None:
    # Two cycles in opposite directions: which one, the prompt says.
    left, right = np.tile(np.eye(3), (2, 1)), np.tile(np.roll(np.eye(3), -1, 0), (2, 1))
    prompt = np.repeat(np.eye(2), 3, 0)
    answers = Answers.of(left, right, [1, 1, 1, 0, 0, 0], prompt=prompt)
    gated = RewardModel(GeneralPreference(3, size=8, prompt_features=2), epochs=200, lr=0.05).fit(answers)
    assert gated.accuracy(answers) == 1
    plain = RewardModel(GeneralPreference(3, size=8), epochs=50, lr=0.05).fit(answers)
    assert plain.log_loss(answers) >= np.log(2) - 1e-5


def test_the_mean_margin_over_a_policy_s_samples_is_a_reward() -> None:
    score = GeneralPreference(3, size=2)
    item, others = torch.randn(3), torch.randn(7, 3)
    each = torch.stack([score.margin(item, other, ONE) for other in others])
    assert score.against(item, others).item() == pytest.approx(each.mean().item(), abs=1e-6)


def test_a_context_decides_where_the_blind_model_is_at_chance() -> None:
    draw = np.random.default_rng(0)
    left, right = draw.normal(size=(2, 600, 4))
    z = np.eye(2)[draw.integers(0, 2, 600)]
    first = ((left - right)[:, 0] * np.where(z[:, 0] == 1, 1, -1)) > 0
    # Each pair comes with both contexts, whose answers are opposite.
    answers = Answers.of(
        np.tile(left, (2, 1)),
        np.tile(right, (2, 1)),
        np.concatenate([first, ~first]),
        prompt=np.concatenate([z, 1 - z]),
    )
    test, train = answers.take(np.arange(1200) % 600 < 200), answers.take(np.arange(1200) % 600 >= 200)
    aware = RewardModel(Conditioned(4, prompt_features=2), epochs=30, lr=0.05).fit(train)
    blind = RewardModel(Head(4), epochs=30, lr=0.05).fit(train)
    assert aware.accuracy(test) > 0.95
    # A margin blind to the context is right on exactly one of each two.
    assert blind.accuracy(test) == pytest.approx(0.5, abs=1e-12)
    both = aware.margins(test).reshape(2, -1)
    sure = 1 / (1 + np.exp(-both))
    assert np.abs(sure.mean(0) - 0.5).mean() < 0.1
    with pytest.raises(OptionError, match="depends on the prompt"):
        aware.margins(Answers.of(left, right, first))


def test_each_attribute_has_a_head_of_its_own() -> None:
    draw = np.random.default_rng(0)
    x, w = draw.normal(size=(300, 4)), np.array([[1.0, 0, 0.5, 0], [0, -1.0, 0, 0.5]])
    rating = x @ w.T + 2 + draw.normal(0, 0.1, (300, 2))
    place = np.tile(np.arange(300).reshape(150, 2), (2, 1))
    judged = Judged.lists(x, place, rating=rating.T.reshape(300, 2), criterion=np.repeat([0, 1], 150))
    model = RewardModel(Head(4, 2), "regression", epochs=120, lr=0.2).fit(judged)
    assert isinstance(model.scorer, Head)
    assert model.scorer.attributes(torch.eye(4)).numpy() == pytest.approx(w.T + 2, abs=0.06)
    items = torch.tensor(x[:5]).float()
    half = model.export([0.25, 0.75]).of(items)
    assert torch.allclose(half, model.scorer.attributes(items) @ torch.tensor([0.25, 0.75]), atol=1e-5)


def test_a_leaderboard_for_each_prompt_beats_one_for_all() -> None:
    draw = np.random.default_rng(0)
    theta = np.array([[2.0, 0.0, -2.0], [-2.0, 0.0, 2.0]])
    kind = draw.integers(0, 2, 1500)
    a = draw.integers(0, 3, 1500)
    b = (a + draw.integers(1, 3, 1500)) % 3
    said = draw.random(1500) < 1 / (1 + np.exp(-(theta[kind, a] - theta[kind, b])))
    prompts = np.eye(2)[kind] + draw.normal(0, 0.1, (1500, 2))
    answers = Answers.indexed(np.eye(3), a, b, said, ["x"] * 1500, prompts=prompts, prompt=np.arange(1500))
    train, test = answers.take(np.arange(1000)), answers.take(np.arange(1000, 1500))
    asked = RewardModel(Conditioned(3, prompt_features=2), epochs=30, lr=0.05).fit(train)
    pooled = RewardModel(Head(3), epochs=30, lr=0.05).fit(train)
    assert asked.log_loss(test) < pooled.log_loss(test) - 0.1
    assert isinstance(asked.scorer, Conditioned)
    boards = asked.scorer.board(torch.eye(2)).numpy()
    assert boards.argsort(1).tolist() == [[2, 1, 0], [0, 1, 2]]
    # Over both kinds of prompt alike, nobody leads.
    assert aggregated(boards) == pytest.approx(np.full(3, 0.5), abs=0.05)


def taste(n: int, seed: int, d: int = 64) -> Answers:
    """Embeddings in the cone that real ones lie in, and somebody who likes one direction of the eight widest."""
    fixed, draw = np.random.default_rng(5), np.random.default_rng(seed)
    axes = np.linalg.qr(fixed.normal(size=(d, d)))[0]
    asked = fixed.normal(size=d)
    asked /= np.linalg.norm(asked)
    likes = -axes[:, :8] @ fixed.normal(size=8)
    y = draw.normal(size=(2, n, d)) / (1 + np.arange(d)) @ axes.T
    x = asked + draw.normal(size=(n, d)) / (2 * d**0.5)
    return Answers.of(y[0], y[1], ((y[0] - y[1]) @ likes > 0).astype(float), prompt=x)


def test_fifty_pairs_adapt_two_towers_to_a_taste_and_none_leave_them_as_they_are() -> None:
    zero, adapted = [], []
    for seed in range(3):
        train, test = taste(50, seed), taste(1000, 100 + seed)
        before = RewardModel(Adapter(64), epochs=60, batch=50)
        left, _ = test.features
        towers = torch.nn.functional.cosine_similarity(left, test.prompt_features, dim=-1)
        assert torch.allclose(before.scorer(left, torch.ones(1000, 1), test.prompt_features), towers / 0.07, atol=1e-5)
        zero.append(before.accuracy(test))
        adapted.append(before.fit(train).accuracy(test))
    # As on the card.
    assert 0.45 < np.mean(zero) < 0.65
    assert np.mean(adapted) > 0.85


def test_routing_by_a_budget_mixes_at_most_two_models() -> None:
    assert route([0.5, 0.9], costs=[1, 3], budget=2) == pytest.approx([0.5, 0.5])
    assert route([0.5, 0.9], costs=[1, 3], budget=5) == pytest.approx([0, 1])
    draw = np.random.default_rng(0)
    for _ in range(10):
        scores, costs = draw.random(6), draw.uniform(1, 9, 6)
        p = route(scores, costs=costs, budget=float(np.median(costs)))
        assert (p > 1e-9).sum() <= 2
        assert p.sum() == pytest.approx(1)
        assert p @ costs <= np.median(costs) + 1e-9
    with pytest.raises(OptionError, match="cheapest"):
        route([0.5, 0.9], costs=[1, 3], budget=0.5)


def test_one_taste_and_sizes_are_said() -> None:
    for kind in (Categorical, Pairwise):
        with pytest.raises(OptionError, match="groups=1"):
            kind(3, 2)
    with pytest.raises(OptionError, match="2 or more"):
        Categorical(3, atoms=1)
    with pytest.raises(OptionError, match="groups=1"):
        Conditioned(3, 2, prompt_features=1)
    with pytest.raises(OptionError, match="give groups=1"):
        Adapter(3, 2)
    with pytest.raises(OptionError, match="from 1 to the 3 features"):
        Adapter(3, rank=4)
    with pytest.raises(OptionError, match="prompts have 2 features and responses 3"):
        Adapter(3)(torch.zeros(1, 3), ONE, torch.zeros(1, 2))
    with pytest.raises(OptionError, match="between response and prompt"):
        Adapter(3)(torch.zeros(1, 3), ONE)
    with pytest.raises(OptionError, match="no score to a response alone"):
        Pairwise(3)(torch.zeros(1, 3), ONE)
