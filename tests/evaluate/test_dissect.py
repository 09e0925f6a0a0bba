"""Weights of properties that differ together, and whether a judge knows its own."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from pluralign.errors import PluralignError
from pluralign.evaluate.dissect import _potential, dissect, introspection
from pluralign.models import Answers, Compositional

NAMES = [f"p{i}" for i in range(12)]
QUICK = {"draws": 300, "warmup": 100}


def _judged(seed: int, n: int, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.choice([-1.0, 0.0, 1.0], (n, len(weights)))
    return x, np.where(random.random(n) < expit(x @ weights), 1.0, -1.0)


def test_planted_weights_are_recovered_and_swapping_the_sides_changes_nothing() -> None:
    weights = np.random.default_rng(0).normal(size=12)
    x, said = _judged(1, 2000, weights)
    found = dissect(x, said, NAMES, **QUICK)
    assert np.corrcoef(found.draws.mean(0), weights)[0, 1] > 0.95
    swapped = dissect(-x, -said, NAMES, **QUICK)
    assert np.array_equal(swapped.draws, found.draws)
    assert found.chance(x) == pytest.approx(1 - found.chance(-x))
    assert found.chance(np.zeros((1, 12)))[0] == 0.5
    assert found.r_hat.max() < 1.05


def test_the_chance_that_one_property_wins_is_near_the_truth_at_five_thousand_pairs() -> None:
    weights = np.array([1.0, 0.5, 0.0, -0.5, -1.0])
    x, said = _judged(2, 5000, weights)
    table = dissect(x, said, NAMES[:5], **QUICK).table.sort("property")
    assert table["preferred"].to_numpy() == pytest.approx(expit(weights), abs=0.05)
    assert (table["low"].to_numpy() < weights + 0.1).all()
    assert (table["high"].to_numpy() > weights - 0.1).all()


def test_the_draws_are_those_of_the_posterior() -> None:
    """Against sums over a grid, where prior and data weigh about the same and the kink of the prior shows."""
    x, said = _judged(3, 60, np.array([0.5, 0.0]))
    draws = dissect(x, said, ["a", "b"], draws=4000).draws
    grid = np.linspace(-1, 1.5, 501)
    w = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    log = -_potential(w, x * said[:, None], np.ones(60), 0.1)
    mass = np.exp(log - log.max())
    mass /= mass.sum()
    mean = mass @ w
    spread = np.sqrt(mass @ (w - mean) ** 2)
    assert draws.mean(0) == pytest.approx(mean, abs=0.006)
    assert draws.std(0) == pytest.approx(spread, rel=0.05)


def test_the_mode_of_the_posterior_is_the_l1_regression_with_c_the_scale() -> None:
    x, said = _judged(4, 300, np.array([1.5, 0.2, 0.0, -1.0]))
    x = x[x.any(1)]
    said = said[: len(x)]
    answers = Answers.of(x, np.zeros_like(x), (said > 0).astype(float))
    model = Compositional(penalty="l1", strengths=[0.1])
    model.fit(answers)
    model.scale_ = np.ones(4)
    mode = model._weights(x, (said > 0).astype(float), np.ones(len(x)), 0.1)
    signed, count = x * said[:, None], np.ones(len(x))
    best = minimize(lambda w: float(_potential(w, signed, count, 0.1)), mode, method="Nelder-Mead").fun
    assert float(_potential(mode, signed, count, 0.1)) == pytest.approx(best, abs=1e-4)


def test_properties_that_are_made_of_each_other_are_said_to_be_inseparable() -> None:
    x, said = _judged(5, 500, np.array([1.0, 0.5, 0.0]))
    twin = np.hstack([x, x[:, :1]])
    table = dissect(twin, said, ["a", "b", "c", "a again"], **QUICK).table
    inseparable = set(table.filter(~table["separable"])["property"])
    assert inseparable == {"a", "a again"}


def test_judges_are_as_alike_as_their_weights() -> None:
    weights = np.random.default_rng(6).normal(size=12)
    seeds = ((7, weights), (8, weights), (9, -weights))
    one, other, opposite = (dissect(*_judged(seed, 1500, w), NAMES, **QUICK) for seed, w in seeds)
    assert one.similarity(other).low > 0.8
    assert one.similarity(opposite).high < -0.8
    with pytest.raises(PluralignError, match="different properties"):
        one.similarity(dissect(*_judged(7, 100, weights[:2]), NAMES[:2], **QUICK))


def test_a_truthful_reporter_is_told_from_one_at_random() -> None:
    random, covered = np.random.default_rng(10), 0
    for trial in range(20):
        weights = random.normal(size=8)
        x, said = _judged(20 + trial, 2000, weights)
        truthful = introspection(weights * 3 + random.normal(0, 0.05, 8), x, said, NAMES[:8], permutations=199)
        assert truthful["value"] > 0.95
        assert truthful["p"] == pytest.approx(0.005)
        assert truthful["ceiling"] > 0.95
        at_random = introspection(random.normal(size=8), x, said, NAMES[:8], permutations=199)
        covered += at_random["low"] < 0 < at_random["high"]
    assert covered >= 16


def test_few_choices_have_a_low_ceiling() -> None:
    weights = np.random.default_rng(11).normal(0, 0.3, 8)
    assert introspection(weights, *_judged(12, 30, weights), NAMES[:8], permutations=9)["ceiling"] < 0.9


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: dissect([[1.0]], [0.0], ["a"]), "not all ties"),
        (lambda: dissect([[1.0]], [1.0], ["a", "b"]), "2 names"),
        (lambda: dissect([[1.0]], [1.0], ["a"], scale=0), "above zero"),
        (lambda: introspection([1.0], [[1.0]] * 4, [1.0] * 4, ["a"]), "not all the same"),
        (lambda: introspection([1.0, 2.0], [[1.0, 0.0]] * 4, [0.0] * 4, ["a", "b"]), "four that choose"),
    ],
)
def test_what_does_not_fit_is_said(call: object, says: str) -> None:
    with pytest.raises(PluralignError, match=says):
        call()  # type: ignore[operator]
