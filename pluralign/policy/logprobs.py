"""Log-probabilities of responses under a causal language model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from pluralign.policy.ability import give_up_packing, ways
from pluralign.policy.attention import NotPackable
from pluralign.policy.batch import TokenBatch
from pluralign.policy.forward import through_logits, through_tiles
from pluralign.policy.head import EXTRAS
from pluralign.policy.layout import packed, padded


@dataclass
class LogProbs:
    """Log-probs of B rows of K responses, in at least single precision.

    logp, length: sums over scored response tokens and their number, [B, K]. token_logp: one a position, zero where
    nothing is scored, [B, K, T]. prompt_logp, prompt_length: the same sums over prompt tokens, [B], if asked for.
    extras: further numbers a position, [B, K, T], zero where nothing is scored, no gradient: those asked for of
    entropy (of the next-token distribution, in nats), log_collision (log of its sum of squares) and top1 (1 where the
    token is the most probable one).
    """

    logp: torch.Tensor
    length: torch.Tensor
    token_logp: torch.Tensor
    prompt_logp: torch.Tensor | None = None
    prompt_length: torch.Tensor | None = None
    extras: dict[str, torch.Tensor] | None = None


def logprobs(
    model: Any, tokens: TokenBatch, *, prompt: bool = False, extras: Iterable[str] = (), plain: bool = False
) -> LogProbs:
    """Score a batch with any causal LM of transformers; the gradient flows if it is enabled.

    What the responses of a row begin with is computed once, padding not at all, logits in tiles and where a scored
    token is predicted only. A model that cannot be used this way is used as it can, after a message that says why.
    extras: see `LogProbs`. plain: every sequence whole and padded, the model's own logits; slower, for comparison.
    Switching dropout off (`model.eval()` for a reference) is the caller's part.
    """
    wanted = frozenset(extras)
    if unknown := wanted - set(EXTRAS):
        raise ValueError(f"unknown extras {', '.join(sorted(unknown))}; there are {', '.join(EXTRAS)}")
    b, k = tokens.shape
    scored = tokens.response_mask
    if prompt:
        first = torch.arange(b * k, device=scored.device) % k == 0
        scored = scored | (tokens.prompt_mask & first[:, None])
    share, tile = (False, False) if plain else ways(model)
    layout = packed(tokens) if share else padded(tokens)
    # What is said once is scored once, whichever sequences it belongs to.
    places, back = layout.place[scored].unique(return_inverse=True)
    way = through_tiles if tile else through_logits
    try:
        found = way(model, layout, layout.parent[places], layout.ids[places], wanted)
    except NotPackable as why:
        give_up_packing(model, why)
        return logprobs(model, tokens, prompt=prompt, extras=wanted)

    def spread(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(scored.shape).masked_scatter(scored, values[back]).view(b, k, -1)

    each = spread(found.logp)
    mask = tokens.response_mask.view(b, k, -1)
    result = LogProbs((each * mask).sum(-1), tokens.length, each * mask)
    result.extras = {name: spread(getattr(found, name)) * mask for name in sorted(wanted)}
    if prompt:
        chosen = tokens.prompt_mask.view(b, k, -1)[:, 0]
        result.prompt_logp = (each[:, 0] * chosen).sum(-1)
        result.prompt_length = chosen.sum(-1)
    return result
