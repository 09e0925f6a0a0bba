"""Divergence from the reference: how it is estimated, where it enters, and how hard it pulls.

Estimator and placement decide what is solved. On draws of the policy, k1 in the reward or k2 in the loss has the
gradient of KL(pi || reference); k3 in the loss that of KL(reference || pi); k1 in the loss none at all in expectation.
"""

from __future__ import annotations

from typing import Literal

from array_api_compat import array_namespace

from pluralign.likelihoods.numerics import Array, stop_gradient
from pluralign.online.samples import SampleBatch, SampleTokens

Estimator = Literal["k1", "k2", "k3", "exact"]
"""k1 = l, k2 = l^2 / 2, k3 = exp(-l) - 1 + l with l = log pi / reference; exact from whole distributions."""
Placement = Literal["reward", "loss"]
"""A detached part of the reward, or a differentiated part of the loss."""


def estimate(log_ratio: Array, estimator: Estimator) -> Array:
    """An estimate of KL(pi || reference) from log pi / reference at draws of pi, any shape. Schulman 2020.

    >>> import numpy as np
    >>> [estimate(np.log([2.0]), name).round(4).tolist() for name in ("k1", "k2", "k3")]
    [[0.6931], [0.2402], [0.1931]]
    """
    xp = array_namespace(log_ratio)
    if estimator == "k1":
        return log_ratio
    if estimator == "k2":
        return log_ratio**2 / 2
    if estimator == "k3":
        return xp.expm1(-log_ratio) + log_ratio
    raise ValueError("the exact divergence needs whole distributions, not a ratio at a draw")


def in_reward(batch: SampleBatch, beta: float, estimator: Estimator, placement: Placement) -> Array:
    """What is left of `batch.reward` after the divergence, where it is placed there, [B, K]; a number, no gradient.

    It is that of the policy which wrote the responses (`sampled_logp`; left out, the learning policy is that one).
    """
    if placement == "loss" or beta == 0:
        return batch.known("reward")
    if estimator == "exact":
        return batch.known("reward") - beta * stop_gradient(batch.known("kl"))
    return batch.known("reward") - beta * estimate(batch.written - batch.anchor({"reference": 1.0}), estimator)


def in_loss(batch: SampleBatch, beta: float, estimator: Estimator, placement: Placement) -> Array:
    """What the divergence adds to the loss, where it is placed there, [B]. Raises `MissingInput` for `exact` without
    `kl`."""
    if placement == "reward" or beta == 0:
        return 0 * batch.expect(batch.logp)
    if estimator == "exact":
        return beta * batch.expect(batch.known("kl"))
    return beta * batch.expect(estimate(batch.log_ratio({"reference": 1.0}), estimator))


def token_estimate(tokens: SampleTokens, estimator: Estimator) -> Array:
    """The estimate at each token, [B, K, T], 0 outside the response. Raises `MissingInput` for what it needs."""
    if estimator == "exact":
        return tokens.known("kl") * tokens.mask
    return estimate((tokens.known("logp") - tokens.anchor({"reference": 1.0})) * tokens.mask, estimator)


def adapted(beta: float, kl: float, *, target: float = 6.0, samples: int, horizon: float = 1e4) -> float:
    """The coefficient after a step of so many samples whose mean KL was `kl`, nats. Ziegler et al. 2019.

    Up to a fifth more or less a horizon of samples. (The classic defaults are as recalled.)

    >>> round(adapted(0.1, 12.0, target=6.0, samples=1000, horizon=10000), 12)
    0.102
    >>> adapted(0.1, 6.0, samples=1000)
    0.1
    """
    return beta * (1 + min(max(kl / target - 1, -0.2), 0.2) * samples / horizon)
