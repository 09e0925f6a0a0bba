"""Texts as vectors: hidden states of a language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pluralign.policy.load import load
from pluralign.policy.statistics import pooled

Pooling = Literal["mean", "last"]


def embedder(
    model: Any,
    tokenizer: Any = None,
    *,
    layer: int | None = -1,
    batch_size: int = 16,
    max_length: int = 1024,
    pooling: Pooling = "mean",
    keep_end: bool = False,
) -> Callable[[Sequence[str]], NDArray[np.float64]]:
    """A function from texts [n] to vectors [n, H], for the weights in `pluralign.feedback.recipes`.

    layer: whose hidden states, 0 for the embeddings, negative ones from the end; None for all of them, [n, L, H].

    model: loaded, with its tokenizer, or the name of one. Texts beyond max_length tokens lose their ends, with keep_end
    their beginnings. pooling: the mean over the tokens, or the last token that is not padding (of `last_token`).
    """
    if tokenizer is None:
        model, tokenizer = load(model)
    kept = slice(-max_length, None) if keep_end else slice(max_length)

    @torch.no_grad()
    def embed(texts: Sequence[str]) -> NDArray[np.float64]:
        training = model.training
        model.eval()
        every = [tokenizer(text or " ")["input_ids"][kept] or [tokenizer.eos_token_id] for text in texts]
        # Texts of like length together waste least on padding.
        order = sorted(range(len(every)), key=lambda i: len(every[i]))
        found: dict[int, NDArray[np.float64]] = {}
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            ids = [every[i] for i in places]
            padded, mask = (torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long) for _ in range(2))
            for i, row in enumerate(ids):
                padded[i, : len(row)] = torch.tensor(row)
                mask[i, : len(row)] = 1
            padded, mask = padded.to(model.device), mask.to(model.device)
            out = model(input_ids=padded, attention_mask=mask, use_cache=False, output_hidden_states=True)
            every_layer = out.hidden_states if layer is None else (out.hidden_states[layer],)
            if pooling == "last":
                at = last_token(padded, mask, tokenizer.pad_token_id)
                picked = [states[torch.arange(len(ids), device=states.device), at] for states in every_layer]
            else:
                picked = [pooled(states, mask) for states in every_layer]
            vectors = torch.stack(picked, 1) if layer is None else picked[0]
            found.update(zip(places, vectors.double().cpu().numpy(), strict=True))
        model.train(training)
        return np.stack([found[i] for i in range(len(every))])

    return embed


def last_token(ids: torch.Tensor, mask: torch.Tensor, pad_id: int | None) -> torch.Tensor:
    """[N]: the last place of each text [N, T] that is no padding, on whichever side that is.

    As `transformers` has it for classifiers: where the padding token is also the end of a text, the token before it.

    >>> ids = torch.tensor([[5, 6, 0], [0, 5, 6]])
    >>> last_token(ids, (ids > 0).long(), 0).tolist()
    [1, 2]
    """
    real = mask.bool() if pad_id is None else mask.bool() & (ids != pad_id)
    return (real * torch.arange(ids.shape[1], device=ids.device)).argmax(-1)
