"""Elo, Glicko-2 and TrueSkill: the numbers of their cards, and what a stream must not depend on."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank import LEFT, TIE, BradleyTerry, Votes
from pluralign.rank.elo import Elo
from pluralign.rank.glicko2 import POINTS, Glicko2, dampened
from pluralign.rank.stream import Batch, log_loss
from pluralign.rank.trueskill import TrueSkill, after_draw, after_win
from tests.rank.golden import g1

STREAMS = [Elo(k=24.0), Glicko2(period=10.0), TrueSkill()]


def season(n=6, votes=200, seed=0, days=100.0, ties=0.2):
    rng = np.random.default_rng(seed)
    left = rng.integers(n, size=votes)
    right = (left + rng.integers(1, n, size=votes)) % n
    theta = np.linspace(1, -1, n)
    said = np.where(rng.random(votes) < 1 / (1 + np.exp(theta[right] - theta[left])), 0, 1)
    said[rng.random(votes) < ties] = TIE
    return Votes(
        [f"i{k}" for k in range(n)],
        left.astype(np.int32),
        right.astype(np.int32),
        said.astype(np.int8),
        days=np.sort(rng.random(votes)) * days,
    )


def by_name(model, values):
    return dict(zip(model.items_, values, strict=True))


def test_elo_of_the_card():
    games = {"left": ["0", "1", "0", "2"], "right": ["1", "2", "2", "0"], "label": ["left", "left", "tie", "left"]}
    board = Elo(start=1000, k=4).fit(games)
    assert [by_name(board, board.ratings_)[i] for i in "012"] == pytest.approx(
        [999.954084, 1000.011513, 1000.034404], abs=5e-7
    )


def test_glicko2_reproduces_the_published_example():
    board = Glicko2(tau=0.5).fit({"a": ["p"], "b": ["x"], "winner": ["tie"]})
    board.update({"a": ["y"], "b": ["z"], "winner": ["tie"]})
    mean = {"p": 1500, "x": 1400, "y": 1550, "z": 1700}
    sure = {"p": 200, "x": 30, "y": 100, "z": 300}
    board._mu = np.array([(mean[i] - 1500) / POINTS for i in board.items_])
    board._phi = np.array([sure[i] / POINTS for i in board.items_])
    board._sigma = np.full(4, 0.06)
    board.update({"a": ["p", "p", "p"], "b": ["x", "y", "z"], "winner": ["a", "b", "b"]})
    place = board.items_.index("p")
    assert board.ratings_[place] == pytest.approx(1464.0507, abs=5e-5)
    assert board.deviations_[place] == pytest.approx(151.5165, abs=5e-5)
    assert board.volatilities_[place] == pytest.approx(0.059996, abs=5e-7)


def duel(one, other, outcome):
    board = TrueSkill(drift=25 / 300)
    board.fit({"a": ["x"], "b": ["y"], "winner": ["a"]})
    board.means_, board.deviations_ = (np.array(v, dtype=float) for v in zip(one, other, strict=True))
    board.update({"a": ["x"], "b": ["y"], "winner": [outcome]})
    return np.stack([board.means_, board.deviations_], 1).ravel()


@pytest.mark.parametrize(
    ("one", "other", "outcome", "after"),
    [
        ((25, 25 / 3), (25, 25 / 3), "a", (29.395832, 7.171476, 20.604168, 7.171476)),
        ((25, 25 / 3), (25, 25 / 3), "tie", (25, 6.457516, 25, 6.457516)),
        ((30, 5), (22, 7), "tie", (28.163263, 4.389253, 25.599514, 5.191992)),
        ((30, 5), (22, 7), "b", (26.649476, 4.529446, 28.566135, 5.635491)),
    ],
)
def test_trueskill_of_the_card(one, other, outcome, after):
    assert duel(one, other, outcome) == pytest.approx(after, abs=1e-6)


def test_trueskill_stays_finite_far_out():
    x = np.linspace(-80, 80, 321)
    for margin in (0.0, 1e-12, 0.1, 5.0):
        for t in x:
            for v, w in (after_win(t, margin), after_draw(t, margin)):
                assert np.isfinite(v)
                assert 0 <= w <= 1 + 1e-9
    # Continuous where the asymptote takes over.
    assert after_win(-29.9999, 0.0)[0] == pytest.approx(after_win(-30.0001, 0.0)[0], abs=1e-3)
    assert after_draw(35.0999, 5.1)[0] == pytest.approx(after_draw(35.1001, 5.1)[0], abs=1e-3)


@pytest.mark.parametrize("model", STREAMS, ids=lambda m: type(m).__name__)
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 199), max_size=4))
def test_a_stream_does_not_depend_on_how_it_was_cut(model, seed, cuts):
    votes = season(seed=seed)
    whole = model.fit(votes)
    scores, expected = by_name(whole, whole.scores_), whole.expected_
    edges, seen = [0, *sorted(set(cuts)), len(votes)], []
    model.fit(votes.where(np.arange(len(votes)) < edges[1]))
    seen.append(model.expected_)
    for low, high in pairwise(edges[1:]):
        model.update(votes.where((np.arange(len(votes)) >= low) & (np.arange(len(votes)) < high)))
        seen.append(model.expected_)
    assert by_name(model, model.scores_) == pytest.approx(scores, abs=1e-9)
    assert np.concatenate(seen) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("model", STREAMS, ids=lambda m: type(m).__name__)
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_sides_and_names_do_not_matter(model, seed):
    votes = season(seed=seed)
    scores = by_name(model.fit(votes), model.scores_)
    swapped = Votes(
        votes.items,
        votes.right,
        votes.left,
        np.array([1, 0, 2], dtype=np.int8)[votes.outcome],
        days=votes.days,
    )
    assert by_name(model.fit(swapped), model.scores_) == pytest.approx(scores, abs=1e-9)
    p = model.predict_proba("i0", "i3")
    assert p.sum() == pytest.approx(1)
    assert model.predict_proba("i3", "i0")[[1, 0, 2]] == pytest.approx(p)


def test_elo_conserves_its_sum_and_weights_do_not_inflate():
    votes = season(votes=500)
    heavy = Votes(
        votes.items, votes.left, votes.right, votes.outcome, weight=np.full(len(votes), 1000.0), days=votes.days
    )
    board = Elo(k=32).fit(heavy)
    assert board.ratings_.sum() == pytest.approx(6000)
    # Weights once multiplied K; a rating then left the scale with the first vote.
    assert np.abs(board.ratings_ - 1000).max() < 1500
    lone = Votes(["x", "y"], *(np.array([v], dtype=t) for v, t in ((0, "i4"), (1, "i4"), (0, "i1"))))
    assert Elo(k=4).fit(lone).expected_ == pytest.approx([0.5])


def test_many_small_shuffled_steps_of_elo_reach_bradley_terry():
    rng, votes, board = np.random.default_rng(0), g1(), Elo(k=0.3)
    board.fit(votes)
    tail = []
    for _ in range(3000):
        order = rng.permutation(len(votes))
        board.update(Votes(votes.items, votes.left[order], votes.right[order], votes.outcome[order]))
        tail.append(board.scores_)
    assert np.mean(tail[1000:], 0) == pytest.approx(BradleyTerry().fit(votes).scores_, abs=5e-3)


def test_an_idle_item_of_glicko2_grows_less_certain():
    board = Glicko2(period=1.0).fit({"a": ["x", "y"], "b": ["y", "z"], "winner": ["a", "a"], "time": [0.0, 0.5]})
    before = dict(by_name(board, board.deviations_))
    board.update({"a": ["x"], "b": ["y"], "winner": ["a"], "time": [5.2]})
    z = board.items_.index("z")
    # Five periods without a vote of its own, this one included.
    assert board.deviations_[z] == pytest.approx(
        POINTS * np.sqrt((before["z"] / POINTS) ** 2 + 5 * board.volatilities_[z] ** 2)
    )
    with pytest.raises(FeedbackError, match="cannot go back"):
        board.update({"a": ["x"], "b": ["y"], "winner": ["a"], "time": [2.0]})


def test_order_is_an_advantage_of_the_side_shown_first():
    for model in (Elo(order=100), Glicko2(order=100), TrueSkill(order=3)):
        model.fit({"home": ["x"], "away": ["y"], "label": ["home"]})
        assert model.expected_[0] > 0.55
    assert dampened(np.array([0.0])) == pytest.approx(1)


def test_expectations_are_made_before_the_vote_is_seen():
    votes = season(n=4, votes=2000, ties=0.0)
    for model in STREAMS:
        model.fit(votes)
        assert model.expected_[0] == pytest.approx(0.5)
        loss = log_loss(model.expected_, np.where(votes.outcome == LEFT, 1.0, 0.0))
        assert loss < np.log(2)
        assert -model.score(votes) < np.log(2)


def test_bad_input_is_one_sentence():
    with pytest.raises(OptionError, match="positive"):
        Elo(k=0).fit(g1())
    with pytest.raises(OptionError, match="not among"):
        Elo().fit(g1()).predict_proba("0", "nobody")
    votes = g1()
    half = Votes(votes.items, votes.left, votes.right, votes.outcome, weight=np.full(len(votes), 0.5))
    with pytest.raises(FeedbackError, match="whole votes"):
        TrueSkill().fit(half)
    late = Votes(votes.items, votes.left, votes.right, votes.outcome, days=np.full(len(votes), np.nan))
    with pytest.raises(FeedbackError, match="has no time"):
        Elo().fit(late)


def test_a_batch_holds_every_row_once():
    votes = season()
    model = Elo().fit(votes)
    batch = model._batch(votes)
    assert isinstance(batch, Batch)
    assert np.array_equal(np.sort(batch.row), np.arange(len(votes)))
