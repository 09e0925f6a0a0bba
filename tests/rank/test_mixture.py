"""Mixtures find planted tastes, never lose likelihood, and know how sure they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank import BradleyTerry, PlackettLuce, Votes
from pluralign.rank.mixture import Mixture
from pluralign.rank.tastes import People
from tests.rank.golden import G4


def crowd(tastes, who, each, seed=0):
    """Votes by people, `each` many, of the taste numbered in `who`."""
    rng = np.random.default_rng(seed)
    tastes = np.asarray(tastes)
    person = np.repeat(np.arange(len(who)), each)
    left = rng.integers(tastes.shape[1], size=len(person))
    right = (left + 1 + rng.integers(tastes.shape[1] - 1, size=len(person))) % tastes.shape[1]
    theta = tastes[np.asarray(who)[person]]
    d = np.take_along_axis(theta, left[:, None], 1)[:, 0] - np.take_along_axis(theta, right[:, None], 1)[:, 0]
    outcome = (rng.random(len(d)) > 1 / (1 + np.exp(-d))).astype(np.int8)
    names = [chr(97 + i) for i in range(tastes.shape[1])]
    people = [f"p{u}" for u in range(len(who))]
    codes = [x.astype(np.int32) for x in (left, right)]
    return Votes(names, *codes, outcome, annotator=person.astype(np.int32), annotators=people)


def orders(tastes, who, seed=0):
    """A whole ranking by everybody."""
    rng = np.random.default_rng(seed)
    utility = np.asarray(tastes)[who] + rng.gumbel(size=(len(who), len(tastes[0])))
    return [[chr(97 + i) for i in row] for row in np.argsort(-utility, 1)]


def test_one_taste_is_the_plain_model():
    one = Mixture(1, ridge=1e-9).fit(G4)
    assert one.scores_[0] == pytest.approx([0.832885, 0.317757, -0.479122, -0.671520], abs=1e-5)
    assert one.nll_ == pytest.approx(14.219017, abs=1e-6)
    votes = crowd([[0.0, 1.0, -0.5]], [0] * 5, 30)
    assert Mixture(1, of="bradley-terry", ridge=1e-9).fit(votes).scores_[0] == pytest.approx(
        BradleyTerry().fit(votes).scores_, abs=1e-6
    )
    assert Mixture(1).fit(G4).covariance("sandwich") == pytest.approx(
        PlackettLuce(ridge=1e-3).fit(G4).covariance("sandwich"), rel=1e-2, abs=1e-3
    )


@pytest.mark.parametrize("minority", [20, 12, 4])
def test_opposite_tastes_are_told_apart(minority):
    rng = np.random.default_rng(minority)
    theta = np.sort(rng.normal(size=6))[::-1] * 1.5
    who = np.array([0] * (40 - minority) + [1] * minority)
    votes = crowd([theta, -theta], who, 40, seed=minority)
    model = Mixture(2, of="bradley-terry", restarts=5).fit(votes)
    # People are numbered in the order of their names.
    truth = who[[int(name[1:]) for name in model.people_]]
    said = model.responsibilities_.argmax(1)
    accuracy = (said == truth).mean()
    swapped = accuracy < 0.5
    assert max(accuracy, 1 - accuracy) == 1.0
    scores = model.scores_[::-1] if swapped else model.scores_
    assert np.corrcoef(scores[0], theta)[0, 1] >= 0.94
    assert np.corrcoef(scores[1], -theta)[0, 1] >= 0.94
    upper, lower = np.triu_indices(6, 1)
    assert (scores[1][upper] < scores[1][lower]).mean() >= 0.9
    if minority < 20:
        # One scale for all is the majority's.
        plain = BradleyTerry().fit(votes).scores_
        assert (plain[upper] < plain[lower]).mean() <= 0.27


def test_the_likelihood_never_falls():
    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.permutations("abcd"), min_size=6, max_size=14), st.integers(2, 3), st.integers(0, 99))
    def check(rows, k, seed):
        rows = [[*row[:3]] if i % 3 else [row[0], list(row[1:3]), row[3]] for i, row in enumerate(rows)]
        model = Mixture(k, restarts=2, seed=seed, ridge=0.1).fit(rows)
        assert (np.diff(model.history_) >= -1e-9).all()
        prior = -0.05 * (model._x**2).sum()
        assert model.history_[-1] == pytest.approx(-model.nll_ + prior, abs=1e-9)
        assert model.history_[-1] >= model.starts_.max() - 1e-9

    check()


@pytest.mark.parametrize("k", [1, 2])
def test_people_left_out_tell_how_many_tastes_there_are(k):
    tastes = np.array([[2.0, 1.0, 0.0, -1.0, -2.0], [-2.0, 0.0, 2.0, 1.0, -1.0]])[:k]
    who = np.random.default_rng(1).integers(k, size=100)
    model = Mixture(most=3, folds=4, restarts=2).fit(orders(tastes, who))
    assert len(model.shares_) == k
    assert model.held_out_["k"].to_list() == [1, 2, 3]
    assert model.held_out_["above"].min() == 0
    assert not model.warnings_


def test_people_are_kept_whole():
    votes = crowd([[2.0, 0.0, -2.0]], [0] * 12, 10)
    people = People.of(votes, rankings=False)
    mask = np.arange(12) % 3 == 0
    part = people.where(mask)
    assert part.names == people.names[::3]
    assert len(part.said) == 40
    assert set(np.bincount(part.person)) == {10}


@pytest.mark.parametrize("of", ["plackett-luce", "bradley-terry"])
def test_information_is_the_curvature_of_what_was_seen(of):
    tastes = np.array([[1.5, 0.5, 0.0, -2.0], [-1.0, 0.0, 1.5, -0.5]])
    who = np.random.default_rng(2).integers(2, size=60)
    data = orders(tastes, who) if of == "plackett-luce" else crowd(tastes, who, 12)
    model = Mixture(2, of=of, restarts=3).fit(data)
    taste, k, n = model.taste_, 2, 4
    peak = np.concatenate([model._x.ravel(), model._log_share])

    def value(x):
        both = np.stack([taste.log_likelihood(row) for row in x[: k * n].reshape(k, n)], 1)
        log_share = x[k * n :] - np.logaddexp.reduce(x[k * n :])
        return np.logaddexp.reduce(both + log_share, axis=1).sum() - model.ridge / 2 * (x[: k * n] ** 2).sum()

    step, size = 1e-4, len(peak)
    # A maximum: no direction climbs.
    assert max(abs(value(peak + e) - value(peak - e)) / 2 / step for e in np.eye(size) * step) < 1e-3
    curve = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            a, b = np.eye(size)[i] * step, np.eye(size)[j] * step
            curve[i, j] = value(peak + a + b) - value(peak + a - b) - value(peak - a + b) + value(peak - a - b)
    curve /= -4 * step**2
    lift = np.concatenate([np.zeros(k * n), np.ones(k)])
    expected = np.linalg.inv(curve + 60 * np.outer(lift, lift))[: k * n, : k * n]
    centre = np.kron(np.eye(k), np.eye(n) - 1 / n)
    assert model.covariance("model") == pytest.approx(centre @ expected @ centre, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("of", ["plackett-luce", "bradley-terry"])
def test_slopes_of_people_are_those_of_their_likelihood(of):
    votes = crowd([[1.0, 0.0, -1.0, 0.5]], [0] * 7, 9)
    taste = People.of(votes, of == "plackett-luce").taste(1e-3)
    x = np.array([0.3, -0.2, 0.9, -1.0])
    step = 1e-6
    numeric = [(taste.log_likelihood(x + e) - taste.log_likelihood(x - e)) / 2 / step for e in np.eye(4) * step]
    assert taste.gradients(x) == pytest.approx(np.stack(numeric, 1), abs=1e-7)
    weight = np.linspace(0.1, 1, 7)
    assert taste.derivatives(x, weight)[0] == pytest.approx(-weight @ taste.gradients(x), abs=1e-9)


@pytest.mark.slow
def test_sandwich_intervals_cover_planted_scores():
    tastes = np.array([[1.5, 0.5, 0.0, -2.0], [-1.0, 0.0, 1.5, -0.5]])
    hits = []
    for seed in range(200):
        who = (np.random.default_rng(1000 + seed).random(300) < 0.35).astype(int)
        model = Mixture(2, restarts=2).fit(orders(tastes, who, seed))
        error = np.sqrt(np.diag(model.covariance())).reshape(2, 4)
        truth = tastes - tastes.mean(1, keepdims=True)
        hits.append(np.abs(model.scores_ - truth) < 1.96 * error)
    assert 0.93 < np.mean(hits) < 0.97


def test_a_persons_own_taste_foretells_them():
    tastes = np.array([[3.0, 0.0, -3.0], [-3.0, 0.0, 3.0]])
    votes = crowd(tastes, [0] * 10 + [1] * 10, 20)
    model = Mixture(2, of="bradley-terry", restarts=3).fit(votes)
    assert model.predict_proba("a", "c")[0] == pytest.approx(0.5, abs=0.1)
    assert model.predict_proba("a", "c", "p0")[0] > 0.9
    assert model.predict_proba(["a", "c"], ["c", "a"], "p15").sum(1) == pytest.approx([1, 1])
    names, again = model.responsibilities(votes)
    assert names == model.people_
    assert again == pytest.approx(model.responsibilities_)
    assert model.score(votes) == pytest.approx(-model.nll_ / 20)


def test_names_order_nothing_but_the_columns():
    rows = orders([[2.0, 1.0, 0.0, -1.0], [-1.0, 2.0, 0.0, 1.0]], np.arange(80) % 2)
    other = [[{"a": "z", "z": "a"}.get(i, i) for i in row] for row in rows]
    one, two = Mixture(2, restarts=4).fit(rows), Mixture(2, restarts=4).fit(other)
    assert two.items_ == ["b", "c", "d", "z"]
    assert one.nll_ == pytest.approx(two.nll_, abs=1e-6)
    assert two.scores_[:, [3, 0, 1, 2]] == pytest.approx(one.scores_, abs=1e-3)


def test_what_cannot_be_told_is_said():
    with pytest.raises(FeedbackError, match="column annotator"):
        Mixture(2, of="bradley-terry").fit({"model_a": ["x"], "model_b": ["y"], "winner": ["model_a"]})
    with pytest.raises(OptionError, match="ridge above zero"):
        Mixture(2, ridge=0).fit(G4)
    with pytest.raises(OptionError, match="plackett-luce"):
        Mixture(2, of="mallows").fit(G4)
    with pytest.raises(FeedbackError, match="cannot have 9 tastes"):
        Mixture(9).fit(G4)
    with pytest.raises(OptionError, match="is not among the 4"):
        Mixture(1).fit(G4).predict_proba("0", "nobody")
    model = Mixture(2, restarts=2).fit([["a", "b"], ["b", "a"], ["a", "c"], ["c", "a"], ["b", "c"]])
    assert "hardly tell tastes apart" in model.warnings_[0]
