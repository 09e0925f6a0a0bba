"""Leaderboards of rankings and of people: the same board, by models of their own, from Python and the command line."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.errors import FeedbackError, OptionError
from pluralign.rank import BradleyTerry, Mallows, PlackettLuce, Rankings, rank
from pluralign.rank.people import as_votes
from tests.rank.golden import G4, g1
from tests.rank.test_crowd import alone, poll
from tests.rank.test_mixture import orders

ELO = 400 / np.log(10)


def test_plackett_luce_boards():
    board = rank(G4, "plackett-luce")
    model = PlackettLuce().fit(G4)
    table = board.table.sort("item")
    assert table["rating"].to_numpy() == pytest.approx(1000 + ELO * model.scores_)
    half = 1.959964 * ELO * np.sqrt(np.diag(model.covariance("sandwich")))
    assert (table["high"] - table["low"]).to_numpy() / 2 == pytest.approx(half, rel=1e-6)
    # Six pairs of four items twice, three of three items five times, and one of two.
    assert table["votes"].sum() == 2 * (2 * 6 + 5 * 3 + 1)
    assert any("8 rankings of 3.1 items" in note for note in board.notes)
    assert board.predict("0", "1")[0] == pytest.approx(1 / (1 + np.exp(model.scores_[1] - model.scores_[0])))
    assert board.contrast("0", "3").value == pytest.approx(ELO * (model.scores_[0] - model.scores_[3]))
    assert rank(G4, "plackett-luce", anchor={"3": 500}).table.filter(pl.col("item") == "3")["rating"][0] == 500


def test_votes_by_plackett_luce_are_votes_by_bradley_terry():
    ours, theirs = rank(g1(), "plackett-luce"), rank(g1(), ties="half")
    columns = ["item", "rating", "low", "high", "rank_low", "wins", "losses", "votes"]
    for name in columns:
        a, b = ours.table[name].to_list(), theirs.table[name].to_list()
        assert a == (pytest.approx(b, abs=1e-4) if name in ("rating", "low", "high") else b)


def test_rankings_of_one_person_are_clustered():
    rng = np.random.default_rng(0)
    own = np.array([2.0, 1.0, 0.0, -1.0]) + rng.normal(scale=1.5, size=(12, 4))
    rows = [row for u in range(12) for row in orders(own[u : u + 1], np.zeros(20, int), seed=u)]
    frame = pl.DataFrame(
        [
            {"ranking": r, "item": item, "rank": place + 1, "annotator": f"p{r // 20}"}
            for r, row in enumerate(rows)
            for place, item in enumerate(row)
        ]
    )
    board, naive = rank(frame, "plackett-luce"), rank(frame, "plackett-luce", cluster=None)
    assert "clustered by annotator" in board.interval
    assert board.freedom == 11
    assert np.median(board.errors / naive.errors) > 1.5
    again = rank(frame, "plackett-luce", interval="bootstrap")
    assert "annotators, whole" in again.interval
    assert np.median(again.errors / board.errors) == pytest.approx(1, abs=0.25)


def test_bootstrap_and_sandwich_agree_on_rankings():
    rows = orders([[1.0, 0.5, 0.0, -1.5]], np.zeros(300, int))
    drawn, sandwich = (rank(rows, "plackett-luce", interval=kind).errors for kind in ("bootstrap", "sandwich"))
    assert drawn == pytest.approx(sandwich, rel=0.2)


def test_mallows_boards_have_places_and_no_errors():
    board = rank(G4, "mallows")
    assert board.table["item"].to_list() == Mallows().fit(G4).center_
    assert board.table["rating"].to_list() == [1.5, 0.5, -0.5, -1.5]
    assert board.table["low"].null_count() == 4
    said = " ".join(board.notes)
    assert "no standard errors" in said
    assert "no order fewer" in said
    with pytest.raises(OptionError, match="mallows has the intervals none"):
        rank(G4, "mallows", interval="bootstrap")
    with pytest.raises(OptionError, match="scale='score'"):
        rank(G4, "mallows", scale="elo")


def test_a_board_for_every_taste(tmp_path):
    rows = orders([[3.0, 1.0, -1.0, -3.0], [-3.0, -1.0, 1.0, 3.0]], np.arange(120) % 3 // 2)
    boards = rank(rows, "mixture", most=3, restarts=3)
    assert [name.split(" (")[0] for name in boards] == ["taste 1", "taste 2"]
    first, second = boards.values()
    assert first.table["item"].to_list() == ["a", "b", "c", "d"]
    assert second.table["item"].to_list() == ["d", "c", "b", "a"]
    assert "fewest tastes" in " ".join(first.notes)
    assert first.contrast("a", "d").low > 0
    assert first.win_rates()["expected"].max() > 0.9
    assert first.to_html(tmp_path / "board.html").exists()
    with pytest.raises(OptionError, match="a mixture takes no ties"):
        rank(rows, "mixture", ties="orders")
    votes = poll(np.array([2.0, 0.0, -2.0]), 20, trust=[1.0] * 10)
    one = rank(votes, "mixture", k=1, of="bradley-terry")["taste 1 (100%)"]
    plain = BradleyTerry(ridge=1e-3).fit(votes).scores_
    assert one.model.scores_ == pytest.approx(plain, abs=1e-3)


def test_boards_that_know_annotators():
    votes = poll(np.linspace(-2, 2, 6), 60, trust=[0.97] * 8 + [0.05] * 2)
    board, plain = rank(votes, "crowd-bt"), rank(votes)
    assert board.table["item"].to_list() == [f"i{k:02d}" for k in (5, 4, 3, 2, 1, 0)]
    assert board.contrast("i05", "i00").value > plain.contrast("i05", "i00").value + 200
    assert "2 say the opposite" in " ".join(board.notes)
    assert board.freedom == 9
    sided = rank(votes, "temperature", order=True, interval="model")
    assert "Being shown first" in " ".join(sided.notes)
    assert "temperature spreads" in " ".join(sided.notes)
    assert rank(alone(g1()), "crowd-bt", interval="none").covariance is None
    with pytest.raises(FeedbackError, match="column annotator"):
        rank(g1(), "crowd-bt")
    with pytest.raises(OptionError, match="no option 'k'"):
        rank(votes, "crowd-bt", k=3)
    with pytest.raises(OptionError, match="takes no covariates"):
        rank(votes, "crowd-bt", covariates=["length"])


def test_pairs_of_rankings():
    rankings = Rankings.of([["a", ["b", "c"]], ["c", "a"]])
    votes = as_votes(rankings)
    assert votes.counts().won.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]]
    below = Rankings(rankings.items, rankings.flat, rankings.level, rankings.offsets, np.array([True, False]))
    assert as_votes(below).counts().won.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0]]
    heavy = replace(rankings, weight=np.array([3.0, 2.0]))
    assert as_votes(heavy).counts().won.tolist() == [[3, 0, 0, 0], [3, 2, 0, 0], [0, 0, 3, 0]]


def test_pairs_of_a_ranking_are_not_taken_for_independent(tmp_path):
    rows = orders([[1.0, 0.5, 0.0, -1.5, 2.0]], np.zeros(200, int))
    names = sorted(rows[0])
    pl.DataFrame([[row.index(name) + 1 for name in names] for row in rows], schema=names, orient="row").write_csv(
        tmp_path / "ranks.csv"
    )
    board = rank(tmp_path / "ranks.csv")
    assert board.interval.endswith("clustered by ranking")
    assert board.freedom == 199
    assert "plackett-luce" in " ".join(board.notes)
    naive = rank(tmp_path / "ranks.csv", cluster=None)
    assert "too narrow" in " ".join(naive.notes)
    assert np.median(board.errors / naive.errors) > 1.1


def test_what_is_not_for_rankings_is_said():
    for options in ({"by": "x"}, {"order": True}, {"covariates": ["length"]}):
        with pytest.raises(OptionError, match="for rankings, which have no sides"):
            rank(G4, "plackett-luce", **options)
    with pytest.raises(OptionError, match="model='plackett-luce'"):
        rank(g1(), ties="orders")
    with pytest.raises(OptionError, match="clustered by annotator or not at all"):
        rank(G4, "plackett-luce", cluster="prompt")
    with pytest.raises(OptionError, match="plackett-luce, mallows, mixture, crowd-bt"):
        rank(g1(), "luce")
    with pytest.raises(OptionError, match="no option 'most'"):
        rank(G4, "plackett-luce", most=3)


def test_sushi_from_the_command_line(shared_data, tmp_path):
    source = str(shared_data / "preflib" / "sushi_rankings.csv")
    shown = CliRunner().invoke(app, ["rank", source, "--model", "plackett-luce", "--out", str(tmp_path / "b.csv")])
    assert shown.exit_code == 0, shown.output
    table = pl.read_csv(tmp_path / "b.csv")
    assert table["item"].to_list()[0] == "fatty tuna"
    assert table["item"].to_list()[-1] == "cucumber roll"
    tastes = CliRunner().invoke(app, ["rank", source, "--model", "mixture", "--k", "2", "--restarts", "1"])
    assert tastes.exit_code == 0, tastes.output
    assert "taste 1 (59%)" in tastes.output
    assert "taste 2 (41%)" in tastes.output


def test_top_lists_from_the_command_line(tmp_path):
    ranks = pl.DataFrame({"a": [1, 1, 2, None], "b": [2, None, 1, 1], "c": [None, 2, 3, 2]})
    ranks.write_csv(tmp_path / "ranks.csv")
    absent = pluralign.rank(tmp_path / "ranks.csv", "plackett-luce")
    below = pluralign.rank(tmp_path / "ranks.csv", "plackett-luce", unranked="below")
    assert below.table["votes"].sum() > absent.table["votes"].sum()
    shown = CliRunner().invoke(
        app, ["rank", str(tmp_path / "ranks.csv"), "--model", "plackett-luce", "--unranked", "below"]
    )
    assert shown.exit_code == 0, shown.output
