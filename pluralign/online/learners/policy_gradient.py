"""Learners of a reward by the gradient of the expected reward: what differs is the baseline, the clip and the counting.

All take a divergence from the reference by any estimator, in the reward or in the loss (`pluralign.online.kl`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Annotated, Any, Literal

from annotated_types import Ge
from array_api_compat import array_namespace

from pluralign.likelihoods.numerics import Array, stop_gradient
from pluralign.objectives.objective import NonNegative, Options, Positive, declared, with_options
from pluralign.online.kl import Estimator, Placement, in_loss, in_reward, token_estimate
from pluralign.online.learner import GRADIENT, Judge, Learner, learner
from pluralign.online.samples import SampleBatch

gradient = functools.partial(learner, judge=Judge.REWARD, plan=GRADIENT)
"""A learner of a reward that takes one gradient step on the policy's own draws, then draws anew."""


def priced(*, needs: AbstractSet[str] = frozenset(), **declared_by: Any) -> Callable[[Callable[..., Array]], Learner]:
    """A `gradient` learner of a function `(batch, reward, **options)`, the divergence from the reference seen to.

    beta is its price; kl and kl_in say how it is estimated and whether it is taken off the rewards that the function
    is given, [B, K], or added to its loss. With `weighing`, the reward is that of all components together.
    """

    def wrap(function: Callable[..., Array]) -> Learner:
        def losses(batch: SampleBatch, *, beta: float, kl: Estimator, kl_in: Placement, **options: Any) -> Array:
            if "weighing" in declared_by:
                batch = replace(batch, reward=batch.weighed)
            loss = function(batch, in_reward(batch, beta, kl, kl_in), **options)
            return loss + in_loss(batch, beta, kl, kl_in)

        losses.__name__, losses.__doc__ = function.__name__, function.__doc__
        with_options(losses, PRICE | declared(function))
        return gradient(needs=lambda **options: exact_needs(**options) | needs, **declared_by)(losses)

    return wrap


PRICE: Options = {"beta": (NonNegative, 0.05), "kl": (Estimator, "k1"), "kl_in": (Placement, "reward")}


def exact_needs(*, kl: str = "", beta: float = 1.0, **_: object) -> set[str]:
    """What the exact divergence asks of the batch."""
    return {"kl"} if kl == "exact" and beta else set()


def clipped(ratio: Array, advantage: Array, low: float, high: float) -> Array:
    """-min(ratio A, clip(ratio, 1 - low, 1 + high) A), elementwise: no gain from going further (Schulman et al. 2017).

    >>> import numpy as np
    >>> clipped(np.array([1.5, 0.5]), np.array([1.0, 1.0]), 0.2, 0.2)
    array([-1.2, -0.5])
    """
    xp = array_namespace(ratio)
    return -xp.minimum(ratio * advantage, xp.clip(ratio, 1 - low, 1 + high) * advantage)


def whole_response(batch: SampleBatch, reward: Array, *, clip: float) -> Array:
    """E clip(pi/pi_old, A), A_i = reward_i less the mean of the other draws' rewards, [B]: rloo without its price."""
    ratio = array_namespace(batch.logp).exp(batch.logp - batch.written)
    return batch.expect(clipped(ratio, reward - batch.others(reward), clip, clip))


@priced(paper="Williams 1992, Simple Statistical Gradient-Following Algorithms", group=1)
def reinforce(batch: SampleBatch, reward: Array) -> Array:
    """-E R(y) log pi(y),  R = r - beta log pi/pi_ref, no baseline.

    Right on the policy's own draws only, and noisy: rewards far from zero swamp their differences.

    Use it as the yardstick of the others.
    """
    return -batch.expect(reward * batch.logp)


@priced(
    paper="Ahmadian et al. 2024, Back to Basics: Revisiting REINFORCE Style Optimization",
    arxiv="2402.14740",
)
def rloo(batch: SampleBatch, reward: Array, *, clip: Positive = 0.2) -> Array:
    """E clip(pi/pi_old, A(y)),  A_i = R_i - mean of R over the other draws,  R = r - beta log pi_old/pi_ref.

    The whole response is one action; the other draws of its prompt are the baseline, which leaves the gradient
    unbiased. The ratio is clipped as in ppo, on whole responses.

    Use it first among the learners of a reward: no value head, no reference to tune against.
    """
    return whole_response(batch, reward, clip=clip)


@priced(
    paper="Li et al. 2023, ReMax: A Simple, Effective, and Efficient Reinforcement Learning Method (as recalled)",
    arxiv="2310.10505",
    group=1,
    needs={"greedy_reward"},
)
def remax(batch: SampleBatch, reward: Array) -> Array:
    """-E (R(y) - r(greedy)) log pi(y),  greedy = the policy's most likely response.

    One more response a prompt is the baseline.

    Use it where one draw a prompt is all that can be paid.
    """
    return -batch.expect((reward - batch.known("greedy_reward")[:, None]) * batch.logp)


Count = Annotated[int, Ge(1)]


