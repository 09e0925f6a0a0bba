"""Every judgement of a world, under a policy, as the batch that objectives take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from pluralign.errors import OptionError
from pluralign.lab.worlds import World
from pluralign.objectives import Need, Objective, PolicyBatch, Rows, Tokens

KINDS = {"pairs": {Rows.PAIRS, Rows.MIXED}, "rankings": {Rows.RANKINGS}, "thumbs": {Rows.UNPAIRED}}
"""Which of an objective's kinds of row each kind of world holds."""
UNKNOWN = {
    Need.FEATURES,
    Need.PROMPT_EMBEDDING,
    Need.RATIONALE,
    Need.AUXILIARY,
}
"""What no table of probabilities has."""
TOKENWISE = {Need.TOKENS, Need.TOKEN_KL, Need.COLLISION, Need.TURNS, Need.TOKEN_WEIGHTS, Need.STEP_WEIGHTS}
"""What needs the tokens of a response one by one."""


def check(goal: Objective, world: World, options: dict[str, Any], frozen: Sequence[ArrayLike]) -> None:
    """Refuse, in a sentence, what the world's judgements cannot teach or its tables cannot tell."""
    if lacking := goal.needs(**options) & UNKNOWN:
        raise OptionError(f"{goal.name} needs {', '.join(sorted(lacking))}, which a world of probabilities has not")
    if (Need.FROZEN in goal.needs(**options)) != bool(len(frozen)):
        way = "takes no frozen policies" if len(frozen) else "compares with further policies; give them as frozen=[...]"
        raise OptionError(f"{goal.name} {way}")
    if not KINDS[world.kind] & set(goal.rows):
        ways = {Rows.RANKINGS: "world.rankings()", Rows.UNPAIRED: "world.thumbs()"}
        way = next((ways[kind] for kind in goal.rows if kind in ways), "a world of pairs")
        raise OptionError(f"{goal.name} does not learn from {world.kind}; give it {way}")
    if goal.needs(**options) & TOKENWISE and (world.length != world.tree.mask.sum(1)).any():
        raise OptionError(f"{goal.name} looks at single tokens, which a bandit with lengths has not; use lab.sequences")


def responses(world: World, log_p: torch.Tensor) -> torch.Tensor:
    """Log-probs of responses, [P, R], from those of tokens, [P, nodes, V]."""
    return token_logp(world, log_p).sum(-1)


def token_logp(world: World, log_p: torch.Tensor) -> torch.Tensor:
    """Log-probs of the tokens that responses are made of, [P, R, T], 0 after the last, from those at nodes."""
    tree = world.tree
    return log_p[:, torch.tensor(tree.node), torch.tensor(tree.token)] * torch.tensor(tree.mask)


def population(
    goal: Objective,
    world: World,
    logits: torch.Tensor,
    reference: torch.Tensor,
    frozen: Sequence[ArrayLike],
    options: dict[str, Any],
) -> PolicyBatch:
    """The whole population as one step."""
    log_p, log_ref = torch.log_softmax(logits, -1), torch.log_softmax(reference, -1)
    prompt, response = torch.tensor(world.prompt)[:, None], torch.tensor(world.response)

    def rows(values: torch.Tensor) -> torch.Tensor:
        return values[prompt, response]

    logp, ref_logp = responses(world, log_p), responses(world, log_ref)
    rows_logp, weight = rows(logp), torch.tensor(world.weight)
    fields: dict[str, Any] = {name: torch.tensor(value) for name, value in world.row.items()}
    fields.setdefault(
        "sign", torch.where(torch.arange(response.shape[1]) == 0, 1.0, -1.0).double().expand_as(rows_logp)
    )
    needs = goal.needs(**options)
    if Need.RATINGS in needs:
        fields["rating"] = rows(torch.tensor(world.reward))
    if Need.FROZEN in needs:
        others = torch.tensor(np.array([np.broadcast_to(p, world.reward.shape) for p in frozen])).double().log()
        fields["frozen_logp"] = others[:, prompt, response].movedim(0, -1)
    if Need.PROMPT in needs:
        fields |= {"prompt_logp": 0 * weight, "prompt_length": 0 * weight}  # prompts are given, not written
    if Need.JOINT in needs:
        fields |= {"joint_logp": rows_logp, "ref_joint_logp": rows(ref_logp)}
    if Need.MISMATCHED in needs:
        # Responses as often as rows hold them, under a prompt drawn by itself.
        often = torch.zeros(logp.shape[1], dtype=torch.float64)
        often.index_add_(0, response[:, 0], weight / weight.sum())
        fields["mismatched_log_ratio"] = ((logp - ref_logp).mean(0) * often).sum()[None]
    if needs & TOKENWISE:
        fields["tokens"] = _token_batch(world, log_p, log_ref, prompt[:, 0], response)
    return goal.centred(
        PolicyBatch(
            logp=rows_logp,
            length=rows(torch.tensor(world.length)),
            ref_logp=rows(ref_logp),
            weight=weight,
            **fields,
        ),
        **options,
    )


def _token_batch(
    world: World, log_p: torch.Tensor, log_ref: torch.Tensor, prompt: torch.Tensor, response: torch.Tensor
) -> Tokens:
    tree = world.tree
    mask, node = torch.tensor(tree.mask), torch.tensor(tree.node)

    def rows(values: torch.Tensor) -> torch.Tensor:
        return values[prompt[:, None], response]

    there = mask[response]
    return Tokens(
        mask=there,
        logp=rows(token_logp(world, log_p)),
        ref_logp=rows(token_logp(world, log_ref)),
        kl=rows((log_ref.exp() * (log_ref - log_p)).sum(-1)[:, node] * mask),
        log_collision=rows(torch.logsumexp(2 * log_p, -1)[:, node] * mask),
        turn=torch.arange(mask.shape[1]).double().expand_as(there),  # each token is a turn of its own
        reward_weight=torch.ones_like(there),
        kl_weight=torch.ones_like(there),
    )
