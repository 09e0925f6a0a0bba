"""Optimism finds what the reference hides, pessimism keeps off what was hardly seen, coverage settles the rest."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from pluralign.errors import MissingInput
from pluralign.lab import World, bandit, play
from pluralign.lab.games import divergence
from pluralign.lab.self_play import pull
from pluralign.lab.table import Table
from pluralign.likelihoods import plackett_luce
from pluralign.likelihoods.pairwise import logistic
from pluralign.models import lower_bound
from pluralign.online import Plan, SampleBatch, Stage, find, learner


def judged(reference: list[float], wins: dict[tuple[int, int], float]) -> World:
    """A bandit without rewards, and the judgements: how often the first of a pair was preferred to the second."""
    world = bandit(np.zeros(len(reference)), reference=reference)
    pairs = np.array(list(wins))
    return replace(
        world,
        prompt=np.zeros(len(pairs), dtype=np.int64),
        response=pairs,
        weight=np.array([*wins.values()], dtype=float),
    )


def batch_of(world: World, theta: torch.Tensor, *, offline: bool) -> SampleBatch:
    table, law = Table(world, {}, offline=offline), torch.tensor(world.reference)
    return table.batch(theta, {"reference": table.reference, "previous": table.reference}, [(law, law)], {})


SEEN = judged([0.45, 0.45, 0.1], {(0, 1): 6, (1, 0): 4, (0, 2): 1, (2, 0): 1})


@pytest.mark.parametrize(
    ("alpha", "side", "golden", "value"),
    [
        (0.0, "offline", (0.52941, 0.35294, 0.11765), 0.0199),
        (-1.0, "offline", (0.53466, 0.34046, 0.12488), 0.0257),
        (1.0, "offline", (0.52419, 0.36240, 0.11341), 0.0162),
    ],
)
def test_value_incentives_raise_or_lower_what_was_seldom_seen(
    alpha: float, side: str, golden: tuple[float, ...], value: float
) -> None:
    """Sums in the card, means here: its alpha of 1 over twelve judgements. Optimism is pessimism with alpha below 0."""
    vpo = find("vpo").function

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        free = torch.tensor(np.append(theta, 0.0))[None, None].requires_grad_()
        batch = batch_of(SEEN, free, offline=True)
        found = batch.mean(vpo(batch, beta=1.0, alpha=alpha / 12, side=side, calibration="reference"))
        (slope,) = torch.autograd.grad(found, free)
        return found.item(), slope[0, 0, :2].numpy()

    best = np.exp(np.append(minimize(loss, np.zeros(2), jac=True, options={"gtol": 1e-12}).x, 0.0))
    found = best / best.sum()
    assert found == pytest.approx(golden, abs=1e-5)
    assert -(SEEN.reference[0] * np.log(found / SEEN.reference[0])).sum() == pytest.approx(value, abs=1e-4)


def test_vpo_online_is_xpo_and_without_alpha_dpo() -> None:
    world = bandit([0.0, 1.0, 2.0], reference=[0.6, 0.3, 0.1])
    for alpha in (0.0, 0.02):
        mine = play("vpo", world, rounds=2, beta=0.5, alpha=alpha)
        # The bonus of vpo is on beta h, that of xpo on log pi.
        assert np.abs(mine - play("xpo", world, rounds=2, beta=0.5, alpha=alpha * 0.5)).max() < 1e-9
    plain = play("vpo", world, rounds=1, beta=0.5, alpha=0.0)[1]
    assert np.abs(plain - world.tilted(0.5)).max() < 1e-8


def test_pessimism_on_chosen_responses_is_dpo_with_imitation() -> None:
    world = judged([0.4, 0.3, 0.3], {(0, 1): 3.0, (1, 0): 1.0, (0, 2): 2.0, (2, 0): 1.0})
    mine = pull("vpo", world, [0.5, 0.2, 0.3], beta=0.5, alpha=0.2, side="offline", calibration="chosen")
    dpo = pull("vpo", world, [0.5, 0.2, 0.3], beta=0.5, alpha=0.0, side="offline")
    chosen = np.array([5, 1, 1]) / 7
    assert mine - dpo == pytest.approx(0.2 * 0.5 * (chosen - np.array([0.5, 0.2, 0.3]))[None, None], abs=1e-12)


@learner(paper="ours", plan=Plan((Stage(law={"seen": 1.0}, one_step=True),)))
def unseen(batch: SampleBatch, *, alpha: float = 0.0) -> torch.Tensor:
    """xpo on draws among which a rare response has never been; alpha may be negative."""
    return find("xpo").function(batch, beta=1.0, alpha=alpha)


def test_pushing_down_what_the_reference_says_finds_a_rare_good_response_sooner() -> None:
    world = bandit([0.0, 0.2, 3.0], reference=[0.6, 0.39, 0.01])

    def found(alpha: float, rounds: int = 100) -> int:
        """The round by which it has been drawn with a chance of one half."""
        seen = {"seen": np.array([0.6, 0.4, 0.0])}
        rare = play(unseen, world, rounds=rounds, learning_rate=0.5, natural=True, laws=seen, alpha=alpha)[:, 0, 2]
        return int(np.searchsorted(1 - np.cumprod(1 - rare), 0.5))

    optimistic, plain, wrong = found(0.3), found(0.0), found(-0.3)
    assert plain == pytest.approx(np.log(2) / 0.01, abs=2)
    assert optimistic < plain / 2
    assert wrong == 101  # never


def test_what_was_never_compared_keeps_the_mass_it_began_with_and_divergence_settles_it() -> None:
    world = judged([0.2, 0.3, 0.5], {(0, 1): 0.9, (1, 0): 0.1})
    inner = np.array([0.2 / 0.5 * 0.9**2, 0.3 / 0.5 * 0.1**2])
    inner /= inner.sum()
    golden = np.array([0.30061, 0.00557, 0.69382])
    m0, k = 0.5, float(divergence(inner, [0.4, 0.6]))
    m = m0 * np.exp(-k) / (m0 * np.exp(-k) + 1 - m0)
    assert np.append(m * inner, 1 - m) == pytest.approx(golden, abs=5e-6)
    for mass in (0.2, 0.5, 0.95):  # dpo rests wherever arm 2 happens to be
        policy = np.append((1 - mass) * inner, mass)
        assert np.abs(pull("hypo", world, policy, beta=0.5, weight=0.0)).max() < 1e-9

    def along(mass: float) -> float:
        """Pull on the logits of the arms compared, together; that of dpo is none."""
        pulled = pull("hypo", world, np.append(mass * inner, 1 - mass), beta=0.5, weight=1.0)
        return float(pulled[0, 0, :2].sum())

    assert along(m) == pytest.approx(0, abs=1e-9)
    assert along(m - 0.05) > 0.001
    assert along(m + 0.05) < -0.001


def test_offline_pairs_are_asked_for() -> None:
    world = bandit([0.0, 1.0])
    batch = batch_of(world, torch.tensor(world.tree.reference), offline=False)
    with pytest.raises(MissingInput, match="hypo needs offline"):
        find("hypo")(batch)


def test_pessimism_leaves_the_arm_that_was_lucky_twice() -> None:
    arms = np.eye(3)
    differences = np.array([arms[1] - arms[0]] * 200 + [arms[2] - arms[0]] * 2)
    won = np.array([1.0] * 120 + [-1.0] * 80 + [1.0, 1.0])

    def loss(theta: np.ndarray) -> float:
        return float(logistic(won * (differences @ theta)).sum() + 0.05 * (theta**2).sum())

    fit = minimize(loss, np.zeros(3)).x
    assert lower_bound(arms, fit, differences, bound=0.0).argmax() == 2
    cautious = lower_bound(arms, fit, differences, bound=0.3, ridge=1e-3, origin=arms[0])
    assert cautious.argmax() == 1
    # Within its ball the bound promises no more than is true.
    spread = np.linalg.inv(np.linalg.cholesky(differences.T @ differences / len(differences) + 1e-3 * np.eye(3))).T
    for way in np.random.default_rng(0).normal(size=(200, 3)):
        truth = fit + spread @ (0.3 * way / np.linalg.norm(way))
        assert (cautious <= (arms - arms[0]) @ truth + 1e-12).all()


def test_the_likelihood_of_whole_rankings_is_more_exact_than_that_of_their_pairs() -> None:
    theta, k, n, sets = np.array([0.8, -0.5, 0.3]), 4, 60, 500
    rng = np.random.default_rng(0)
    x = rng.normal(size=(sets, n, k, 3))
    order = np.argsort(-(x @ theta + rng.gumbel(size=(sets, n, k))), axis=-1)
    x = np.take_along_axis(x, order[..., None], axis=2)
    whole = [slice(i, None) for i in range(k - 1)]
    pairs = [[i, j] for i in range(k) for j in range(i + 1, k)]

    def fitted(parts: list) -> np.ndarray:
        """Newton steps on choices of the first of each part, as plackett_luce or its split into pairs counts them."""
        at = np.zeros((sets, 3))
        for _ in range(8):
            slope, curve = np.zeros((sets, 3)), np.zeros((sets, 3, 3))
            for part in parts:
                z = x[:, :, part]
                score = np.einsum("snkd,sd->snk", z, at)
                p = np.exp(score - score.max(-1, keepdims=True))
                p /= p.sum(-1, keepdims=True)
                mean = np.einsum("snk,snkd->snd", p, z)
                centred = z - mean[:, :, None]
                slope += (z[:, :, 0] - mean).sum(1)
                curve += np.einsum("snk,snkd,snke->sde", p, centred, centred)
            at = at + np.linalg.solve(curve, slope[..., None])[..., 0]
        return at

    found = fitted(whole)
    # It is the likelihood of the package that has no slope left there.
    point = torch.tensor(found[0]).requires_grad_()
    better = torch.triu(torch.ones(k, k), 1).bool().expand(n, k, k)
    (slope,) = torch.autograd.grad(plackett_luce(torch.tensor(x[0]) @ point, better, None).sum(), point)
    assert slope.abs().max() < 1e-8
    errors = [((at - theta) ** 2).sum(1) for at in (found, fitted(pairs))]
    assert [e.mean() for e in errors] == pytest.approx([0.0455, 0.0498], rel=0.1)
    gap = errors[1] - errors[0]
    assert gap.mean() / (gap.std() / np.sqrt(sets)) > 3