@gradient(
    paper="Shao et al. 2024, DeepSeekMath (GRPO); Liu et al. 2025 (Dr. GRPO); Yu et al. 2025 (DAPO)",
    arxiv="2402.03300",
    needs=lambda *, kl, kl_in, beta, **_: (
        {"kl" if kl_in == "reward" else "tokens.kl"} if kl == "exact" and beta else set()
    ),
    tokens=True,
)
def grpo(
    batch: SampleBatch,
    *,
    beta: NonNegative = 0.0,
    kl: Estimator = "k3",
    kl_in: Placement = "loss",
    clip: Positive = 0.2,
    clip_high: Positive | None = None,
    scale: Literal["group", "none"] = "group",
    epsilon: NonNegative = 1e-4,
    per: Literal["response", "batch", "constant"] = "response",
    max_length: Count = 256,
    ratio: Literal["token", "sequence"] = "token",
) -> Array:
    """E mean over tokens of clip(pi/pi_old, A) + beta k3,  A_i = (r_i - mean r) / (std r + epsilon).

    scale='none' leaves the standard deviation out. per: what a sum over tokens is divided by: the response's length,
    the mean length of the batch, or max_length. ratio='sequence' clips the geometric mean of the token ratios. k3 in
    the loss rests where KL(pi_ref || pi), not KL(pi || pi_ref), is traded for reward; dividing by the standard
    deviation makes the price follow the spread of rewards, so that neither optimum is reached.

    Use it with rewards that can be verified; `dr_grpo` and `dapo` where lengths differ much.
    """
    xp, tokens = array_namespace(batch.logp), batch.tokens
    assert tokens is not None  # declared
    reward = in_reward(batch, beta, kl, kl_in)
    centred = reward - batch.expect(reward)[:, None]
    advantage = centred
    if scale == "group":
        draws = centred.shape[1]
        variance = batch.expect(centred**2) * (1.0 if batch.exact else draws / max(draws - 1, 1))
        advantage = centred / (xp.sqrt(variance) + epsilon)[:, None]
    length = xp.sum(tokens.mask, axis=2)
    drift = (tokens.known("logp") - tokens.written) * tokens.mask
    if ratio == "sequence":
        # Each token passes its own gradient on; the value of the ratio is that of the response.
        mean = (xp.sum(drift, axis=2) / xp.clip(length, min=1.0))[:, :, None]
        drift = stop_gradient(mean - drift) + drift
    loss = clipped(xp.exp(drift), advantage[:, :, None] + 0 * drift, clip, clip if clip_high is None else clip_high)
    if kl_in == "loss" and beta:
        loss = loss + beta * token_estimate(tokens, kl)
    total = tokens.total(loss)
    if per == "response":
        return batch.expect(total / xp.clip(length, min=1.0))
    size = max_length if per == "constant" else stop_gradient(batch.mean(batch.expect(length)))
    return batch.expect(total) / size


@gradient(
    paper="Liu et al. 2025, Understanding R1-Zero-Like Training: A Critical Perspective",
    arxiv="2503.20783",
    tokens=True,
)
def dr_grpo(batch: SampleBatch, *, beta: NonNegative = 0.0, clip: Positive = 0.2, max_length: Count = 256) -> Array:
    """grpo with A_i = r_i - mean r and sums over tokens divided by max_length.

    No response counts more for being short, no prompt for having rewards that differ little.

    Use it where responses grow longer and longer under grpo.
    """
    return _grpo(batch, beta=beta, clip=clip, scale="none", per="constant", max_length=max_length)


@gradient(
    paper="Yu et al. 2025, DAPO: An Open-Source LLM Reinforcement Learning System at Scale",
    arxiv="2503.14476",
    tokens=True,
)
def dapo(batch: SampleBatch, *, clip: Positive = 0.2, clip_high: Positive = 0.28) -> Array:
    """grpo without a divergence, a wider clip upwards, and every token of the batch counting alike.

    The paper also draws anew where all rewards of a prompt agree (`pluralign.online.selection.spread`), and takes a
    little reward from responses that near the limit of length (`pluralign.online.rewards.overlong`).

    Use it for long solutions with rewards that can be verified.
    """
    return _grpo(batch, clip=clip, clip_high=clip_high, per="batch")


@gradient(
    paper="Zheng et al. 2025, Group Sequence Policy Optimization",
    arxiv="2507.18071",
    tokens=True,
)
def gspo(batch: SampleBatch, *, beta: NonNegative = 0.0, clip: Positive = 3e-4, clip_high: Positive = 4e-4) -> Array:
    """grpo whose ratio is that of the whole response, a token: exp of the mean of log pi/pi_old.

    The reward is of the response, and so is what is clipped; hence the small clips (as recalled).

    Use it where the ratios of single tokens are noisy, as in mixtures of experts.
    """
    return _grpo(batch, beta=beta, clip=clip, clip_high=clip_high, ratio="sequence")


def _grpo(batch: SampleBatch, **options: object) -> Array:
    return grpo.function(batch, **grpo.checked(options))
