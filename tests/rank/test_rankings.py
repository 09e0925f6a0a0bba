"""Rankings from files, frames, lists, votes and the record."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pluralign
from pluralign.errors import FeedbackError, OptionError
from pluralign.rank import Votes
from pluralign.rank.rankings import Rankings


def test_lists_hold_ties_and_numbers_in_order():
    rankings = Rankings.of([[10, 2, [3, 1]], [2, 10]])
    assert rankings.items == ["1", "2", "3", "10"]
    assert rankings.names(0) == [["10"], ["2"], ["1", "3"]]
    assert rankings.lengths.tolist() == [4, 2]


def test_matrix_counts_who_stands_above_whom():
    rankings = Rankings.of([["a", ["b", "c"], "d"], ["d", "a"]])
    expected = np.zeros((4, 4))
    expected[0, [1, 2, 3]] = expected[1, 3] = expected[2, 3] = expected[3, 0] = 1
    assert np.array_equal(rankings.matrix(), expected)
    upper, lower, _ = rankings.above(everything=False)
    assert sorted(zip(upper.tolist(), lower.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 3), (2, 3), (3, 0)]


@given(st.lists(st.permutations(range(5)).flatmap(lambda p: st.integers(2, 5).map(lambda k: p[:k])), min_size=1))
def test_matrix_agrees_with_a_loop(rows):
    rankings = Rankings.of(rows)
    expected = np.zeros((5, 5))
    for row in rows:
        for a in range(len(row)):
            for b in range(a + 1, len(row)):
                expected[row[a], row[b]] += 1
    used = [int(item) for item in rankings.items]
    assert np.array_equal(rankings.matrix(), expected[np.ix_(used, used)])


def test_a_selection_keeps_items_and_annotators():
    frame = pl.DataFrame(
        {
            "ranking": [7, 7, 9, 9, 9],
            "item": ["x", "y", "y", "z", "x"],
            "rank": [1, 2, 1, 2, 2],
            "annotator": ["u", "u", "v", "v", "v"],
            "weight": [2, 2, 3, 3, 3],
        }
    )
    rankings = Rankings.of(frame)
    assert rankings.weights.tolist() == [2, 3]
    second = rankings.where([False, True])
    assert (second.n, second.names(0)) == (3, [["y"], ["x", "z"]])
    assert second.annotators[second.annotator[0]] == "v"


def test_unranked_items_are_absent_unless_told_otherwise():
    frame = pl.DataFrame({"a": [1, 2], "b": [2, 1], "c": [None, 3]})
    assert Rankings.of(frame).names(0) == [["a"], ["b"]]
    below = Rankings.of(frame, unranked="below")
    assert below.names(0) == [["a"], ["b"], ["c"]]
    assert below.unranked_below.tolist() == [True, False]


def test_a_choice_leaves_the_rest_below():
    row = {"prompt": "?", "responses": ["x", "y", "z"], "ranks": [None, 1, None], "unranked_below": True}
    judgement = pluralign.feedback.Judgement(
        responses=tuple(pluralign.feedback.Response(model=m) for m in row["responses"]),
        ranks=(None, 1, None),
        unranked_below=True,
    )
    rankings = Rankings.of(pluralign.feedback.Feedback.from_judgements([judgement]))
    assert rankings.names(0) == [["y"], ["x", "z"]]
    assert rankings.unranked_below.tolist() == [True]


def test_votes_are_rankings_of_two():
    votes = Votes.of({"left": ["a", "b", "a"], "right": ["b", "c", "c"], "label": ["right", "tie", "both_bad"]})
    rankings = Rankings.of(votes)
    assert [rankings.names(r) for r in range(2)] == [[["b"], ["a"]], [["b", "c"]]]
    assert rankings.dropped == {"both-bad": 1}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([["a", "b", "a"]], "'a' is in it twice"),
        ([["a"], ["b"]], "two items or more"),
        (pl.DataFrame({"a": [4.5, 3.0], "b": [2.0, 5.0]}), "1 for the best"),
        (pl.DataFrame({"ranking": [1, 1], "item": ["a", "b"], "rank": ["x", "y"]}), "places belong"),
        (pl.DataFrame({"ranking": [1, None], "item": ["a", "b"], "rank": [1, 2]}), "row 2 lacks"),
        (pl.DataFrame({"ranking": [1, 1], "item": ["a", "b"], "rank": [1, 2], "weight": [-1, -1]}), "no weight"),
        ([[0.5, 1.5]], "neither"),
    ],
)
def test_what_is_no_ranking_is_said_in_a_sentence(data, message):
    with pytest.raises(FeedbackError, match=message):
        Rankings.of(data)


def test_unknown_words_for_the_unranked():
    with pytest.raises(OptionError, match="below"):
        Rankings.of([["a", "b"]], unranked="last")


@pytest.mark.parametrize(
    ("name", "people", "items"),
    [
        ("00014-00000001.soc", 5000, 10),
        ("sushi_rankings.csv", 5000, 10),
        ("00006-00000013.toc", 9, 29),
        ("00032-00000006.toi", 15, 32),
    ],
)
def test_files_read_straight_agree_with_the_record(shared_data, name, people, items):
    path = shared_data / "preflib" / name
    rankings = Rankings.of(path)
    assert (rankings.weights.sum(), rankings.n) == (people, items)
    # PrefLib files of thousands of orders take the record seconds.
    if len(rankings) < 100:
        by_record = Rankings.of(pluralign.read(path)).renumbered(rankings.items)
        assert np.array_equal(by_record.matrix(), rankings.matrix())


def test_bullet_votes_say_nothing_or_put_the_others_below(shared_data):
    path = shared_data / "preflib" / "00028-00000001.soi"
    absent = Rankings.of(path)
    assert (absent.weights.sum(), absent.dropped) == (14_980, {"fewer-than-two-items": 5})
    below = Rankings.of(path, unranked="below")
    assert (below.weights.sum(), len(below.dropped)) == (18_723, 0)


def test_a_damaged_line_is_counted(tmp_path):
    path = tmp_path / "x.soc"
    path.write_text(
        "# NUMBER ALTERNATIVES: 2\n# ALTERNATIVE NAME 1: a\n# ALTERNATIVE NAME 2: b\n3: 1,2\n1: 2,5\n2: 2,1\n"
    )
    rankings = Rankings.of(path)
    assert rankings.weights.tolist() == [3, 2]
    assert rankings.dropped == {"unknown-item": 1}
