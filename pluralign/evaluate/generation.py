"""Samples of the policy and of its reference on the same prompts: length, divergence, wins under a scorer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pluralign.errors import OptionError
from pluralign.evaluate.figures import Array, mean, preferred, share
from pluralign.evaluate.slices import SMALL, parts
from pluralign.feedback.record import Message, plain
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoded, Encoder
from pluralign.policy.generate import Writer, fitting, generate
from pluralign.policy.logprobs import logprobs

BATCH = 16

Scorer = Callable[[str, str], float]
"""(prompt, response) -> how good the response is; only comparisons within a prompt count."""


@dataclass
class Samples:
    """One response a prompt: its words, its tokens (EOS included where the model ended)."""

    texts: list[str]
    tokens: list[list[int]]
    ended: list[bool]


def sample(model: Any, tokenizer: Any, prompts: Sequence[list[int]], *, max_new_tokens: int, seed: int) -> Samples:
    """Draw one response to each prompt (token ids) at temperature 1, the same for the same seed and machine."""
    # A model may come with settings of its own (a repetition penalty, say), which `generate` does not know: its samples
    # are from the distribution that log-probs are of.
    seeds = [[(seed << 32) + i] for i in range(len(prompts))]
    drawn = dict(generate([Writer(model)], prompts, seeds, eos=tokenizer.eos_token_id, max_new_tokens=max_new_tokens))
    found = [drawn[i][0] for i in range(len(prompts))]
    texts = [tokenizer.decode(each.tokens, skip_special_tokens=True) for each in found]
    return Samples(texts, [each.tokens for each in found], [each.stop == "eos" for each in found])


def compare_samples(
    model: Any,
    reference: Any,
    tokenizer: Any,
    prompts: Sequence[tuple[Message, ...]],
    *,
    scorer: Scorer | None,
    max_new_tokens: int,
    seed: int,
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, Any]:
    """Sample both models on prompts [n] and measure, all together and by the values [n] of columns.

    Prompts are the units of every interval.

    kl: mean of log pi / pi_ref over the policy's own samples, in nats a response. kl_k3: the same expectation by
    exp(-r) - 1 + r with r = log pi / pi_ref, never negative sample by sample (Schulman 2020). win_rate: how often the
    policy's sample scores above the reference's, ties counted half. cut: prompts that lost their beginning because
    the model's window does not hold them and a response.
    """
    encoder = Encoder(tokenizer)
    whole = [encoder.encode(prompt, []).prompt_ids for prompt in prompts]
    ids = [fitting(prompt, model, tokenizer, max_new_tokens) for prompt in whole]
    ours = sample(model, tokenizer, ids, max_new_tokens=max_new_tokens, seed=seed)
    theirs = sample(reference, tokenizer, ids, max_new_tokens=max_new_tokens, seed=seed)
    ratio = _log_ratio(model, reference, ids, ours)
    gap = None
    if scorer is not None:
        words = [plain(prompt) for prompt in prompts]
        gap = _scores(scorer, words, ours.texts) - _scores(scorer, words, theirs.texts)
    lengths = {
        name: np.array([float(len(row)) for row in d.tokens]) for name, d in (("policy", ours), ("reference", theirs))
    }
    groups, left_out = parts(columns or {})
    return {
        "max_new_tokens": max_new_tokens,
        "cut": sum(len(a) < len(b) for a, b in zip(ids, whole, strict=True)),
        "unfinished": {"policy": ours.ended.count(False), "reference": theirs.ended.count(False)},
        "examples": [
            {"prompt": plain(prompt), "policy": a, "reference": b}
            for prompt, a, b in zip(prompts, ours.texts, theirs.texts, strict=True)
        ][:12],
        **_measure(np.arange(len(prompts)), lengths, ratio, gap),
        "slices": [
            {
                "by": name,
                "value": value,
                "small": len(inside) < SMALL,
                **_measure(np.array(inside), lengths, ratio, gap),
            }
            for name, value, inside in groups
        ],
        "slices_left_out": left_out,
    }


def _measure(inside: Any, lengths: Mapping[str, Array], ratio: Array, gap: Array | None) -> dict[str, Any]:
    """Figures of some of the prompts. lengths of both writers, log-ratio and difference of scores: [n]."""
    r = ratio[inside]
    result: dict[str, Any] = {
        "n": len(inside),
        "length": {name: mean(values[inside], inside).as_dict() for name, values in lengths.items()},
        "kl": mean(r, inside).as_dict(),
        "kl_k3": mean(np.exp(np.clip(-r, None, 50)) - 1 + r, inside).as_dict(),
    }
    if gap is not None:
        g = gap[inside]
        result["win_rate"] = share(preferred(g), inside).as_dict()
        result["outcomes"] = {"wins": int((g > 0).sum()), "ties": int((g == 0).sum()), "losses": int((g < 0).sum())}
    return result


def _scores(scorer: Scorer, prompts: Sequence[str], texts: Sequence[str]) -> Array:
    found = []
    for prompt, text in zip(prompts, texts, strict=True):
        value = scorer(prompt, text)
        # A number that is none would count as a tie.
        if not isinstance(value, int | float | np.number) or not np.isfinite(value):
            raise OptionError(
                f"the scorer gave {value!r} to a response to '{prompt[:60]}'; it must give a finite number"
            )
        found.append(float(value))
    return np.array(found)


@torch.no_grad()
def _log_ratio(model: Any, reference: Any, prompts: Sequence[list[int]], drawn: Samples) -> Array:
    rows = [Encoded(p, (ids,), ([True] * len(ids),)) for p, ids in zip(prompts, drawn.tokens, strict=True)]
    parts = []
    for start in range(0, len(rows), BATCH):
        tokens = collate(rows[start : start + BATCH], pad_id=0)
        ours, theirs = (logprobs(m, tokens.to(m.device)).logp.double().cpu()[:, 0] for m in (model, reference))
        parts.append((ours - theirs).numpy())
    return np.concatenate(parts)
