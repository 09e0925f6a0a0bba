"""Tokens drawn from a causal LM, or from a geometric mixture of several: the one place where text is generated.

Prompts go in batches of like length, a prompt's keys and values are computed once for all its responses, and a
response that has ended leaves its batch. What is drawn for a response depends on its seed and its prompt alone.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pluralign.errors import OptionError
from pluralign.policy.ability import refusal
from pluralign.policy.forward import unwrapped
from pluralign.policy.growing import growing_cache
from pluralign.policy.nucleus import choose, distribution

logger = logging.getLogger(__name__)

TOKENS = 2**16
"""Tokens, prompts and responses at their limit, that a batch holds."""


@dataclass(frozen=True)
class Writer:
    """A causal LM and its exponent in the mixture. context: entered around each pass, `model.disable_adapter` say."""

    model: Any
    weight: float = 1.0
    context: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass(frozen=True)
class Continuation:
    """Tokens drawn, EOS included where it came; the log-prob of each under the law; why it ended: eos, length, stop."""

    tokens: list[int]
    logp: list[float]
    stop: str


@torch.no_grad()
def generate(
    writers: Sequence[Writer],
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[Sequence[int]],
    *,
    eos: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    ended: Callable[[list[int]], bool] | None = None,
    batch_tokens: int = TOKENS,
) -> Iterator[tuple[int, list[Continuation]]]:
    """(place of the prompt, a continuation for each of its seeds), batch by batch.

    writers: each token's law is the product of their distributions to the power of their weights, renormalised.
    prompts: token ids. seeds: of the continuations of each prompt. temperature 0 takes the most probable token, with
    log-prob 0. top_p, top_k: what is kept of each distribution after the temperature; log-probs are of what is kept.
    ended: whether tokens drawn so far are a whole continuation, beside EOS. Raises `OptionError`.
    """
    if not writers or max_new_tokens < 1 or temperature < 0 or not 0 < top_p <= 1 or top_k < 0:
        raise OptionError(
            "give a model, at least one new token, a temperature and a top_k from 0 on, a top_p above 0 and up to 1"
        )
    if any(not prompt for prompt in prompts):
        raise OptionError("a prompt has no tokens; begin it with the tokenizer's first token")
    law = _Law(eos, max_new_tokens, temperature, top_p, top_k, ended)
    with _evaluating(writers):
        for places in _batches(
            writers, [len(p) for p in prompts], [len(s) for s in seeds], max_new_tokens, batch_tokens
        ):
            drawn = _draw(writers, [prompts[i] for i in places], [seeds[i] for i in places], law)
            yield from zip(places, drawn, strict=True)


@dataclass(frozen=True)
class _Law:
    eos: int
    most: int
    temperature: float
    top_p: float
    top_k: int
    ended: Callable[[list[int]], bool] | None


def _batches(
    writers: Sequence[Writer], lengths: Sequence[int], copies: Sequence[int], most: int, budget: int
) -> Iterator[list[int]]:
    """Places of prompts that go together, of like length; of the same where a model cannot skip padding."""
    alike = any(refusal(writer.model) for writer in writers)
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batch: list[int] = []
    for i in order:
        width = (lengths[batch[0]] if batch else lengths[i]) + most
        cost = width * sum(copies[j] for j in (*batch, i))
        if batch and (cost > budget or (alike and lengths[i] != lengths[batch[0]])):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _draw(
    writers: Sequence[Writer], prompts: Sequence[Sequence[int]], seeds: Sequence[Sequence[int]], law: _Law
) -> list[list[Continuation]]:
    passes = [_Pass(writer, prompts) for writer in writers]
    device = passes[0].device
    owner = torch.tensor([i for i, own in enumerate(seeds) for _ in own], device=device)
    flat = [seed for own in seeds for seed in own]
    uniform = torch.tensor(np.stack([_uniform(seed, law.most) for seed in flat]), device=device)
    rows = torch.arange(len(flat), device=device)
    tokens = torch.zeros(len(flat), law.most, dtype=torch.long, device=device)
    logps = torch.zeros(len(flat), law.most, dtype=torch.float64, device=device)
    stops, lengths = ["length"] * len(flat), [law.most] * len(flat)
    keep: Tensor | None = owner
    for step in range(law.most):
        last = None if step == 0 else tokens[rows, step - 1]
        logits = _mixed(passes, last, keep if step else None)
        if step == 0:
            # One distribution a prompt, one draw a response.
            logits, keep = logits[owner], owner
        else:
            keep = None
        logp = distribution(logits, temperature=law.temperature, top_p=law.top_p, top_k=law.top_k)
        drawn, said = choose(logp, uniform[rows, step], greedy=law.temperature == 0)
        tokens[rows, step], logps[rows, step] = drawn, said.double()
        finished = _finished(tokens, rows.tolist(), drawn.tolist(), step, law)
        for row, why in finished.items():
            stops[row], lengths[row] = why, step + 1
        if len(finished) == len(rows):
            break
        if finished:
            going = torch.tensor(_filled([row in finished for row in rows.tolist()]), device=device)
            rows = rows[going]
            # The cache still has the rows of the step before: one selection does for both.
            keep = going if keep is None else keep[going]
    ids, values = tokens.tolist(), logps.tolist()
    whole = [Continuation(t[:n], v[:n], why) for t, v, n, why in zip(ids, values, lengths, stops, strict=True)]
    found, start = [], 0
    for own in seeds:
        found.append(whole[start : start + len(own)])
        start += len(own)
    return found


def _finished(tokens: Tensor, rows: list[int], drawn: list[int], step: int, law: _Law) -> dict[int, str]:
    found = {row: "eos" for row, token in zip(rows, drawn, strict=True) if token == law.eos}
    if law.ended is not None:
        for row in rows:
            if row not in found and law.ended(tokens[row, : step + 1].tolist()):
                found[row] = "stop"
    return found


def _filled(gone: Sequence[bool]) -> list[int]:
    """Places of the rows that stay, gaps filled from the end, so that few are moved.

    >>> _filled([False, True, False, True, False])
    [0, 4, 2]
    """
    count = len(gone) - sum(gone)
    late = [i for i in range(count, len(gone)) if not gone[i]]
    return [late.pop() if gone[i] else i for i in range(count)]


def _uniform(seed: int, count: int) -> np.ndarray[Any, Any]:
    """Numbers from 0 to below 1, the same whatever else is drawn."""
    return np.random.Generator(np.random.Philox(key=seed)).random(count)


class _Pass:
    """A writer's way through a batch: its cache and what it has seen."""

    def __init__(self, writer: Writer, prompts: Sequence[Sequence[int]]) -> None:
        self.writer = writer
        base = unwrapped(writer.model)
        self.device = base.device
        width = max(map(len, prompts))
        self.ids = torch.zeros(len(prompts), width, dtype=torch.long)
        mask = torch.zeros(len(prompts), width, dtype=torch.long)
        for i, prompt in enumerate(prompts):
            self.ids[i, width - len(prompt) :] = torch.tensor(prompt)
            mask[i, width - len(prompt) :] = 1
        self.ids, self.mask = self.ids.to(self.device), mask.to(self.device)
        self.padded = not bool(mask.all())
        takes = inspect.signature(base.forward).parameters
        self.place_ids, self.selects = "position_ids" in takes, "logits_to_keep" in takes
        self.cache = growing_cache(base) if "past_key_values" in takes else None
        if self.cache is None:
            _slow(type(base).__name__)

    def __call__(self, last: Tensor | None, keep: Tensor | None) -> Tensor:
        """Logits [rows, V] of the next token. keep: rows of the pass before that go on; last: their newest tokens."""
        if keep is not None:
            self.mask = self.mask[keep]
            if self.cache is not None:
                self.cache.reorder_cache(keep)
            else:
                self.ids = self.ids[keep]
        if last is not None:
            last = last[:, None].to(self.device)
            self.mask = torch.cat([self.mask, torch.ones_like(last)], 1)
            self.ids = last if self.cache is not None else torch.cat([self.ids, last], 1)
        width = self.ids.shape[1]
        inputs: dict[str, Any] = {"input_ids": self.ids}
        if self.padded:
            inputs["attention_mask"] = self.mask
            if self.place_ids:
                inputs["position_ids"] = (self.mask.cumsum(-1) - 1).clamp(min=0)[:, -width:]
        if self.cache is not None:
            inputs |= {"past_key_values": self.cache, "use_cache": True}
        if self.selects:
            inputs["logits_to_keep"] = 1
        with self.writer.context():
            logits: Tensor = self.writer.model(**inputs).logits[:, -1]
        return logits


