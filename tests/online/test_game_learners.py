"""Each learner of games, fitted to exact expectations, is the closed form that its card states."""

import numpy as np
import pytest
import torch

from pluralign.lab import bandit, dynamics
from pluralign.lab.games import divergence, duality_gap, game, nash
from pluralign.lab.self_play import play, pull, rest
from pluralign.lab.solve import NoOptimum
from pluralign.online import Plan, SampleBatch, Stage, direct, find, learner
from pluralign.online.learners import accelerated, egpo

GAME = game()
UNIFORM = np.full(3, 1 / 3)
TILTED = np.exp([0.3, -0.2, 0.4]) / np.exp([0.3, -0.2, 0.4]).sum()
PRICED = nash(GAME, 0.1)[0]


def test_the_fit_of_inpo_is_its_closed_form() -> None:
    assert (
        np.abs(play("inpo", GAME, rounds=5, tau=0.1, eta=0.5) - dynamics.inpo(GAME, 5, tau=0.1, eta=0.5)).max() < 1e-12
    )
    one = play("inpo", GAME, rounds=1, tau=0.1, eta=2.0, start=TILTED)[1, 0]
    assert one == pytest.approx([0.3777127, 0.2277514, 0.3945359], abs=1e-7)


def test_inpo_on_pairs_of_another_law_is_wrong() -> None:
    off = play("inpo", GAME, rounds=1, tau=0.1, eta=2.0, start=TILTED, laws={"draws": UNIFORM})[1, 0]
    assert off == pytest.approx([0.3891328, 0.2260893, 0.3847778], abs=1e-7)


def test_inpo_has_the_anchors_of_ipo() -> None:
    """Without a price it is online mirror descent; anchored at the reference alone, online IPO with its eta."""
    for options, anchor in [({"tau": 1e-12}, {"previous": 1.0}), ({"tau": 2.0}, {"reference": 1.0})]:
        mine = play("inpo", GAME, rounds=1, eta=2.0, start=TILTED, **options)
        ipo = play("ipo", GAME, rounds=1, beta=2.0, per="sequence", anchor=anchor, start=TILTED)
        assert np.abs(mine - ipo).max() < 1e-11


def test_onpo_fits_two_policies_a_round_on_one_data_set() -> None:
    assert np.abs(play("onpo", GAME, rounds=5, eta=0.5) - dynamics.onpo(GAME, 5, eta=0.5)).max() < 1e-12


def test_onpo_without_its_second_fit_is_multiplicative_weights() -> None:
    onpo = find("onpo")
    half = learner(paper="ours", plan=Plan((Stage(begin="auxiliary", keep="auxiliary"),), {"auxiliary": 1.0}))(
        onpo.function
    )
    assert np.abs(play(half, GAME, rounds=4, eta=0.5) - dynamics.mwu(GAME, 4, eta=0.5)).max() < 1e-12


def test_a_gradient_step_of_egpo_is_its_closed_form() -> None:
    # Uniform pairs of n responses: a step of lr on the mean loss is one of eta tau = 4 lr / n.
    run = play("egpo", GAME, rounds=100, tau=0.1, learning_rate=0.1 * 3 / 4, laws={"draws": UNIFORM})
    assert np.abs(run - dynamics.egpo(GAME, 100, tau=0.1, eta=1.0)).max() < 1e-11
    assert divergence(PRICED, run[100, 0]) == pytest.approx(9e-12, rel=0.05)


def test_egpo_that_plays_its_full_step_against_the_old_policy_is_the_slower_mirror_descent() -> None:
    stages = find("egpo").plan().stages
    bug = learner(paper="ours", plan=Plan((stages[0], Stage(stages[0].law, one_step=True, opponent={"previous": 1.0}))))
    run = play(bug(egpo.function), GAME, rounds=5, tau=0.1, learning_rate=0.1 * 3 / 4, laws={"draws": UNIFORM})
    assert np.abs(run - dynamics.inpo(GAME, 5, tau=0.1, eta=1.0)).max() < 1e-12


def test_a_natural_step_of_spo_is_multiplicative_weights() -> None:
    run = play("spo", GAME, rounds=5, learning_rate=0.5, natural=True)
    assert np.abs(run - dynamics.mwu(GAME, 5, eta=0.5)).max() < 1e-12


