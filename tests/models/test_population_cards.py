"""What each population's card says must hold."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from pluralign.errors import FeedbackError, OptionError
from pluralign.models import (
    Answers,
    AttributeAttention,
    FewShot,
    Hierarchical,
    InContext,
    LatentReward,
    LowRank,
    MultiSource,
    PreferenceModel,
    RoutedMixture,
    RoutedRewards,
    Variational,
    attribute_effects,
    attributes,
    hedge,
    min_norm,
)
from pluralign.models.kinds import build
from pluralign.models.ridge_logistic import design, ridge_logistic

Array = np.ndarray


def linear(theta: Array, each: int, seed: int, first: int = 0, hard: bool = False) -> Answers:
    """Person i answers `each` questions by Bradley-Terry on features [D] times theta[i]."""
    random = np.random.default_rng(seed)
    person = np.repeat(np.arange(len(theta)), each)
    left, right = random.normal(size=(2, len(person), theta.shape[1]))
    z = ((left - right) * theta[person]).sum(1)
    won = z > 0 if hard else random.random(len(z)) < 1 / (1 + np.exp(-z))
    return Answers.of(left, right, won.astype(float), [f"p{first + i:03d}" for i in person])


# From one crowd to everybody alone


def test_hierarchical_at_no_spread_is_one_crowd_and_at_a_large_one_everybody_alone() -> None:
    theta = np.random.default_rng(0).normal(size=(5, 3))
    answers = linear(theta, 40, seed=1)
    x, y, person, count = design(answers)
    one = Hierarchical(0.0, ridge=0.01).fit(answers)
    assert one.mean_ == pytest.approx(ridge_logistic(x, y, count, 0.01), abs=1e-4)
    assert one.weights_ == pytest.approx(np.tile(one.mean_, (5, 1)), abs=1e-6)
    assert one.localise(answers).weights == pytest.approx(one.weights_, abs=1e-6)
    far = Hierarchical(30.0).fit(answers)
    alone = np.stack([ridge_logistic(x[person == u], y[person == u], count[person == u], 1e-3) for u in range(5)])
    assert far.weights_ == pytest.approx(alone, abs=0.02)


def test_hierarchical_people_seen_lie_where_they_are_localised() -> None:
    answers = linear(np.random.default_rng(0).normal(size=(6, 3)), 20, seed=1)
    model = Hierarchical(0.7).fit(answers)
    found = model.localise(answers)
    assert found.weights == pytest.approx(model.weights_, abs=2e-6)
    # Who said nothing has the crowd's mean and the whole spread.
    nobody = model.localise(Answers.of(np.zeros((0, 3)), np.zeros((0, 3)), [], [], people=["ann"]))
    assert nobody.weights[0] == pytest.approx(model.mean_)
    assert nobody.covariance[0] == pytest.approx(0.49 * np.eye(3))
    assert (np.linalg.eigvalsh(found.covariance) < 0.49).all()


def test_hierarchical_says_that_its_search_was_cut_short() -> None:
    answers = linear(np.random.default_rng(0).normal(size=(6, 3)), 20, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        best = Hierarchical(0.7).fit(answers)
    with pytest.warns(RuntimeWarning, match=r"at spread 0\.7 ended after 4 iterations .* raise most") as told:
        short = Hierarchical(0.7, most=4).fit(answers)

    def objective(model: Hierarchical) -> float:
        own = (model.weights_ - model.mean_) / 0.7
        return 120 * model.log_loss(answers) + 0.005 * float(model.mean_ @ model.mean_) + float((own**2).sum()) / 2

    above = objective(short) - objective(best)
    assert above > 1e-4
    assert above < float(re.findall(r"can lie (\S+) nats", str(told[0].message))[0])


def test_hierarchical_chooses_how_far_people_differ() -> None:
    random = np.random.default_rng(3)
    mean = random.normal(size=6)
    chosen = {}
    for name, spread in (("same", 0.0), ("some", 1.0)):
        answers = linear(mean + spread * random.normal(size=(40, 6)), 24, seed=4)
        model = Hierarchical().fit(answers)
        chosen[name] = float(model.spread_)
        assert model.path_[chosen[name]] <= min(model.path_.values()) + 0.01
    assert chosen["same"] <= 0.1
    assert chosen["some"] >= 0.3
    # Between the ends lies what neither end reaches.
    assert model.path_[chosen["some"]] < min(model.path_[0.0], model.path_[3.0]) - 0.005
    assert abs(float(model.sample_people(2000).std(0).mean()) - chosen["some"]) < 0.05 * (1 + chosen["some"])
    with pytest.raises(OptionError, match="finite numbers"):
        Hierarchical(np.inf)


# MiCRo


def test_hedge_golden_and_its_limits() -> None:
    assert hedge([0.5, 0.5], [0.1, 1.1]) == pytest.approx([0.731059, 0.268941], abs=1e-6)
    assert hedge([0.2, 0.8], [0.1, 1.1], 1e9) == pytest.approx([0.2, 0.8])
    assert hedge([0.2, 0.8], [0.1, 1.1], 1e-3) == pytest.approx([1, 0])


def by_prompt(people: int, each: int, seed: int) -> Answers:
    """Under three prompts in ten the taste is the opposite."""
    random = np.random.default_rng(seed)
    n = people * each
    left, right = random.normal(size=(2, n, 2))
    other = random.random(n) < 0.3
    z = np.where(other, -4, 4) * (left - right)[:, 0]
    won = random.random(n) < 1 / (1 + np.exp(-z))
    return Answers.of(left, right, won.astype(float), np.repeat(np.arange(people), each), prompt=np.eye(2)[other * 1])


def test_micro_routed_below_a_static_mixture_below_one_reward() -> None:
    train, test = by_prompt(10, 60, 0), by_prompt(10, 60, 1)
    blind = [replace(a, prompts=torch.ones_like(a.prompts)) for a in (train, test)]  # type: ignore[type-var]
    options = {"epochs": 60, "lr": 0.1, "batch": 200, "hidden": 16, "rounds": 0}
    routed = RoutedMixture(2, **options).fit(train).log_loss(test)  # type: ignore[arg-type]
    static = RoutedMixture(2, **options).fit(blind[0]).log_loss(blind[1])  # type: ignore[arg-type]
    one = RoutedMixture(1, **options).fit(train)  # type: ignore[arg-type]
    assert routed < static - 0.2
    assert static < one.log_loss(test) - 0.005
    shared = Hierarchical(0.0).fit(train)
    assert one.log_loss(test) == pytest.approx(shared.log_loss(test), abs=0.01)


@pytest.mark.parametrize(("alpha", "share"), [(0.5, 0.9018), (0.1, 0.99995)])
def test_micro_pull_to_equal_shares_bounds_how_far_a_prompt_can_decide(alpha: float, share: float) -> None:
    """Where a prompt leaves one reward, its share f has alpha ln(f / (1 - f)) = 1 / f, however much is answered."""
    x, kind = 4.0 * np.where(np.arange(32) % 2, 1, -1)[:, None], np.arange(32) // 2 % 2
    answers = Answers.of(x, 0 * x, (x[:, 0] > 0) == kind, prompt=np.eye(2)[kind])
    model = RoutedMixture(2, alpha=alpha, epochs=300, lr=0.05, hidden=8, rounds=0).fit(answers)
    assert alpha * np.log(share / (1 - share)) == pytest.approx(1 / share, rel=1e-2)
    assert isinstance(model.scorer, RoutedRewards)
    shares = model.scorer.shares(torch.full((2,), 0.5), torch.eye(2)).numpy()
    assert shares.max(1) == pytest.approx(share, abs=2e-3)


def test_micro_hedge_of_temperature_one_climbs_the_likelihood() -> None:
    answers = by_prompt(6, 30, 0)
    fitted = RoutedMixture(3, epochs=3, lr=0.05, hidden=8, rounds=0).fit(answers)
    reached = []
    for rounds in (0, 1, 2, 4, 8):
        fitted.rounds = rounds
        losses = fitted.log_losses(answers, fitted.localise(answers).weights)
        reached.append(np.bincount(answers.person, losses))
    assert (np.diff(reached, axis=0) < 1e-6).all()
    assert (reached[0] - reached[-1]).min() > 0


# VPL and FSPO


def types(people: int, each: int, seed: int, first: int = 0) -> Answers:
    """Opposite types, by turns, without noise; what one likes lies along one direction of four."""
    return linear(np.outer(1 - 2.0 * (np.arange(people) % 2), np.ones(4)), each, seed, first, hard=True)


@pytest.fixture(scope="module")
def amortised() -> tuple[Variational, FewShot]:
    seen = types(40, 30, 0)
    return (
        Variational(2, hidden=24, steps=200, lr=0.01, people=20, beta=1e-2).fit(seen),
        FewShot(2, hidden=24, steps=200, lr=0.01, people=20).fit(seen),
    )


@pytest.mark.parametrize("which", [0, 1], ids=["vpl", "fspo"])
def test_a_context_of_eight_tells_opposite_people_apart(amortised: tuple[Variational, FewShot], which: int) -> None:
    model = amortised[which]
    told, test = types(20, 8, 1, first=50), types(20, 60, 2, first=50)
    weights = model.localise(told).weights
    assert model.accuracy(test, weights) > 0.95
    shuffled = np.random.default_rng(0).permutation(20)
    while abs(np.mean(shuffled % 2 == np.arange(20) % 2) - 0.5) > 0.11:
        shuffled = np.random.default_rng(int(shuffled[0])).permutation(20)
    assert abs(model.accuracy(test, weights[shuffled]) - 0.5) < 0.15
    assert PreferenceModel(LowRank(4, 1), epochs=5).fit(types(40, 30, 0)).accuracy(test) == pytest.approx(0.5, abs=0.06)
    # The same pair, in opposite contexts.
    one = test.take([0])
    assert np.sign(model.margins(one, weights[0])) == -np.sign(model.margins(one, weights[1]))
    reached = []
    for n in (0, 1, 8):
        few = told.take(np.flatnonzero(np.tile(np.arange(8), 20) < n))
        reached.append(model.accuracy(test, model.localise(few).weights))
    assert reached[0] < 0.6 < reached[1] < reached[2]


@pytest.mark.parametrize("which", [0, 1], ids=["vpl", "fspo"])
def test_answers_are_read_in_any_order_and_alone(amortised: tuple[Variational, FewShot], which: int) -> None:
    model = amortised[which]
    told = types(20, 8, 1)
    shuffled = told.take(np.random.default_rng(0).permutation(len(told)))
    whole = model.localise(told).weights
    assert whole == pytest.approx(model.localise(shuffled).weights, rel=1e-4, abs=1e-4)
    assert whole[3] == pytest.approx(model.localise(told.take(told.person == 3)).weights[3], rel=1e-4)
    with pytest.raises(FeedbackError, match="nobody answered twice"):
        type(model)(2, steps=1).fit(types(4, 1, 0))


def test_vpl_variance_falls_with_answers_from_the_prior(amortised: tuple[Variational, FewShot]) -> None:
    model, told = amortised[0], types(20, 16, 1)
    place = np.tile(np.arange(16), 20)
    spread = [model.localise(told.take(place < n)).covariance.trace(axis1=1, axis2=2).mean() for n in (0, 1, 4, 16)]
    assert spread[0] == pytest.approx(2)
    assert np.diff(spread).max() < 0
    nobody = model.localise(told.take(place < 0))
    assert (nobody.weights == 0).all()


def test_a_population_of_no_codes_is_one_network(amortised: tuple[Variational, FewShot]) -> None:
    for kind, score in ((Variational, LatentReward), (FewShot, InContext)):
        model = kind(0, hidden=8, steps=5).fit(types(6, 10, 0))  # type: ignore[operator]
        assert isinstance(model.scorer, score)
        assert model.weights_.shape == (6, 0)
        assert abs(model.accuracy(types(6, 100, 1)) - 0.5) < 0.1


# PrefPalette


def test_prefpalette_names_what_communities_value() -> None:
    random = np.random.default_rng(0)
    theta = np.zeros((2, 7))
    theta[0, [3, 5]], theta[1, [3, 5]] = [2.0, -2.0], [-2.0, 2.0]
    theta[:, 0] = 0.5
    answers = linear(theta, 400, seed=1)
    score = AttributeAttention(7, 2, attributes=5, width=8)
    model = PreferenceModel(score, apart=True, epochs=15, batch=100, lr=0.05).fit(answers)
    assert model.accuracy(answers) > 0.85
    table = attributes(model, answers, ["wit", "care", "length", "proof", "calm"])
    for community, signs in (("p000", (1, -1)), ("p001", (-1, 1))):
        own = {row["attribute"]: row for row in table.iter_rows(named=True) if row["community"] == community}
        for what in ("effect", "lost"):
            top = sorted(own, key=lambda name: -abs(own[name][what]))[:2]
            assert set(top) == {"care", "proof"}, (community, what)
        assert np.sign([own["care"]["effect"], own["proof"]["effect"]]).tolist() == list(signs)
    # Without attributes it is a linear reward of the content.
    model.scorer.gate.data.zero_()
    content = model.scorer.content
    assert isinstance(content, torch.Tensor)
    items = torch.as_tensor(random.normal(size=(5, 7)), dtype=torch.float32)
    plain = items[:, :2] @ content.T @ model.scorer.taste[0]
    assert model.export(0).of(items).numpy() == pytest.approx(plain.detach().numpy(), abs=1e-5)
    with pytest.raises(OptionError, match="has no attributes"):
        attributes(Hierarchical(0.0).fit(answers), answers)
    with pytest.raises(OptionError, match="1 to 7"):
        AttributeAttention(7, 2, attributes=8)


def test_prefpalette_effects_have_intervals_over_the_people_of_a_community() -> None:
    theta = np.zeros((2, 4))
    theta[0, 2], theta[1, 2] = 2.0, -2.0
    answers = linear(theta, 150, seed=2)

    def fitted(some: Answers) -> PreferenceModel:
        score = AttributeAttention(4, 2, attributes=2, width=4)
        return PreferenceModel(score, apart=True, epochs=30, batch=60, lr=0.05).fit(some)

    table = attribute_effects(fitted, answers, np.arange(300) // 3, ["care", "noise"], draws=3)
    told = {(row["community"], row["attribute"]): row for row in table.iter_rows(named=True)}
    assert told["p000", "care"]["low"] > 0 > told["p001", "care"]["high"]
    for community in ("p000", "p001"):
        assert abs(told[community, "noise"]["value"]) < abs(told[community, "care"]["value"]) / 3
    assert (table["low"] <= table["high"]).all()
    assert (table["lost_low"] <= table["lost_high"]).all()


def test_prefpalette_trained_to_do_without_attributes_does_better_without() -> None:
    theta = np.array([[2.0, 0.0, 0.0, 2.0]])
    answers = linear(theta, 500, seed=0)
    without = answers.items.clone()
    without[:, 2:] = 0
    reached = []
    for drop in (0.0, 0.5):
        score = AttributeAttention(4, 1, attributes=2, width=8, drop=drop)
        model = PreferenceModel(score, epochs=15, batch=100, lr=0.05).fit(answers)
        assert model.accuracy(answers) > 0.85
        reached.append(model.log_loss(replace(answers, items=without)))
    assert reached[1] < reached[0] + 0.02


def test_pal_apart_is_a_point_for_everybody() -> None:
    answers = types(4, 40, 0)
    model = PreferenceModel(LowRank(4, 4), apart=True, epochs=40, batch=40, lr=0.1).fit(answers)
    assert np.array_equal(model.weights_, np.eye(4))
    assert model.accuracy(answers) > 0.95
    with pytest.raises(OptionError, match="a group for each of 4 people"):
        PreferenceModel(LowRank(4, 2), apart=True).fit(answers)


# MORE


def test_more_golden_and_its_limits() -> None:
    slopes = np.array([[1.0, 0.0], [0.5, 1.0]])
    shares = min_norm(slopes)
    assert shares == pytest.approx([0.6, 0.4])
    combined = shares @ slopes
    assert combined == pytest.approx([0.8, 0.4])
    assert slopes @ combined == pytest.approx([combined @ combined] * 2)
    same = np.tile([[0.3, -0.2]], (4, 1))
    assert min_norm(same) @ same == pytest.approx([0.3, -0.2])
    assert min_norm([[1.0, 2.0], [-1.0, -2.0]]) == pytest.approx([0.5, 0.5])
    # Whatever the scale, and with more sources than dimensions: no source's slope opposes the mean.
    random = np.random.default_rng(0)
    for size in (1e-9, 1.0, 1e9):
        many = (random.normal(size=(30, 5)) + 1) * size
        mean = min_norm(many) @ many
        assert (many @ mean >= mean @ mean * (1 - 1e-6) - 1e-12 * size**2).all()


def test_more_finds_what_sources_share() -> None:
    """All sources like the first feature, three of four the second and one its opposite. Only the first is shared.

    The card's claim of better calibration is measured in docs/populations.md.
    """
    random, gains = np.random.default_rng(0), []
    for seed in range(3):
        theta = np.ones((4, 8)) * np.array([1.0, 3.0, 0, 0, 0, 0, 0, 0])
        theta[3, 1] = -3.0
        train, x = linear(theta, 60, seed), random.normal(size=(2000, 8))
        shared = random.random(2000) < 1 / (1 + np.exp(-x[:, 0]))
        test = Answers.of(x, 0 * x, shared.astype(float))
        more, plain = (MultiSource(plain=plain, steps=100).fit(train) for plain in (False, True))
        gains.append([plain.log_loss(test) - more.log_loss(test), more.accuracy(test) - plain.accuracy(test)])
    assert np.mean(gains, axis=0)[0] > 0.005
    assert np.mean(gains, axis=0)[1] > 0.01


@pytest.mark.parametrize("population", ["variational", "few-shot"])
def test_readers_of_people_refuse_the_same_options(population: str) -> None:
    answers = types(4, 4, 0)
    for wrong in ({"steps": 0}, {"hidden": 0}, {"most": 0}, {"people": 0}):
        with pytest.raises(OptionError, match="are at least 1"):
            build(answers, population, 2, wrong)
    with pytest.raises(OptionError, match=f"population '{population}': got an unexpected keyword argument 'depth'"):
        build(answers, population, 2, {"depth": 3})
    with pytest.raises(OptionError, match="beta is -1"):
        Variational(2, beta=-1)


def test_fspo_with_ipo_foretells_shares_and_reads_contexts() -> None:
    """Without people, and with answers that are at odds, IPO's best margin is 2 p - 1 in units of 1 / (2 beta)."""
    said = np.tile([1.0, 1.0, 1.0, 0.0], 20)
    answers = Answers.of(np.ones((80, 1)), np.zeros((80, 1)), said, np.repeat(np.arange(10), 8))
    nobody = FewShot(0, loss="ipo", hidden=8, steps=150, lr=0.01).fit(answers)
    assert nobody.margins(answers) == pytest.approx(0.5, abs=0.06)
    three = nobody.predict_proba(answers, outcomes=True)
    assert three[:, 0] == pytest.approx(0.75, abs=0.03)
    assert nobody.log_loss(answers) == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), abs=0.01)
    model = FewShot(2, loss="ipo", hidden=24, steps=200, lr=0.01, people=20).fit(types(40, 30, 0))
    told, test = types(20, 8, 1, first=50), types(20, 60, 2, first=50)
    assert model.accuracy(test, model.localise(told).weights) > 0.9
    with pytest.raises(OptionError, match="'hinge' is not one of logistic, ipo"):
        FewShot(2, loss="hinge")  # type: ignore[arg-type]
