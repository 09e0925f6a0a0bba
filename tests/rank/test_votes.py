"""Votes from tables, frames and feedback; what is not understood is an error and never a tie."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pluralign
from pluralign.errors import FeedbackError
from pluralign.feedback import Feedback, Judgement, Response, text
from pluralign.rank import BOTH_BAD, LEFT, RIGHT, TIE, Votes, scan


def test_common_column_names_and_verdicts_are_understood(tmp_path):
    said = {"left": LEFT, "model_b": RIGHT, "tie": TIE, "tie (bothbad)": BOTH_BAD, "x": LEFT, "y": RIGHT}
    for a, b, verdict in (
        ("model_a", "model_b", "winner"),
        ("left", "right", "label"),
        ("player1", "player2", "result"),
    ):
        frame = pl.DataFrame({a: ["x"] * 6, b: ["y"] * 6, verdict: list(said)})
        frame.write_csv(tmp_path / "votes.csv")
        for source in (
            frame,
            frame.to_dict(as_series=False),
            frame.to_pandas(),
            frame.to_arrow(),
            tmp_path / "votes.csv",
        ):
            votes = Votes.of(source)
            assert votes.items == ["x", "y"]
            assert votes.outcome.tolist() == list(said.values())


def test_scores_winners_workers_weights_and_times():
    table = {"home": ["a", "b"], "away": ["b", "c"], "home_score": [2, 1], "away_score": [1, 1]}
    votes = Votes.of(table | {"worker": ["u", "v"], "date": ["2020-01-01", "2020-01-03"], "weight": [1, 2]})
    assert votes.outcome.tolist() == [LEFT, TIE]
    assert [votes.annotators[i] for i in votes.annotator] == ["u", "v"]
    assert np.diff(votes.days).tolist() == [2.0]
    assert votes.weight.tolist() == [1.0, 2.0]
    assert Votes.of({"winner": ["a"], "loser": ["b"]}).outcome.tolist() == [LEFT]


def test_the_record_and_the_table_give_the_same_votes():
    rng = np.random.default_rng(0)
    names = np.array(["x", "y", "z"])
    left = rng.integers(3, size=60)
    right = (left + 1 + rng.integers(2, size=60)) % 3
    verdict = np.array(["model_a", "model_b", "tie", "both_bad"])[rng.integers(4, size=60)]
    rows = pl.DataFrame({"model_a": names[left], "model_b": names[right], "winner": verdict, "judge": ["u", "v"] * 30})
    direct, read = Votes.of(rows), Votes.of(pluralign.read(rows.to_dicts()))
    for name in ("items", "annotators"):
        assert list(getattr(direct, name)) == list(getattr(read, name))
    for name in ("left", "right", "outcome", "annotator"):
        assert getattr(direct, name).tolist() == getattr(read, name).tolist()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"left": ["a"], "right": ["b"], "label": ["gauche"]}, r"row 1, field 'label'.*'gauche'.*labels="),
        ({"left": ["a"], "right": ["b"], "label": ["1"]}, "'1'"),
        ({"left": ["a", "a"], "right": ["b", "b"], "label": ["left", "left"], "weight": [1, -1]}, "row 2.*weight"),
        ({"left": ["a"], "right": ["a"], "label": ["left"]}, "no row says"),
        ({"left": ["a"], "right": ["b"], "label": [None]}, "no row says"),
        ({"left": ["a"], "right": ["b"], "label": ["left"], "time": ["soon"]}, "'soon' is no time"),
    ],
)
def test_what_is_not_understood_is_one_sentence(table, message):
    with pytest.raises(FeedbackError, match=message):
        Votes.of(table)


def test_words_of_another_language_can_be_named():
    votes = Votes.of(
        {"left": ["a", "a"], "right": ["b", "b"], "label": ["gauche", "nul"]}, labels={"gauche": "left", "nul": "tie"}
    )
    assert votes.outcome.tolist() == [LEFT, TIE]


def test_empty_verdicts_are_dropped_and_counted():
    votes = Votes.of({"left": ["a", "a", "b"], "right": ["b", "b", "b"], "label": ["left", None, "left"]})
    assert len(votes) == 1
    assert votes.dropped == {"no-item-or-verdict": 1, "same-item-twice": 1}


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(1, 300), st.booleans(), st.integers(0, 2**31))
def test_counts_do_not_depend_on_how_they_are_counted(n, m, weighted, seed):
    rng = np.random.default_rng(seed)
    left = rng.integers(n, size=m).astype(np.int32)
    right = ((left + 1 + rng.integers(n - 1, size=m)) % n).astype(np.int32)
    outcome = rng.integers(4, size=m).astype(np.int8)
    weight = rng.random(m) + 0.5 if weighted else None
    votes = Votes([str(i) for i in range(n)], left, right, outcome, weight=weight)
    expected = np.zeros((n, n, 4))
    flip = np.where(outcome < 2, 1 - outcome, outcome)
    np.add.at(expected, (left, right, outcome), 1 if weight is None else weight)
    np.add.at(expected, (right, left, flip), 1 if weight is None else weight)
    counts = votes.counts()
    assert (counts.low < counts.high).all()
    assert len(np.unique(counts.low * n + counts.high)) == len(counts.low)
    assert np.allclose(counts.won, expected[counts.low, counts.high])
    swapped = Votes(votes.items, right, left, flip.astype(np.int8), weight=weight).counts()
    assert np.allclose(swapped.won, counts.won)
    sparse = Votes([str(i) for i in range(400)], left, right, outcome, weight=weight).counts()
    assert np.allclose(sparse.won, counts.won)


def test_nobody_is_at_home_on_neutral_ground():
    games = {"home_team": ["x", "y"], "away_team": ["y", "z"], "home_score": [1, 0], "away_score": [0, 0]}
    assert Votes.of(games).first is None
    for neutral in ([True, False], ["TRUE", "FALSE"], [1, 0]):
        assert Votes.of({**games, "neutral": neutral}).first.tolist() == [-1, 0]


def test_a_large_file_is_counted_as_it_streams_by(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    names = np.array(["a", "b", "c"])
    left = rng.integers(3, size=500)
    right = (left + 1 + rng.integers(2, size=500)) % 3
    verdict = np.array(["left", "right", "tie"])[rng.integers(3, size=500)]
    pl.DataFrame({"x": names[left], "right": names[right], "label": verdict}).write_parquet(tmp_path / "votes.parquet")
    whole = Votes.of(tmp_path / "votes.parquet", {"left": "x"})
    assert scan.scan(tmp_path / "votes.parquet", {"left": "x"}) is None
    monkeypatch.setattr(scan, "MANY", 100)
    streamed = scan.scan(tmp_path / "votes.parquet", {"left": "x"})
    assert len(streamed) == len({*zip(left, right, verdict, strict=True)})
    assert np.array_equal(streamed.counts().won, whole.counts().won)
    boards = [pluralign.rank(tmp_path / "votes.parquet", columns={"left": "x"}, cluster=None) for _ in range(2)]
    monkeypatch.setattr(scan, "MANY", 10_000)
    boards.append(pluralign.rank(tmp_path / "votes.parquet", columns={"left": "x"}))
    assert boards[0].table.equals(boards[2].table)


def test_a_vote_between_models_whose_texts_are_equal_is_kept():
    row = {"prompt": "p", "model_a": "x", "model_b": "y", "response_a": "yes", "response_b": "yes"}
    feedback = pluralign.read([{**row, "winner": "model_a"}, {**row, "response_b": "no", "winner": "model_b"}], "table")
    ratings = [Response(text("yes"), model=m, ratings={"r": v}) for m, v in (("x", 1.0), ("y", 2.0))]
    ranked = Feedback.from_judgements([*feedback, Judgement(responses=tuple(ratings))])
    assert len(Votes.of(feedback)) == 2
    assert len(Votes.of(ranked)) == 3
