"""Several rewards at once: thresholds that hold, groups that none is sacrificed to, ensembles that last, best-of-n."""

import numpy as np
import pytest
import torch

from pluralign.errors import OptionError
from pluralign.evaluate.overoptimisation import best_of_n, best_of_n_kl
from pluralign.lab import bandit, play
from pluralign.models import conjunction, pessimistic
from pluralign.models import maxmin as exact_maxmin
from pluralign.online import Judge, Multipliers, find, overlong, without_length, worst_first

REF, REWARD = np.array([0.5, 0.3, 0.15, 0.05]), np.arange(4.0)
WORLD = bandit(REWARD, reference=REF)
BON = bandit(np.arange(4.0), reference=[0.4, 0.3, 0.2, 0.1])


class Beside:
    """What a loop does beside the learner: components and multipliers before each step, multipliers moved after it."""

    def __init__(self, components: np.ndarray, start: object, move: object) -> None:
        self.components, self.now, self.move = torch.tensor(components)[None], start, move

    def __call__(self, policy: np.ndarray) -> dict[str, torch.Tensor]:
        worth = (torch.tensor(policy)[0][:, None] * self.components[0]).sum(0).numpy()
        self.now = self.move(self.now, worth)
        values = self.now.values if isinstance(self.now, Multipliers) else self.now
        return {"components": self.components, "multipliers": torch.tensor(values)}


@pytest.mark.parametrize("kind", ["at_least", "equal"])
def test_the_threshold_is_reached_and_at_the_least_divergence(kind: str) -> None:
    beside = Beside(REWARD[:, None], Multipliers.start(1, kind=kind), lambda m, v: m.updated(v, [2.0], rate=0.3))
    run = play("constrained", WORLD, rounds=250, learning_rate=0.5, natural=True, extra=beside)
    assert run[-1, 0] == pytest.approx([0.09372, 0.19330, 0.33225, 0.38073], abs=1e-4)
    assert run[-1, 0] @ REWARD == pytest.approx(2.0, abs=1e-4)
    mu = beside.now.values[0]
    assert mu / (1 - mu) == pytest.approx(1.234805, abs=1e-3)


@pytest.mark.slow
def test_normalised_advantages_circle_around_the_threshold() -> None:
    """Their ratio no longer says how far the policy is, so that policy and multiplier chase each other."""
    beside = Beside(REWARD[:, None], Multipliers.start(1), lambda m, v: m.updated(v, [2.0], rate=0.05))
    options = {"learning_rate": 0.05, "natural": True, "extra": beside, "normalise": True}
    reward = play("constrained", WORLD, rounds=600, **options)[300:, 0] @ REWARD
    assert reward.mean() == pytest.approx(2.0, abs=0.25)
    assert reward.min() < 1.9 < 2.1 < reward.max()


def test_a_threshold_that_holds_anyway_pushes_nothing() -> None:
    beside = Beside(REWARD[:, None], Multipliers.start(1), lambda m, v: m.updated(v, [0.2], rate=2.0, clip=10.0))
    run = play("constrained", WORLD, rounds=100, learning_rate=0.5, natural=True, extra=beside)
    assert beside.now.values[0] < 0.1
    assert run[-1, 0] == pytest.approx(REF, abs=0.03)
    # An equality pushes it down to its threshold instead.
    down = Beside(REWARD[:, None], Multipliers.start(1, kind="equal"), lambda m, v: m.updated(v, [0.5], rate=0.3))
    lower = play("constrained", WORLD, rounds=150, learning_rate=0.4, natural=True, extra=down)
    assert down.now.values[0] < 0
    assert lower[-1, 0] @ REWARD == pytest.approx(0.5, abs=1e-3)


def test_two_thresholds_hold_at_once() -> None:
    components = np.array([[0.0, 1.0], [1.0, 0.5], [0.2, 2.0], [2.0, 0.0]])
    thresholds = [0.9, 0.85]
    beside = Beside(components, Multipliers.start(2), lambda m, v: m.updated(v, thresholds, rate=1.0))
    run = play("constrained", WORLD, rounds=300, learning_rate=0.4, natural=True, extra=beside)
    assert (run[-1, 0] @ components > np.array(thresholds) - 0.02).all()


