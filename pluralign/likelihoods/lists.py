"""What people say of K responses at once. `better` [..., K, K] is true where response i is preferred to response j."""

from __future__ import annotations

from collections.abc import Callable

from array_api_compat import array_namespace, device

from pluralign.likelihoods.numerics import Array, logsumexp


def log_softmax(scores: Array, mask: Array | None = None) -> Array:
    """Log of the chance that each of K responses is chosen, over the last axis; 0 where `mask` is false.

    Luce 1959.

    >>> import numpy as np
    >>> log_softmax(np.array([1.0, 1.0, 9.0]), np.array([True, True, False])).round(4)
    array([-0.6931, -0.6931,  0.    ])
    """
    xp = array_namespace(scores)
    logs = scores - logsumexp(scores, mask)[..., None]
    return logs if mask is None else xp.where(mask, logs, xp.zeros_like(logs))


def choice(scores: Array, target: Array, mask: Array | None = None) -> Array:
    """Cross-entropy of a distribution `target` over K responses with the softmax of their scores, [..., K] -> [...].

    >>> import numpy as np
    >>> choice(np.array([2.0, 0.0]), np.array([1.0, 0.0])).round(4)
    np.float64(0.1269)
    """
    return -array_namespace(scores).sum(target * log_softmax(scores, mask), axis=-1)


def plackett_luce(scores: Array, better: Array, top: int | None = None) -> Array:
    """Negative log-likelihood of a ranking: the best is chosen among all, the next among the rest, and so on.

    scores [..., K], better [..., K, K]. Tied responses stay out of each other's choice sets: each is chosen against
    those below it only. top: read only the first places of the ranking. Plackett 1975.

    >>> import numpy as np
    >>> ranked = np.arange(3)[:, None] < np.arange(3)
    >>> plackett_luce(np.zeros(3), ranked).round(4), np.log(6).round(4)
    (np.float64(1.7918), np.float64(1.7918))
    """
    xp = array_namespace(scores)
    among = better | (xp.eye(scores.shape[-1], device=device(scores)) > 0)
    stage = xp.any(better, axis=-1)
    if top is not None:
        stage = stage & (xp.sum(xp.astype(better, xp.int64), axis=-2) < top)
    each = logsumexp(scores[..., None, :], among) - scores
    return xp.sum(xp.where(stage, each, xp.zeros_like(each)), axis=-1)


def pair_sum(loss: Callable[[Array], Array], scores: Array, weight: Array) -> Array:
    """Sum over ordered pairs of weight_ij * loss(s_i - s_j), scores [..., K], weight [..., K, K]; [...].

    >>> import numpy as np
    >>> from pluralign.likelihoods import hinge
    >>> pair_sum(hinge, np.array([0.5, 0.0]), np.array([[0.0, 1.0], [0.0, 0.0]]))
    np.float64(0.5)
    """
    xp = array_namespace(scores)
    each = loss(scores[..., :, None] - scores[..., None, :])
    return xp.sum(xp.where(weight != 0, weight * each, xp.zeros_like(each)), axis=(-2, -1))


def lambda_weights(scores: Array, gain: Array, mask: Array) -> Array:
    """What exchanging two responses changes in the discounted gain of the present ranking by score, [..., K, K].

    |2^gain_i - 2^gain_j| * |1/log(1 + rank_i) - 1/log(1 + rank_j)|, rank 1 the highest score, natural log. Pass
    scores without a gradient. Burges et al. 2006; Liu et al. 2024 (LiPO).

    >>> import numpy as np
    >>> lambda_weights(np.array([0.3, 0.1]), np.array([1.0, 0.0]), np.ones(2, bool))[0, 1].round(6)
    np.float64(0.532456)
    """
    xp = array_namespace(scores)
    present = xp.astype(mask, scores.dtype)
    place = xp.arange(scores.shape[-1], device=device(scores))
    higher = scores[..., None, :] > scores[..., :, None]
    # Equal scores stand in the order given, so that ranks are a permutation.
    earlier = (scores[..., None, :] == scores[..., :, None]) & (place[None, :] < place[:, None])
    rank = 1 + xp.sum(xp.astype(higher | earlier, scores.dtype) * present[..., None, :], axis=-1)
    discount, worth = 1 / xp.log1p(rank), 2**gain
    change = xp.abs(discount[..., :, None] - discount[..., None, :])
    return change * xp.abs(worth[..., :, None] - worth[..., None, :]) * present[..., :, None] * present[..., None, :]


def outside_option(scores: Array, chosen: Array, mask: Array | None = None) -> Array:
    """Negative log-likelihood of a choice among K responses or none of them, which scores 0; [..., K] -> [...].

    chosen [..., K]: true for the response chosen, nowhere where all were turned down. Scores have a zero of their own:
    above it a response is more often taken than left. McFadden 1974; Rho 2025 (contextual quality).

    >>> import numpy as np
    >>> outside_option(np.zeros((2, 3)), np.array([[True, False, False], [False] * 3])).round(4), np.log(4).round(4)
    (array([1.3863, 1.3863]), np.float64(1.3863))
    """
    xp = array_namespace(scores)
    total = logsumexp(scores, mask)
    own = xp.sum(xp.where(chosen, scores, xp.zeros_like(scores)), axis=-1)
    return xp.logaddexp(total, xp.zeros_like(total)) - own


def rank_list(scores: Array, weight: Array, boundary: float = 0.0) -> Array:
    """Local and skipping comparisons of a list best first, [..., K] -> [...].

    sum over skips g of the mean over i of weight_i,i+g * -log sigmoid(s_i - s_i+g); weight [..., K, K], zero where two
    places are not compared. boundary: times log of 1 + the sum over all compared i < j of exp(s_j - s_i), a smooth
    maximum of the violations. RankList 2025, in the form its abstract describes; the 1 keeps the maximum above zero.

    >>> import numpy as np
    >>> rank_list(np.zeros(2), np.array([[0.0, 1.0], [0.0, 0.0]])).round(4)
    np.float64(0.6931)
    """
    xp = array_namespace(scores)
    gap = scores[..., :, None] - scores[..., None, :]
    place = xp.arange(scores.shape[-1], device=device(scores))
    total = xp.zeros_like(scores[..., 0])
    each = xp.where(weight != 0, weight * xp.logaddexp(xp.zeros_like(gap), -gap), xp.zeros_like(gap))
    for skip in range(1, scores.shape[-1]):
        there = (place[None, :] - place[:, None] == skip) & (weight != 0)
        count = xp.sum(xp.astype(there, scores.dtype), axis=(-2, -1))
        part = xp.sum(xp.where(there, each, xp.zeros_like(each)), axis=(-2, -1))
        total = total + part / xp.where(count == 0, xp.ones_like(count), count)
    if not boundary:
        return total
    below = (place[None, :] > place[:, None]) & (weight != 0)
    flat = (*gap.shape[:-2], gap.shape[-1] ** 2)
    violations = logsumexp(xp.reshape(-gap, flat), xp.reshape(below, flat))
    return total + boundary * xp.logaddexp(violations, xp.zeros_like(violations))
