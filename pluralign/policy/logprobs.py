"""Log-probabilities of responses under a causal language model."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from pluralign.policy.batch import TokenBatch


@dataclass
class LogProbs:
    """Log-probs of B rows of K responses, in at least single precision.

    logp, length: sums over scored response tokens and their number, [B, K]. token_logp: one a position, zero where
    nothing is scored, [B, K, T]. prompt_logp, prompt_length: the same sums over prompt tokens, [B], if asked for.
    """

    logp: torch.Tensor
    length: torch.Tensor
    token_logp: torch.Tensor
    prompt_logp: torch.Tensor | None = None
    prompt_length: torch.Tensor | None = None


def logprobs(model: Any, tokens: TokenBatch, *, prompt: bool = False) -> LogProbs:
    """Score a batch with any causal LM of transformers; the gradient flows if it is enabled.

    The head runs only at positions that predict a scored token in some row. Switching dropout off (`model.eval()`
    for a reference) is the caller's part.
    """
    scored = tokens.response_mask | tokens.prompt_mask if prompt else tokens.response_mask
    # Position t is predicted from t - 1; column c of `targets` is token c + 1.
    wanted = scored[:, 1:]
    columns = wanted.any(0).nonzero().squeeze(-1)
    keep = {"logits_to_keep": columns} if _selects_positions(model) else {}
    logits = model(
        input_ids=tokens.input_ids,
        attention_mask=tokens.attention_mask,
        position_ids=tokens.position_ids,
        use_cache=False,
        **keep,
    ).logits
    if not keep:
        logits = logits[:, columns]
    picked = wanted[:, columns]
    targets = tokens.input_ids[:, 1:][:, columns][picked]
    precise = torch.promote_types(logits.dtype, torch.float32)
    values = -F.cross_entropy(logits[picked].to(precise), targets, reduction="none")
    token_logp = torch.zeros(tokens.input_ids.shape, dtype=precise, device=values.device)
    rows, places = picked.nonzero(as_tuple=True)
    token_logp = token_logp.index_put((rows, columns[places] + 1), values)
    b, k = tokens.shape
    logp = (token_logp * tokens.response_mask).sum(-1).view(b, k)
    result = LogProbs(logp, tokens.length, (token_logp * tokens.response_mask).view(b, k, -1))
    if prompt:
        first = tokens.prompt_mask.view(b, k, -1)[:, 0]
        result.prompt_logp = (token_logp.view(b, k, -1)[:, 0] * first).sum(-1)
        result.prompt_length = first.sum(-1)
    return result


def _selects_positions(model: Any) -> bool:
    base = model.get_base_model() if hasattr(model, "get_base_model") else getattr(model, "module", model)
    return "logits_to_keep" in inspect.signature(base.forward).parameters