def test_fixed_multipliers_are_a_weighted_sum() -> None:
    fixed = Beside(REWARD[:, None], np.array([0.6]), lambda m, v: m)
    run = play("constrained", WORLD, rounds=60, learning_rate=0.5, natural=True, extra=fixed)
    assert np.abs(run[-1] - WORLD.tilted(0.4 / 0.6)).max() < 1e-5


GROUPS = np.array([[1.0, 0.0], [0.0, 0.8], [0.6, 0.5]])


def test_the_worst_group_is_served_as_well_as_can_be() -> None:
    world = bandit(np.zeros(3))
    beside = Beside(GROUPS, np.array([0.5, 0.5]), lambda w, v: worst_first(w, v, 0.2))
    run = play("maxmin", world, rounds=250, learning_rate=2.0, natural=True, extra=beside, beta=0.1)
    assert run[-1, 0] == pytest.approx([0.16057, 0.27168, 0.56775], abs=1e-4)
    assert run[-1, 0] @ GROUPS == pytest.approx([0.50122, 0.50122], abs=1e-4)
    assert beside.now == pytest.approx([0.41523, 0.58477], abs=1e-4)
    exact = exact_maxmin(GROUPS[None], beta=0.1)
    assert run[-1] == pytest.approx(exact.policy, abs=1e-4)
    mean = bandit(GROUPS.mean(1)).tilted(0.1)[0]
    assert mean @ GROUPS == pytest.approx([0.6594, 0.3708], abs=1e-4)


def test_one_group_is_plain_reward() -> None:
    world = bandit(GROUPS[:, 0], reference=[0.2, 0.3, 0.5])
    one = Beside(GROUPS[:, :1], np.array([1.0]), lambda w, v: worst_first(w, v, 0.2))
    run = play("maxmin", world, rounds=60, learning_rate=1.0, natural=True, extra=one, beta=0.5)
    assert np.abs(run[-1] - world.tilted(0.5)).max() < 1e-8


def test_the_law_of_the_best_of_n_is_that_of_the_card() -> None:
    assert BON.best_of(4)[0] == pytest.approx([0.0256, 0.2145, 0.4160, 0.3439], abs=1e-12)
    assert BON.kl(BON.best_of(4)) == pytest.approx(0.587114, abs=1e-6)
    for n, kl in [(16, 1.676797), (64, 2.292639)]:
        assert BON.kl(BON.best_of(n)) == pytest.approx(kl, abs=1e-6)
        assert BON.kl(BON.best_of(n)) <= best_of_n_kl(n)
    wins = (np.arange(4)[:, None] > np.arange(4)) + 0.5 * np.eye(4)
    assert BON.best_of(4)[0] @ wins @ BON.reference[0] == pytest.approx(0.782600, abs=1e-6)
    assert np.allclose(BON.best_of(1), BON.reference)
    assert BON.kl(BON.best_of(10_000)) == pytest.approx(np.log(10), abs=1e-6)
    with pytest.raises(OptionError, match="1 or more"):
        BON.best_of(0)


def test_ties_share_and_without_ties_the_bound_is_the_divergence() -> None:
    tied = bandit([1.0, 1.0, 0.0], reference=[0.2, 0.3, 0.5])
    assert tied.best_of(2)[0] == pytest.approx([0.75 * 0.4, 0.75 * 0.6, 0.25])
    # As responses become many, each of little mass, the bound is reached and the win rate is n / (n + 1).
    short = []
    for count in (50, 200):
        many = bandit(np.arange(float(count)))
        law = many.best_of(4)[0]
        assert (law * (np.arange(count) + 0.5) / count).sum() == pytest.approx(4 / 5, abs=1.5 / count)
        short.append(float(best_of_n_kl(4)) - many.kl(many.best_of(4)))
    assert 0 < short[1] < short[0] / 3
    assert short[1] < 1e-3


