"""Cards rm_ensemble and maxmin_rlhf: several judges as one."""

import numpy as np
import pytest

from pluralign.errors import OptionError
from pluralign.models.decisions import maxmin
from pluralign.online.judges import Matrix, Recorded, Scored
from pluralign.online.several_judges import Ensemble, MaxMin

HOW = ("mean", "worst", "uncertainty", "median")


class Table:
    """Rewards by response: "17" is row 17 of a column of numbers."""

    def __init__(self, column, name="table"):
        self.column, self.name = column, name

    def reward(self, prompts, responses):
        return self.column[[int(y) for y in responses]]

    def prob(self, prompts, first, second):
        raise AssertionError


def test_wary_ensembles_go_on_rising_where_single_and_mean_turn_down():
    """T-OVEROPT by the judges: true reward of the best of 16 and 256 by each rule, within the card's tolerance."""
    random = np.random.default_rng(0)
    found = {}
    for n, times in ((16, 6000), (256, 500)):
        true = random.standard_normal((times, n))
        proxies = true[..., None] + 0.7 * random.standard_t(2, (times, n, 5))
        every = [str(i) for i in range(times * n)]
        members = [Table(proxies[..., k].ravel()) for k in range(5)]
        rules = {"single": members[0], **{how: Ensemble(members, how) for how in HOW}}
        for how, judge in rules.items():
            picked = np.asarray(judge.reward([""] * len(every), every)).reshape(times, n).argmax(1)
            found[how, n] = true[np.arange(times), picked].mean()
    card = {"single": (0.91, 0.34), "mean": (1.33, 0.94), "worst": (1.44, 2.46), "uncertainty": (1.44, 2.46)}
    card["median"] = (1.57, 2.37)
    for how, (few, many) in card.items():
        assert found[how, 16] == pytest.approx(few, abs=0.08)
        assert found[how, 256] == pytest.approx(many, abs=0.15)


def test_members_that_err_alike_are_no_better_than_one():
    random = np.random.default_rng(1)
    true, shared = random.standard_normal(2000), 0.7 * random.standard_t(2, 2000)
    members = [Table(true + shared)] * 5
    every = [str(i) for i in range(2000)]
    for how in HOW:
        assert Ensemble(members, how).reward([""] * 2000, every) == pytest.approx(true + shared)
    assert Ensemble(members[:1], "worst").reward([""] * 3, every[:3]) == pytest.approx((true + shared)[:3])


def test_scales_are_taken_out_before_members_are_compared():
    members = [Scored(lambda x, y: 1000.0 * len(y), name="large"), Scored(lambda x, y: -0.001 * len(y), name="small")]
    judge = Ensemble(members, "worst")
    judge.standardise(["x"] * 3, ["a", "bb", "ccc"])
    assert judge.rewards(["x"] * 3, ["a", "bb", "ccc"]).std(0) == pytest.approx([1, 1])
    assert judge.reward(["x"] * 3, ["a", "bb", "ccc"]).argmax() == 1  # the compromise
    assert Ensemble(members, "worst").name != judge.name


def test_a_member_without_an_answer_leaves_none():
    silent = Scored(lambda x, y: float("nan"), name="silent")
    for how in HOW:
        judge = Ensemble([Recorded(silent, sleep=lambda _: None), Scored(lambda x, y: 1.0, name="one")], how)
        assert np.isnan(judge.reward(["x"], ["a"])).all()
        assert np.isnan(judge.prob(["x"], ["a"], ["b"])).all()


def test_members_must_give_rewards():
    for judge in (Matrix([[0.5, 1.0], [0.0, 0.5]]), Recorded(Matrix([[0.5, 1.0], [0.0, 0.5]]))):
        with pytest.raises(OptionError, match="compares and gives no rewards"):
            Ensemble([judge])
    with pytest.raises(OptionError, match="no judge"):
        Ensemble([])
    with pytest.raises(OptionError, match="not by 'best'"):
        Ensemble([Table(np.zeros(1))], "best")


def test_the_group_served_worst_rules_and_its_policy_is_the_cards():
    """Exponentiated gradient against the tilted policy settles at w* = (.41523, .58477), both groups at .50122."""
    rewards = np.array([[1, 0], [0, 0.8], [0.6, 0.5]])
    groups = [Table(rewards[:, k], name=f"group {k}") for k in (0, 1)]
    judge, every = MaxMin(groups, step=0.05), ["0", "1", "2"]
    for _ in range(400):
        tilt = np.exp(judge.reward([""] * 3, every) / 0.1)
        policy = tilt / tilt.sum()
        # Samples in the proportions of the policy: what `observe` sees is its expectation.
        counts = np.round(2000 * policy).astype(int)
        judge.observe([""] * counts.sum(), [y for y, n in zip(every, counts, strict=True) for _ in range(n)])
    assert judge.weights == pytest.approx(maxmin(rewards, beta=0.1).weights, abs=2e-3)
    assert judge.weights == pytest.approx([0.41523, 0.58477], abs=2e-3)
    assert policy == pytest.approx([0.16057, 0.27168, 0.56775], abs=5e-3)


def test_an_infinite_step_goes_to_the_worst_alone():
    groups = [Table(np.array([1.0, 0.0]), "a"), Table(np.array([0.0, 1.0]), "b")]
    judge = MaxMin(groups)
    name = judge.name
    assert judge.observe([""], ["0"]).tolist() == [1.0, 0.0]
    assert judge.weights.tolist() == [0.0, 1.0]
    assert judge.name != name  # answers under other weights are other answers
    assert judge.reward([""], ["1"]).tolist() == [1.0]
    with pytest.raises(OptionError, match="above 0"):
        MaxMin(groups, step=0)
    with pytest.raises(OptionError, match="sum to 1"):
        MaxMin(groups, weights=[0.5, 0.6])
