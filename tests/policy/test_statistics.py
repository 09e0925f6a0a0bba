"""Numbers of single tokens and hidden states, on small models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import tiny

from pluralign.errors import OptionError
from pluralign.objectives import Need
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoded
from pluralign.policy.sparse_features import SparseEncoder, sparse_encoder
from pluralign.policy.statistics import Reference, features, token_values

ROWS = [
    Encoded([1, 5, 6], ([7, 8, 9], [10, 2]), ([True] * 3, [True] * 2)),
    Encoded([1, 4], ([3], [11, 5]), ([True], [True] * 2)),
]
TOKENS = collate(ROWS, pad_id=0)


def test_tdpo_divergence_is_never_negative_and_zero_between_equals() -> None:
    model, other = tiny("llama").double(), tiny("llama", seed=3).double()
    needs = {Need.TOKEN_KL}
    same = token_values(model, Reference(model), TOKENS, needs)
    assert torch.allclose(same.kl, torch.zeros_like(same.kl), atol=1e-14)
    apart = token_values(model, Reference(other), TOKENS, needs)
    assert (apart.kl[apart.mask > 0] > 0).all()
    assert (apart.kl[apart.mask == 0] == 0).all()
    # Written out at one position: the first token of the first response.
    ids = TOKENS.input_ids[:1, :3]
    p, q = (torch.softmax(m(input_ids=ids).logits[0, -1], -1) for m in (model, other))
    assert torch.allclose(apart.kl[0, 0, 3], (q * (q / p).log()).sum(), atol=1e-10)
    assert apart.kl.requires_grad


def encoder(path: Path, width: int = 32, count: int = 48) -> Path:
    torch.manual_seed(0)
    weights = {"W_enc": torch.randn(width, count), "b_enc": torch.randn(count) * 0.1, "threshold": torch.rand(count)}
    save_file(weights, path)
    return path


def test_fpo_features_are_those_of_a_frozen_sparse_autoencoder(tmp_path: Path) -> None:
    made = sparse_encoder(encoder(tmp_path / "sae.safetensors"))
    model, other = tiny("llama"), tiny("llama", seed=3)
    mine, theirs = features(model, Reference(other), TOKENS, -1, made)
    assert mine.shape == theirs.shape == (2, 2, 48)
    assert mine.requires_grad
    assert not theirs.requires_grad
    mine.sum().backward()
    assert all(p.grad is None for p in made.parameters())
    assert any(p.grad is not None for p in model.parameters())
    equal, fixed = features(model, Reference(model), TOKENS, -1, made)
    assert torch.allclose(equal, fixed, atol=1e-6)
    # JumpReLU: nothing at or below the threshold.
    jump = SparseEncoder({"W_enc": torch.eye(2), "b_enc": torch.zeros(2), "threshold": torch.tensor([0.5, 0.0])})
    assert jump(torch.tensor([[0.4, -1.0], [0.6, 2.0]])).tolist() == [[0.0, 0.0], pytest.approx([0.6, 2.0])]


def test_a_sparse_autoencoder_of_another_kind_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(OptionError, match="lacks W_enc, b_enc"):
        sparse_encoder(tmp_path / "x.safetensors")
    with pytest.raises(OptionError, match="cannot read"):
        sparse_encoder(tmp_path / "none.safetensors")
    made = sparse_encoder(encoder(tmp_path / "sae.safetensors", width=16))
    with pytest.raises(OptionError, match="takes states of 16 numbers, and the model's have 32"):
        made(torch.zeros(1, 32))
