"""Samples of the policy and of its reference on the same prompts: length, divergence, wins under a scorer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pluralign.evaluate.figures import Array, mean, preferred
from pluralign.feedback.record import Message, plain
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoded, Encoder
from pluralign.policy.logprobs import logprobs

Scorer = Callable[[str, str], float]
"""(prompt, response) -> how good the response is; only comparisons within a prompt count."""


@dataclass
class Samples:
    """One response a prompt: its words, its tokens (EOS included where the model ended)."""

    texts: list[str]
    tokens: list[list[int]]
    ended: list[bool]


@torch.no_grad()
def sample(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], *, max_new_tokens: int, seed: int, batch_size: int = 16
) -> Samples:
    """Draw one response to each prompt (token ids) at temperature 1, the same for the same seed and machine."""
    found: list[list[int]] = []
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, len(prompts), batch_size):
            chunk = prompts[start : start + batch_size]
            width = max(map(len, chunk))
            ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in chunk], device=model.device)
            mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in chunk], device=model.device)
            drawn = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=max_new_tokens,
                eos_token_id=eos,
                pad_token_id=pad,
            )[:, width:].tolist()
            found += [row[: row.index(eos) + 1] if eos in row else row for row in drawn]
    texts = [tokenizer.decode(row, skip_special_tokens=True) for row in found]
    return Samples(texts, found, [bool(row) and row[-1] == eos for row in found])


def compare_samples(
    model: Any,
    reference: Any,
    tokenizer: Any,
    prompts: Sequence[tuple[Message, ...]],
    *,
    scorer: Scorer | None,
    max_new_tokens: int,
    seed: int,
) -> dict[str, Any]:
    """Sample both models on prompts [n] and measure. Every figure's interval is a bootstrap over prompts.

    kl: mean of log pi / pi_ref over the policy's own samples, in nats a response. kl_k3: the same expectation by
    exp(-r) - 1 + r with r = log pi / pi_ref, never negative sample by sample (Schulman 2020). win_rate: how often the
    policy's sample scores above the reference's, ties counted half.
    """
    encoder = Encoder(tokenizer)
    ids = [encoder.encode(prompt, []).prompt_ids for prompt in prompts]
    ours = sample(model, tokenizer, ids, max_new_tokens=max_new_tokens, seed=seed)
    theirs = sample(reference, tokenizer, ids, max_new_tokens=max_new_tokens, seed=seed)
    each = np.arange(len(prompts))
    ratio = _log_ratio(model, reference, ids, ours)
    result: dict[str, Any] = {
        "n": len(prompts),
        "max_new_tokens": max_new_tokens,
        "length": {
            name: mean(np.array([float(len(row)) for row in drawn.tokens]), each).as_dict()
            for name, drawn in (("policy", ours), ("reference", theirs))
        },
        "unfinished": {"policy": ours.ended.count(False), "reference": theirs.ended.count(False)},
        "kl": mean(ratio, each).as_dict(),
        "kl_k3": mean(np.exp(np.clip(-ratio, None, 50)) - 1 + ratio, each).as_dict(),
        "examples": [
            {"prompt": plain(prompt), "policy": a, "reference": b}
            for prompt, a, b in zip(prompts, ours.texts, theirs.texts, strict=True)
        ][:12],
    }
    if scorer is not None:
        gaps = [
            scorer(plain(p), a) - scorer(plain(p), b) for p, a, b in zip(prompts, ours.texts, theirs.texts, strict=True)
        ]
        result["win_rate"] = mean(preferred(np.array(gaps, dtype=float)), each).as_dict()
    return result


@torch.no_grad()
def _log_ratio(model: Any, reference: Any, prompts: Sequence[list[int]], drawn: Samples) -> Array:
    sums = []
    for prompt, tokens in zip(prompts, drawn.tokens, strict=True):
        row = collate([Encoded(prompt, (tokens,), ([True] * len(tokens),))], pad_id=0)
        sums.append(float(logprobs(model, row.to(model.device)).logp - logprobs(reference, row.to(model.device)).logp))
    return np.array(sums)
