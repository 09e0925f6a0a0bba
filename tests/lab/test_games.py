"""Equilibria to the digits of the cards, and closed-form self-play at the rates and limits that papers state."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.errors import OptionError
from pluralign.lab import dynamics
from pluralign.lab.games import divergence, duality_gap, game, nash

GAME = game()
FREE, PRICED = nash(GAME)[0], nash(GAME, 0.1)[0]


@pytest.mark.parametrize(
    ("tau", "golden"),
    [
        (1.0, (0.6442546639, 0.2419521724, 0.1137931637)),
        (0.5, (0.6666218945, 0.1968062216, 0.1365718839)),
        (0.1, (0.4927473326, 0.1541469596, 0.3531057078)),
        (0.0, (0.3, 0.3, 0.4)),
    ],
)
def test_equilibria_of_the_cycle(tau: float, golden: tuple[float, ...]) -> None:
    assert np.abs(nash(GAME, tau)[0] - golden).max() < 1e-10
    assert duality_gap(GAME, nash(GAME, tau), tau)[0] == pytest.approx(0, abs=1e-14)


def test_gaps_of_the_reference() -> None:
    assert duality_gap(GAME, GAME.reference)[0] == pytest.approx(0.18, abs=1e-12)
    assert duality_gap(GAME, GAME.reference, 0.1)[0] == pytest.approx(0.1128875836, abs=1e-10)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 8), st.integers(0, 10**6), st.sampled_from([0.0, 0.003, 0.05, 0.3, 2.0]))
def test_equilibria_of_random_games(count: int, seed: int, tau: float) -> None:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((count, count)), 1)
    world = game(
        upper + np.tril(1 - upper.T, -1) + np.eye(count) / 2, rng.dirichlet(np.ones(count)) * 0.9 + 0.1 / count
    )
    found = nash(world, tau)
    assert found.min() >= -1e-12
    assert duality_gap(world, found, tau)[0] < 1e-8
    other = rng.dirichlet(np.ones(count))[None]
    assert duality_gap(world, other, tau)[0] > -1e-12
    # No policy wins more than half against itself.
    assert (other @ world.preference[0] @ other.T).item() == pytest.approx(0.5)


def test_the_closed_gap_is_the_best_answer_s_gain() -> None:
    rng, pi, tau = np.random.default_rng(0), np.array([0.2, 0.5, 0.3]), 0.2

    def payoff(p: np.ndarray, q: np.ndarray) -> float:
        said, ref = GAME.preference[0], GAME.reference[0]
        return float(p @ said @ q - tau * divergence(p, ref) + tau * divergence(q, ref))

    answers = rng.dirichlet(np.ones(3), 200_000)
    best = GAME.preference[0] @ pi
    answer = GAME.reference[0] * np.exp(best / tau)
    assert 2 * payoff(answer / answer.sum(), pi) - 1 == pytest.approx(duality_gap(GAME, pi[None], tau)[0], abs=1e-12)
    tried = answers @ best - tau * divergence(answers, GAME.reference[0]) + tau * divergence(pi, GAME.reference[0])
    assert duality_gap(GAME, pi[None], tau)[0] - 1e-3 < 2 * tried.max() - 1 <= duality_gap(GAME, pi[None], tau)[0]


def test_several_prompts_are_solved_each_by_itself() -> None:
    other = [[0.5, 0.7, 0.6], [0.3, 0.5, 0.9], [0.4, 0.1, 0.5]]
    world = game(np.array([GAME.preference[0], other]), GAME.reference[0])
    assert np.allclose(nash(world)[0], FREE)
    assert nash(world)[1].tolist() == [1, 0, 0]  # a winner that nobody beats


def test_games_have_no_ties() -> None:
    with pytest.raises(OptionError, match="no ties"):
        game([[0.5, 0.3], [0.3, 0.5]])
    with pytest.raises(OptionError, match="0 or more"):
        nash(GAME, -1)


def to_free(policies: np.ndarray) -> np.ndarray:
    return divergence(FREE, policies[:, 0])


def to_priced(policies: np.ndarray) -> np.ndarray:
    return divergence(PRICED, policies[:, 0])


def average_gap(policies: np.ndarray) -> np.ndarray:
    """Of the mixture of the first t policies, at place t - 1."""
    return duality_gap(GAME, dynamics.mixture(policies))[:, 0]


def test_multiplicative_weights_spiral_out_while_their_mixture_closes_in() -> None:
    run = dynamics.mwu(GAME, 1000, eta=0.5)
    assert to_free(run)[[0, 100, 1000]] == pytest.approx([0.347, 0.533, 2.11], abs=4e-3)
    assert average_gap(run)[[100, 1000]] == pytest.approx([0.043, 0.0077], rel=0.01)
    assert all(np.diff(to_free(run)[::100]) > 0)


@pytest.mark.parametrize("rounds", [100, 1000])
def test_the_tuned_step_of_multiplicative_weights_keeps_its_bound(rounds: int) -> None:
    d = math.log(10)
    run = dynamics.mwu(GAME, rounds, eta=math.sqrt(d / rounds))
    assert average_gap(run)[rounds - 1] <= 4 * math.sqrt(d / rounds)


def test_nash_md_converges_with_shrinking_steps_and_stops_short_with_constant_ones() -> None:
    run = dynamics.nash_md(GAME, 1000, tau=0.1, eta=lambda t: 2 / (0.1 * (t + 1)))
    assert to_priced(run)[[100, 1000]] == pytest.approx([1.03e-4, 1.06e-6], rel=0.01)
    for rounds in (100, 1000):
        assert to_priced(run)[rounds] <= 8 / (0.1**2 * (rounds + 1))
    for eta, kl, gap in [(0.5, 5.7e-4, 4.1e-4), (1.0, 2.42e-3, 1.70e-3)]:
        stuck = dynamics.nash_md(GAME, 3000, tau=0.1, eta=eta)
        assert to_priced(stuck)[[1500, 3000]] == pytest.approx([kl, kl], rel=0.01)
        assert duality_gap(GAME, stuck[-1], 0.1)[0] == pytest.approx(gap, rel=0.01)


def test_inpo_converges_linearly_at_a_constant_step_and_not_at_one_too_large() -> None:
    run = dynamics.inpo(GAME, 300, tau=0.1, eta=0.5)
    assert to_priced(run)[[20, 50]] == pytest.approx([6.4e-4, 1.0e-7], rel=0.02)
    assert to_priced(run)[100] < 1e-12
    assert to_priced(dynamics.inpo(GAME, 1000, tau=0.1, eta=0.15))[500:].min() > 0.05


def test_the_rate_that_inpo_s_theory_promises_holds() -> None:
    for tau, eta in [(0.1, 0.5), (0.1, 2.0), (0.5, 1.0)]:
        target = nash(GAME, tau)[0]
        run = dynamics.inpo(GAME, 200, tau=tau, eta=eta)[:, 0]
        kl = divergence(target, run)
        bound = np.abs(np.log(run / GAME.reference)).max()
        c = max(bound * tau, 1)
        assert (kl[1:] <= (1 - tau / eta) * kl[:-1] + 8 * c**2 / eta**2).all()


def test_inpo_with_growing_eta_keeps_its_bound() -> None:
    tau, rounds = 0.1, 500
    run = dynamics.inpo(GAME, rounds, tau=tau, eta=lambda t: tau * (t + 2) / 2)[:, 0]
    c = max(tau * np.abs(np.log(run / GAME.reference)).max(), 1)
    t = np.arange(1, rounds + 1)
    assert (divergence(PRICED, run)[1:] <= 32 * c**2 / (tau**2 * (t + 1))).all()


def test_onpo_s_mixture_closes_in_like_one_over_rounds_and_its_last_policy_linearly() -> None:
    run = dynamics.onpo(GAME, 10_000, eta=0.5)
    gaps = average_gap(run[:-1])
    assert gaps[[1999, 9999]] == pytest.approx([2.08e-3, 4.16e-4], rel=2e-3)
    assert 10_000 * gaps[-1] == pytest.approx(4.16, abs=0.01)
    assert 10_000 * gaps[-1] < 4 * math.sqrt(math.log(10)) < 1000 * average_gap(dynamics.mwu(GAME, 999, eta=0.5))[-1]
    assert to_free(run)[[1000, 2000]] == pytest.approx([8.4e-5, 9.2e-9], rel=0.01)


def test_the_last_policy_of_onpo_closes_in_linearly_at_the_step_its_theory_allows() -> None:
    """At a step of 1/8 the same factor every 3,000 rounds, once it is near."""
    kl = to_free(dynamics.onpo(GAME, 12_000, eta=1 / 8))[[0, 3000, 6000, 9000, 12_000]]
    factors = kl[1:] / kl[:-1]
    assert (factors < 0.4).all()
    assert factors[2] == pytest.approx(factors[3], rel=0.1)


def test_a_mixture_of_inpo_s_policies_closes_in_and_its_last_policy_sooner() -> None:
    run = dynamics.inpo(GAME, 400, tau=0.1, eta=0.5)
    gaps = duality_gap(GAME, dynamics.mixture(run), 0.1)[:, 0]
    rounds = np.arange(1, 402)
    assert (gaps * np.sqrt(rounds) <= 2 * gaps[0]).all()
    assert gaps[-1] > 1e6 * duality_gap(GAME, run[-1], 0.1)[0]


def test_egpo_converges_linearly_faster_than_inpo_and_fails_where_the_step_is_far_too_large() -> None:
    run = dynamics.egpo(GAME, 200, tau=0.1, eta=1.0)
    assert to_priced(run)[[20, 50]] == pytest.approx([2.6e-3, 1.7e-6], rel=0.03)
    assert to_priced(run)[100] == pytest.approx(9e-12, rel=0.05)
    # At least a factor of 1 - eta tau an update, the promised rate.
    assert to_priced(run)[100] <= to_priced(run)[0] * 0.9**100
    assert to_priced(dynamics.egpo(GAME, 400, tau=0.1, eta=8.0))[100:].min() > 0.01
