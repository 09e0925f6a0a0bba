"""Tables of all pairs from votes, rankings and files."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluralign.errors import OptionError
from pluralign.rank import Counts, Pairwise, Rankings, Votes
from tests.rank.golden import TIES, WINS, g2


def test_votes_and_their_rankings_make_one_table():
    votes = g2()
    for source in (votes, votes.counts(), Rankings.of(votes)):
        table = Pairwise.of(source)
        assert np.array_equal(table.wins, WINS)
        assert {(i, j): table.ties[i, j] for i, j in TIES} == TIES
        assert np.array_equal(table.votes, table.votes.T)
        assert np.array_equal(table.margins, -table.margins.T)


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=6), st.booleans())
def test_ties_and_candidates_left_below(places, below):
    ranks = np.array(places, dtype=float) + 1
    ranks -= ranks.min(1, keepdims=True) - 1
    worst = ranks.max(1, keepdims=True)
    cut = np.where((ranks == worst) & (worst > 1), np.nan, ranks) if below else ranks
    rankings = Rankings.of(pl.DataFrame({name: cut[:, i] for i, name in enumerate("abcd")}), unranked="below")
    table = Pairwise.of(rankings)
    wins = (ranks[:, :, None] < ranks[:, None, :]).sum(0)
    same = (ranks[:, :, None] == ranks[:, None, :]) & ~np.isnan(cut)[:, :, None]
    ties = same.sum(0)
    np.fill_diagonal(ties, 0)
    assert np.array_equal(table.wins, wins)
    assert np.array_equal(table.ties, ties)


def test_sources_are_read_as_what_they_hold(tmp_path):
    (tmp_path / "votes.csv").write_text("model_a,model_b,winner\nx,y,model_a\ny,z,tie\n")
    (tmp_path / "ranks.csv").write_text("x,y,z\n1,2,3\n1,2,2\n")
    (tmp_path / "orders.soc").write_text(
        "# TITLE: t\n# NUMBER ALTERNATIVES: 2\n# ALTERNATIVE NAME 1: x\n# ALTERNATIVE NAME 2: y\n3: 2,1\n"
    )
    assert Pairwise.of(tmp_path / "votes.csv").wins.sum() == 1
    assert Pairwise.of(tmp_path / "ranks.csv").wins.tolist() == [[0, 2, 2], [0, 0, 1], [0, 0, 0]]
    assert Pairwise.of(str(tmp_path / "orders.soc")).wins.tolist() == [[0, 0], [3, 0]]
    assert Pairwise.of([["x", "y"]]).wins.tolist() == [[0, 1], [0, 0]]
    frame = pl.DataFrame({"left": ["x"], "right": ["y"], "label": ["left"]})
    assert Pairwise.of(frame).wins.tolist() == [[0, 1], [0, 0]]


def test_too_many_items_are_refused_by_number():
    many = Counts([str(i) for i in range(5001)], *np.array([[0], [1]], np.int32), np.ones((1, 4)))
    with pytest.raises(OptionError, match="5,001 items is too large"):
        Pairwise.of(many)
    assert isinstance(g2(), Votes)
