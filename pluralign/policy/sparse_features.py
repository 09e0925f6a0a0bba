"""A frozen sparse autoencoder's features of hidden states, for fpo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pluralign.errors import OptionError


class SparseEncoder(torch.nn.Module):
    """The encoding half of a sparse autoencoder: ReLU or, where it has a threshold, JumpReLU. Never trained.

    weights: W_enc [H, F], b_enc [F], and threshold [F] or b_dec [H] (taken off the states first) where there are any,
    the names that published autoencoders use.

    >>> encoder = SparseEncoder({"W_enc": torch.eye(2), "b_enc": torch.tensor([0.0, 1.0])})
    >>> encoder(torch.tensor([[-1.0, 1.0]])).tolist()
    [[0.0, 2.0]]
    """

    W_enc: torch.Tensor
    b_enc: torch.Tensor
    threshold: torch.Tensor | None
    b_dec: torch.Tensor | None

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        for name in ("W_enc", "b_enc", "threshold", "b_dec"):
            value = weights.get(name)
            self.register_parameter(name, value if value is None else torch.nn.Parameter(value.float(), False))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Features [..., F] of states [..., H], at least in single precision."""
        width = self.W_enc.shape[0]
        if states.shape[-1] != width:
            raise OptionError(
                f"the sparse autoencoder takes states of {width} numbers, and the model's have {states.shape[-1]}; "
                "give the one that was trained on this model"
            )
        states = states.to(torch.promote_types(states.dtype, torch.float32))
        weight, bias = self.W_enc.to(states), self.b_enc.to(states)
        before = (states if self.b_dec is None else states - self.b_dec.to(states)) @ weight + bias
        active = torch.relu(before)
        return active if self.threshold is None else active * (before > self.threshold.to(states))


def sparse_encoder(path: str | Path) -> SparseEncoder:
    """From a safetensors file; `OptionError` if it holds none."""
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise OptionError(f"cannot read the sparse autoencoder {path}: {error}") from None
    if missing := {"W_enc", "b_enc"} - set(weights):
        raise OptionError(f"{path} lacks {', '.join(sorted(missing))}; give the weights of a sparse autoencoder")
    return SparseEncoder(weights)
