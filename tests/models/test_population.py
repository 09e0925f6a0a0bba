"""What every population can do, whichever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import entr

from pluralign.errors import FeedbackError, OptionError
from pluralign.likelihoods import hinge, smooth_hinge
from pluralign.models import (
    Answers,
    IdealPoint,
    LowRank,
    MixtureModel,
    Population,
    PreferenceModel,
    TwoTower,
    fit,
    gains,
)
from pluralign.models.kinds import KINDS, build

QUICK: dict[str, dict[str, Any]] = {
    "ideal-point": {"epochs": 20, "lr": 0.05, "batch": 64},
    "two-tower": {"epochs": 20, "lr": 0.05, "batch": 64},
    "low-rank": {"epochs": 20, "lr": 0.05, "batch": 64},
    "mixture": {"restarts": 2},
    "routed": {"epochs": 30, "lr": 0.05, "batch": 64, "hidden": 8},
    "hierarchical": {"spread": 3.0},
    "variational": {"steps": 200, "hidden": 16, "lr": 0.01},
    "few-shot": {"steps": 200, "hidden": 16, "lr": 0.01},
    "attribute-attention": {"attributes": 3, "epochs": 40, "lr": 0.05, "batch": 64, "width": 8},
}
"""Options that make each a quick fit; of those in which people differ."""


def opposite(people: int, each: int, seed: int = 0, first: int = 0) -> Answers:
    """Person i likes the first feature where i is even and dislikes it where it is odd; logistic answers.

    Four prompts in five are such as the one half of the people get.
    """
    random = np.random.default_rng(seed)
    person = np.repeat(np.arange(first, first + people), each)
    left, right = random.normal(size=(2, len(person), 3))
    sign = 1 - 2 * (person % 2)
    won = random.random(len(person)) < 1 / (1 + np.exp(-6 * sign * (left - right)[:, 0]))
    names = [f"p{i:02d}" for i in person]
    kind = np.where(random.random(len(person)) < 0.8, person % 2, 1 - person % 2)
    return Answers.of(left, right, won.astype(float), names, prompt=np.eye(2)[kind])


@pytest.fixture(scope="module", params=list(QUICK))
def fitted(request: Any) -> tuple[str, Population, Answers]:
    answers = opposite(12, 30)
    return request.param, build(answers, request.param, 2, QUICK[request.param]).fit(answers), answers


def test_all_kinds_are_tried() -> None:
    assert set(QUICK) | {"multi-objective"} == set(KINDS)


def test_every_population_is_fitted_and_foretells(fitted: tuple[str, Population, Answers]) -> None:
    name, model, answers = fitted
    assert model.people_ == answers.people
    assert model.weights_.shape == (12, model.scorer.groups)
    assert model.weights("p03") == pytest.approx(model.weights_[3])
    assert model.accuracy(answers) > 0.8, name
    assert model.log_loss(answers) == pytest.approx(np.mean(model.log_losses(answers)))
    three = model.predict_proba(answers, outcomes=True)
    assert three.sum(1) == pytest.approx(1, abs=1e-6)
    assert (three[:, 1] == 0).all()
    assert model.predict_proba(answers) == pytest.approx(three[:, 0])
    # The same margins whatever people a table holds, and by name.
    alone = answers.take(answers.person == 3)
    assert model.margins(alone) == pytest.approx(model.margins(alone, "p03"), abs=1e-5)
    assert model.groups().table["people"].sum() == 12


def test_every_population_places_new_people_and_nothing_else_moves(fitted: tuple[str, Population, Answers]) -> None:
    _, model, _ = fitted
    new, test = (opposite(6, each, seed, first=50) for each, seed in ((15, 1), (60, 2)))
    before = {name: value.clone() for name, value in model.scorer.state_dict().items()}
    weights, people = model.weights_.copy(), model.people_
    found = model.localise(new)
    after = model.scorer.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert np.array_equal(model.weights_, weights)
    assert model.people_ == people
    assert found.weights.shape == (6, weights.shape[1])
    assert found.covariance.shape == (6, weights.shape[1], weights.shape[1])
    assert model.accuracy(test, found.weights) > model.accuracy(test) + 0.15
    nobody = Answers.of(np.zeros((0, 3)), np.zeros((0, 3)), [], [], people=["ann"], prompt=np.zeros((0, 2)))
    told = opposite(1, 20, seed=3)
    assert np.trace(model.localise(told).covariance[0]) <= np.trace(model.localise(nobody).covariance[0]) + 1e-9


def test_whatever_is_asked_of_a_population_it_stays_the_same_to_the_last_bit(
    fitted: tuple[str, Population, Answers], tmp_path: Path
) -> None:
    """Scores, weights and everything else learnt: what is saved before and after is the same, byte by byte."""
    _, model, answers = fitted
    new = opposite(4, 25, seed=5, first=50)

    def saved(name: str) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in sorted(model.save(tmp_path / name).iterdir())}

    before = saved("before")
    found = model.localise(new)
    again = model.localise(new)
    assert np.array_equal(found.weights, again.weights)
    assert np.array_equal(found.covariance, again.covariance)
    model.next_question(new.take(new.person == 0), answers.take(np.arange(9)))
    model.export(found.weights[0]).of(answers.items[:3], None if answers.prompts is None else answers.prompts[:3])
    model.sample_people(5)
    model.log_loss(new, found.weights)
    assert saved("after") == before


def test_every_population_says_how_unsure_it_is_of_somebody_new(fitted: tuple[str, Population, Answers]) -> None:
    _, model, _ = fitted
    new = opposite(12, 20, seed=6, first=50)
    place = np.tile(np.arange(20), 12)
    unsure = []
    for often in (1, 5, 20):
        found = model.localise(new.take(np.flatnonzero(place < often)))
        assert np.isfinite(found.errors).all()
        assert np.allclose(found.covariance, found.covariance.transpose(0, 2, 1), atol=1e-9)
        assert np.linalg.eigvalsh(found.covariance).min() > -1e-9
        if model.simplex:
            assert found.weights.sum(1) == pytest.approx(1)
            assert found.covariance.sum(2) == pytest.approx(0, abs=1e-6)
        unsure.append(np.trace(found.covariance, axis1=1, axis2=2).mean())
    assert unsure[0] > 1e-4
    assert unsure[2] < unsure[0]


def test_every_population_can_draw_people(fitted: tuple[str, Population, Answers]) -> None:
    _, model, answers = fitted
    drawn = model.sample_people(400, seed=1)
    assert np.array_equal(drawn, model.sample_people(400, seed=1))
    assert not np.array_equal(drawn, model.sample_people(400, seed=2))
    assert (np.abs(drawn.mean(0) - model._mean().numpy()) < 0.2 * drawn.std(0) + 0.1).all()
    # Half of them like the first feature, half do not.
    one = answers.take([int((answers.items[answers.left] - answers.items[answers.right])[:, 0].argmax())])
    likes = np.array([model.predict_proba(one, weights)[0] > 0.5 for weights in drawn[:100]])
    assert 0.25 < likes.mean() < 0.75


def test_every_population_is_saved_and_loaded(fitted: tuple[str, Population, Answers], tmp_path: Path) -> None:
    _, model, answers = fitted
    again = Population.load(model.save(tmp_path / "model"))
    assert type(again) is type(model)
    assert np.array_equal(again.margins(answers), model.margins(answers))
    assert np.array_equal(again.sample_people(9), model.sample_people(9))
    assert np.array_equal(again.localise(answers).weights, model.localise(answers).weights)
    assert again.settings == model.settings
    assert again.loss_ == model.loss_
    wrong = MixtureModel if isinstance(model, PreferenceModel) else PreferenceModel
    with pytest.raises(OptionError, match="load of any kind"):
        wrong.load(tmp_path / "model")


def test_every_population_gives_rewards(fitted: tuple[str, Population, Answers]) -> None:
    _, model, answers = fitted
    for person in (0, 1):
        rows = answers.take(answers.person == person)
        reward = model.export(answers.people[person])
        left, right = (reward.of(rows.items[side], rows.prompt_features) for side in (rows.left, rows.right))
        assert np.mean(((left - right) > 0).numpy() == (rows.probability > 0.5).numpy()) > 0.8
    with pytest.raises(OptionError, match="'ann' did not answer"):
        model.export("ann")
    with pytest.raises(OptionError, match="there is no group 99"):
        model.export(99)


def test_every_population_asks_what_tells_most(fitted: tuple[str, Population, Answers]) -> None:
    _, model, answers = fitted
    candidates = Answers.of(
        [[2.0, 0, 0], [0, 0.1, 0], [0, 0, 0]],
        [[-2.0, 0, 0], [0, -0.1, 0], [0, 0, 0]],
        [1, 1, 1],
        prompt=np.ones((3, 2)),
    )
    asked = model.next_question(None, candidates)
    assert asked.row == 0
    assert asked.gain[2] == pytest.approx(0, abs=1e-6)
    # What is known of somebody leaves less to ask.
    assert model.next_question(answers.take(answers.person == 2), candidates).gain[0] < asked.gain[0]
    with pytest.raises(OptionError, match="several people"):
        model.next_question(answers, candidates)
    with pytest.raises(OptionError, match="give their answers so far"):
        model.next_question("p02", candidates)
    with pytest.raises(OptionError, match="no candidates"):
        model.next_question(None, candidates.take(np.arange(0)))


def test_questions_that_tell_most_beat_random_ones() -> None:
    random = np.random.default_rng(0)
    directions = np.linalg.qr(random.normal(size=(6, 3)))[0].T * 4

    def answers(weights: np.ndarray, each: int) -> Answers:
        person = np.repeat(np.arange(len(weights)), each)
        left, right = random.normal(size=(2, len(person), 6))
        won = ((left - right) * (weights[person] @ directions)).sum(1) > 0
        return Answers.of(left, right, won.astype(float), [f"p{i:03d}" for i in person])

    model = PreferenceModel(LowRank(6, 3), epochs=30, lr=0.05).fit(answers(random.dirichlet(np.full(3, 0.3), 60), 50))
    new = random.dirichlet(np.full(3, 0.3), 30)
    pool, test = answers(new, 60), answers(new, 100)
    reached: dict[str, list[float]] = {"asked": [], "random": []}
    for person in range(len(new)):
        rows = np.flatnonzero(pool.person.numpy() == person)
        asked: list[int] = []
        for _ in range(4):
            left = np.setdiff1d(rows, asked)
            so_far = pool.take(asked) if asked else None
            asked.append(int(left[model.next_question(so_far, pool.take(left)).row]))
        held = test.take(test.person == person)
        for how, taken in (("asked", asked), ("random", list(rows[:4]))):
            reached[how].append(model.accuracy(held, model.alike(pool.take(taken)).weights))
    assert np.mean(reached["asked"]) > np.mean(reached["random"]) + 0.02


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), people=st.integers(1, 6))
def test_gain_is_entropy_of_the_answer_less_what_remains(seed: int, people: int) -> None:
    random = np.random.default_rng(seed)
    outcomes = random.dirichlet(np.ones(3), size=(4, people))
    chance = random.dirichlet(np.ones(people))
    found = gains(outcomes, chance)
    for at, question in enumerate(outcomes):
        joint = chance[:, None] * question
        both = entr(chance).sum() + entr(joint.sum(0)).sum() - entr(joint).sum()
        assert found[at] == pytest.approx(max(both, 0), abs=1e-9)
    assert (found <= entr(chance).sum() + 1e-9).all()


def test_weights_of_few_answers_are_those_of_people_alike_and_of_many_the_best() -> None:
    answers = opposite(12, 30)
    model = PreferenceModel(LowRank(3, 2), epochs=20, batch=64, lr=0.05).fit(answers)
    # p00 gives 5 answers and p01 all 30.
    rows = np.concatenate(
        [np.flatnonzero(answers.person.numpy() == 0)[:5], np.flatnonzero(answers.person.numpy() == 1)]
    )
    some = answers.take(rows)
    found = model.localise(some)
    assert found.weights[0] == pytest.approx(model.alike(some).weights[0], abs=1e-12)
    assert found.covariance[0] == pytest.approx(model.alike(some).covariance[0], abs=1e-12)
    assert np.array_equal(found.weights[1], model.localise(some, prior="people").weights[1])
    # Who gave none lies where the people seen are.
    assert found.weights[2] == pytest.approx(model.weights_.mean(0), abs=1e-6)


def test_ties_have_a_chance_of_their_own() -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(2, 4000, 2))
    z = 2 * (left - right)[:, 0]
    odds = np.stack([np.exp(z / 2), np.full(len(z), 1.5), np.exp(-z / 2)], axis=1)
    chance = odds / odds.sum(1, keepdims=True)
    drawn = (random.random((len(z), 1)) > chance.cumsum(1)).sum(1)
    answers = Answers.of(left, right, np.array([1.0, 0.5, 0.0])[drawn])
    model = PreferenceModel(LowRank(2, 1), loss="davidson", epochs=60, lr=0.05).fit(answers)
    assert float(np.exp(model.log_nu_)) == pytest.approx(1.5, rel=0.12)
    assert np.abs(model.predict_proba(answers, outcomes=True) - chance).max() < 0.05
    # Half a win for a tie flattens the scores; ties of their own do not.
    halves = PreferenceModel(LowRank(2, 1), epochs=60, lr=0.05).fit(answers)
    slope = [m.export().of(torch.tensor([[1.0, 0.0]])).item() for m in (model, halves)]
    assert slope[0] == pytest.approx(2, rel=0.1)
    assert slope[1] < slope[0] - 0.3
    assert model.log_loss(answers) == pytest.approx(-np.log(chance[np.arange(len(z)), drawn]).mean(), abs=0.01)
    with pytest.raises(FeedbackError, match="needs ties"):
        PreferenceModel(LowRank(2, 1), loss="davidson").fit(answers.take(answers.probability != 0.5))


@pytest.mark.parametrize(("distance", "bar"), [("squared", 0.9), ("euclid", 0.9), ("cosine", 0.6)])
@pytest.mark.parametrize("loss", ["hinge", "smooth-hinge"])
def test_pal_losses_learn_opposite_tastes(distance: Any, bar: float, loss: str) -> None:
    """Where one group reaches 0.49 to 0.58; a sign error would end below that."""
    answers = opposite(12, 30)
    score = IdealPoint(3, 2, distance=distance, projector="linear", width=2)
    assert PreferenceModel(score, loss=loss, epochs=30, batch=60, lr=0.05).fit(answers).accuracy(answers) > bar


def test_smooth_hinge_is_the_hinge_as_its_corner_narrows() -> None:
    z = np.linspace(-8, 3, 500)
    assert smooth_hinge(z, width=1e-9) == pytest.approx(hinge(z), abs=1e-9)
    # Value and slope meet where the parts join.
    for edge in (1.0, -4.0):
        below, above = smooth_hinge(np.array([edge - 1e-6, edge + 1e-6]))
        assert below == pytest.approx(above, abs=3e-6)
    slope = np.diff(smooth_hinge(z)) / np.diff(z)
    assert (np.diff(slope) > -1e-9).all()
    assert slope[0] == pytest.approx(-1)


def test_a_penalty_of_the_norm_holds_what_is_wished_for_within_its_bound() -> None:
    answers = opposite(12, 30)

    def furthest(penalty: float) -> float:
        model = PreferenceModel(
            IdealPoint(3, 2, mixing="Pw", distance="squared", projector="linear"),
            epochs=40,
            lr=0.1,
            norm_penalty=penalty,
            norm_bound=1.0,
        ).fit(answers)
        return float(model.scorer.wish(model._weights, None).norm(dim=-1).max())

    assert furthest(0.0) > 1.5
    assert furthest(10.0) < 1.1


@pytest.mark.parametrize("population", ["hierarchical", "mixture"])
def test_how_plural_answers_are_is_measured_for_other_populations_too(population: str) -> None:
    model = fit(opposite(12, 30), population, range(1, 4), null=4, **QUICK[population])
    found = model.plurality_
    assert found is not None
    assert found.groups == ([1, 2] if population == "hierarchical" else [1, 2, 3])
    assert found.chosen == 2
    assert found.low is not None
    assert found.low > 0
    assert found.p == pytest.approx(0.2)


def test_multi_objective_is_one_crowd(tmp_path: Path) -> None:
    answers = opposite(4, 20)
    model = fit(answers, "multi-objective", range(1, 4), steps=20)
    assert model.plurality_ is None
    assert model.localise(answers).weights.tolist() == [[1.0]] * 4
    assert model.sample_people(3).tolist() == [[1.0]] * 3
    again = Population.load(model.save(tmp_path))
    assert np.array_equal(again.margins(answers), model.margins(answers))
    assert model.next_question(None, answers).gain == pytest.approx(0, abs=1e-12)
    assert (model.localise(answers).covariance == 0).all()


def test_a_population_that_reads_prompts_says_so() -> None:
    answers = opposite(4, 5)
    without = Answers.of(*answers.features, answers.probability, [answers.people[i] for i in answers.person])
    with pytest.raises(OptionError, match="reads prompts"):
        fit(without, "two-tower", 2)
    assert isinstance(fit(answers, "two-tower", 1, epochs=1).scorer, TwoTower)
