"""Card ultrainteract_rm: rewards whose sign says whether a response is right, by pairs and by each side alone."""

import numpy as np
import pytest
import torch

from pluralign.models import Head, Judged, RewardModel, find_loss, rewards_batch

SIGNED = "bradley_terry + 2*acceptable"


def test_a_sum_of_losses_is_that_of_eurus_and_sees_a_constant_where_pairs_do_not() -> None:
    rewards = torch.tensor([[1.2, -0.3], [0.4, 0.9]], dtype=torch.float64)
    sign = torch.tensor([[1.0, -1.0]] * 2, dtype=torch.float64)

    def loss(name: str, values: torch.Tensor) -> torch.Tensor:
        return find_loss(name)(rewards_batch(values, sign))

    def minus_log(z: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.softplus(-z)

    w, r = rewards.T
    assert torch.allclose(loss(SIGNED, rewards), minus_log(w - r) + minus_log(w) + minus_log(-r))
    assert torch.allclose(loss("bradley_terry", rewards + 3), loss("bradley_terry", rewards))
    assert (loss(SIGNED, rewards + 3) - loss(SIGNED, rewards)).abs().min() > 0.5


@pytest.mark.parametrize(("name", "told"), [(SIGNED, True), ("bradley_terry", False)])
def test_what_is_right_ends_above_zero_and_what_is_wrong_below(name: str, told: bool) -> None:
    """What makes responses right is there in wrong ones too, only less: pairs cannot tell how much is enough."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(600, 2, 5)) * 0.5 + np.array([[0, 3.0, 0, 0, 0], [0, 1.0, 0, 0, 0]])
    judged = Judged.lists(x.reshape(-1, 5), np.arange(1200).reshape(-1, 2), sign=np.tile([1.0, -1.0], (600, 1)))
    rewards = RewardModel(Head(5), name, epochs=60, lr=0.1).fit(judged).export().of(torch.tensor(x.reshape(-1, 5)))
    right, wrong = np.asarray(rewards, dtype=float).reshape(-1, 2).T
    assert (right > wrong).mean() > 0.95
    assert ((right > 0).mean() > 0.9 and (wrong < 0).mean() > 0.9) == told
