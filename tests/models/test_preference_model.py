"""The cards of ideal points, PAL-A, PAL-B and LoRe."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.errors import FeedbackError, OptionError
from pluralign.models import Answers, IdealPoint, LowRank, PreferenceModel, Score, TwoTower
from pluralign.models.ridge_logistic import ridge_logistic
from tests.models.worlds import IdealPoints

MIXINGS = ("Pw", "f(P)w", "f(Pw)", "|f(P)|w")


def every_score(features: int, groups: int) -> list[Score]:
    points: list[Score] = [
        IdealPoint(features, groups, mixing=mixing, distance=distance, projector=projector)  # type: ignore[arg-type]
        for mixing in MIXINGS
        for distance in ("squared", "euclid", "unit", "cosine")
        for projector in ("mlp", "linear")
    ]
    towers = [
        TwoTower(features, groups, prompt_features=2, distance=d) for d in ("squared", "euclid", "unit", "cosine")
    ]  # type: ignore[arg-type]
    return [*points, *towers, LowRank(features, groups)]


@pytest.mark.parametrize("score", every_score(3, 2), ids=lambda s: f"{type(s).__name__}")
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_margins_of_every_score(score: Score, seed: int) -> None:
    score = score.double()
    random = torch.Generator().manual_seed(seed)
    left, right = torch.randn(2, 5, 3, generator=random, dtype=torch.float64)
    prompts = torch.randn(5, 2, generator=random, dtype=torch.float64)
    weights = torch.softmax(torch.randn(5, 2, generator=random, dtype=torch.float64), -1)
    margin = score.margin(left, right, weights, prompts)
    assert torch.allclose(margin, -score.margin(right, left, weights, prompts), atol=1e-12)
    assert torch.allclose(margin, score(left, weights, prompts) - score(right, weights, prompts), atol=1e-12)
    corners = score.prototypes(left, right, prompts)
    for k in range(2):
        alone = torch.eye(2, dtype=torch.float64)[k].expand(5, 2)
        assert torch.allclose(corners[:, k], score.margin(left, right, alone, prompts), atol=1e-12)
    assert torch.allclose((weights * corners).sum(-1), margin, atol=1e-10) == score.linear


def test_ideal_point_squared_distance_identity() -> None:
    score = IdealPoint(3, 2, mixing="Pw", distance="squared", projector="identity")
    left, right = torch.randn(2, 6, 3)
    weights = torch.softmax(torch.randn(6, 2), -1)
    identity = (right**2).sum(-1) - (left**2).sum(-1) + 2 * ((left - right) * (weights @ score.points)).sum(-1)
    assert torch.allclose(score.margin(left, right, weights), identity, atol=1e-5)


def test_ideal_point_in_the_middle_is_beyond_a_linear_reward() -> None:
    items = np.arange(11.0)[:, None]
    i, j = np.triu_indices(11, 1)
    told = np.abs(items[i, 0] - 4) != np.abs(items[j, 0] - 4)
    nearer = (np.abs(items[i] - 4) < np.abs(items[j] - 4)).astype(float)[:, 0]
    answers = Answers.of((items[i] - 5)[told], (items[j] - 5)[told], nearer[told])
    point = IdealPoint(1, 1, mixing="Pw", distance="squared", projector="linear")
    assert PreferenceModel(point, epochs=300, lr=0.05).fit(answers).accuracy(answers) == 1
    assert PreferenceModel(LowRank(1, 1), epochs=100, lr=0.05).fit(answers).accuracy(answers) < 0.75


@pytest.mark.parametrize(
    "score",
    [
        IdealPoint(3, 2, distance="squared", projector="linear", width=2),
        IdealPoint(3, 2, distance="cosine", mixing="f(P)w"),
        TwoTower(3, 2, prompt_features=2, projector="linear"),
        LowRank(3, 2),
    ],
    ids=["squared", "cosine", "two-tower", "low-rank"],
)
def test_a_fit_is_adam_on_the_mean_loss_of_random_batches(score: Score) -> None:
    random, n, decay, lr = torch.Generator().manual_seed(0), 23, 0.3, 0.01
    answers = Answers(
        items=torch.randn(9, 3, generator=random, dtype=torch.float64),
        left=torch.randint(9, (n,), generator=random),
        right=torch.randint(9, (n,), generator=random),
        person=torch.randint(4, (n,), generator=random),
        people=tuple("abcd"),
        probability=torch.rand(n, generator=random, dtype=torch.float64),
        weight=torch.rand(n, generator=random, dtype=torch.float64),
        prompts=torch.randn(5, 2, generator=random, dtype=torch.float64),
        prompt=torch.randint(5, (n,), generator=random),
    )
    torch.manual_seed(0)
    ours = copy.deepcopy(score).double()
    for module in ours.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    plain = copy.deepcopy(ours)
    start = torch.randn(4, 2, generator=random, dtype=torch.float64)
    logits, ties = torch.nn.Parameter(start.clone()), torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    torch.manual_seed(1)
    PreferenceModel(ours, epochs=3, batch=7, lr=lr, weight_decay=decay)._descend(answers, ours, logits, ties)

    torch.manual_seed(1)
    own = start.clone().requires_grad_(True)
    known = [*plain.parameters(), own]
    decays = [decay * (p.ndim > 1) for p in plain.parameters()] + [0.0]
    first, second = ([torch.zeros_like(p) for p in known] for _ in range(2))
    batches = [at for _ in range(3) for at in torch.randperm(n).split(7)]
    for t, at in enumerate(batches):
        assert answers.prompts is not None
        assert answers.prompt is not None
        weights = torch.softmax(own[answers.person[at]], -1)
        each = [plain(answers.items[side[at]], weights, answers.prompts[answers.prompt[at]])
                for side in (answers.left, answers.right)]  # fmt: skip
        p, z = answers.probability[at], each[0] - each[1]
        losses = -p * torch.sigmoid(z).log() - (1 - p) * torch.sigmoid(-z).log()
        slopes = torch.autograd.grad((answers.weight[at] * losses).mean() / answers.weight.mean(), known)
        step = lr * (1 + np.cos(np.pi * t / len(batches))) / 2
        for x, slope, pull, m, v in zip(known, slopes, decays, first, second, strict=True):
            g = slope + pull * x.detach()
            m.mul_(0.9).add_(0.1 * g)
            v.mul_(0.999).add_(0.001 * g**2)
            x.data -= step * (m / (1 - 0.9 ** (t + 1))) / ((v / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8)
    for found, expected in zip([*ours.parameters(), logits], known, strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-10)
    assert not torch.allclose(logits, start, atol=1e-3)


@pytest.fixture(scope="module")
def two_tastes() -> tuple[IdealPoints, Answers, Answers, dict[int, PreferenceModel]]:
    world = IdealPoints(2, seed=1)
    seen, test = (world.answers(np.arange(40), each) for each in (60, 50))
    models = {
        k: PreferenceModel(
            IdealPoint(8, k, distance="squared", projector="linear", width=4), epochs=60, batch=256, lr=0.03, restarts=2
        ).fit(seen)
        for k in (1, 2, 3)
    }
    return world, seen, test, models


def test_pal_a_finds_two_tastes_and_a_third_prototype_does_no_harm(two_tastes: Any) -> None:
    _, _, test, models = two_tastes
    assert models[1].accuracy(test) < 0.8
    assert models[2].accuracy(test) > 0.97
    assert models[3].accuracy(test) > 0.96
    which = models[2].weights_.argmax(1)
    assert len(set(which[::2])) == len(set(which[1::2])) == 1
    assert which[0] != which[1]


def test_pal_localise_new_people_while_nothing_else_moves(two_tastes: Any) -> None:
    world, seen, _, models = two_tastes
    new = world.answers(np.arange(40, 80), 200)
    reached = {}
    for k in (1, 2):
        before = [p.clone() for p in models[k].scorer.parameters()]
        rows = np.random.default_rng(0).permutation(len(new))
        for m in (1, 5, 20):
            few = new.take(np.concatenate([rows[new.person[rows].numpy() == p][:m] for p in range(40)]))
            reached[k, m] = models[k].accuracy(new, models[k].localise(few).weights)
        assert all(torch.equal(a, b) for a, b in zip(before, models[k].scorer.parameters(), strict=True))
    assert reached[1, 1] == reached[1, 20]
    assert reached[2, 1] < min(reached[2, 5], reached[2, 20])
    assert reached[2, 20] > 0.95
    again = models[2].localise(seen)
    assert models[2].accuracy(seen, again.weights) > 0.97


def test_a_handful_of_answers_says_more_when_the_people_seen_are_the_prior(two_tastes: Any) -> None:
    world, _, _, models = two_tastes
    new = world.answers(np.arange(40, 80), 120)
    place = np.tile(np.arange(120), 40)
    held = new.take(np.flatnonzero(place >= 20))
    gains = []
    for m in (1, 2, 5):
        few = new.take(np.flatnonzero(place < m))
        mean = models[2].alike(few)
        gains.append(
            models[2].accuracy(held, mean.weights)
            - models[2].accuracy(held, models[2].localise(few, prior="people").weights)
        )
    assert np.mean(gains) > 0.01
    assert mean.weights.sum(1) == pytest.approx(1)
    assert mean.covariance[0].sum(1) == pytest.approx(0, abs=1e-9)
    nobody = Answers.of(np.zeros((0, 8)), np.zeros((0, 8)), [], [], people=["ann"])
    assert models[2].alike(nobody).weights[0] == pytest.approx(models[2].weights_.mean(0))


def test_pal_a_on_people_of_one_taste_gains_nothing_from_a_second_prototype() -> None:
    world = IdealPoints(1, seed=2)
    seen, test = (world.answers(np.arange(20), each) for each in (40, 100))
    one, two = (
        PreferenceModel(
            IdealPoint(8, k, distance="squared", projector="linear", width=4), epochs=60, batch=256, lr=0.03
        )
        .fit(seen)
        .accuracy(test)
        for k in (1, 2)
    )
    assert two <= one + 0.01


def test_pal_b_where_what_is_wished_depends_on_the_prompt() -> None:
    random = np.random.default_rng(0)

    def answers(people: int, each: int) -> Answers:
        person = np.repeat(np.arange(people), each)
        explain = random.integers(0, 2, len(person))
        left, right = random.normal(size=(2, len(person), 3))
        # The first feature is length. Group 0 likes it when asked to explain, group 1 when asked for a list.
        likes = explain == person % 2
        won = np.where(likes, left[:, 0] > right[:, 0], left[:, 0] < right[:, 0])
        prompt = np.eye(2)[explain]
        return Answers.of(left, right, won.astype(float), [f"p{i:02d}" for i in person], prompt=prompt)

    train, test = answers(20, 80), answers(20, 40)
    settings_ = {"epochs": 40, "batch": 256, "lr": 0.01}
    pal_b = PreferenceModel(TwoTower(3, 2, prompt_features=2, width=16), **settings_).fit(train)  # type: ignore[arg-type]
    pal_a = PreferenceModel(IdealPoint(3, 2, distance="cosine", width=16), **settings_).fit(train)  # type: ignore[arg-type]
    assert pal_b.accuracy(test) > 0.95
    assert pal_a.accuracy(test) < 0.75


def test_lore_beats_a_shared_reward_and_a_reward_for_each_person() -> None:
    random = np.random.default_rng(0)
    directions = random.normal(size=(5, 50))

    def answers(weights: np.ndarray, each: int) -> Answers:
        person = np.repeat(np.arange(len(weights)), each)
        left, right = random.normal(size=(2, len(person), 50))
        won = ((left - right) * (weights[person] @ directions)).sum(1) > 0
        return Answers.of(left, right, won.astype(float), [f"p{i:03d}" for i in person])

    seen, new = random.dirichlet(np.full(5, 0.5), 200), random.dirichlet(np.full(5, 0.5), 40)
    train, few, test = answers(seen, 60), answers(new, 10), answers(new, 100)
    lore = PreferenceModel(LowRank(50, 5), epochs=30, lr=0.03).fit(train)
    shared = PreferenceModel(LowRank(50, 1), epochs=30, lr=0.03).fit(train)
    reached = lore.accuracy(test, lore.localise(few).weights)
    assert reached > shared.accuracy(test, np.ones((40, 1))) + 0.03
    # Ten answers in fifty dimensions: logistic regression of each person alone is little better than a coin.
    difference = (few.items[few.left] - few.items[few.right]).numpy() * (2 * few.probability.numpy() - 1)[:, None]
    alone = np.stack([difference[few.person.numpy() == p].mean(0) for p in range(40)])
    margin = ((test.items[test.left] - test.items[test.right]).numpy() * alone[test.person.numpy()]).sum(1)
    assert reached > np.mean((margin > 0) == (test.probability.numpy() > 0.5)) + 0.03


def test_pal_training_balance_of_equal_counts_changes_nothing() -> None:
    answers = IdealPoints(2, seed=0).answers(np.arange(6), 10)
    fits = [
        PreferenceModel(LowRank(8, 2), epochs=3, batch=16, balance=balance).fit(answers) for balance in (False, True)
    ]
    assert np.allclose(fits[0].weights_, fits[1].weights_, atol=1e-6)


def test_prompts_missing_where_read_and_unknown_options_are_said(tmp_path: Path) -> None:
    answers = IdealPoints(2, seed=0).answers(np.arange(2), 3)
    with pytest.raises(OptionError, match="reads prompts"):
        PreferenceModel(TwoTower(8, 2, prompt_features=2)).fit(answers)
    for wrong in ({"mixing": "wP"}, {"distance": "city"}, {"projector": "tree"}):
        with pytest.raises(OptionError, match="is not one of"):
            IdealPoint(2, 2, **wrong)  # type: ignore[arg-type]
    with pytest.raises(FeedbackError, match=r"row 1: 2\.0 is not a chance"):
        Answers.of([[0.0]] * 2, [[1.0]] * 2, [1, 2])
    with pytest.raises(FeedbackError, match="row 0: a feature of right is not a number"):
        Answers.of([[0.0]] * 2, [[np.nan], [0]], [1, 1])
    with pytest.raises(FeedbackError, match="2 left sides and 1 of probability"):
        Answers.of([[0.0]] * 2, [[1.0]] * 2, [1])


def test_lore_pulled_to_a_reference_is_ridge_regression_about_it_and_in_the_end_the_reference() -> None:
    random = np.random.default_rng(0)
    theta, x = np.array([1.0, -2.0, 0.5]), random.normal(size=(80, 3))
    won = random.random(80) < 1 / (1 + np.exp(-x @ theta))
    answers = Answers.of(x, 0 * x, won.astype(float), ["ada"] * 40 + ["ben"] * 40)
    reference = [0.5, -1.0, 3.0]
    options: dict[str, Any] = {"epochs": 400, "batch": 80, "lr": 0.1}
    one = PreferenceModel(LowRank(3, 1, pull=0.05, reference=reference), **options).fit(answers)
    ridge = ridge_logistic(x, won.astype(float), np.ones(80), 2 * 80 * 0.05, centre=np.array(reference))
    assert one.export().of(torch.eye(3)).numpy() == pytest.approx(ridge, abs=1e-4)
    far = PreferenceModel(LowRank(3, 2, pull=1e4, reference=reference), **options).fit(answers)
    for person in ("ada", "ben"):
        assert far.export(person).of(torch.eye(3)).numpy() == pytest.approx(reference, abs=1e-3)
    # A pull to nothing shrinks, and it is not part of the loss that is told.
    small = PreferenceModel(LowRank(3, 1, pull=10.0), **options).fit(answers)
    assert float(small.scorer.directions.abs().max()) < 0.1  # type: ignore[operator]
    assert small.loss_ == pytest.approx(small.log_loss(answers), abs=1e-6)
    with pytest.raises(OptionError, match="a number for each of the 3 features"):
        LowRank(3, 1, reference=[1.0])


def test_few_people_of_few_answers_gain_by_the_pull_to_a_good_reference() -> None:
    random = np.random.default_rng(0)
    theta = random.normal(size=12)
    own = theta + 0.5 * random.normal(size=(20, 12))

    def answers(each: int) -> Answers:
        person = np.repeat(np.arange(20), each)
        left, right = random.normal(size=(2, len(person), 12))
        won = random.random(len(person)) < 1 / (1 + np.exp(-((left - right) * own[person]).sum(1)))
        return Answers.of(left, right, won.astype(float), person)

    train, test = answers(8), answers(200)
    free, pulled = (
        PreferenceModel(LowRank(12, 3, pull=pull, reference=theta), epochs=100, batch=160, lr=0.05).fit(train)
        for pull in (0.0, 0.01)
    )
    assert pulled.log_loss(test) < free.log_loss(test) - 0.1
    assert pulled.accuracy(test) > free.accuracy(test) + 0.03