def _mixed(passes: Sequence[_Pass], last: Tensor | None, keep: Tensor | None) -> Tensor:
    """Logits [rows, V] of the mixture, in at least single precision."""
    found = []
    for one in passes:
        logits = one(last, keep)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if len(passes) == 1 and one.writer.weight == 1:
            return logits
        found.append(one.writer.weight * logits.log_softmax(-1).to(passes[0].device))
    sizes = {each.shape[-1] for each in found}
    if len(sizes) > 1:
        raise OptionError(f"models of {sorted(sizes)} tokens have no mixture token by token; give one tokenizer to all")
    return torch.stack(found).sum(0)


@contextmanager
def _evaluating(writers: Sequence[Writer]) -> Iterator[None]:
    """Models without dropout or checkpointing while they write, and as they were afterwards."""
    with ExitStack() as after:
        for writer in writers:
            if writer.model.training:
                after.callback(writer.model.train)
                writer.model.eval()
        yield


_said: set[str] = set()


def _slow(family: str) -> None:
    if family not in _said:
        _said.add(family)
        logger.warning("%s keeps no cache that can be shared: every token costs a whole pass", family)


def fitting(prompt: list[int], model: Any, tokenizer: Any, max_new_tokens: int) -> list[int]:
    """The prompt, or its end (and its first token where that is BOS) if the model's window is too small."""
    window = getattr(model.config, "max_position_embeddings", None)
    if window is None or len(prompt) + max_new_tokens <= window:
        return prompt
    first = prompt[:1] if prompt[0] == tokenizer.bos_token_id else []
    room = window - max_new_tokens - len(first)
    if room < 1:
        raise OptionError(
            f"{max_new_tokens} new tokens leave no room for a prompt in the model's window of {window:,}; "
            "lower max_new_tokens"
        )
    return first + prompt[-room:]
