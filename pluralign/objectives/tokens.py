"""Objectives that look at single tokens, at next-token distributions, or at hidden states."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge
from array_api_compat import array_namespace

from pluralign.likelihoods import logistic
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import scores
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import Need, NonNegative, Positive, Share, objective
from pluralign.objectives.reference import dpo
from pluralign.objectives.values import Scores


def _kl(batch: PolicyBatch) -> Scores:
    """Sum over response tokens of KL(pi_ref || pi) of the next-token distributions."""
    tokens = batch.known("tokens")
    return Scores(tokens.total(tokens.known("kl")[0]))


@objective(
    paper="Zeng et al. 2024, Token-level Direct Preference Optimization",
    arxiv="2404.11999",
    score=lambda batch, *, beta, **_: beta * (batch.log_ratio + _kl(batch)),
    needs={Need.REFERENCE, Need.TOKEN_KL},
    uses={"margin"},
    reduces={"alpha=0": "dpo"},
)
def tdpo(
    batch: PolicyBatch,
    *,
    beta: Positive = 0.1,
    alpha: NonNegative = 0.5,
    variant: Literal["tdpo1", "tdpo2"] = "tdpo2",
) -> Array:
    """-log sigmoid(beta * (h_w - h_l - alpha * (K_l - sg[K_w]))),  K = sum over tokens of KL(pi_ref || pi).

    dpo that also watches the whole next-token distribution, so that responses nobody judged stay where they were.
    tdpo1 lets K_w pass its gradient and has no alpha. alpha 0 is dpo.

    Use it where dpo drifts far from the reference or loses diversity.
    """
    h, kl = batch.log_ratio, _kl(batch)
    drift = kl.rejected - kl.chosen if variant == "tdpo1" else alpha * (kl.rejected - _kl(batch.detached).chosen)
    return logistic(beta * (h.margin - drift) - batch.margin)


@objective(
    paper="Christopoulou et al. 2024, SparsePO: Controlling Preference Alignment of LLMs via Sparse Token Masks",
    arxiv="2410.05102",
    score=lambda batch, *, beta, **_: scores.log_ratio(
        batch.over_tokens(batch.known("tokens").known("reward_weight")[0]), beta=beta
    ),
    needs={Need.REFERENCE, Need.TOKENS, Need.TOKEN_KL, Need.TOKEN_WEIGHTS},
    uses={"margin"},
    reduces={"masks of 1": "tdpo(variant='tdpo1')", "a reward mask of 1 and a divergence mask of 0": "dpo"},
)
def sparse_po(
    batch: PolicyBatch, *, beta: Positive = 0.1, reward_l1: NonNegative = 0.0, kl_l1: NonNegative = 0.0
) -> Array:
    """-log sigmoid(beta * (u_w - u_l + d_w - d_l)) + L1,  u = sum m_u log pi / pi_ref,  d = sum m_d KL(pi_ref || pi).

    Masks over tokens say where the preference sits (m_u, tokens.reward_weight) and where the policy is held (m_d,
    tokens.kl_weight). Give fixed ones, or those of a trained head: their gradient passes. All ones is tdpo1; m_d of 0
    and m_u of 1 is dpo.

    Use it where a few tokens carry the judgement: tone, a wrong number, a name.
    """
    tokens = batch.known("tokens")
    kl, reward_mask, kl_mask = tokens.known("kl", "reward_weight", "kl_weight")
    xp = array_namespace(kl)
    u, d = batch.over_tokens(reward_mask).log_ratio, Scores(tokens.total(kl_mask * kl))
    size = reward_l1 * tokens.total(xp.abs(reward_mask)) + kl_l1 * tokens.total(xp.abs(kl_mask))
    return logistic(beta * (u.margin + d.margin) - batch.margin) + xp.sum(size, axis=1)


def _turn_weight(batch: PolicyBatch, gamma: float) -> Array:
    """gamma^t (1 - gamma^(N - t)) / (1 - gamma^N) for a token of turn t of N; its limit at gamma = 1."""
    tokens = batch.known("tokens")
    xp, turn = array_namespace(tokens.mask), tokens.known("turn")[0]
    turns = 1 + xp.max(turn * tokens.mask, axis=2)[:, :, None]
    if gamma == 1:
        return (turns - turn) / turns
    left = xp.clip(turns - turn, min=0.0)
    return gamma**turn * (1 - gamma**left) / (1 - gamma**turns)


@objective(
    paper="Shi et al. 2024, Direct Multi-Turn Preference Optimization for Language Agents",
    arxiv="2406.14868",
    score=lambda batch, *, beta, gamma: scores.log_ratio(batch.over_tokens(_turn_weight(batch, gamma)), beta=beta),
    needs={Need.REFERENCE, Need.TOKENS, Need.TURNS},
    uses={"margin"},
    logistic=True,
    reduces={"one turn": "dpo"},
)
def dmpo(batch: PolicyBatch, *, beta: Positive = 0.1, gamma: Share = 0.9) -> Array:
    """dpo(beta) on sums over turns t of phi(t, N) * h_t,  phi = gamma^t (1 - gamma^(N-t)) / (1 - gamma^N).

    h_t: log pi / pi_ref of the assistant's tokens in turn t of N; what the environment says has no weight. Early turns
    count most, and trajectories of unlike length compare. gamma 1: phi = (N - t) / N. One turn is dpo.

    Use it for trajectories of agents with several turns.
    """
    return dpo.function(batch.over_tokens(_turn_weight(batch, gamma)), beta=beta)


def _feature_drift(batch: PolicyBatch, top: int) -> Scores:
    """Mean squared difference of policy and reference in the policy's `top` largest features."""
    xp = array_namespace(batch.logp)
    mine, fixed = batch.known("features"), batch.detached.known("features")
    largest = xp.argsort(fixed, axis=2, descending=True)[:, :, :top]
    gap = xp.take_along_axis(mine - batch.known("ref_features"), largest, axis=2)
    return Scores(xp.mean(gap**2, axis=2))


