"""From many to one: what to do where groups, or several rewards, want different things.

Rewards are arrays whose last axis is the K groups (or properties, or members of an ensemble). Groups are compared on
one scale: `standing` makes one of rewards that have none in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog, minimize
from scipy.special import expit, log_expit, logsumexp

from pluralign.errors import FeedbackError, OptionError

Array = NDArray[np.float64]

GOOD = 0.85
"""Quantile of a prompt's ordinary responses from which on one counts as good."""
TOLERANCE = 1e-6
"""By which a MaxMin policy may miss the optimum, in units of reward."""


def standing(rewards: ArrayLike, sample: ArrayLike) -> Array:
    """[..., R, K]: each group's mean chance, between 0 and 1, to prefer a response over one of the sample.

    rewards: [..., R, K] in logits. sample: [..., M, K], rewards of ordinary responses to the same prompts.

    >>> standing([[0.0, 2.0]], [[0.0, 0.0], [0.0, 4.0]]).round(3).tolist()
    [[0.5, 0.5]]
    """
    r, s = np.asarray(rewards, dtype=np.float64), np.asarray(sample, dtype=np.float64)
    return np.asarray(expit(r[..., :, None, :] - s[..., None, :, :]).mean(-2))


def welfare(values: ArrayLike, power: float = 1.0, shares: ArrayLike | None = None) -> Array:
    """[...]: the power mean of values [..., K] above zero, (sum_k s_k v_k^p)^(1/p).

    One knob from utilitarian to egalitarian: power 1 is the mean, 0 Nash's product, minus infinity the worst off.
    It never rises as power falls. 1 - power is Atkinson's aversion to inequality (Atkinson 1970). shares: [K], the
    groups' sizes, alike where None. Raises `OptionError` for negative values, and for a power above 1.

    >>> [welfare([0.9, 0.4], p).round(3).item() for p in (1, 0, -1, -np.inf)]
    [0.65, 0.6, 0.554, 0.4]
    """
    v = np.asarray(values, dtype=np.float64)
    if not (v >= 0).all():
        raise OptionError("welfare takes values above zero, such as chances to be preferred; see standing")
    if power > 1:
        raise OptionError(f"power {power:g} is above 1, which would favour who is well off already; give 1 or less")
    s = _shares(shares, v.shape[-1])
    if power == -np.inf:
        return np.asarray(np.where(s > 0, v, np.inf).min(-1))
    with np.errstate(divide="ignore"):
        logs = np.where(s > 0, np.log(v), 0.0)
    if abs(power) < 1e-8:  # a power nearer to zero leaves rounding alone
        return np.asarray(np.exp((s * logs).sum(-1)))
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(logsumexp(power * logs, axis=-1, b=s) / power))


def level(rewards: ArrayLike, quantile: float = GOOD) -> Array:
    """[..., K]: the reward that a good response has, a quantile of those of a prompt's ordinary ones [..., M, K]."""
    return np.asarray(np.quantile(np.asarray(rewards, dtype=np.float64), quantile, axis=-2))


def log_good(rewards: ArrayLike, reference: ArrayLike = 0.0) -> Array:
    """u = ln sigma(r - r_ref): the log-chance to be good enough.

    Linear far below the reference level, flat far above, so that what is good already earns nothing more and a policy
    has nothing to exploit there. Single responses keep their order. Wang et al. 2024 (arXiv 2402.00742).

    >>> log_good([-2.0, 0.0, 2.0]).round(6).tolist()
    [-2.126928, -0.693147, -0.126928]
    """
    return np.asarray(log_expit(np.asarray(rewards, dtype=np.float64) - np.asarray(reference, dtype=np.float64)))


def conjunction(rewards: ArrayLike, reference: ArrayLike = 0.0) -> Array:
    """[...]: sum over K of `log_good`, the log-chance that a response is good in every way at once: a logical AND.

    rewards: [..., K]. reference: levels, [..., K]; see `level`. Wang et al. 2024.

    >>> conjunction([[5.0, -3.0], [1.0, 1.0]]).round(3).tolist()  # plain sums tie
    [-3.055, -0.627]
    """
    return np.asarray(log_good(rewards, reference).sum(-1))


def pessimistic(members: ArrayLike, penalty: float = np.inf) -> Array:
    """[...]: what an ensemble [..., K] is sure of: mean - penalty * variance, or for an infinite penalty the minimum.

    Members are standardised on the same responses first (subtract the mean, divide by the spread). It delays
    over-optimisation as far as members err apart. Coste et al. 2023.

    >>> pessimistic([1.0, 3.0], 0.5).item(), pessimistic([1.0, 3.0]).item()
    (1.5, 1.0)
    """
    m = np.asarray(members, dtype=np.float64)
    if penalty < 0:
        raise OptionError(f"penalty {penalty:g} is below zero, which would seek what members disagree on")
    return np.asarray(m.min(-1) if penalty == np.inf else m.mean(-1) - penalty * m.var(-1))


