"""Defects found in other leaderboards' code, each as a test that it is not one of ours."""

import numpy as np
import polars as pl
import pytest

from pluralign.errors import FeedbackError
from pluralign.rank import BradleyTerry, Elo, NotConverged, Votes, newton, rank, solvers
from pluralign.rank.bootstrap import bootstrap
from tests.rank.golden import g1, g2, g3, votes

SOLVERS = ["newton", "mm", "newman", "ilsr"]


def league(theta, m, seed=0, nu=0.0, first=0.0):
    """Votes by Davidson's model; the left item, shown first, has this advantage."""
    rng = np.random.default_rng(seed)
    n = len(theta)
    left = rng.integers(n, size=m)
    right = (left + 1 + rng.integers(n - 1, size=m)) % n
    d = theta[left] - theta[right] + first
    p = np.stack([np.exp(d / 2), np.exp(-d / 2), np.full(m, nu)], 1)
    outcome = (rng.random(m)[:, None] > (p / p.sum(1, keepdims=True)).cumsum(1)).sum(1)
    names = [chr(97 + i) for i in range(n)]
    return Votes(names, left.astype(np.int32), right.astype(np.int32), outcome.astype(np.int8))


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_stop_after_two_rounds_because_old_and_new_scores_are_one_array(solver):
    # Where old and new scores share memory they never differ, and any first guess passes for the optimum.
    data = league(np.linspace(-3, 3, 20), 4000)
    model = BradleyTerry(solver=solver).fit(data)
    p = 1 / (1 + np.exp(-(model.scores_[data.left] - model.scores_[data.right])))
    gap = (data.outcome == 0) - p
    assert np.abs(np.bincount(data.left, gap) - np.bincount(data.right, gap)).max() < 1e-6
    assert model.certificate_.steps > 2


@pytest.mark.parametrize("ties", ["half", "davidson"])
def test_a_start_is_read_and_not_written_to(ties):
    model = BradleyTerry(ties=ties).fit(g2())
    start = model.solution_
    before = start.theta.copy()
    other = BradleyTerry(ties=ties).fit(league(np.linspace(-1, 1, 4), 500, nu=1.0))
    newton.newton(other.design_.problem, other.family_, other.penalty_, start)
    assert (start.theta == before).all()


@pytest.mark.parametrize("times", [1, 10, 100])
def test_a_ridge_is_the_same_prior_however_many_votes_there_are(times):
    ridge = BradleyTerry(ridge=2.0).fit(g1(times))
    # Votes that count `times` as much are votes under a prior `times` as weak.
    assert ridge.scores_ == pytest.approx(BradleyTerry(ridge=2.0 / times).fit(g1()).scores_, abs=1e-8)
    if times == 100:
        assert ridge.scores_ == pytest.approx(BradleyTerry().fit(g1()).scores_, abs=0.01)


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_unbeaten_item_zeroes_nobodys_score(solver):
    rng = np.random.default_rng(0)
    theta = np.linspace(-1, 1, 6)
    among = league(theta, 600)
    crowned = Votes(
        [*among.items, "king"],
        np.append(among.left, np.full(30, 6, dtype=np.int32)),
        np.append(among.right, rng.integers(6, size=30).astype(np.int32)),
        np.append(among.outcome, np.zeros(30, dtype=np.int8)),
    )
    model = BradleyTerry(solver=solver).fit(crowned)
    assert model.graph_.unbeaten.tolist() == [False] * 6 + [True]
    assert np.isfinite(model.scores_).all()
    assert model.scores_.argmax() == 6
    alone = BradleyTerry(solver=solver).fit(among).scores_
    assert model.scores_[:6] - model.scores_[:6].mean() == pytest.approx(alone, abs=0.1)


def test_two_components_are_two_tables_and_not_one_scale():
    strong = [("p", "q", "left"), ("q", "p", "left"), ("p", "q", "left")] * 10
    weak = [("x", "y", "left"), ("y", "x", "left"), ("x", "y", "left")] * 10
    left, right, label = zip(*strong, *weak, strict=True)
    board = rank({"left": left, "right": right, "label": label})
    assert board.table["component"].n_unique() == 2
    assert board.table.sort("item")["rank"].to_list() == [1, 2, 1, 2]
    assert np.isnan(board.predict("p", "x")).all()
    assert any("never compared" in note for note in board.notes)


