"""UltraFeedback as pairs: the two published rules, seeded and recorded."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pluralign
from pluralign.errors import FeedbackError
from pluralign.feedback import Feedback, Judgement, Response, text

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")


def completion(model, overall, aspects, words=None):
    return {
        "model": model, "response": words or f"says {model}", "overall_score": overall,
        "fine-grained_score": sum(aspects) / 4,
        "annotations": {a: {"Rating": str(r), "Rationale": "."} for a, r in zip(ASPECTS, aspects, strict=True)},
    }  # fmt: skip


def raw(number, overall, source="evol_instruct", aspects=None):
    aspects = aspects or [[max(1, min(5, round(o / 2)))] * 4 for o in overall]
    return {
        "source": source, "instruction": f"do {number}", "models": list("abcd"), "correct_answers": ["None"],
        "incorrect_answers": ["None"],
        "completions": [completion(m, o, a) for m, o, a in zip("abcd", overall, aspects, strict=True)],
    }  # fmt: skip


def names(feedback):
    return [tuple(r.model for r in j.responses) for j in feedback]


def test_the_best_overall_is_chosen_and_the_other_is_drawn_from_the_rest():
    rows = pluralign.read([raw(i, [3, 8, 5, 6]) for i in range(600)])
    pairs = rows.binarized(seed=42)
    assert {chosen for chosen, _ in names(pairs)} == {"b"}
    drawn = Counter(rejected for _, rejected in names(pairs))
    assert set(drawn) == {"a", "c", "d"}
    assert min(drawn.values()) > 150, "each about one time in three"
    assert [j.ranks for j in pairs] == [(1, 2)] * 600
    assert pairs[0].responses[0].ratings["score"] == 8
    assert pairs.history[-1]["conversion"] == "binarized"
    assert pairs.history[-1]["options"] == {"aspect": "overall", "seed": 42}


def test_the_draw_is_reproducible_and_does_not_depend_on_the_order_of_rows():
    rows = [raw(i, [3, 8, 5, 6]) for i in range(50)]
    first = pluralign.read(rows).binarized(seed=1)
    assert names(first) == names(pluralign.read(rows).binarized(seed=1))
    assert names(first) == names(pluralign.read(rows[::-1]).binarized(seed=1))[::-1]
    assert names(first) != names(pluralign.read(rows).binarized(seed=2))
    assert first.fingerprint == pluralign.read(rows).binarized(seed=1).fingerprint


def test_equal_scores_are_reported_and_never_a_preference():
    rows = pluralign.read([raw(i, [7, 7, 7, 7]) for i in range(3)])
    for aspect in ("overall", "mean"):
        assert rows.binarized(aspect=aspect).history[-1]["left_out"] == {"equal scores": 3}
    half = pluralign.read([raw(i, [7, 7, 1, 1]) for i in range(100)])
    by_overall, by_mean = half.binarized(), half.binarized(aspect="mean")
    assert 15 < by_overall.history[-1]["left_out"]["equal scores"] < 55, "one draw in three falls on an equal score"
    assert len(by_mean) == 100, "the cleaned rule draws among the lower only"
    assert {chosen for chosen, _ in names(by_mean)} == {"a"}
    assert "a" not in {rejected for _, rejected in names(by_mean)}


def test_a_ten_beside_bad_aspects_reads_as_one_and_truthful_qa_is_left_out():
    bad = [[1, 1, 2, 1], [4] * 4, [3] * 4, [2] * 4]
    rows = [raw(0, [10, 8, 5, 6], aspects=bad), raw(1, [3, 8, 5, 6], source="truthful_qa")]
    pairs = pluralign.read(rows).binarized()
    assert [chosen for chosen, _ in names(pairs)] == ["b"]
    assert pairs.history[-1]["left_out"] == {"from a set that models are tested on": 1}
    assert pairs.history[-1]["rows_in"] == 2


@given(st.lists(st.integers(1, 10), min_size=2, max_size=6), st.integers(0, 99))
def test_the_preferred_one_is_always_rated_highest(scores, seed):
    responses = tuple(Response(text(f"t{i}"), model=str(i), ratings={"r": float(s)}) for i, s in enumerate(scores))
    pairs = Feedback.from_judgements([Judgement(text("p"), responses)]).binarized(aspect="r", seed=seed)
    for j in pairs:
        chosen, rejected = (r.ratings["r"] for r in j.responses)
        assert chosen == max(scores) > rejected
    assert len(pairs) + sum(pairs.history[-1]["left_out"].values()) == 1


def test_a_rating_that_nobody_gave_is_named():
    with pytest.raises(FeedbackError, match="no response has a rating 'style' to binarize by; the ratings are fine-gr"):
        pluralign.read([raw(0, [3, 8, 5, 6])]).binarized(aspect="style")
