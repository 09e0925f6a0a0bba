"""Shares of votes between two items, with intervals that know who voted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.intervals import clustered_wilson, wilson
from pluralign.rank import Votes, rank, win_rates
from tests.rank.golden import WINS, g1, g2


def test_shares_and_wilson_intervals():
    for row in win_rates(g1()).iter_rows(named=True):
        i, j = int(row["a"]), int(row["b"])
        won, lost = WINS[i, j], WINS[j, i]
        assert (row["a_wins"], row["b_wins"], row["share"]) == (won, lost, won / (won + lost))
        assert (row["low"], row["high"]) == pytest.approx(wilson(won, won + lost))


def test_ties_are_halves_and_the_board_adds_what_it_expects():
    found = rank(g2()).win_rates()
    row = found.filter(a="0", b="1").row(0, named=True)
    assert (row["votes"], row["ties"], row["share"]) == (6, 2, 4 / 6)
    p = rank(g2()).predict("0", "1")
    assert row["expected"] == pytest.approx(p[0] + p[2] / 2)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from([(0, 1), (1, 0), (0, 2), (2, 1)]), st.integers(0, 3), st.integers(-1, 3)), min_size=1
    )
)
def test_clustered_intervals_agree_with_those_of_one_pair(rows):
    sides, outcome, who = zip(*rows, strict=True)
    left, right = np.array(sides, dtype=np.int32).T
    votes = Votes(
        ["a", "b", "c"], left, right, np.array(outcome, np.int8), annotator=np.array(who, np.int32), annotators="wxyz"
    )
    for row in win_rates(votes).iter_rows(named=True):
        i, j = "abc".index(row["a"]), "abc".index(row["b"])
        mine = [
            (k, {0: 1.0, 1: 0.0}.get(o, 0.5) if s == (i, j) else 1 - {0: 1.0, 1: 0.0}.get(o, 0.5))
            for k, (s, o) in enumerate(zip(sides, outcome, strict=True))
            if set(s) == {i, j}
        ]
        clusters = [who[k] if who[k] >= 0 else 100 + k for k, _ in mine]
        assert (row["low"], row["high"]) == pytest.approx(clustered_wilson([v for _, v in mine], clusters))


def test_weights_are_votes():
    one = Votes(["a", "b"], *np.array([[0, 0], [1, 1]], np.int32), np.array([0, 1], np.int8), weight=np.array([3.0, 1]))
    row = win_rates(one).row(0, named=True)
    assert (row["votes"], row["share"]) == (4, 0.75)
    assert (row["low"], row["high"]) == pytest.approx(wilson(3, 4))