def lower_bound(
    features: ArrayLike,
    coefficients: ArrayLike,
    differences: ArrayLike,
    *,
    bound: float = 1.0,
    ridge: float = 1e-3,
    origin: ArrayLike = 0.0,
) -> Array:
    """[R]: the least a linear reward may be within the confidence ellipsoid of its fit, less that of the origin.

    features: [R, D]. coefficients: [D]. differences: [n, D], of the pairs they were fitted to. bound: the radius, zero
    for the plain estimate. origin: [D], a response everybody knows. Choosing by it never picks what was hardly seen and
    lucky. Zhu et al. 2023.

    >>> seen = [[1.0, 0.0]] * 50
    >>> lower_bound([[1.0, 0.0], [0.0, 1.0]], [1.0, 1.2], seen, ridge=0.01).round(2).tolist()
    [0.0, -8.8]
    """
    x, d = np.asarray(features, dtype=np.float64), np.asarray(differences, dtype=np.float64)
    if bound < 0 or ridge <= 0:
        raise OptionError("bound is at least zero and ridge above it")
    x = x - np.asarray(origin, dtype=np.float64)
    sigma = d.T @ d / max(len(d), 1) + ridge * np.eye(d.shape[1])
    radius = np.sqrt(np.einsum("rd,rd->r", x, np.linalg.solve(sigma, x.T).T))
    return np.asarray(x @ np.asarray(coefficients, dtype=np.float64) - bound * radius)


@dataclass(frozen=True)
class MaxMin:
    """weights: [K], of the reward sum_k w_k r_k whose tilted policy is the compromise. policy: [P, R].

    rewards: [K], what each group expects of it. kl: nats from the reference, mean over prompts. gap: by how much the
    worst group's reward less beta * kl can lie below the optimum.
    """

    weights: Array
    policy: Array
    rewards: Array
    kl: float
    gap: float


def maxmin(rewards: ArrayLike, reference: ArrayLike | None = None, beta: float = 0.0) -> MaxMin:
    """The policy max_pi min_k E_pi r_k - beta KL(pi || pi_ref), and the weights of the groups that make it.

    rewards: [P, R, K], or [R, K] for one prompt, all groups on one scale. reference: [P, R], uniform where None; what
    has no chance there has none in the answer. By duality the policy is pi_ref exp(sum_k w_k r_k / beta) / Z with the w
    that minimise beta log Z, so one ordinary run on the reward `rewards @ weights` is enough. With beta 0 it is a
    lottery over responses, by linear programming.

    Chakraborty et al. 2024 (MaxMin-RLHF). Raises `FeedbackError` for arrays that do not fit.

    >>> found = maxmin([[1.0, 0.0], [0.0, 0.8], [0.6, 0.5]], beta=0.1)
    >>> found.weights.round(5).tolist(), found.rewards.round(5).tolist()
    ([0.41523, 0.58477], [0.50122, 0.50122])
    >>> maxmin([[1.0, 0.0], [0.0, 1.0], [0.6, 0.6]]).policy.round(3).tolist()
    [[0.0, 0.0, 1.0]]
    """
    r = np.asarray(rewards, dtype=np.float64)
    r = r[None] if r.ndim == 2 else r
    if r.ndim != 3 or not np.isfinite(r).all():
        raise FeedbackError("rewards are finite numbers, [prompts, responses, groups]; give one for each")
    base = np.ones(r.shape[:2]) if reference is None else np.atleast_2d(np.asarray(reference, dtype=np.float64))
    if base.shape != r.shape[:2] or (base < 0).any() or (base.sum(1) <= 0).any():
        raise FeedbackError(f"the reference is {base.shape}, rewards are {r.shape}; give chances for each response")
    base = base / base.sum(1, keepdims=True)
    if beta < 0:
        raise OptionError(f"beta {beta:g} is below zero; give the price of leaving the reference")
    return _lottery(r, base) if beta == 0 else _tilted(r, base, beta)


