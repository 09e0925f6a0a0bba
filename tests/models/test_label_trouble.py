"""Labels in trouble: each method on the world that its card describes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pluralign.errors import OptionError
from pluralign.likelihoods import logistic, mislabelled
from pluralign.models import (
    Answers,
    ContrastiveHead,
    Head,
    MetaRewardModel,
    PeerReview,
    ReliableModel,
    RewardModel,
    Strength,
    ahead,
    codes,
    contrast,
    ensemble,
    spread,
    swapped,
)


def flipped_world(
    n: int, rate: float, seed: int, features: int = 10, noise: bool = False
) -> tuple[Answers, np.ndarray]:
    """Pairs labelled by a linear reward, and which labels were then exchanged."""
    draw = np.random.default_rng(seed)
    w = np.random.default_rng(99).normal(size=features)
    left, right = draw.normal(size=(2, n, features))
    z = (left - right) @ w
    said = draw.random(n) < 1 / (1 + np.exp(-z)) if noise else z > 0
    wrong = draw.random(n) < rate
    return Answers.of(left, right, np.where(wrong, ~said, said).astype(float)), wrong


def test_labels_that_an_ensemble_contradicts_are_the_wrong_ones() -> None:
    answers, wrong = flipped_world(4000, 0.25, 0)
    models = ensemble(Head(10), answers, 10, epochs=12, batch=4000, lr=0.3)
    strength = Strength.of(models, answers)
    called = strength.mean < 0
    precision, recall = (called & wrong).sum() / called.sum(), (called & wrong).sum() / wrong.sum()
    # As on the card: about 0.90 and 0.96.
    assert precision > 0.88
    assert recall > 0.94
    assert strength.std.min() >= 0
    # Turning them round leaves the direction and brings back the scale.
    clean, _ = flipped_world(2000, 0.0, 1)
    plain = RewardModel(Head(10), epochs=30, batch=4000, lr=0.2).fit(answers)
    turned = RewardModel(Head(10), epochs=30, batch=4000, lr=0.2).fit(strength.flipped(answers))
    assert abs(turned.accuracy(clean) - plain.accuracy(clean)) < 0.05
    assert np.abs(turned.margins(clean)).mean() > 2 * np.abs(plain.margins(clean)).mean()
    assert turned.log_loss(clean) < plain.log_loss(clean)


def test_strength_flips_softens_and_widens() -> None:
    answers = Answers.of([[1.0], [2.0], [0.0]], [[0.0], [0.0], [0.5]], [1, 0.75, 0])
    strength = Strength(np.array([-1.0, 0.5, -0.2]), np.zeros(3))
    assert strength.flipped(answers).place.tolist() == [[3, 0], [1, 4], [2, 5]]
    assert strength.softened(answers, alpha=0.2).labels["probability"].tolist() == pytest.approx([0.8, 0.75, 0.8])
    assert strength.softened(answers, alpha=0.0).labels["probability"].tolist() == pytest.approx([1, 0.75, 1])
    assert strength.adapted(answers).labels["margin"].tolist() == pytest.approx([-1.0, 0.5, -0.2])
    # Turned with margins: what was wrong is right by as much.
    both = strength.flipped(strength.adapted(answers))
    assert both.place.tolist() == [[3, 0], [1, 4], [2, 5]]
    assert both.labels["margin"].tolist() == pytest.approx([1.0, 0.5, 0.2])
    soft = strength.softened(strength.adapted(answers), alpha=0.2).labels
    assert soft["probability"].tolist() == pytest.approx([0.8, 0.75, 0.8])
    assert soft["margin"].tolist() == pytest.approx([-1.0, 0.5, -0.2])
    with pytest.raises(OptionError, match="not a share"):
        strength.softened(answers, alpha=2)
    with pytest.raises(OptionError, match="says nothing"):
        ensemble(Head(1), answers, 0)


def test_peers_hand_each_other_clean_pairs() -> None:
    # As on the card: 40% wrong, 60 steps; the share of right labels rises from 0.6 to above 0.9.
    answers, wrong = flipped_world(4000, 0.4, 0)
    peers = PeerReview(Head(10), noise=0.4, epochs=60, batch=4000, lr=0.05).fit(answers)
    assert np.average(~wrong, weights=peers.kept_) > 0.9


def test_peers_are_right_more_often_than_one_or_two_plain_models_on_few_pairs() -> None:
    answers, _ = flipped_world(1500, 0.4, 0)
    clean, _ = flipped_world(2000, 0.0, 1)
    options, said = {"epochs": 20, "batch": 500, "lr": 0.05}, clean.probability.numpy() > 0.5
    peers = PeerReview(Head(10), noise=0.4, **options).fit(answers)
    alone = [RewardModel(Head(10), seed=seed, **options).fit(answers).margins(clean) for seed in (0, 1)]
    assert peers.accuracy(clean) > max(((z > 0) == said).mean() for z in [*alone, alone[0] + alone[1]])


def test_a_curriculum_in_batches_brings_the_wrong_labels_together() -> None:
    answers, wrong = flipped_world(600, 0.4, 0)
    kept = {}
    for curriculum in (False, True):
        peers = PeerReview(Head(10), noise=0.4, curriculum=curriculum, epochs=8, batch=60, lr=0.05).fit(answers)
        kept[curriculum] = np.average(~wrong, weights=peers.kept_)
    assert kept[True] < kept[False] - 0.1


def test_without_noise_peers_are_two_plain_models() -> None:
    answers, _ = flipped_world(300, 0.2, 0, 4)
    peers = PeerReview(Head(4), noise=0.0, curriculum=False, epochs=3, batch=300, lr=0.05).fit(answers)
    for model, seed in zip(peers.models, (0, 1), strict=True):
        alone = RewardModel(Head(4), epochs=3, batch=300, lr=0.05, seed=seed).fit(answers)
        assert torch.allclose(next(model.scorer.parameters()), next(alone.scorer.parameters()), atol=1e-5)
    with pytest.raises(OptionError, match="noise 1"):
        PeerReview(Head(4), noise=1.0)


@given(z=st.floats(-40, 40), rate=st.floats(0.01, 0.99))
def test_a_flip_mixes_both_chances(z: float, rate: float) -> None:
    odds = np.log(rate / (1 - rate))
    p = 1 / (1 + np.exp(-z))
    assert np.exp(-mislabelled(np.array(z), odds)) == pytest.approx((1 - rate) * p + rate * (1 - p), rel=1e-6)
    both = np.exp(-mislabelled(np.array(z), odds)) + np.exp(-mislabelled(np.array(-z), odds))
    assert both == pytest.approx(1, abs=1e-9)
    assert mislabelled(np.array(z), -800.0) == pytest.approx(logistic(np.array(z)), abs=1e-9)


def crowd(rates: list[float], each: int, seed: int) -> Answers:
    draw = np.random.default_rng(seed)
    w = np.random.default_rng(99).normal(size=6)
    who = np.repeat(np.arange(len(rates)), each)
    left, right = draw.normal(size=(2, len(who), 6))
    said = draw.random(len(who)) < 1 / (1 + np.exp(-2 * (left - right) @ w))
    wrong = draw.random(len(who)) < np.array(rates)[who]
    return Answers.of(left, right, np.where(wrong, ~said, said).astype(float), [f"p{i:02d}" for i in who])


def test_who_errs_is_learnt_with_the_rewards() -> None:
    rates = [0.02] * 8 + [0.5] * 8 + [0.95] * 4
    answers = crowd(rates, 80, 0)
    model = ReliableModel(Head(6), epochs=60, lr=0.1).fit(answers)
    assert model.flip_rates_ == pytest.approx(rates, abs=0.25)
    assert model.people()["person"].to_list()[:4] != ["p00"]
    assert set(model.people()["person"].to_list()[:4]) == {f"p{i}" for i in range(16, 20)}
    clean = crowd([0.0] * 5, 300, 1)
    plain = RewardModel(Head(6), epochs=60, lr=0.1).fit(answers)
    assert model.log_loss(clean) < plain.log_loss(clean) - 0.05
    assert model.accuracy(clean) >= plain.accuracy(clean)


def test_temperatures_tell_the_careful_from_the_careless() -> None:
    draw = np.random.default_rng(0)
    w, sharp = np.array([1.0, -1.0, 0.5]), np.repeat([4.0, 0.3], 5)
    who = np.repeat(np.arange(10), 150)
    left, right = draw.normal(size=(2, len(who), 3))
    said = draw.random(len(who)) < 1 / (1 + np.exp(-sharp[who] * ((left - right) @ w)))
    answers = Answers.of(left, right, said.astype(float), [f"p{i}" for i in who])
    model = ReliableModel(Head(3), "temperature", epochs=40, lr=0.1).fit(answers)
    assert model.temperatures_[:5].min() > 3 * model.temperatures_[5:].max()
    assert model.people()["person"][0] in {f"p{i}" for i in range(5, 10)}
    with pytest.raises(OptionError, match="flip, temperature"):
        ReliableModel(Head(3), "mood")  # type: ignore[arg-type]


def test_debiased_labels_give_the_clean_scale_where_the_rate_is_known() -> None:
    noisy, _ = flipped_world(6000, 0.25, 0, 4, noise=True)
    truth = np.random.default_rng(99).normal(size=4)

    def scale(loss: str) -> float:
        score = RewardModel(Head(4), loss, epochs=40, batch=6000, lr=0.1).fit(noisy).scorer
        assert isinstance(score, Head)
        found = score.directions[0, :-1].double().numpy()
        return float(found @ truth / (truth @ truth))

    assert scale("debiased(bradley_terry, flip_rate=0.25)") == pytest.approx(1, abs=0.15)
    assert scale("bradley_terry") < 0.6
    # Smoothing, which bounds margins, pulls the other way.
    assert scale("smoothed(bradley_terry, flip_rate=0.25)") < scale("bradley_terry")


def test_a_step_ahead_is_the_two_step_formula_on_a_quadratic() -> None:
    a, b = torch.tensor([[2.0, 0.5], [0.5, 1.0]]), torch.tensor([1.0, -1.0])
    x = nn.Parameter(torch.tensor([0.3, -0.7]))
    [slope] = ahead(lambda: 0.5 * x @ a @ x, lambda: b @ x, [x], eta=0.2)
    assert slope.tolist() == pytest.approx((a @ (x.detach() + 0.2 * b)).tolist())
    [plain] = ahead(lambda: 0.5 * x @ a @ x, lambda: b @ x, [x], eta=0.0)
    assert plain.tolist() == pytest.approx((a @ x.detach()).tolist())
    assert x.tolist() == pytest.approx([0.3, -0.7])


def test_the_spread_of_rewards_is_its_formula_and_meta_steps_widen_it() -> None:
    r = torch.tensor([[0.0, 1.0, 3.0]])
    want = (2 / 9) * sum(1 / (1 + np.exp(-d)) for d in (1, 3, 2))
    assert spread(r).item() == pytest.approx(want)
    answers, _ = flipped_world(200, 0.0, 0, 4)
    draw = torch.Generator().manual_seed(0)
    # The policy has moved to where the pairs say little.
    shifted = torch.randn(30, 4, 4, generator=draw) * 0.3 + 1.0
    options = {"epochs": 10, "batch": 50, "lr": 0.02}
    plain = RewardModel(Head(4, hidden=16), **options).fit(answers)
    meta = MetaRewardModel(Head(4, hidden=16), eta=1.0, **options).fit(answers, shifted)

    def apart(model: RewardModel) -> float:
        rewards = model.scorer(shifted, torch.ones(30, 4, 1))
        return float((rewards[:, :, None] - rewards[:, None, :]).abs().mean())

    assert apart(meta) > apart(plain)
    assert meta.accuracy(answers) > 0.9
    with pytest.raises(OptionError, match="without labels"):
        MetaRewardModel(Head(4)).fit(answers)


def test_swapped_assignments_fill_all_prototypes_alike_and_agree_between_views() -> None:
    alike = torch.rand(40, 5, generator=torch.Generator().manual_seed(0))
    found = codes(alike, epsilon=0.5, rounds=50)
    assert found.sum(1) == pytest.approx(1, abs=1e-5)
    assert found.sum(0) == pytest.approx(8, abs=1e-3)
    # All look most like the first prototype, and still the second gets half: those that look least unlike it.
    one_sided = torch.stack([torch.ones(6), torch.linspace(0, 0.9, 6)], 1)
    assert codes(one_sided, rounds=100).argmax(1).tolist() == [0, 0, 0, 1, 1, 1]
    # Golden: the cross-entropy of softmax((1, 0) / tau) where both views lie at one prototype, else of (0, 1) / tau.
    ends = torch.eye(2)
    assert swapped(ends, ends, ends, 0.5).item() == pytest.approx(np.log1p(np.exp(-2)), abs=1e-5)
    assert swapped(ends, ends.flip(0), ends, 0.5).item() == pytest.approx(2 + np.log1p(np.exp(-2)), abs=1e-5)
    # Codes are targets: only the other view's softmax has a slope.
    view = torch.randn(6, 2, requires_grad=True)
    swapped(view, ends[[0, 1, 0, 1, 0, 1]], ends).backward()
    assert view.grad is not None
    answers, _ = flipped_world(300, 0.0, 0, 4)

    def views(weight: float) -> tuple[torch.Tensor, torch.Tensor]:
        head = ContrastiveHead(4, hidden=16, weight=weight, temperature=0.1, prototypes=4)
        model = RewardModel(head, epochs=15, batch=100, lr=0.02).fit(answers)
        assert model.accuracy(answers) > 0.9
        left, right = answers.features
        with torch.no_grad():
            return model.scorer.projector(left) - model.scorer.projector(right), model.scorer.state_dict()["ends"]

    near, far = views(0.3), views(0.0)
    assert swapped(near[0], near[0], near[1]) < swapped(far[0], far[0], far[1]) - 0.2
    towards = torch.nn.functional.normalize(near[1], dim=-1)
    assert (near[0] @ towards.T).argmax(1).bincount(minlength=4).min() > 15


def test_a_contrastive_term_tells_differences_apart() -> None:
    assert contrast(torch.eye(3) * 2, torch.eye(3), 0.01).item() == pytest.approx(0, abs=1e-6)
    assert contrast(torch.ones(4, 3), torch.ones(4, 3)).item() == pytest.approx(np.log(4), abs=1e-5)
    answers, _ = flipped_world(300, 0.0, 0, 4)

    def alike(weight: float) -> float:
        model = RewardModel(ContrastiveHead(4, hidden=16, weight=weight), epochs=15, batch=100, lr=0.02).fit(answers)
        left, right = answers.features
        with torch.no_grad():
            h = model.scorer.projector(left) - model.scorer.projector(right)
        return float(torch.nn.functional.cosine_similarity(h[:150], h[150:]).abs().mean())

    assert alike(1.0) < alike(0.0)