def test_the_estimate_from_more_samples_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.choice(4, (4000, 8), p=BON.reference[0]).astype(float)
    found = best_of_n(drawn, drawn, 4)
    truth = BON.best_of(4)[0] @ np.arange(4)
    assert abs(found.mean() - truth) < 3 * found.std() / np.sqrt(len(found))


TRIALS, SIZES = 1500, (16, 64, 256, 1024)


def picked(noise: np.ndarray, truth: np.ndarray) -> dict[str, list[float]]:
    """Mean true reward of the best of N by each way to make five proxies one. noise: [trials, 1024, 5]."""
    proxies = truth[..., None] + 0.7 * noise
    ways = {
        "single": proxies[..., 0],
        "mean": pessimistic(proxies, 0.0),
        "worst": pessimistic(proxies),
        "uncertain": pessimistic(proxies, 1.0),
        "median": np.median(proxies, -1),
    }
    found: dict[str, list[float]] = {}
    for name, values in ways.items():
        for n in SIZES:
            v, t = values.reshape(-1, n), truth.reshape(-1, n)
            found.setdefault(name, []).append(float(np.take_along_axis(t, v.argmax(1)[:, None], 1).mean()))
    return found


def test_single_and_mean_rewards_are_overdone_and_careful_ensembles_last() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(TRIALS, 1024))
    found = picked(rng.standard_t(2, size=(TRIALS, 1024, 5)), truth)
    assert found["single"] == pytest.approx([0.91, 0.69, 0.34, 0.19], abs=0.08)
    # The card's figures are good to .05, these to a standard error of .03.
    assert found["mean"] == pytest.approx([1.33, 1.40, 0.94, 0.44], abs=0.08)
    assert found["worst"] == pytest.approx([1.44, 2.02, 2.46, 2.87], abs=0.05)
    assert found["uncertain"] == pytest.approx([1.44, 2.01, 2.46, 2.87], abs=0.05)
    assert found["median"] == pytest.approx([1.57, 2.07, 2.37, 2.58], abs=0.05)
    for name in ("worst", "uncertain", "median"):
        assert (np.diff(found[name]) > 0).all()


def test_an_error_that_all_members_share_is_not_seen_by_an_ensemble() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(300, 1024))
    same = np.repeat(rng.standard_t(2, size=(300, 1024, 1)), 5, axis=2)
    found = picked(same, truth)
    assert found["worst"] == pytest.approx(found["single"], abs=1e-12)
    assert found["uncertain"] == pytest.approx(found["single"], abs=0.01)
    assert found["worst"][3] < found["worst"][0]


def test_a_response_must_be_good_in_every_way() -> None:
    both = np.array([[5.0, -3.0], [1.0, 1.0]])
    assert both.sum(1).tolist() == [2, 2]
    assert conjunction(both) == pytest.approx([-3.055, -0.627], abs=1e-3)
    assert conjunction(both + 7, 7.0) == pytest.approx(conjunction(both))
    world = bandit(conjunction(both), reference=[0.5, 0.5])
    assert play("rebel", world, rounds=1, eta=1.0)[-1, 0, 1] > 0.9


def test_length_is_paid_for_and_taken_out() -> None:
    assert overlong([80, 90, 100, 200], 100).tolist() == [0, -0.5, -1, -1]
    with pytest.raises(OptionError, match="cushion"):
        overlong([1], 100, cushion=200)
    rng = np.random.default_rng(0)
    length = rng.integers(10, 200, 300)
    reward = 0.02 * length + rng.normal(size=300)
    assert abs(np.corrcoef(without_length(reward, length), length)[0, 1]) < 1e-12
    assert without_length([1.0, 2.0], [5.0, 5.0]).tolist() == [1, 2]


def test_learners_of_several_rewards_ask_for_them() -> None:
    for name in ("constrained", "maxmin"):
        assert (find(name).needs(), find(name).wants()) == ({"multipliers"}, {Judge.COMPONENTS})