@pytest.mark.parametrize("interval", ["sandwich", "model", "bootstrap"])
def test_no_interval_has_zero_width(interval):
    # An item that only wins, one that only loses, one with a single vote.
    data = votes([(0, 1, 0), (0, 2, 0), (1, 2, 0), (2, 1, 0), (1, 2, 0), (2, 3, 0)])
    table = rank(data, interval=interval).table
    widths = (table["high"] - table["low"]).to_numpy()
    assert np.isfinite(widths).all()
    assert widths.min() > 10


@pytest.mark.parametrize("word", ["gauche", "Model A", "3", "draw?"])
def test_an_unknown_label_is_no_tie(word):
    with pytest.raises(FeedbackError, match="verdicts are not known"):
        Votes.of({"model_a": ["x", "x"], "model_b": ["y", "y"], "winner": ["model_a", word]})


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (league(np.linspace(-1.5, 1.5, 5), 3000, nu=1.5), {"ties": "davidson"}),
        (league(np.linspace(-1.5, 1.5, 5), 3000, nu=1.5), {"ties": "rao-kupper"}),
        (league(np.linspace(-1.5, 1.5, 5), 3000, nu=1.5), {"ties": "drop"}),
        (league(np.linspace(-1.5, 1.5, 5), 3000), {"link": "probit"}),
        (league(np.linspace(-1.5, 1.5, 5), 3000, first=1.0), {"order": True}),
        (league(np.linspace(-1.5, 1.5, 5), 3000), {"virtual": 300.0}),
        (league(np.linspace(-1.5, 1.5, 5), 3000), {"ridge": 200.0}),
    ],
)
def test_the_bootstrap_fits_the_model_of_the_estimate(data, options):
    model = BradleyTerry(**options).fit(data)
    drawn = bootstrap(model, 100, seed=1)
    # Ten standard errors of the mean over replicates; another model is further off than that.
    slack = drawn.std(0) + 1e-12
    assert (np.abs(drawn.mean(0) - model.scores_) < slack).all()
    other = BradleyTerry().fit(data)
    differs = np.abs(other.scores_ - model.scores_).max() / slack.max()
    assert differs > 1.5 or "order" in options or options == {"ties": "drop"}


def test_a_replicate_that_falls_apart_does_not_leave_a_score_where_it_was(monkeypatch):
    # Two circles joined by four votes: one replicate in fifty draws none of the four.
    circles = [(0, 1, 0), (1, 0, 0), (2, 3, 0), (3, 2, 0)] * 12
    model = BradleyTerry().fit(votes([*circles, (0, 2, 0), (0, 2, 0), (2, 0, 0), (0, 2, 0)]))
    drawn = bootstrap(model, 400, seed=0)
    monkeypatch.setattr(
        "pluralign.rank.bootstrap._together", lambda model, made, cells, drawn, out: np.zeros(len(drawn), bool)
    )
    alone = bootstrap(model, 400, seed=0)
    assert drawn == pytest.approx(alone, abs=1e-5)
    # Such a replicate is held by the prior alone, which takes the circles as equal; it does not repeat the estimate.
    gap = np.abs(alone[:, :2].mean(1) - alone[:, 2:].mean(1))
    assert (gap < 0.01).any()


@pytest.mark.parametrize("weight", [0.5, 1.0, 7.0])
def test_weights_do_not_inflate_elo(weight):
    data = league(np.linspace(-1, 1, 6), 2000)
    weighted = Votes(data.items, data.left, data.right, data.outcome, weight=np.full(2000, weight))
    elo = Elo().fit(weighted)
    ratings = np.asarray(elo.scores_)
    plain = np.asarray(Elo().fit(data).scores_)
    # What one item gains another loses, so the mean stays where it began.
    assert ratings.mean() == pytest.approx(plain.mean(), abs=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_cap_on_steps_is_silent(solver, monkeypatch):
    monkeypatch.setattr(newton, "STEPS", 2)
    monkeypatch.setattr(solvers, "SWEEPS", 2)
    with pytest.raises(NotConverged, match="still move by"):
        BradleyTerry(solver=solver).fit(league(np.linspace(-3, 3, 12), 2000))


def test_the_order_of_sides_is_not_the_order_of_rows():
    # A pair met as (a, b) and as (b, a) is one pair.
    table = pl.DataFrame({"model_a": ["a", "b"], "model_b": ["b", "a"], "winner": ["model_a", "model_b"]})
    counts = Votes.of(table).counts()
    assert len(counts.low) == 1
    assert counts.won.tolist() == [[2.0, 0.0, 0.0, 0.0]]
    assert rank(g3()).table.height == 4
