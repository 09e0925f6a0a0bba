"""From collated rows to the batch an objective reads: the policy's forward pass and whatever else was asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pluralign.objectives import Need, PolicyBatch
from pluralign.policy.batch import TokenBatch
from pluralign.policy.logprobs import LogProbs, logprobs
from pluralign.policy.rewards import rewards
from pluralign.policy.statistics import Encode, Reference, features, last_states, prompt_embedding, token_values
from pluralign.train.batches import policy_batch

TOKENS = {Need.TOKENS, Need.TOKEN_KL, Need.COLLISION, Need.TURNS, Need.TOKEN_WEIGHTS, Need.STEP_WEIGHTS}
LIVE = TOKENS | {Need.FEATURES, Need.PROMPT_EMBEDDING}
"""What takes a live reference model, not only its log-probs."""
COMPUTED = LIVE | {
    Need.REFERENCE,
    Need.PROMPT,
    Need.MISMATCHED,
    Need.RUNNING_REWARD,
    Need.RUNNING,
    Need.WHOLE_STEP,
    Need.RATINGS,
    Need.RANDOM,
    Need.JOINT,
    Need.FROZEN,
    Need.RATIONALE,
    Need.AUXILIARY,
}
"""What an objective may need in `align`."""
OF_REWARDS = {Need.REFERENCE, Need.RUNNING_REWARD, Need.RUNNING, Need.WHOLE_STEP, Need.RATINGS, Need.RANDOM}
"""What it may need where the model is a reward: it has no tokens, and its reference is zero."""


class Scorer:
    """Scores collated rows for an objective with these needs.

    beta: for rows that carry none of their own. moving: the reference changes, so its log-probs are computed anew.
    head: what is trained beside the policy; see `pluralign.train.heads`. encode: from hidden states to features.
    """

    def __init__(
        self,
        needs: set[Need],
        beta: float | None,
        reference: Reference | None,
        feature_layer: int,
        moving: bool = False,
        head: torch.nn.Module | None = None,
        encode: Encode | None = None,
    ) -> None:
        self.needs, self.beta, self.reference, self.layer, self.moving = needs, beta, reference, feature_layer, moving
        self.head, self.encode = head, encode

    def __call__(self, model: Any, inputs: dict[str, Any], step: dict[str, Any]) -> PolicyBatch:
        """The rows under the model; step: what they share with the other rows of their optimizer step."""
        tokens: TokenBatch = inputs["tokens"]
        extra: dict[str, Any] = {}
        if self.moving and self.reference is not None:
            inputs = inputs | {"ref_logp": self.reference.logprobs(tokens).logp}
        if self.needs & TOKENS and self.reference is not None:
            masks = self.head if Need.TOKEN_WEIGHTS in self.needs else None
            values = token_values(model, self.reference, tokens, self.needs, masks)
            extra["tokens"] = replace(values, uniform=inputs.get("token_uniform"))
            (each,) = values.known("logp")
            scored = LogProbs(each.sum(-1), tokens.length, each)
            if Need.PROMPT in self.needs:
                scored = logprobs(model, tokens, prompt=True)
        elif Need.JOINT in self.needs:
            scored, extra["joint_logp"] = joint_logprobs(model, tokens)
        else:
            scored = logprobs(model, tokens, prompt=Need.PROMPT in self.needs)
        if Need.FEATURES in self.needs and self.reference is not None:
            extra["features"], extra["ref_features"] = features(model, self.reference, tokens, self.layer, self.encode)
        if Need.PROMPT_EMBEDDING in self.needs and self.reference is not None:
            extra["prompt_embedding"] = prompt_embedding(self.reference, tokens, self.layer)
        if Need.RATIONALE in self.needs:
            said = logprobs(model, inputs["rationale"])
            extra |= {"rationale_logp": said.logp[:, 0], "rationale_length": said.length[:, 0]}
        if Need.AUXILIARY in self.needs and self.head is not None:
            extra["auxiliary"] = self.head(last_states(model, inputs["degraded"]), inputs["degree"])
        if "uniform" in inputs:
            extra["uniform"] = inputs["uniform"]
        return replace(policy_batch(inputs, scored, self.beta, **step), **extra)


class RewardScorer:
    """Scores collated rows by a reward model: rewards stand for log-probs, the reference is zero, lengths are one."""

    def __init__(self, beta: float | None) -> None:
        self.beta = beta

    def __call__(self, model: Any, inputs: dict[str, Any], step: dict[str, Any]) -> PolicyBatch:
        """The rows under the model; step: what they share with the other rows of their optimizer step."""
        found = rewards(model, inputs["tokens"])
        zeros = torch.zeros_like(found)
        scored = LogProbs(found, zeros + 1, found[..., None])
        return policy_batch(inputs | {"ref_logp": zeros}, scored, self.beta, **step)


def joint_logprobs(model: Any, tokens: TokenBatch) -> tuple[LogProbs, torch.Tensor]:
    """Log-probs of responses, and of prompt and response together, [B, K], in one pass."""
    first = tokens.attention_mask.cumsum(-1) == 1
    both = logprobs(model, replace(tokens, response_mask=tokens.attention_mask.bool() & ~first))
    b, k = tokens.shape
    mine = both.token_logp * tokens.response_mask.view(b, k, -1)
    return LogProbs(mine.sum(-1), tokens.length, mine), both.logp


def with_random(inputs: dict[str, Any], seed: int, step: int) -> dict[str, Any]:
    """The rows with random numbers that depend on seed, step and row alone, not on how the step is cut."""
    tokens: TokenBatch = inputs["tokens"]
    k = tokens.shape[1]
    draws = [np.random.default_rng((seed, step, int(i) + 1)) for i in inputs["index"]]
    rows = np.array([draw.random() for draw in draws], dtype=np.float32)
    each = np.stack([draw.random((tokens.input_ids.shape[1], k), dtype=np.float32).T for draw in draws])
    device = tokens.input_ids.device
    return inputs | {
        "uniform": torch.from_numpy(rows).to(device),
        "token_uniform": torch.from_numpy(each).to(device),
    }


def without_dropout(model: torch.nn.Module) -> None:
    """Switch dropout off: two passes over a step must see one and the same policy."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
