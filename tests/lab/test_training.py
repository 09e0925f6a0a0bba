"""Training in a world for a budget."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from pluralign import lab
from pluralign.errors import OptionError

REWARD = np.array([[1.0, 0.2, -0.5], [-0.3, 0.4, 0.1]])
WORLD = lab.bandit(REWARD, reference=[0.2, 0.3, 0.5])


def test_no_steps_leave_the_reference() -> None:
    assert_allclose(lab.train("dpo", WORLD, steps=0), WORLD.reference, rtol=1e-12)


@pytest.mark.parametrize("name", ["dpo", "ipo", "simpo", "sft"])
def test_enough_steps_lead_to_the_optimum(name: str) -> None:
    options = {} if name == "sft" else {"beta": 0.5}
    assert_allclose(lab.train(name, WORLD, steps=600, **options), lab.optimum(name, WORLD, **options), atol=2e-4)


def test_features_tell_of_prompts_that_nobody_judged() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((6, 4, 2))
    world = lab.bandit(features @ [1.0, -0.5], reference=rng.dirichlet(np.ones(4), 6))
    seen = lab.World(**{**vars(world), "weight": np.where(world.prompt < 3, world.weight, 0.0)})
    assert_allclose(lab.train("dpo", seen, features=features, steps=600, beta=1.0), world.tilted(1.0), atol=1e-3)
    free = lab.train("dpo", seen, steps=50, beta=1.0)
    assert_allclose(free[3:], world.reference[3:], rtol=1e-9)  # each logit by itself learns nothing of other prompts


def test_refusals_are_those_of_optimum() -> None:
    for fault, said in ((("tpo", {}), "rankings"), (("modpo", {}), "frozen"), (("dpo", {"features": 1.0}), "features")):
        with pytest.raises(OptionError, match=said):
            lab.train(fault[0], WORLD, **fault[1])
