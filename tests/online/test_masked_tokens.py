"""Cards mcts_dpo and preflexor: tokens that were laid down or are left out of the loss do not move it."""

from typing import Any

import pytest
import torch

from pluralign.lab.tiny import build
from pluralign.online import SampleBatch, find
from pluralign.online.forward import numbers
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoded


@pytest.fixture(scope="module")
def model() -> Any:
    return build("tiny", ["some words to learn from, and some more"], steps=2)[0]


@pytest.mark.parametrize("counted", [(0, 0, 1, 1, 1), (1, 0, 0, 0, 1)], ids=["after a shared step", "around thinking"])
def test_tokens_that_do_not_count_have_no_slope_and_no_part_in_the_loss(model: Any, counted: tuple[int, ...]) -> None:
    ids, mask = ([11, 12, 13, 14, 15], [11, 12, 23, 24, 25]), [bool(each) for each in counted]
    tokens = collate([Encoded([40, 41], ids, (mask, mask))], pad_id=0)
    counts = tokens.response_mask.view(1, 2, -1)
    found = numbers(model, tokens).logp
    whole = numbers(model, collate([Encoded([40, 41], ids, ([True] * 5,) * 2)], pad_id=0)).logp
    # The same numbers where tokens count, nothing where they do not.
    assert torch.allclose(torch.where(counts, whole, 0 * whole), found, atol=1e-6)
    assert (found[~counts] == 0).all()
    assert (whole[~counts] != 0).any()
    # With them the loss would be another.
    reference = 0.9 * found.detach()
    said = torch.tensor([[[0.5, 0.8], [0.2, 0.5]]])
    losses = [
        find("dpo")(SampleBatch(own.sum(-1), snapshots={"reference": reference.sum(-1)}, preference=said)).item()
        for own in (found, whole)
    ]
    assert abs(losses[0] - losses[1]) > 1e-4
