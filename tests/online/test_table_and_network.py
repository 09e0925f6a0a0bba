"""The table is the golden reference of the network: a learner pulls a language model's weights as its table says."""

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from one_word import model

from pluralign.lab import bandit
from pluralign.lab.table import Table
from pluralign.online import Learner, SampleBatch, SampleTokens, catalogue, direct
from pluralign.online.forward import numbers
from pluralign.policy.batch import TokenBatch, collate
from pluralign.policy.encode import Encoded

WORDS, PROMPTS = 9, ([1, 4, 2], [3, 7])
OPTIONS: dict[str, dict[str, Any]] = {"sppo": {"eta": 1.0}, "inpo": {"tau": 0.1, "eta": 1.0}, "grpo": {"beta": 0.1}}
ELSEWHERE = {"hypo", "raft"}
"""hypo learns from offline pairs too; the best of all words would be one."""


@lru_cache
def rows() -> TokenBatch:
    """Every word is a response of one token to every prompt."""
    words = tuple([w] for w in range(WORDS))
    return collate([Encoded(prompt, words, ([True],) * WORDS) for prompt in PROMPTS], pad_id=0)


def from_table(each: Learner, options: dict[str, Any], logits: dict[str, torch.Tensor], world: Any, beside: Any) -> Any:
    """The slope of the loss in the logits of the next word, [P, V]."""
    table = Table(world, {})
    theta = logits["policy"].detach()[:, None, :].requires_grad_()
    kept = {name: values.detach()[:, None, :] for name, values in logits.items() if name != "policy"}
    law = [(table.log_p(kept["previous"]).exp(), table.log_p(kept["half"]).exp())]
    batch = table.batch(theta, kept, law, beside)
    return torch.autograd.grad(batch.mean(each(batch, **options)), theta)[0][:, 0]


@lru_cache
def scored_by_networks() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], list[torch.Tensor]]:
    """Log-probs of all samples by the engine, [P, V, T], logits of the next word, [P, V]; the policy's weights."""
    nets = {
        name: model(seed, WORDS) for seed, name in enumerate(("policy", "reference", "previous", "auxiliary", "half"))
    }
    last = torch.tensor([len(prompt) - 1 for prompt in PROMPTS])
    padded = torch.tensor([[*prompt, 0, 0][:3] for prompt in PROMPTS])
    logits = {name: net(input_ids=padded).logits[torch.arange(len(PROMPTS)), last] for name, net in nets.items()}
    return {name: numbers(net, rows()).logp for name, net in nets.items()}, logits, list(nets["policy"].parameters())


def from_network(each: Learner, options: dict[str, Any], world: Any, beside: Any) -> Any:
    """The slope of the loss in the weights, through the engine that scores samples."""
    scored, _, weights = scored_by_networks()
    frozen = {name: values.detach() for name, values in scored.items() if name != "policy"}
    mask = rows().response_mask.view(*rows().shape, -1).double()
    value = mask * (frozen["previous"].sum(-1).exp() * torch.tensor(world.reward)).sum(1)[:, None, None]
    batch = SampleBatch(
        scored["policy"].sum(-1),
        law=frozen["previous"].sum(-1).exp(),
        opponent=frozen["half"].sum(-1).exp(),
        exact=True,
        sampled_logp=frozen["previous"].sum(-1),
        snapshots={name: values.sum(-1) for name, values in frozen.items()},
        reward=torch.tensor(world.reward),
        preference=torch.tensor(world.preference),
        length=torch.ones(len(PROMPTS), WORDS),
        tokens=SampleTokens(
            mask,
            logp=scored["policy"],
            sampled_logp=frozen["previous"],
            snapshots=frozen,
            value=value,
            sampled_value=value,
        ),
        **beside,
    )
    return torch.autograd.grad(batch.mean(each(batch, **options)), weights, retain_graph=True)


LEARNERS = [each for each in catalogue().values() if each.name not in ELSEWHERE]
QUICK = ("inpo", "egpo", "grpo", "ppo", "dpo", "kto")


@pytest.mark.parametrize(
    "each",
    [
        pytest.param(each, id=each.name, marks=() if each.name in QUICK else pytest.mark.slow)
        for each in [*LEARNERS, direct("dpo"), direct("simpo"), direct("kto"), direct("bco")]
    ],
)
def test_weights_are_pulled_as_the_table_says(each: Learner) -> None:
    rng = np.random.default_rng(0)
    _, logits, weights = scored_by_networks()
    reward = rng.normal(size=(len(PROMPTS), WORDS))
    upper = np.triu(rng.random((WORDS, WORDS)), 1)
    said = upper + np.tril(1 - upper.T, -1) + np.eye(WORDS) / 2
    reference = torch.softmax(logits["reference"], -1).detach().numpy()
    world = bandit(reward, reference=reference, preference=said)
    wanted = {
        "greedy_reward": torch.tensor(reward.max(1)),
        "components": torch.tensor(rng.normal(size=(len(PROMPTS), WORDS, 2))),
        "multipliers": torch.tensor([0.3, 0.6]),
    }
    options = OPTIONS.get(each.name, {})
    asked = each.needs(**options) | each.wants(**options)
    beside = {name: value for name, value in wanted.items() if name in asked}
    table = from_table(each, options, logits, world, beside)
    network = from_network(each, options, world, beside)
    expected = torch.autograd.grad(logits["policy"], weights, table, allow_unused=True, retain_graph=True)
    size = max(float(e.abs().max()) for e in expected if e is not None)
    assert size > 1e-8
    for slope, other in zip(network, expected, strict=True):
        assert torch.allclose(slope, torch.zeros_like(slope) if other is None else other, atol=1e-6 * size, rtol=1e-6)
