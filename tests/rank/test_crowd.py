"""Models of annotators: derivatives by finite differences, plain models as limits, planted people found again."""

from dataclasses import replace

import numpy as np
import pytest

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank import BradleyTerry, Votes
from pluralign.rank.crowd import Crowd
from pluralign.rank.judgement import GAP, SHARPNESS, SIDE, TIE, TRUST, terms
from pluralign.rank.traits import Traits
from tests.rank.golden import g1, g2, g3

SPREAD = {SHARPNESS: 0.7, SIDE: 0.5, TIE: 1.3}


def poll(theta, each, seed=0, trust=None, beta=None, side=None, log_nu=None):
    """Votes of people with these traits, `each` many; ties by Davidson's model where log_nu is given."""
    rng = np.random.default_rng(seed)
    people = next(len(t) for t in (trust, beta, side, log_nu) if t is not None)
    who = np.repeat(np.arange(people), each)
    n, m = len(theta), people * each
    left = rng.integers(n, size=m)
    right = (left + 1 + rng.integers(n - 1, size=m)) % n
    d = theta[left] - theta[right]
    d = d if beta is None else d * np.asarray(beta)[who]
    if trust is not None:
        d = np.where(rng.random(m) < np.asarray(trust)[who], d, -d)
    first = rng.integers(2, size=m).astype(np.int8)
    if side is not None:
        d = d + np.asarray(side)[who] * np.where(first == 1, -1, 1)
    p = np.stack([np.exp(d / 2), np.exp(-d / 2), np.zeros(m) if log_nu is None else np.exp(np.asarray(log_nu)[who])], 1)
    outcome = (rng.random(m)[:, None] > (p / p.sum(1, keepdims=True)).cumsum(1)).sum(1)
    names = [f"i{i:02d}" for i in range(n)]
    codes = [x.astype(np.int32) for x in (left, right)]
    return Votes(
        names,
        *codes,
        outcome.astype(np.int8),
        first=first,
        annotator=who.astype(np.int32),
        annotators=[f"p{u:03d}" for u in range(people)],
    )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("flips", [False, True])
def test_derivatives_of_one_vote(ties, flips):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 5)) * 2
    sign = rng.choice([-1.0, 1.0], 40)
    outcome = rng.integers(3 if ties else 2, size=40).astype(np.int8)
    found, step = terms(z, sign, outcome, ties, flips), 1e-5
    for k in range(5):
        ahead, back = (terms(z + s * step * np.eye(5)[k], sign, outcome, ties, flips) for s in (1, -1))
        assert found.first[:, k] == pytest.approx((ahead.log - back.log) / 2 / step, abs=1e-8)
        assert found.second[:, k] == pytest.approx((ahead.first - back.first) / 2 / step, abs=1e-7)
    every = sum(np.exp(terms(z, sign, np.full(40, y, np.int8), ties, flips).log) for y in range(3 if ties else 2))
    assert every == pytest.approx(np.ones(40))


def test_somebody_who_tosses_a_coin_says_nothing_of_items():
    z = np.zeros((2, 5))
    z[:, GAP] = [1.3, -0.2]
    found = terms(z, np.ones(2), np.array([0, 1], np.int8), False, True)
    assert found.log == pytest.approx(np.log([0.5, 0.5]))
    assert found.first[:, [GAP, SHARPNESS]] == pytest.approx(np.zeros((2, 2)), abs=1e-15)
    assert found.first[:, TRUST] != pytest.approx([0, 0])


@pytest.mark.parametrize("traits", [[TRUST], [SHARPNESS, SIDE, TIE], [SIDE, TIE, TRUST], [SHARPNESS, SIDE, TIE, TRUST]])
def test_slopes_by_items_and_annotators(traits):
    # Other tools' slopes by annotators are wrong, and their fits stop short of the optimum.
    votes = poll(np.array([0.5, 0.0, -1.0]), 8, trust=[0.9, 0.2, 0.6], log_nu=[0.0, -1.0, 1.0])
    votes.annotator[::7] = -1
    model = Traits(votes, traits, "davidson" if TIE in traits else "half", 0.5)
    x = np.random.default_rng(1).normal(size=model.size)
    _, slope, _ = model.objective(x, SPREAD)
    matrix, step = model.information(x, SPREAD), 1e-5
    free = np.flatnonzero(~model.fixed)
    for k in free:
        e = step * np.eye(model.size)[k]
        (up, ahead, _), (down, back, _) = model.objective(x + e, SPREAD), model.objective(x - e, SPREAD)
        assert slope[k] == pytest.approx((up - down) / 2 / step, abs=1e-7)
        assert matrix[k][free] == pytest.approx(((ahead - back) / 2 / step)[free], abs=1e-6)
    people = model.slopes(x)
    assert len(people) == 3 + (votes.annotator < 0).sum()


