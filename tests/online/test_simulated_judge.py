"""Card sim_oracle: known faults, to the digits, and counted questions."""

import numpy as np
import pytest
from scipy.special import expit

from pluralign.errors import OptionError
from pluralign.lab.people import BRIEF, WARM_AND_FULL
from pluralign.online.judges import Matrix, Scored
from pluralign.online.simulated_judge import SimulatedOracle

CYCLE = Matrix([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]])
LENGTH = Scored(lambda x, y: len(y), name="length")


def test_one_faultless_persona_is_the_persona():
    oracle = SimulatedOracle([CYCLE])
    every = [(str(i), str(j)) for i in range(3) for j in range(3)]
    said = oracle.prob(["x"] * 9, [a for a, _ in every], [b for _, b in every])
    np.testing.assert_allclose(said, CYCLE.table.ravel())
    assert oracle.asked == 9


def test_flips_half_the_time_leave_no_information():
    assert SimulatedOracle([CYCLE], flip=0.5).prob(["x"] * 3, list("012"), list("120")).tolist() == [0.5] * 3
    assert SimulatedOracle([CYCLE], flip=0.25).prob(["x"], ["0"], ["1"])[0] == pytest.approx(0.75 * 0.9 + 0.25 * 0.1)


def test_two_draws_agree_as_often_as_theory_says():
    oracle = SimulatedOracle([CYCLE], flip=0.1, hard=True, seed=3)
    p = 0.9 * 0.9 + 0.1 * 0.1
    draws = np.array([oracle.prob(["x"], ["0"], ["1"])[0] for _ in range(4000)]).reshape(2000, 2)
    assert set(draws.ravel()) == {0.0, 1.0}
    agreed = p**2 + (1 - p) ** 2
    assert (draws[:, 0] == draws[:, 1]).mean() == pytest.approx(agreed, abs=3 * np.sqrt(agreed * (1 - agreed) / 2000))
    again = SimulatedOracle([CYCLE], flip=0.1, hard=True, seed=3)
    assert [again.prob(["x"], ["0"], ["1"])[0] for _ in range(20)] == draws.ravel()[:20].tolist()
    assert oracle.asked == 4000


def test_biases_are_in_logits_and_the_order_shown_takes_out_position():
    flat = Scored(lambda x, y: 0.0, name="flat")
    longer, shorter = "a" * 300, "a" * 100
    assert SimulatedOracle([flat], length_bias=0.7).prob(["x"], [longer], [shorter])[0] == pytest.approx(expit(1.4))
    fixed = SimulatedOracle([flat], position_bias=0.5, shuffle=False)
    assert fixed.prob(["x"], ["a"], ["b"])[0] == fixed.prob(["x"], ["b"], ["a"])[0] == pytest.approx(expit(0.5))
    assert SimulatedOracle([flat], position_bias=0.5).prob(["x"], ["a"], ["b"])[0] == pytest.approx(0.5)
    lead = SimulatedOracle([Scored(lambda x, y: float(y), name="n")], position_bias=2.0).prob(["x"], ["1"], ["0"])[0]
    assert lead == pytest.approx((expit(3) + expit(-1)) / 2)


def test_a_crowd_is_the_mean_of_its_people_each_under_their_faults():
    tastes = [Scored(t.utility, name=t.name) for t in (BRIEF, WARM_AND_FULL)]
    a, b = "For example, ten minutes on Sunday is enough.", "What a lovely question! You will do very well."
    said = SimulatedOracle(tastes, [0.7, 0.3]).prob(["How?"], [a], [b])[0]
    leads = [t.utility("How?", a) - t.utility("How?", b) for t in (BRIEF, WARM_AND_FULL)]
    assert said == pytest.approx(0.7 * expit(leads[0]) + 0.3 * expit(leads[1]))
    assert leads[0] * leads[1] < 0


def test_faults_are_part_of_the_name_and_nonsense_is_refused():
    assert SimulatedOracle([CYCLE], flip=0.1).name != SimulatedOracle([CYCLE], flip=0.2).name
    for wrong in ({"flip": 1.5}, {"shares": [0.5]}, {"shares": [0.5, 0.5]}):
        with pytest.raises(OptionError):
            SimulatedOracle([CYCLE], **wrong)
    with pytest.raises(OptionError):
        SimulatedOracle([])
