"""Alpha of four metrics against the card and its definition; how far agreement could go."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluralign.errors import OptionError
from pluralign.feedback.audit.agreement import ceiling, krippendorff, krippendorff_interval

from .test_annotators import EXAMPLE


@pytest.mark.parametrize(
    ("metric", "value"), [("nominal", 0.743421), ("ordinal", 0.815388), ("interval", 0.849107), ("ratio", 0.797403)]
)
def test_alpha_of_the_card(metric, value):
    units, labels = zip(*EXAMPLE, strict=True)
    assert krippendorff(units, labels, metric) == pytest.approx(value, abs=1e-6)
    low, high = krippendorff_interval(units, labels, metric)
    assert low < value < high


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 5)), min_size=2, max_size=40))
def test_alpha_by_its_definition(judgements):
    units, values = (np.array(x) for x in zip(*judgements, strict=True))
    groups = [g for u in set(units) if len(g := values[units == u]) > 1]
    kept = np.array([v for g in groups for v in g])
    count = np.array([(kept == v).sum() for v in range(7)])

    def ordinal(a, b):
        low, high = min(a, b), max(a, b)
        return float(count[low : high + 1].sum() - (count[low] + count[high]) / 2) ** 2 if a != b else 0.0

    for metric, distance in (("ordinal", ordinal), ("ratio", lambda a, b: ((a - b) / (a + b)) ** 2)):
        observed = sum(distance(a, b) / (len(g) - 1) for g in groups for a in g for b in g)
        expected = sum(distance(a, b) for a in kept for b in kept) / max(1, len(kept) - 1)
        ours = krippendorff(units, values, metric)
        assert np.isnan(ours) if expected == 0 else ours == pytest.approx(1 - observed / expected, abs=1e-9)


def test_no_rule_beats_the_ceiling():
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=(50, 3))
    units = np.repeat(np.arange(50), 3)
    best = ceiling(units, labels.ravel())
    for rule in (np.zeros(50), rng.integers(3, size=50), np.median(labels, axis=1)):
        assert (labels == rule[:, None]).mean() <= best
    assert np.isnan(ceiling([1, 2], ["a", "b"]))
    assert np.isnan(ceiling([], []))


def test_what_does_not_fit_is_said():
    with pytest.raises(OptionError, match="'cosine'"):
        krippendorff([1, 1], [1, 2], "cosine")