def alone(votes):
    """The same votes, all of one person."""
    return Votes(
        votes.items,
        votes.left,
        votes.right,
        votes.outcome,
        first=votes.first,
        annotator=np.zeros(len(votes), np.int32),
        annotators=["p"],
    )


def test_people_without_traits_are_plain_models():
    plain = Crowd(noise="none", virtual=0).fit(alone(g1()))
    assert plain.scores_ == pytest.approx(BradleyTerry().fit(g1()).scores_, abs=1e-7)
    assert plain.nll_ == pytest.approx(16.069971, abs=1e-6)
    assert plain.covariance("model") == pytest.approx(BradleyTerry().fit(g1()).covariance("model"), abs=1e-7)
    tied = Crowd(noise="none", virtual=0, ties="davidson", spread=1e-3).fit(alone(g2()))
    assert tied.typical_["tie"] == pytest.approx(0.669651, abs=1e-3)
    assert tied.scores_ == pytest.approx([0.995196, 0.164397, -0.282063, -0.877530], abs=1e-3)
    order = Crowd(noise="none", virtual=0, side=True, spread=1e-3).fit(alone(g3()))
    assert order.typical_["side"] == pytest.approx(0.403685, abs=2e-3)
    assert order.scores_ == pytest.approx([0.916471, 0.129608, -0.337229, -0.708850], abs=2e-3)


def test_crowd_bt_finds_who_is_to_be_believed():
    trust = np.array([0.98] * 6 + [0.75] * 2 + [0.5] * 2 + [0.05] * 2)
    theta = np.linspace(-2.5, 2.5, 10)
    slopes = []
    for seed in range(5):
        votes = poll(theta, 80, seed, trust=trust)
        model, plain = Crowd().fit(votes), BradleyTerry().fit(votes)
        slopes.append(np.polyfit(theta, model.scores_, 1)[0])
        found, simple = (np.corrcoef(theta, scores)[0, 1] for scores in (model.scores_, plain.scores_))
        assert found > max(simple, 0.96)
        assert np.polyfit(theta, plain.scores_, 1)[0] < 0.5
        groups = [model.reliability_[part].mean() for part in (slice(0, 6), slice(6, 8), slice(8, 10), slice(10, 12))]
        assert groups == sorted(groups, reverse=True)
        assert (model.reliability_[:6] > 0.8).all()
        assert (model.reliability_[10:] < 0.3).all()
        assert model.certificate_.gradient < 1e-6
        assert model.predict_proba("i09", "i00", "p000")[0] > 0.8
        assert model.predict_proba("i09", "i00", "p011")[0] < 0.3
        assert model.predict_proba("i09", "i00")[0] > 0.95
    assert np.mean(slopes) == pytest.approx(1, abs=0.15)


def test_an_optimum_and_no_better_point_near_it():
    votes = poll(np.array([0.5, 0.0, -1.0]), 60, trust=[0.9, 0.2, 0.6])
    model = Crowd().fit(votes)
    best = model.model_.objective(model._x, {})[0]
    rng = np.random.default_rng(0)
    assert all(model.model_.objective(model._x + 0.05 * rng.normal(size=6 + 1), {})[0] > best for _ in range(50))


