"""Samplers of the laws that a learner's plan names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pluralign.online.drawn import Sampler

SamplerOf = Callable[[Mapping[str, Any], Any, Mapping[str, float], int, Mapping[str, Any]], Sampler]
"""(models by name, tokenizer, exponents of their geometric mixture, responses a prompt, settings) -> a sampler.

settings: `max_new_tokens` and `temperature`, 0 for the most probable response.
"""


def policy_sampler(
    snapshots: Mapping[str, Any], tokenizer: Any, law: Mapping[str, float], count: int, settings: Mapping[str, Any]
) -> Sampler:
    """Plain draws of the law that a learner names."""
    from pluralign.online.samplers import PolicySampler

    return PolicySampler(snapshots, tokenizer, law, count, settings)
