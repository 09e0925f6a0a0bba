"""PPO with a value head: rewards and divergence token by token, advantages that look ahead, both clipped."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from array_api_compat import array_namespace

from pluralign.likelihoods.numerics import Array, stop_gradient
from pluralign.objectives.objective import NonNegative, Positive, Share
from pluralign.online.kl import Estimator, estimate
from pluralign.online.learners.policy_gradient import clipped, gradient
from pluralign.online.samples import SampleBatch, SampleTokens


def shaped(batch: SampleBatch, beta: float, estimator: Estimator = "k1") -> Array:
    """Rewards of tokens, [B, K, T]: -beta * log pi_old/pi_ref at each, and the response's reward on its last token."""
    xp, tokens = array_namespace(batch.logp), _tokens(batch)
    price = estimate((tokens.written - tokens.anchor({"reference": 1.0})) * tokens.mask, estimator)
    place = xp.cumulative_sum(tokens.mask, axis=2)
    last = tokens.mask * (place == place[:, :, -1:])
    return last * batch.known("reward")[:, :, None] - beta * price


def advantages(reward: Array, value: Array, mask: Array, *, gamma: float = 1.0, lam: float = 0.95) -> Array:
    """Generalised advantage estimates, [..., T]: sum over l of (gamma lam)^l (r + gamma V_next - V) (Schulman 2016).

    Positions outside the mask, which end each row, count for nothing.

    >>> import numpy as np
    >>> one = np.ones(3)
    >>> advantages(np.array([0.0, 0.0, 1.0]), np.array([0.5, 0.5, 0.5]), one, lam=1.0)
    array([0.5, 0.5, 0.5])
    """
    xp = array_namespace(value)
    value, reward = value * mask, reward * mask
    found, ahead, following = [], 0 * value[..., 0], 0 * value[..., 0]
    for t in range(value.shape[-1] - 1, -1, -1):
        ahead = mask[..., t] * (reward[..., t] + gamma * following - value[..., t] + gamma * lam * ahead)
        following = value[..., t]
        found.append(ahead)
    return xp.stack(found[::-1], axis=-1)


def whitened(values: Array, weight: Array) -> Array:
    """values less their weighted mean, over their weighted standard deviation; same shape."""
    xp = array_namespace(values)
    share = weight / xp.sum(weight)
    centred = values - xp.sum(share * values)
    return centred / xp.sqrt(xp.sum(share * centred**2) + 1e-8)


@gradient(
    paper="Ouyang et al. 2022, Training Language Models to Follow Instructions with Human Feedback",
    arxiv="2203.02155",
    group=1,
    needs={"tokens.value", "tokens.sampled_value"},
    tokens=True,
)
def ppo(
    batch: SampleBatch,
    *,
    beta: NonNegative = 0.05,
    kl: Literal["k1", "k2", "k3"] = "k1",
    gamma: Share = 1.0,
    lam: Share = 0.95,
    clip: Positive = 0.2,
    value_clip: Positive = 0.2,
    value_weight: NonNegative = 0.1,
    whiten: bool = True,
    epochs: Annotated[int, Ge(1)] = 4,
) -> Array:
    """E mean over tokens of clip(pi/pi_old, A) + value_weight / 2 * max((V - R)^2, (clip(V) - R)^2),  R = A + V_old.

    The reward of a token is -beta log pi_old/pi_ref, and the response's on its last; A looks ahead along the response
    (GAE), whitened over the batch. The batch is the whole step: tokens count alike, whoever wrote them. epochs: how
    often a loop goes over the same draws.

    Use it where responses are long and a value head can tell early which will be good.
    """
    xp, tokens = array_namespace(batch.logp), _tokens(batch)
    before = tokens.known("sampled_value")
    gain = advantages(shaped(batch, beta, kl), before, tokens.mask, gamma=gamma, lam=lam)
    target = gain + before
    rows = xp.ones_like(batch.logp[:, 0]) if batch.weight is None else batch.weight
    weight = tokens.mask * (rows[:, None] * batch.law)[:, :, None]
    scaled = whitened(gain, weight) if whiten else gain
    loss = clipped(xp.exp((tokens.known("logp") - tokens.written) * tokens.mask), scaled, clip, clip)
    value = tokens.known("value")
    near = before + xp.clip(value - before, -value_clip, value_clip)
    loss = loss + value_weight / 2 * xp.maximum((value - target) ** 2, (near - target) ** 2)
    length = stop_gradient(batch.mean(batch.expect(xp.sum(tokens.mask, axis=2))))
    return batch.expect(tokens.total(loss)) / length


def _tokens(batch: SampleBatch) -> SampleTokens:
    found: SampleTokens = batch.known("tokens")
    return found
