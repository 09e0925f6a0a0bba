"""Leaderboards of ratings that change: the same table, and a history."""

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.errors import FeedbackError, OptionError
from pluralign.rank import Elo, Glicko2, TrueSkill, WholeHistory, rank, whole_history
from pluralign.rank.over_time import MODELS

ELO = 400 / np.log(10)


def season(games=400, seed=0, ties=0.1):
    """Dated games: x falls from first to last, z rises."""
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(300, size=games))
    strength = np.stack([2 - day / 75, np.zeros(games), day / 75 - 2, np.zeros(games)])
    left = rng.integers(4, size=games)
    right = (left + rng.integers(1, 4, size=games)) % 4
    d = strength[left, np.arange(games)] - strength[right, np.arange(games)]
    said = np.where(rng.random(games) < 1 / (1 + np.exp(-d)), "left", "right").astype(object)
    said[rng.random(games) < ties] = "tie"
    names = np.array(["x", "y", "z", "w"])
    date = np.datetime64("2024-01-01") + day
    return pl.DataFrame({"left": names[left], "right": names[right], "label": said, "time": date}, strict=False)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_gives_a_board_with_a_history(model):
    board = rank(season(), model)
    assert sorted(board.table["item"]) == ["w", "x", "y", "z"]
    assert board.table["rating"].mean() == pytest.approx(1000)
    assert board.table["item"][0] == "z"
    assert board.history["time"].dtype == pl.Datetime("us")
    # What the history ends with is what the table says.
    end = board.history.sort("time").group_by("item", maintain_order=True).last().sort("item")
    assert end["time"].dt.date().unique().to_list() == [season()["time"].max()]
    table = board.table.sort("item")
    assert end["rating"].to_list() == pytest.approx(table["rating"].to_list(), abs=1e-6)
    falls = board.history.filter(pl.col("item") == "x")["rating"]
    assert falls[len(falls) // 4] - falls[-1] > 100
    assert board.predict("z", "x")[0] > 0.6
    assert board.plot("time").axes[0].get_lines()
    if model == "elo":
        assert board.covariance is None
        assert "does not say how sure" in " ".join(board.notes)
    else:
        assert (end["low"] < end["rating"]).all()
        gap = board.contrast("z", "x")
        assert 0 < gap.low < gap.value < gap.high


def test_options_reach_the_model():
    data = season()
    assert rank(data, "elo", k=20, order=60).model.ratings_ == pytest.approx(Elo(k=20, order=60).fit(data).ratings_)
    assert rank(data, "glicko-2", period=7).model.ratings_ == pytest.approx(Glicko2(period=7).fit(data).ratings_)
    ties = float((data["label"] == "tie").mean())
    fitted = rank(data, "trueskill", drift=0.0).model
    assert fitted.means_ == pytest.approx(TrueSkill(drift=0.0, draws=ties).fit(data).means_)
    fitted = rank(data, "whole-history", variance=0.003, order=True)
    assert fitted.model.logits_ == pytest.approx(
        WholeHistory(variance=0.003, order=True, ties="davidson").fit(data).logits_
    )
    assert any("Being shown first multiplies the odds by" in note and "[" in note for note in fitted.notes)
    assert rank(data, "elo", anchor={"y": 1500}).table.filter(pl.col("item") == "y")["rating"][0] == 1500
    assert rank(data, "whole-history", variance=0.003, interval="none").covariance is None
    boards = rank(data.with_columns(half=pl.col("time").dt.month() > 5), "elo", by="half")
    assert boards["false"].table["item"][0] == "x"


def test_the_board_of_a_whole_history_knows_its_differences():
    board = rank(season(), "whole-history", variance=0.003)
    gap, exact = board.contrast("z", "x"), board.model.contrast("z", "x")
    assert (gap.value, gap.low, gap.high) == pytest.approx([ELO * exact[c][0] for c in ("rating", "low", "high")])


def test_differences_taken_as_independent_are_wider(monkeypatch):
    exact = rank(season(), "whole-history", variance=0.003)
    monkeypatch.setattr(whole_history, "JOINT", 0)
    loose = rank(season(), "whole-history", variance=0.003)
    assert "only widen" in " ".join(loose.notes)
    for a, b in (("x", "y"), ("z", "x"), ("w", "y")):
        one, other = exact.contrast(a, b), loose.contrast(a, b)
        assert other.value == pytest.approx(one.value)
        assert other.low < one.low


def test_votes_without_time_have_no_history():
    data = season().drop("time")
    board = rank(data, "glicko-2")
    assert board.history is None
    assert "order of the table" in " ".join(board.notes)
    with pytest.raises(OptionError, match="no history"):
        board.plot("time")
    with pytest.raises(FeedbackError, match="no time"):
        rank(data, "whole-history")


def test_a_vote_without_its_time_is_named():
    data = {"left": ["a", "b", "a"], "right": ["b", "a", "b"], "label": ["left"] * 3, "time": [1.0, None, 3.0]}
    for model in MODELS:
        with pytest.raises(FeedbackError, match="vote 2 has no time"):
            rank(data, model)


def test_rounds_stay_numbers():
    data = season().with_columns(time=pl.col("time").dt.ordinal_day())
    assert rank(data, "elo").history["time"].max() == data["time"].max()


def test_nobody_of_glicko2_grows_less_certain_before_the_first_vote():
    old = {"a": ["p", "p"], "b": ["q", "q"], "winner": ["a", "b"], "time": [0.0, 40.0]}
    new = {"a": ["p", "r"], "b": ["r", "q"], "winner": ["a", "b"], "time": [2000.0, 2001.0]}
    both = {name: old[name] + new[name] for name in old}
    cut, whole = Glicko2().fit(old).update(new), Glicko2().fit(both)
    assert cut.items_ == whole.items_
    assert cut.deviations_ == pytest.approx(whole.deviations_)
    assert Glicko2().fit({**both, "winner": ["a"] * 4}).deviations_[2] < 350


def test_bad_options_are_one_sentence():
    data = season(60)
    for options, said in (
        ({"kk": 3}, "no option 'kk'"),
        ({"order": True}, "order=60"),
        ({"prior": 1.0}, "no prior"),
        ({"ties": "davidson"}, "own way with ties"),
        ({"interval": "sandwich"}, "belief of its own"),
        ({"covariates": ["length"]}, "covariates"),
    ):
        with pytest.raises(OptionError, match=said):
            rank(data, "elo", **options)
    with pytest.raises(OptionError, match="no option 'k'"):
        rank(data, k=3)
    with pytest.raises(OptionError, match="whole-history"):
        rank(data, "elos")
    with pytest.raises(OptionError, match="not among"):
        rank(data, "elo").plot("time", ["nobody"])


def test_the_command_draws_ratings_over_time(tmp_path):
    season(80).write_csv(tmp_path / "votes.csv")
    run = CliRunner().invoke(
        app, ["rank", str(tmp_path / "votes.csv"), "--model", "elo", "--k", "20", "--out", str(tmp_path / "time.png")]
    )
    assert run.exit_code == 0, run.output
    assert "Elo with k = 20" in run.output
    assert (tmp_path / "time.png").read_bytes()[1:4] == b"PNG"
    board = pluralign.rank(tmp_path / "votes.csv", "elo", k=20)
    assert "data:image/png" in board.to_html(tmp_path / "board.html").read_text()
    assert "data:image/png" not in rank(season(80)).to_html(tmp_path / "still.html").read_text()


def test_items_outside_the_main_circle_are_those_that_a_prior_holds():
    wins = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "d"), ("e", "b")]
    board = rank({"winner": [w for w, _ in wins], "loser": [other for _, other in wins]})
    held = board.table.filter(pl.col("note").str.contains("held by a prior"))["item"]
    assert sorted(held) == ["d", "e"]