def test_a_natural_step_of_nash_md_is_mirror_descent_against_the_mixture() -> None:
    run = play("nash_md", GAME, rounds=5, tau=0.1, mixing=0.05, learning_rate=0.5, natural=True)
    assert np.abs(run - dynamics.nash_md(GAME, 5, tau=0.1, eta=0.5)).max() < 1e-12


def test_online_ipo_rests_at_the_equilibrium() -> None:
    run = play("online_ipo", GAME, rounds=150, tau=0.1, learning_rate=0.02, natural=True)
    assert divergence(PRICED, run[-1, 0]) < 1e-6


def test_soft_win_rates_make_dno_multiplicative_weights_and_labels_of_pairs_do_not() -> None:
    one = play("dno", GAME, rounds=1, eta=0.5, start=TILTED)[1, 0]
    assert one == pytest.approx([0.34445, 0.21210, 0.44345], abs=5e-6)
    assert one == pytest.approx(dynamics.mwu(GAME, 1, eta=2.0, start=TILTED)[1, 0], abs=1e-11)
    pairs = play("dpo", GAME, rounds=1, beta=0.5, anchor="previous", start=TILTED)[1, 0]
    assert pairs == pytest.approx([0.27107, 0.17475, 0.55419], abs=5e-6)
    # Any pairs that cover the responses do.
    uniform = play("dno", GAME, rounds=1, eta=0.5, start=TILTED, laws={"draws": UNIFORM})[1, 0]
    assert np.abs(uniform - one).max() < 1e-10


def test_every_step_of_dno_beats_the_policy_before() -> None:
    new = play("dno", GAME, rounds=1, eta=0.5, start=TILTED)[1, 0]
    wins = float(new @ GAME.preference[0] @ TILTED)
    assert wins == pytest.approx(0.50265, abs=5e-6)
    assert 0.5 + 0.5 * float(divergence(new, TILTED)) == pytest.approx(0.50133, abs=5e-6)


def test_sppo_with_a_half_is_close_to_multiplicative_weights_and_with_log_z_exact() -> None:
    run = play("sppo", GAME, rounds=1, eta=2.0)[1, 0]
    assert run == pytest.approx([0.69171, 0.19300, 0.11529], abs=5e-6)
    assert np.abs(play("sppo", GAME, rounds=1, eta=0.1) - dynamics.mwu(GAME, 1, eta=0.1)).max() < 1e-6
    exact = play("sppo", GAME, rounds=3, eta=2.0, normaliser="exact")
    assert np.abs(exact - dynamics.mwu(GAME, 3, eta=2.0)).max() < 1e-12


def test_sppo_moves_winner_and_loser_where_dpo_moves_their_gap() -> None:
    """Two draws of many responses, one beats the other: one fit raises the first and lowers the second."""
    logits = torch.log_softmax(torch.zeros(50, dtype=torch.float64), 0)
    said = torch.tensor([[[0.5, 1.0], [0.0, 0.5]]], dtype=torch.float64)
    theta = logits.clone().requires_grad_()
    for _ in range(200):
        logp = torch.log_softmax(theta, 0)[None, :2]
        batch = SampleBatch(logp, snapshots={"previous": logits[None, :2]}, preference=said)
        (slope,) = torch.autograd.grad(batch.mean(find("sppo")(batch, eta=1.0)), theta)
        theta = (theta - 0.2 * slope).detach().requires_grad_()
    now = torch.log_softmax(theta, 0)
    assert now[0] > logits[0]
    assert now[1] < logits[1]
    assert (now - logits)[:2].detach().numpy() == pytest.approx([0.25, -0.25], abs=1e-6)  # eta (p_hat - 1/2)


def test_sppo_on_the_best_and_the_worst_leaves_the_others_to_make_up_the_sum() -> None:
    wins = GAME.preference[0] @ TILTED
    bottom, middle, top = np.argsort(wins)
    for eta, over, targets in ((0.5, "ends", wins - 0.5), (0.1, "hard ends", np.sign(wins - wins[middle]) / 2)):
        h = np.log(play("sppo", GAME, rounds=1, eta=eta, over=over, start=TILTED)[1, 0] / TILTED)
        assert h[[top, bottom]] == pytest.approx(eta * targets[[top, bottom]], abs=1e-9)
        assert abs(h[middle] - eta * (wins[middle] - 0.5)) > 1e-4
    # Of draws that all win as often none is better.
    zero, half = torch.zeros(1, 3).double(), torch.full((1, 3, 3), 0.5).double()
    flat = SampleBatch(zero, snapshots={"previous": zero}, preference=half)
    assert find("sppo")(flat, eta=1.0, over="ends").item() == 0