def _tilted(r: Array, base: Array, beta: float) -> MaxMin:
    k = r.shape[2]
    with np.errstate(divide="ignore"):
        log_base = np.log(base)

    def policy(w: Array) -> tuple[Array, Array]:
        logits = log_base + r @ w / beta
        log_z = logsumexp(logits, axis=1)
        return np.exp(logits - log_z[:, None]), log_z

    def dual(w: Array) -> tuple[float, Array]:
        p, log_z = policy(w)
        return beta * float(log_z.mean()), np.einsum("pr,prk->k", p, r) / len(r)

    simplex = [{"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(k)}]
    found = minimize(
        dual,
        np.full(k, 1 / k),
        jac=True,
        bounds=[(0, 1)] * k,
        constraints=simplex,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    w = np.clip(found.x, 0, None)
    w /= w.sum()
    p, log_z = policy(w)
    each = dual(w)[1]
    gap = float(w @ each - each.min())
    scale = max(1.0, float(np.abs(r).max()))
    if gap > TOLERANCE * scale:
        raise FeedbackError(f"no compromise was found to within {TOLERANCE:g}: it misses by {gap:.2g}; raise beta")
    return MaxMin(w, p, each, float(((r @ w * p).sum(1) / beta - log_z).mean()), gap)


def _lottery(r: Array, base: Array) -> MaxMin:
    """Linear programme: the floor t and chances p >= 0 of each response, with t <= every group's mean reward."""
    prompts, n, k = r.shape
    cost = np.zeros(prompts * n + 1)
    cost[-1] = -1
    floor = np.hstack([-r.reshape(prompts * n, k).T / prompts, np.ones((k, 1))])
    one = np.hstack([np.kron(np.eye(prompts), np.ones(n)), np.zeros((prompts, 1))])
    bounds = [(0, 1 if chance > 0 else 0) for chance in base.ravel()] + [(None, None)]
    found = linprog(cost, A_ub=floor, b_ub=np.zeros(k), A_eq=one, b_eq=np.ones(prompts), bounds=bounds)
    p = np.clip(found.x[:-1], 0, 1).reshape(prompts, n) + 0.0  # no minus zero
    each = np.einsum("pr,prk->k", p, r) / prompts
    weights = -found.ineqlin.marginals
    best = np.where(base > 0, r @ weights, -np.inf).max(1).mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.where(p > 0, p * np.log(p / base), 0.0).sum(1).mean()
    return MaxMin(weights, p, each, float(kl), float(best - each.min()))


def lottery(rewards: ArrayLike, shares: ArrayLike | None = None) -> Array:
    """[R]: the maximal lottery over candidates [R, K]: no candidate is expected to be preferred to the one drawn.

    Everybody of a group of size `shares` prefers i to j with chance sigma(r_i - r_j). It does not change when a
    candidate is entered twice. See `pluralign.rank.maximal_lottery`.

    >>> around = [[2.0, 0.0, 1.0], [1.0, 2.0, 0.0], [0.0, 1.0, 2.0]]
    >>> lottery(around).round(3).tolist()
    [0.333, 0.333, 0.333]
    """
    from pluralign.rank import Pairwise, maximal_lottery

    r = np.asarray(rewards, dtype=np.float64)
    wins = expit(r[:, None, :] - r[None, :, :]) @ _shares(shares, r.shape[1])
    return maximal_lottery(Pairwise([str(i) for i in range(len(r))], wins, np.zeros_like(wins)))


def verdicts(
    rewards: ArrayLike,
    responses: Sequence[str],
    shares: ArrayLike | None = None,
    sample: ArrayLike | None = None,
) -> pl.DataFrame:
    """Candidates [R] under every rule, a row each.

    group 0, ...: `standing` against the sample [M, K], by default the candidates themselves. mean, nash, worst:
    `welfare` of these at powers 1, 0 and minus infinity. good for all: `conjunction` with the sample's `level`.
    lottery: chances of the maximal `lottery`. Rules take groups by their shares, but for worst and good for all.

    >>> table = verdicts([[3.0, -3.0], [1.0, 1.0], [-3.0, 3.0]], ["a", "both", "b"])
    >>> [table["response"][int(table[rule].arg_max())] for rule in ("worst", "good for all")]
    ['both', 'both']
    """
    r = np.asarray(rewards, dtype=np.float64)
    if r.ndim != 2 or len(r) != len(responses):
        raise FeedbackError(f"{len(responses)} responses have rewards of shape {r.shape}; give a row for each")
    ordinary = r if sample is None else np.asarray(sample, dtype=np.float64)
    stand, s = standing(r, ordinary), _shares(shares, r.shape[1])
    columns: dict[str, Any] = {f"group {k}": stand[:, k] for k in range(r.shape[1])}
    columns |= {"mean": welfare(stand, 1, s), "nash": welfare(stand, 0, s), "worst": welfare(stand, -np.inf)}
    columns |= {"good for all": conjunction(r, level(ordinary)), "lottery": lottery(r, s)}
    return pl.DataFrame({"response": list(responses), **columns})


def _shares(shares: ArrayLike | None, k: int) -> Array:
    s = np.full(k, 1 / k) if shares is None else np.asarray(shares, dtype=np.float64)
    if s.shape != (k,) or (s < 0).any() or s.sum() <= 0:
        raise OptionError(f"shares are {k} numbers of at least zero, one a group")
    return np.asarray(s / s.sum())