def test_planted_temperatures_sides_and_ties():
    rng = np.random.default_rng(3)
    u = 40
    side, log_nu = rng.normal(0.4, 0.6, u), rng.normal(-0.5, 0.8, u)
    beta = np.exp(rng.normal(0, 0.6, u))
    theta = np.linspace(-1.5, 1.5, 8)
    votes = poll(theta, 150, 3, beta=beta, side=side, log_nu=log_nu)
    model = Crowd(noise="temperature", side=True, ties="davidson").fit(votes)
    assert model.typical_["side"] == pytest.approx(side.mean(), abs=0.15)
    assert model.spread_["side"] == pytest.approx(side.std(), abs=0.15)
    assert model.spread_["tie"] == pytest.approx(log_nu.std(), abs=0.2)
    assert model.spread_["temperature"] == pytest.approx(np.log(beta).std(), abs=0.2)
    for found, truth in (
        (model.side_, side),
        (np.log(model.tie_), log_nu),
        (-np.log(model.temperature_), np.log(beta)),
    ):
        assert np.corrcoef(found, truth)[0, 1] > 0.9
    table = model.annotators()
    for name, truth in (("side", side), ("tie", np.exp(log_nu))):
        inside = (table[f"{name}_low"].to_numpy() < truth) & (truth < table[f"{name}_high"].to_numpy())
        assert inside.mean() > 0.85
    assert table["votes"].to_list() == [150] * u


def test_a_trait_that_nobody_has_is_found_to_have_no_spread():
    votes = poll(np.linspace(-1, 1, 6), 200, 5, side=np.full(20, 0.3))
    model = Crowd(noise="none", side=True).fit(votes)
    assert model.spread_["side"] < 0.15
    assert model.side_ == pytest.approx(np.full(20, 0.3), abs=0.2)


def test_unknown_people_are_typical():
    votes = poll(np.linspace(-1, 1, 6), 200, 5, side=np.array([1.0] * 3 + [-1.0] * 3))
    votes.annotator[votes.annotator >= 3] = -1
    model = Crowd(side=True).fit(votes)
    assert model.people_ == ["p000", "p001", "p002"]
    assert model.covariance("sandwich").shape == (6, 6)
    assert (np.diag(model.covariance("model")) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["model", "sandwich"])
def test_intervals_of_items_cover_the_truth(kind):
    theta = np.linspace(-1.5, 1.5, 6)
    hits = []
    for seed in range(150):
        rng = np.random.default_rng(1000 + seed)
        votes = poll(theta, 40, seed, beta=np.exp(rng.normal(0, 0.4, 60)), side=rng.normal(0, 0.5, 60))
        model = Crowd(noise="none", side=True).fit(votes)
        c = model.covariance(kind)
        # Who is sharp and who is not moves the scale of all scores, which order and odd differences do not depend on.
        gap = model.scores_ / np.abs(model.scores_).mean() - theta / np.abs(theta).mean()
        hits.append(np.abs(gap) * np.abs(model.scores_).mean() < 1.96 * np.sqrt(np.diag(c)))
    assert 0.92 < np.mean(hits) <= 0.99


def test_score_is_the_likelihood_of_single_people():
    votes = poll(np.linspace(-1, 1, 5), 80, 2, side=np.array([1.5, -1.5, 0.2]), log_nu=[-1.0, 0.0, 1.0])
    model = Crowd(noise="temperature", side=True, ties="davidson").fit(votes)
    assert model.score(votes) == pytest.approx(-model.nll_ / len(votes))
    # Somebody new is typical, whom their own votes fit less.
    strangers = replace(votes, annotators=["x", "y", "z"])
    assert model.score(strangers) < model.score(votes) - 0.1
    assert model.score(replace(votes, annotator=None, annotators=())) == pytest.approx(model.score(strangers))
    decided = votes.where(votes.outcome < 2)
    with pytest.raises(OptionError, match="ties did not occur"):
        Crowd(ties="davidson").fit(decided).score(votes)
    trusting = Crowd().fit(votes)
    assert trusting.score(votes) == pytest.approx(-trusting.nll_ / len(votes))


def test_what_cannot_be_told_is_said():
    with pytest.raises(FeedbackError, match="column annotator"):
        Crowd().fit(g1())
    with pytest.raises(OptionError, match="'luck'"):
        Crowd(noise="luck").fit(alone(g1()))
    with pytest.raises(OptionError, match="'rao-kupper'"):
        Crowd(ties="rao-kupper").fit(alone(g1()))
    with pytest.raises(OptionError, match="above zero"):
        Crowd(spread=0).fit(alone(g1()))
    with pytest.raises(OptionError, match="people of the fit"):
        Crowd().fit(alone(g1())).predict_proba("0", "1", "nobody")
