"""Contradictions, cycles, ratings against choices, and the cards' must-show lines for them."""

import numpy as np
import polars as pl
import pytest

import pluralign
from pluralign.feedback.record import Judgement, Response, text

from .build import audited, match, pair, vote


def test_contradiction_by_one_annotator_and_disagreement_between_two():
    said = [
        (1, True, "ann"),
        (1, False, "ann"),
        (2, True, "ann"),
        (2, False, "ben"),
        (3, True, "ann"),
        (3, True, "ann"),
    ]
    rows = [vote(*one) for one in said]
    report = audited(rows)
    assert (report["contradiction"].n, report["contradiction"].of) == (1, 2)
    assert report["contradiction"].rows.tolist() == [0, 1]
    assert report["disagreement"].rows.tolist() == [2, 3]


def test_a_swapped_copy_with_the_other_winner_is_a_contradiction():
    rows = [pair("p", "yes", "no"), pair("p", "no", "yes"), pair("q", "yes", "no")]
    report = audited(rows)
    assert report["contradiction"].rows.tolist() == [0, 1]
    assert "duplicate-pair" not in report


def test_unnamed_votes_between_names_are_an_election_and_no_contradiction():
    assert "contradiction" not in audited([match("x", "y"), match("y", "x")])


def test_another_criterion_is_another_question():
    rows = [pair("p", "a", "b", criterion="helpful"), pair("p", "b", "a", criterion="harmless")]
    assert "contradiction" not in audited(rows)


@pytest.mark.parametrize("layout", ["strength", "probability"])
def test_direction_is_read_from_strength_and_soft_labels(layout):
    signs = {"strength": (2.0, -1.0), "probability": (0.9, 0.2)}[layout]
    rows = [pair("p", "a", "b", ranks=None, **{layout: s}) for s in signs]
    assert audited(rows)["contradiction"].n == 1


def test_planted_cycles_are_counted():
    def triad(q, ranks):
        sides = [("a", "b"), ("b", "c"), ("c", "a")]
        return [pair(q, x, y, ranks=r) for (x, y), r in zip(sides, ranks, strict=True)]

    cyclic = [j for q in range(5) for j in triad(f"c{q}", [(1, 2)] * 3)]
    straight = [j for q in range(15) for j in triad(f"s{q}", [(1, 2), (1, 2), (2, 1)])]
    found = audited(cyclic + straight)["cyclic-triad"]
    assert (found.n, found.of) == (5, 20)
    assert found.rows.tolist() == list(range(15))
    assert found.interval[0] < 0.25 < found.interval[1]


def test_coin_flips_cycle_at_the_chance_level_and_bradley_terry_as_theory_says():
    rng = np.random.default_rng(0)
    n = 40
    i, j = np.triu_indices(n, 1)

    def rate(probability):
        wins = rng.random(len(i)) < probability
        rows = [match(f"m{a}", f"m{b}", (1, 2) if w else (2, 1)) for a, b, w in zip(i, j, wins, strict=True)]
        return audited(rows)["cyclic-triad"].rate

    assert rate(np.full(len(i), 0.5)) == pytest.approx(0.25, abs=0.02)
    strength = rng.normal(0, 1.5, n)
    p = 1 / (1 + np.exp(strength[j] - strength[i]))
    full = np.zeros((n, n))
    full[i, j], full[j, i] = p, 1 - p
    around = [full[a, b] * full[b, c] * full[c, a] + full[b, a] * full[c, b] * full[a, c]
              for a in range(n) for b in range(a + 1, n) for c in range(b + 1, n)]  # fmt: skip
    assert rate(p) == pytest.approx(np.mean(around), abs=0.02)


def test_ties_both_bad_and_silence():
    rows = [match("a", "b", (1, 1)), match("a", "b", (1, 1), both_bad=True), match("a", "b"), match("a", "b", None)]
    report = audited(rows)
    assert report["tie"].rows.tolist() == [0]
    assert report["both-bad"].rows.tolist() == [1]
    assert report["no-judgement"].rows.tolist() == [3]


def test_equal_responses():
    rows = [pair("p", "same", "same"), pair("p", "two  words", "two words\n"), pair("p", "x", "y")]
    report = audited(rows)
    assert report["equal-responses"].rows.tolist() == [0]
    assert report["equal-but-blanks"].rows.tolist() == [1]


def test_ratings_against_choices_table():
    rng = np.random.default_rng(1)
    rows, contrary = [], []
    for n in range(300):
        a, b = rng.integers(1, 6, 2)
        rows.append(
            Judgement(
                text(f"p{n}"),
                (
                    Response(text("x"), ratings={"quality": float(a)}),
                    Response(text("y"), ratings={"quality": float(b)}),
                ),
                ranks=(1, 2),
            )
        )
        if a < b:
            contrary.append(n)
    found = audited(rows)["rating-against-choice"]
    assert found.rows.tolist() == contrary
    aspect, higher, equal, lower, against, of = found.details[0].body[0]
    assert (aspect, higher + equal + lower, lower, against, of) == ("quality", 300, len(contrary), len(contrary), 300)


def test_ratings_in_other_rows_of_the_same_person_only():
    rated = [
        Judgement(text("p"), (Response(text(t), ratings={"q": v}),), annotator="ann")
        for t, v in (("x", 1.0), ("y", 5.0))
    ]
    report = audited([*rated, pair("p", "x", "y", annotator="ann"), pair("p", "x", "y", annotator="ben")])
    assert report["rating-against-other-row"].rows.tolist() == [2]
    assert "rating-against-choice" not in report


def test_coffee_has_288_contradictions(shared_data):
    feedback = pluralign.read(shared_data / "coffee/coffee_survey.csv.gz")
    found = feedback.audit()["rating-against-choice"]
    assert found.n == len(found.rows) == 288
    raw = pl.read_csv(shared_data / "coffee/coffee_survey.csv.gz", null_values="NA", infer_schema_length=None)
    scores = raw.select(f"coffee_{c}_personal_preference" for c in "abcd").cast(pl.Float64).to_numpy()
    favourite = raw["prefer_overall"].replace_strict({f"Coffee {c}": i for i, c in enumerate("ABCD")}).to_numpy()
    plain = sum(
        not np.isnan(f) and scores[i, int(f)] < np.nanmax(scores[i]) for i, f in enumerate(favourite) if not np.isnan(f)
    )
    assert plain == 288
