"""Agreement: textbook values and the card's must-show lines; planted annotators are found."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluralign.feedback.audit import cohen, fleiss, krippendorff
from pluralign.feedback.audit.agreement import krippendorff_interval

from .build import audited, vote

# Krippendorff's own example (2011, "Computing Krippendorff's Alpha-Reliability", section C): 4 observers, 12 units.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
EXAMPLE = [(unit, value) for row in OBSERVERS for unit, value in enumerate(row) if value is not None]


def test_published_example():
    units, values = zip(*EXAMPLE, strict=True)
    assert krippendorff(units, values) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff(units, values, "interval") == pytest.approx(0.849, abs=5e-4)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), min_size=2, max_size=40))
def test_equals_the_coincidence_definition(judgements):
    units, values = (np.array(x) for x in zip(*judgements, strict=True))
    for metric, distance in (("nominal", lambda a, b: float(a != b)), ("interval", lambda a, b: float((a - b) ** 2))):
        groups = [g for u in set(units) if len(g := values[units == u]) > 1]
        kept = [v for g in groups for v in g]
        observed = sum(distance(a, b) / (len(g) - 1) for g in groups for a in g for b in g)
        expected = sum(distance(a, b) for a in kept for b in kept) / max(1, len(kept) - 1)
        ours = krippendorff(units, values, metric)
        assert np.isnan(ours) if expected == 0 else ours == pytest.approx(1 - observed / expected, abs=1e-9)


def test_perfect_independent_and_scott():
    rng = np.random.default_rng(0)
    n = 4000
    units = np.tile(np.arange(n), 2)
    first = rng.integers(0, 3, n)
    assert krippendorff(units, np.concatenate([first, first])) == 1
    second = rng.integers(0, 3, n)
    assert abs(krippendorff(units, np.concatenate([first, second]))) < 0.05
    mixed = np.where(rng.random(n) < 0.6, first, second)
    share = np.bincount(np.concatenate([first, mixed])) / (2 * n)
    chance = float((share**2).sum())
    scott = ((first == mixed).mean() - chance) / (1 - chance)
    assert krippendorff(units, np.concatenate([first, mixed])) == pytest.approx(scott, abs=1e-3)


def test_kappas_of_perfect_independent_and_constant_raters():
    rng = np.random.default_rng(3)
    n = 4000
    units = np.tile(np.arange(n), 2)
    first, second = rng.integers(0, 3, (2, n))
    for weights in (None, "linear", "quadratic"):
        assert cohen(first, first, weights) == 1
        assert abs(cohen(first, second, weights)) < 0.05
    assert fleiss(units, np.concatenate([first, first])) == 1
    assert abs(fleiss(units, np.concatenate([first, second]))) < 0.05
    assert cohen(first, np.zeros(n)) == pytest.approx(0, abs=1e-12)
    with pytest.warns(RuntimeWarning, match="all labels are equal"):
        assert cohen(np.zeros(n), np.zeros(n)) == 0
    with pytest.warns(RuntimeWarning, match="all labels are equal"):
        assert fleiss(units, np.zeros(2 * n)) == 0
    assert np.isnan(fleiss([1, 2], [0, 1]))
    with pytest.raises(ValueError, match="same things"):
        cohen([1, 2], [1])


def test_kappas_by_their_formulas():
    # Two readers of 50 proposals: both yes 20, only the first 5, only the second 10, both no 15.
    first, second = [1] * 25 + [0] * 25, [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert cohen(first, second) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    # Fleiss 1971: fourteen raters, ten subjects, five categories.
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    judged = [(unit, label) for unit, row in enumerate(table) for label, n in enumerate(row) for _ in range(n)]
    assert fleiss(*zip(*judged, strict=True)) == pytest.approx(0.210, abs=5e-4)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60))
def test_weighted_kappa_is_the_plain_double_sum(both):
    first, second = (np.array(x) for x in zip(*both, strict=True))
    labels = sorted({*first.tolist(), *second.tolist()})
    if len(labels) < 2:
        return
    for weights, power in (("linear", 1), ("quadratic", 2)):
        apart = [abs(labels.index(a) - labels.index(b)) ** power for a, b in both]
        chance = [abs(labels.index(a) - labels.index(b)) ** power for a in first for b in second]
        plain = 1 - np.mean(apart) / np.mean(chance) if np.mean(chance) else 0
        assert cohen(first, second, weights) == pytest.approx(plain, abs=1e-9)


def test_two_raters_without_gaps_give_alpha_and_both_kappas_nearly_alike_in_the_audit():
    rng = np.random.default_rng(5)
    rows = []
    for question in range(300):
        said = rng.random() < 0.5
        rows += [vote(question, said, "ada"), vote(question, said if rng.random() < 0.8 else not said, "ben")]
    finding = audited(rows)["agreement"]
    alpha, kappa = (float(x) for x in re.search(r"alpha is (\S+), Fleiss' kappa (\S+)\.", finding.message).groups())
    (row,) = finding.details[0].body
    assert finding.details[0].header[-1] == "Cohen's kappa"
    assert alpha == pytest.approx(float(row[-1]), abs=0.01)
    assert alpha == pytest.approx(kappa, abs=0.01)
    assert 0.4 < alpha < 0.8


def test_interval_holds_the_estimate_and_shrinks():
    rng = np.random.default_rng(1)

    def sample(n):
        truth = rng.integers(0, 2, n)
        noisy = np.where(rng.random(n) < 0.2, 1 - truth, truth)
        return np.tile(np.arange(n), 2), np.concatenate([truth, noisy])

    small, large = sample(100), sample(1000)
    low, high = krippendorff_interval(*small)
    assert low < krippendorff(*small) < high
    low_l, high_l = krippendorff_interval(*large)
    assert high_l - low_l < 0.6 * (high - low)


def test_planted_annotators_are_found_by_name():
    rng = np.random.default_rng(2)
    rows = []
    for q in range(120):
        truth = rng.random() < 0.5
        for who in ("ann", "ben", "cem", "dia"):
            rows.append(vote(q, truth if rng.random() < 0.9 else not truth, who))
        rows.append(vote(q, not truth, "contrary"))
        rows.append(vote(q, True, "constant"))
    report = audited(rows)
    assert {row[0] for row in report["dissenting-annotator"].details[0].body} >= {"contrary"}
    assert not {"ann", "ben", "cem", "dia"} & {row[0] for row in report["dissenting-annotator"].details[0].body}
    assert [row[0] for row in report["constant-annotator"].details[0].body] == ["constant"]
    assert len(report["constant-annotator"].rows) == 120
    assert report["agreement"].interval[0] < report["agreement"].rate < report["agreement"].interval[1]


def test_chosen_first_files_accuse_nobody():
    report = audited([vote(q, True, f"p{q % 3}") for q in range(90)])
    assert "constant-annotator" not in report


def test_coffee_like_single_question_does_not_accuse():
    rng = np.random.default_rng(3)
    report = audited([vote(0, bool(rng.random() < 0.5), f"p{i}") for i in range(400)])
    assert "dissenting-annotator" not in report
