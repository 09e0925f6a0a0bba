"""Samplers of the laws that a learner's plan names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pluralign.online.drawn import Drawn, Law, Prompt, Sample, Sampler, hashed
from pluralign.policy.encode import Encoder

SamplerOf = Callable[[Mapping[str, Any], Any, Mapping[str, float], int, Mapping[str, Any]], Sampler]
"""(models by name, tokenizer, exponents of their geometric mixture, responses a prompt, settings) -> a sampler.

settings: `max_new_tokens` and `temperature`, 0 for the most probable response.
"""
CHUNK = 32
"""Prompts generated together: what a kill can lose."""


class PolicySampler:
    """Independent draws of a snapshot, or of a geometric mixture of several, token by token."""

    def __init__(
        self,
        snapshots: Mapping[str, Any],
        tokenizer: Any,
        law: Mapping[str, float],
        count: int,
        settings: Mapping[str, Any],
    ) -> None:
        from pluralign.policy.generate import Writer

        self.writers = [Writer(snapshots[name], weight) for name, weight in law.items()]
        self.tokenizer, self.encoder, self.settings = tokenizer, Encoder(tokenizer), dict(settings)
        self.laws = (Law(tuple(law.items()), temperature=settings["temperature"]),) * count

    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Drawn]]:
        """(place of the prompt, what was drawn), chunk by chunk."""
        from pluralign.policy.generate import fitting, generate

        most = self.settings["max_new_tokens"]
        first = self.writers[0].model
        for start in range(0, len(prompts), CHUNK):
            some = prompts[start : start + CHUNK]
            ids = [fitting(self.encoder.encode(p, []).prompt_ids, first, self.tokenizer, most) for p in some]
            own = [[hashed(seed, k) for k in range(len(self.laws))] for seed in seeds[start : start + CHUNK]]
            for place, found in generate(self.writers, ids, own, eos=self.tokenizer.eos_token_id, **self.settings):
                samples = tuple(
                    Sample(
                        self.tokenizer.decode(one.tokens, skip_special_tokens=True),
                        tuple(one.tokens),
                        tuple(one.logp),
                        one.stop,
                        seed,
                        law,
                    )
                    for one, seed, law in zip(found, own[place], self.laws, strict=True)
                )
                yield start + place, Drawn(some[place], tuple(ids[place]), samples)


policy_sampler: SamplerOf = PolicySampler
