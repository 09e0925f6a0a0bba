"""From logits to a token: temperature, top-k, nucleus, and the draw."""

from __future__ import annotations

import torch
from torch import Tensor

TILE = 2**22
"""Probabilities held in double precision at a time."""


def distribution(logits: Tensor, *, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0) -> Tensor:
    """Log-probs [n, V] of the next token, -inf where a token is cut off; at temperature 0 the logits.

    top_k keeps the k largest (and what equals the k-th), then top_p the fewest of the largest that reach this mass.

    >>> distribution(torch.log(torch.tensor([[0.5, 0.3, 0.2]])), top_p=0.6).exp().round(decimals=4).tolist()
    [[0.625, 0.375, 0.0]]
    """
    if temperature == 0:
        return logits
    logits = logits / temperature if temperature != 1 else logits
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k, -1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        ordered, place = logits.sort(dim=-1, descending=True, stable=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        logits = logits.masked_fill((before >= top_p).gather(-1, place.argsort(-1)), -torch.inf)
    return logits.log_softmax(-1)


def choose(logp: Tensor, uniform: Tensor, *, greedy: bool = False) -> tuple[Tensor, Tensor]:
    """A token of each distribution [n, V] by the uniform numbers [n], and its log-prob: [n], [n].

    The token at which the cumulative probability passes the number (inversion). greedy: the most probable, log-prob 0.

    >>> choose(torch.log(torch.tensor([[0.5, 0.3, 0.2]] * 2)), torch.tensor([0.49, 0.81]))[0].tolist()
    [0, 2]
    """
    if greedy:
        drawn = logp.argmax(-1)
        return drawn, torch.zeros_like(logp[:, 0])
    drawn = torch.cat(
        [
            _invert(rows, numbers)
            for rows, numbers in zip(
                *(each.split(max(1, TILE // logp.shape[-1])) for each in (logp, uniform)), strict=True
            )
        ]
    )
    return drawn, logp.gather(-1, drawn[:, None])[:, 0]


def _invert(logp: Tensor, uniform: Tensor) -> Tensor:
    passed = logp.double().exp().cumsum(-1)
    total = passed[:, -1:]
    # Rounding must not carry the number to the end of what has mass.
    number = torch.minimum(uniform.double()[:, None] * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(passed, number, right=True)[:, 0]
