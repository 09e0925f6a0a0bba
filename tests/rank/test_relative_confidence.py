"""Confidence from comparing answers: areas by hand, and a judge that is noisy, random or coarse."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.errors import OptionError
from pluralign.rank import BradleyTerry, matchups, relative_confidence, selective_auc
from pluralign.rank.relative_confidence import accuracy_by_coverage


def test_every_question_meets_as_many_others_once_in_both_orders():
    for n, each in ((5, 2), (5, 4), (12, 4), (31, 10), (30, 28)):
        names = [f"q{i}" for i in range(n)]
        asked = matchups(names, each, seed=n)
        pairs = list(asked.iter_rows())
        assert len(set(pairs)) == len(pairs) == n * each
        assert all((b, a) in set(pairs) for a, b in pairs)
        for name in names:
            assert sum(a == name for a, _ in pairs) == each
    assert matchups(names, 4, seed=1).equals(matchups(names, 4, seed=1))
    for each in (0, 3, 30):
        with pytest.raises(OptionError, match="an even number of others"):
            matchups(names, each)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=6))
def test_equal_confidence_is_averaged_over_all_orders(rows):
    sure, right = zip(*rows, strict=True)
    areas = []
    for order in itertools.permutations(range(len(rows))):
        if all(sure[a] >= sure[b] for a, b in itertools.pairwise(order)):
            hits = np.cumsum([right[k] for k in order])
            areas.append(np.mean(hits / np.arange(1, len(rows) + 1)))
    assert selective_auc(sure, right) == pytest.approx(np.mean(areas))
    assert accuracy_by_coverage(sure, right)[-1] == pytest.approx(np.mean(right))


def judged(belief, each, rng, noise=1.0):
    """Which of two answers a judge is surer of, with logistic noise, as votes."""
    asked = matchups([str(i) for i in range(len(belief))], each, seed=int(rng.integers(1 << 30)))
    left, right = (belief[asked[side].cast(int).to_numpy()] for side in ("left", "right"))
    said = rng.random(len(asked)) < 1 / (1 + np.exp(-(left - right) / noise))
    return asked.with_columns(winner=np.where(said, "left", "right"))


def test_comparing_beats_coarse_grades_and_approaches_the_oracle():
    rng = np.random.default_rng(0)
    n = 400
    belief = rng.normal(scale=2, size=n)
    correct = dict(enumerate(rng.random(n) < 1 / (1 + np.exp(-belief))))
    correct = {str(k): v for k, v in correct.items()}
    truth = list(correct.values())
    oracle, base = selective_auc(belief, truth), np.mean(truth)
    areas = []
    for each in (2, 6, 14, 40):
        confidence = relative_confidence(BradleyTerry(virtual=0.5).fit(judged(belief, each, rng)))
        areas.append(selective_auc(confidence, correct))
    gaps = oracle - np.array(areas)
    assert gaps[0] > gaps[1] > gaps[3] > -0.01
    assert gaps[3] < 0.01
    # A judge that grades each answer alone, in three steps or five and as noisily, says less.
    noisy = belief + rng.logistic(size=n)
    for steps in (3, 5):
        grades = np.digitize(noisy, np.quantile(noisy, np.arange(1, steps) / steps))
        assert selective_auc(grades, truth) < areas[2]
    # One that guesses tells nothing.
    random = [
        selective_auc(relative_confidence(BradleyTerry(virtual=0.5).fit(judged(0 * belief, 6, rng))), correct)
        for _ in range(10)
    ]
    assert np.mean(random) == pytest.approx(base, abs=0.02)
    assert oracle > base + 0.1


def test_confidence_is_a_place_and_joins_by_name():
    model = BradleyTerry()
    model.items_, model.scores_ = ["a", "b", "c", "d"], np.array([3.0, -1.0, 3.0, 0.0])
    found = relative_confidence(model)
    assert found == {"a": 0.75, "b": 0.125, "c": 0.75, "d": 0.375}
    assert selective_auc(found, {"a": 1, "b": 0, "c": 1, "d": 1}) == selective_auc([3, -1, 3, 0], [1, 0, 1, 1])
    with pytest.raises(OptionError, match="whether 'b' was answered"):
        selective_auc(found, {"a": 1})
    with pytest.raises(OptionError, match="none of them may be missing"):
        selective_auc([0.1, float("nan")], [1, 0])
