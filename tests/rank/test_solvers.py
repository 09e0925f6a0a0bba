"""Every named solver reaches the optimum of every other, or says that it did not."""

import numpy as np
import pytest

from pluralign.errors import OptionError
from pluralign.rank import BradleyTerry, Counts, NotConverged, Votes, solvers
from pluralign.rank.spectral import lsr, rank_centrality, stationary
from tests.rank.golden import g1, g2, g3, votes

SOLVERS = ["mm", "newman", "ilsr"]


def league(n, m, seed=0, ties=0.0, spread=1.0, reach=None):
    rng = np.random.default_rng(seed)
    theta = np.sort(rng.normal(scale=spread, size=n))
    left = rng.integers(n, size=m)
    right = (left + 1 + rng.integers(n - 1, size=m)) % n
    if reach:
        right = np.where(left + reach < n, left + 1 + rng.integers(reach, size=m), left - 1)
    outcome = (rng.random(m) > 1 / (1 + np.exp(theta[right] - theta[left]))).astype(np.int8)
    outcome[rng.random(m) < ties] = 2
    return Votes([str(i) for i in range(n)], left.astype(np.int32), right.astype(np.int32), outcome)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("data", [g1(), g2(), league(30, 3000, ties=0.2), league(12, 500, spread=2.0)])
def test_all_agree_with_newton(solver, data):
    newton = BradleyTerry().fit(data)
    other = BradleyTerry(solver=solver).fit(data)
    assert other.scores_ == pytest.approx(newton.scores_, abs=1e-8)
    assert other.nll_ == pytest.approx(newton.nll_, abs=1e-8)
    assert other.certificate_.step <= 1e-8
    held = BradleyTerry(solver=solver, virtual=1.0).fit(data)
    assert held.scores_ == pytest.approx(BradleyTerry(virtual=1.0).fit(data).scores_, abs=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
def test_logistic_prior_of_golden_set_1(solver):
    model = BradleyTerry(solver=solver, virtual=1.0).fit(g1())
    assert model.scores_ == pytest.approx([0.785554, 0.098066, -0.238952, -0.627478], abs=1e-6)


def test_newman_fits_davidson_in_few_sweeps():
    model = BradleyTerry(ties="davidson", solver="newman").fit(g2())
    newton = BradleyTerry(ties="davidson").fit(g2())
    assert model.scores_ == pytest.approx(newton.scores_, abs=1e-8)
    assert model.tie_ == pytest.approx(0.669651, abs=1e-6)
    assert model.certificate_.steps <= 25


def test_newman_needs_a_quarter_of_zermelos_sweeps():
    sweeps = {name: BradleyTerry(solver=name).fit(g1()).certificate_.steps for name in SOLVERS}
    assert sweeps["newman"] <= 16
    assert 50 <= sweeps["mm"] <= 70


def test_the_likelihood_never_falls_under_mm():
    model = BradleyTerry().fit(league(15, 400))
    sweep = solvers._MM(model.design_.problem, model.family_, model.penalty_)
    theta, last = np.zeros(15), np.inf
    for _ in range(50):
        nll = model.family_.terms(
            theta[model.design_.problem.i] - theta[model.design_.problem.j], model.design_.problem.won, None
        ).nll
        assert nll <= last + 1e-9
        theta, last = sweep(theta, None)[0], nll


@pytest.mark.parametrize("solver", SOLVERS)
def test_components_and_unbeaten_items_are_treated_alike(solver):
    data = votes([(0, 1, 0), (1, 0, 0), (0, 1, 0), (2, 3, 0), (3, 2, 0)])
    assert BradleyTerry(solver=solver).fit(data).scores_ == pytest.approx(BradleyTerry().fit(data).scores_, abs=1e-8)
    unbeaten = votes([(0, 1, 0), (0, 2, 0), (1, 2, 0), (2, 1, 0), (2, 3, 0), (3, 2, 0)])
    fits = [BradleyTerry(solver=s).fit(unbeaten).scores_ for s in ("newton", solver)]
    assert fits[1] == pytest.approx(fits[0], abs=1e-8)


@pytest.mark.parametrize("solver", ["mm", "newman"])
def test_a_method_that_crawls_says_so(solver, monkeypatch):
    monkeypatch.setattr(solvers, "SWEEPS", 200)
    chain = league(60, 6000, spread=4.0, reach=1)
    with pytest.raises(NotConverged, match=f"solver='{solver}': after 200 sweeps.*newton"):
        BradleyTerry(solver=solver).fit(chain)


def test_standing_still_is_not_arriving(monkeypatch):
    monkeypatch.setattr(solvers, "STILL", 1e-4)
    with pytest.raises(NotConverged, match="no longer moves, but the optimum is"):
        BradleyTerry(solver="mm").fit(league(60, 6000, spread=4.0, reach=1))


@pytest.mark.parametrize(
    "options",
    [{"order": True}, {"ridge": 1.0}, {"link": "probit"}, {"ties": "rao-kupper"}, {"solver": "mm", "ties": "davidson"}],
)
def test_what_a_solver_does_not_know_is_refused(options):
    with pytest.raises(OptionError, match="take solver='newton'"):
        BradleyTerry(**{"solver": "newman"} | options).fit(g2() if "order" not in options else g3())


def test_golden_spectral_scores():
    counts = g1().counts()
    assert lsr(counts) == pytest.approx([0.880464, 0.127419, -0.108148, -0.899735], abs=1e-6)
    assert rank_centrality(counts) == pytest.approx([0.822981, 0.063666, -0.052884, -0.833763], abs=1e-6)


def test_lsr_and_rank_centrality_coincide_where_all_pairs_met_equally_often():
    low, high = np.triu_indices(5, 1)
    wins = np.random.default_rng(0).integers(1, 9, size=10).astype(float)
    counts = Counts(
        list("abcde"), low.astype(np.int32), high.astype(np.int32), np.stack([wins, 10 - wins, 0 * wins, 0 * wins], 1)
    )
    assert lsr(counts) == pytest.approx(rank_centrality(counts), abs=1e-12)


def test_walks_that_never_come_back_need_alpha():
    counts = votes([(0, 1, 0), (1, 2, 0), (2, 3, 0)]).counts()
    with pytest.raises(OptionError, match="give alpha"):
        lsr(counts)
    assert np.diff(lsr(counts, alpha=0.01)).max() < 0
    assert np.diff(rank_centrality(counts, alpha=0.01)).max() < 0


def test_a_stationary_distribution_keeps_its_digits_over_many_orders():
    rates = np.zeros((12, 12))
    for k in range(11):
        rates[k, k + 1], rates[k + 1, k] = 1.0, 1e-4
    # A birth-and-death chain: neighbours balance, so each entry is ten thousand times the one before.
    assert np.diff(np.log(stationary(rates))) == pytest.approx(np.full(11, np.log(1e4)), rel=1e-13)
