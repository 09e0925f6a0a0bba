"""Cards mcts_dpo and preflexor: tokens that were laid down or are left out of the loss do not move it."""

from typing import Any

import pytest
import torch

from pluralign.lab.tiny import build
from pluralign.online.forward import numbers
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoded


@pytest.fixture(scope="module")
def model() -> Any:
    return build("tiny", ["some words to learn from, and some more"], steps=2)[0]


@pytest.mark.parametrize("counted", [(0, 0, 1, 1, 1), (1, 0, 0, 0, 1)], ids=["after a shared step", "around thinking"])
def test_tokens_that_do_not_count_give_a_learner_nothing(model: Any, counted: tuple[int, ...]) -> None:
    ids, mask = ([11, 12, 13, 14, 15], [11, 12, 23, 24, 25]), [bool(each) for each in counted]
    tokens = collate([Encoded([40, 41], ids, (mask, mask))], pad_id=0)
    counts = tokens.response_mask.view(1, 2, -1)
    found = numbers(model, tokens).logp
    whole = numbers(model, collate([Encoded([40, 41], ids, ([True] * 5,) * 2)], pad_id=0)).logp
    # The same numbers where tokens count, nothing where they do not.
    assert torch.allclose(torch.where(counts, whole, 0 * whole), found, atol=1e-6)
    assert (found[~counts] == 0).all()
    assert (whole[~counts] != 0).any()
