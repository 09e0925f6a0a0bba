"""A world whose responses are single words, as a network: what it learns by fits can be held against a table."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pluralign.online import find
from pluralign.online.fitting import Fit
from pluralign.online.groups import Group
from pluralign.online.student import Steps, Student
from pluralign.policy.encode import Encoded

PROMPT = [1, 4, 2]


def model(seed: int, words: int) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=words,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).double().eval()


@torch.no_grad()
def law(net: Any) -> np.ndarray:
    """How likely each word is after the prompt."""
    return np.asarray(net(input_ids=torch.tensor([PROMPT])).logits[0, -1].softmax(-1).numpy())


def learnt(
    learner: str,
    first: Any,
    columns: Mapping[str, np.ndarray],
    *,
    fits: int,
    draws: int = 32,
    learning_rate: float = 0.02,
    offline: Any = None,
    reference_draws: bool = False,
    **options: Any,
) -> tuple[np.ndarray, Student]:
    """The law after so many fits on draws of one's own, averaged over the last quarter, and the student.

    columns: what is known of each word, by the name it has in a group.
    """
    goal, steps = find(learner), Steps(minibatch=None, learning_rate=learning_rate, max_grad_norm=1e9)
    values = goal.checked(options)
    count = columns["components"].shape[1] if "components" in columns else 1
    student = Student.of(copy.deepcopy(first), goal, values, steps, count)
    shares, found, rng = [1 / draws] * draws, [], np.random.default_rng(0)
    for _ in range(fits):
        now = law(student.model)
        words = rng.choice(len(now), draws, p=law(first) if reference_draws else now)
        encoded = Encoded(PROMPT, tuple([int(w)] for w in words), ([True],) * draws)
        group = Group(encoded, **{name: known[words].astype(np.float32) for name, known in columns.items()})
        snapshots = {"reference": first, "previous": copy.deepcopy(student.model)}
        writer = "reference" if reference_draws else "previous"
        names = [str(i) for i in range(count)]
        Fit(goal, [group], shares, shares, snapshots, writer, steps, 0, offline, names).run(student)
        found.append(now)
    return np.mean(found[-len(found) // 4 :], axis=0), student
