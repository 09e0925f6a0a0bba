"""A sampler to test the loop with: a token at a time, so that nothing depends on what else is asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from pluralign.online.drawn import Drawn, Law, Prompt, Sample
from pluralign.policy.encode import Encoder

DRAWN: list[str] = []
"""What was drawn in this process, in order."""


class PlainSampler:
    def __init__(self, snapshots: Any, tokenizer: Any, law: Mapping[str, float], count: int, settings: Any) -> None:
        self.models = [(snapshots[name], weight) for name, weight in law.items()]
        self.tokenizer, self.encoder, self.settings = tokenizer, Encoder(tokenizer), settings
        self.laws = (Law(tuple(law.items()), temperature=settings["temperature"]),) * count

    @torch.no_grad()
    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Drawn]]:
        for place, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            ids = self.encoder.encode(prompt, []).prompt_ids
            generator = torch.Generator().manual_seed(seed)
            samples = tuple(self._one(ids, law, generator, seed) for law in self.laws)
            DRAWN.extend(sample.text for sample in samples)
            yield place, Drawn(prompt, tuple(ids), samples)

    def _one(self, prompt: list[int], law: Law, generator: torch.Generator, seed: int) -> Sample:
        tokens: list[int] = []
        logps: list[float] = []
        while len(tokens) < self.settings["max_new_tokens"]:
            line = torch.tensor([prompt + tokens])
            logits = sum(w * model(input_ids=line).logits[0, -1].log_softmax(-1) for model, w in self.models)
            temperature = law.temperature
            logp = (logits / temperature if temperature else math.inf * (logits - logits.max())).nan_to_num(0.0)
            logp = logp.log_softmax(-1)
            token = int(torch.multinomial(logp.exp(), 1, generator=generator))
            tokens.append(token)
            logps.append(float(logp[token]))
            if token == self.tokenizer.eos_token_id:
                break
        stop = "eos" if tokens[-1] == self.tokenizer.eos_token_id else "length"
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return Sample(text, tuple(tokens), tuple(logps), stop, seed, law)