def test_sppo_takes_both_falling_for_a_loss_where_dpo_takes_it_for_a_gain() -> None:
    """The winner loses a nat and the loser two: their gap has grown, and no target was come nearer."""
    said = np.array([[[0.5, 1.0], [0.0, 0.5]]])
    before = np.log([[0.02, 0.02]])

    def loss(one: str, now: np.ndarray, **options: object) -> float:
        batch = SampleBatch(now, snapshots={"previous": before, "reference": before}, preference=said)
        return find(one)(batch, **options).item()

    fallen = before - np.array([[1.0, 2.0]])
    apart = before + np.array([[0.5, -0.5]])
    for one, options in (("dpo", {"beta": 1.0}), ("ipo", {"beta": 0.5, "per": "sequence"})):
        assert loss(one, fallen, **options) < loss(one, before, **options)
        assert loss(one, fallen, **options) == pytest.approx(loss(one, apart, **options))
    hard = {"eta": 1.0, "over": "hard ends"}
    assert loss("sppo", fallen, **hard) > loss("sppo", before, **hard) > 0.1
    assert loss("sppo", apart, **hard) == pytest.approx(0, abs=1e-12)


def test_the_half_of_sppo_is_log_z_to_first_order() -> None:
    """log Z = eta / 2 + eta^2 Var / 2 + ..., and so the error of a half shrinks eightfold with half the step."""
    rho, wins = GAME.reference[0], GAME.preference[0] @ GAME.reference[0]
    variance = rho @ wins**2 - 0.25

    def beyond(eta: float) -> float:
        return abs(float(np.log(rho @ np.exp(eta * wins)) - eta / 2 - eta**2 * variance / 2))

    assert beyond(0.1) / beyond(0.05) == pytest.approx(8, rel=0.05)
    assert variance > 0.01


def test_win_rates_of_a_batch_of_draws_are_a_half_on_average() -> None:
    drawn = np.random.default_rng(0).choice(3, (20, 5), p=GAME.reference[0])
    batch = SampleBatch(np.zeros((20, 5)), preference=GAME.preference[0][drawn[:, :, None], drawn[:, None, :]])
    assert batch.win_rate.mean(1) == pytest.approx(np.full(20, 0.5), abs=1e-12)
    assert batch.win_rate.std() > 0.1


def test_nash_md_against_the_reference_answers_it_and_against_itself_rests_at_the_equilibrium() -> None:
    answer = GAME.tilted(0.2, GAME.preference[0] @ GAME.reference[0])
    assert np.abs(rest("nash_md", GAME, tau=0.2, mixing=1.0) - answer).max() < 1e-9
    assert np.abs(rest("nash_md", GAME, tau=0.2, mixing=0.0) - nash(GAME, 0.2)).max() < 1e-9


def test_egpo_on_the_policy_s_own_draws_is_online_ipo() -> None:
    for policy in (TILTED, UNIFORM):
        own = pull("egpo", GAME, policy, tau=0.3, laws={"draws": policy})
        assert np.abs(own - pull("online_ipo", GAME, policy, tau=0.3)).max() < 1e-12
        assert np.abs(own - pull("egpo", GAME, policy, tau=0.3)).max() > 1e-4


def test_rebel_on_win_rates_is_multiplicative_weights() -> None:
    run = play("rebel", GAME, rounds=4, eta=0.5, extra=lambda now: {"reward": now @ GAME.preference[0].T})
    assert np.abs(run - dynamics.mwu(GAME, 4, eta=0.5)).max() < 1e-11