@objective(
    paper="Yin et al. 2024, Direct Preference Optimization Using Sparse Feature-Level Constraints",
    arxiv="2411.07618",
    score=scores.mean_log_ratio,
    needs={Need.REFERENCE, Need.FEATURES},
    uses={"margin"},
    reduces={"alpha=0": "ln_dpo(beta=0.1)"},
)
def fpo(
    batch: PolicyBatch, *, beta: Positive = 0.1, alpha: NonNegative = 0.5, top: Annotated[int, Ge(1)] = 50
) -> Array:
    """-log sigmoid(beta * (hbar_w - hbar_l - alpha * (M_l - sg[M_w]))),  M: feature drift, hbar: mean log pi/pi_ref.

    tdpo's constraint in the space of a frozen sparse autoencoder, which needs no distribution over the vocabulary: M
    is the mean squared difference to the reference in the policy's largest features, pooled over the response. alpha 0
    is ln_dpo.

    Use it where tdpo helps and its reference distributions cost too much.
    """
    drift = _feature_drift(batch, top).rejected - _feature_drift(batch.detached, top).chosen
    return logistic(beta * (batch.mean_log_ratio.margin - alpha * drift) - batch.margin)


def on_policy_weight(batch: PolicyBatch, clip: bool) -> Array:
    """How likely a pair is under the policy, next to what it would sample itself, [B]; no gradient (WPO)."""
    tokens = batch.detached.known("tokens")
    logp, log_collision = tokens.known("logp", "log_collision")
    xp = array_namespace(logp)
    each = tokens.total(logp - log_collision) / xp.clip(tokens.length, min=1.0)
    weight = xp.exp(xp.sum(each, axis=1))
    return xp.clip(weight, max=1.0) if clip else weight


ON_POLICY: dict[str, Any] = {
    "paper": "Zhou et al. 2024, WPO: Enhancing RLHF with Weighted Preference Optimization",
    "arxiv": "2406.11827",
}


@objective(
    **ON_POLICY,
    score=scores.log_ratio,
    needs={Need.REFERENCE, Need.TOKENS, Need.COLLISION},
    uses={"margin"},
    reduces={"a uniform policy": "dpo(beta=0.01)"},
)
def wpo(batch: PolicyBatch, *, beta: Positive = 0.01, clip: bool = False) -> Array:
    """w_w * w_l * dpo(beta),  w = exp(mean over tokens of log pi(y_t) - log sum over the vocabulary of pi^2), sg.

    Pairs the policy could have written itself count more. A sequence of the policy's own typical tokens has weight 1;
    greedy ones have more, which clip holds at 1. on_policy(...) does the same for another objective.

    Use it on pairs that other models wrote.
    """
    return on_policy_weight(batch, clip) * dpo.function(batch, beta=beta)
