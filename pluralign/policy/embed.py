"""Texts as vectors: mean hidden states of a causal language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pluralign.policy.load import load
from pluralign.policy.statistics import pooled


def embedder(
    model: Any, tokenizer: Any = None, *, layer: int = -1, batch_size: int = 16, max_length: int = 1024
) -> Callable[[Sequence[str]], NDArray[np.float64]]:
    """A function from texts [n] to vectors [n, H], for the weights in `pluralign.feedback.recipes`.

    model: loaded, with its tokenizer, or the name of one. Texts beyond max_length tokens lose their ends.
    """
    if tokenizer is None:
        model, tokenizer = load(model)

    @torch.no_grad()
    def embed(texts: Sequence[str]) -> NDArray[np.float64]:
        found = []
        training = model.training
        model.eval()
        for start in range(0, len(texts), batch_size):
            ids = [tokenizer(text or " ")["input_ids"][:max_length] for text in texts[start : start + batch_size]]
            ids = [row or [tokenizer.eos_token_id] for row in ids]
            padded, mask = (torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long) for _ in range(2))
            for i, row in enumerate(ids):
                padded[i, : len(row)] = torch.tensor(row)
                mask[i, : len(row)] = 1
            padded, mask = padded.to(model.device), mask.to(model.device)
            out = model(input_ids=padded, attention_mask=mask, use_cache=False, output_hidden_states=True)
            found.append(pooled(out.hidden_states[layer], mask).double().cpu().numpy())
        model.train(training)
        return np.concatenate(found)

    return embed