def test_momentum_divides_what_is_left_to_gain() -> None:
    """max r - E r is at most beta log(1 / ref(best)) / x_T, and x_T grows to T / (1 - alpha)."""
    world, rounds = bandit(np.linspace(0, 1, 1000)), 80
    left = {}
    for alpha in (0.0, 0.3):
        x = np.cumsum([sum(alpha**j for j in range(k)) for k in range(1, rounds + 1)])
        left[alpha] = np.array([1 - world.value(world.tilted(1 / at)) for at in x])
        assert (left[alpha] <= np.log(1000) / x).all()
    assert left[0.3][-1] / left[0.0][-1] == pytest.approx(0.7, abs=0.02)


def test_iterative_dpo_collapses_on_a_cycle_and_online_dpo_misses_the_equilibrium() -> None:
    run = play("dpo", GAME, rounds=20, beta=0.5, anchor="previous")
    assert run[-1].max() > 0.9999
    assert duality_gap(GAME, run[-1])[0] == pytest.approx(0.6, abs=1e-4)
    online = play("dpo", GAME, rounds=25, beta=1.0, anchor="reference")[-1, 0]
    assert online == pytest.approx([0.6456, 0.1413, 0.2132], abs=1e-4)
    assert nash(GAME, 1.0)[0] == pytest.approx([0.6443, 0.2420, 0.1138], abs=1e-4)


def test_online_and_iterative_dpo_where_a_reward_explains_what_people_say() -> None:
    world = bandit([0.0, 1.0, 2.0, 3.0], reference=[0.5, 0.3, 0.15, 0.05])
    assert np.abs(play("dpo", world, rounds=2, beta=0.5)[-1] - world.tilted(0.5)).max() < 1e-9
    run = play("dpo", world, rounds=3, beta=2.0, anchor="previous")
    assert np.abs(run[3] - world.tilted(2.0 / 3)).max() < 1e-9


def test_momentum_between_rounds_adds_up_as_its_card_says() -> None:
    world = bandit([0.0, 1.0, 2.0, 3.0], reference=[0.5, 0.3, 0.15, 0.05])
    fast = accelerated(direct("dpo"), alpha=0.3)
    run = play(fast, world, rounds=4, beta=4.0, anchor="previous")
    # The fit of round T is ref exp(x_T r / beta); deployed is one step of momentum further.
    x = np.cumsum([sum(0.3**j for j in range(k)) for k in range(1, 6)])
    assert x[:4] == pytest.approx([1, 2.3, 3.69, 5.107], abs=1e-12)
    for t in range(1, 5):
        before = x[t - 2] if t > 1 else 0.0
        deployed = x[t - 1] + 0.3 * (x[t - 1] - before)
        assert np.abs(run[t] - world.tilted(4.0 / deployed)).max() < 1e-8
    plain = play(accelerated(direct("dpo"), alpha=0.0), world, rounds=3, beta=4.0, anchor="previous")
    assert np.abs(plain[3] - world.tilted(4.0 / 3)).max() < 1e-8
    wrong = play(accelerated(direct("dpo"), alpha=-0.3), world, rounds=2, beta=4.0, anchor="previous")
    assert np.abs(wrong[1] - world.tilted(4.0 / 0.7)).max() < 1e-8  # x_2 = 1.7 fits on from 0.7


def test_where_a_reward_explains_everything_games_end_at_the_best_response() -> None:
    world = bandit([0.0, 1.0, 2.0], reference=[0.5, 0.3, 0.2])
    for run in (dynamics.onpo(world, 200, eta=0.5), dynamics.mwu(world, 200, eta=0.5)):
        assert run[-1, 0, 2] > 0.999


@pytest.mark.parametrize(("name", "options"), [("inpo", {"tau": 0.1, "eta": 0.5}), ("sppo", {"eta": 1.0})])
def test_groups_of_draws_agree_with_the_whole_law(name: str, options: dict[str, float]) -> None:
    """A mean over all pairs that can be drawn is the expectation; sppo counts itself, which two draws half do."""
    exact = play(name, GAME, rounds=1, **options)[1]
    drawn = play(name, GAME, rounds=1, group=2, **options)[1]
    assert (np.abs(drawn - exact).max() < 1e-10) == (name == "inpo")


def test_a_loss_without_minimum_is_named() -> None:
    certain = game([[0.5, 1.0], [0.0, 0.5]])
    with pytest.raises(NoOptimum, match="dpo has no minimum"):
        play("dpo", certain, rounds=1, beta=0.1)
