"""Comparison functions: what a margin between two scores costs."""

from __future__ import annotations

from array_api_compat import array_namespace

from pluralign.likelihoods.numerics import Array, log1mexp, sigmoid


def logistic(z: Array) -> Array:
    """-log sigmoid(z): the Bradley-Terry negative log-likelihood of a margin `z`, any shape.

    Bradley and Terry 1952.

    >>> import numpy as np
    >>> logistic(np.array([0.0, 1000.0, -1000.0])).round(4)
    array([6.931e-01, 0.000e+00, 1.000e+03])
    """
    xp = array_namespace(z)
    return xp.logaddexp(xp.zeros_like(z), -z)


def hinge(z: Array, margin: float = 1.0) -> Array:
    """max(0, margin - z), any shape: no loss and no gradient once the margin is reached.

    >>> import numpy as np
    >>> hinge(np.array([-1.0, 0.5, 2.0]))
    array([2. , 0.5, 0. ])
    """
    xp = array_namespace(z)
    gap = margin - z
    # `where`, not `clip`: torch's clip passes a gradient at the bound itself. Written so that NaN stays NaN.
    return xp.where(gap <= 0, xp.zeros_like(gap), gap)


def squared(z: Array, target: Array | float = 1.0) -> Array:
    """(z - target)^2, any shape.

    >>> import numpy as np
    >>> squared(np.array([0.0, 3.0]), target=1.0)
    array([1., 4.])
    """
    return (z - target) ** 2


def squared_hinge(z: Array, margin: float = 1.0) -> Array:
    """max(0, margin - z)^2, any shape (the truncated quadratic).

    >>> import numpy as np
    >>> squared_hinge(np.array([-1.0, 0.5, 2.0]))
    array([4.  , 0.25, 0.  ])
    """
    return hinge(z, margin) ** 2


def smooth_hinge(z: Array, margin: float = 1.0, width: float = 5.0) -> Array:
    """The hinge with its corner rounded, any shape: (margin - z)^2 / (2 width) where 0 <= margin - z <= width.

    Nothing above the margin, and a line of slope -1 once z is `width` below it. width -> 0: the hinge.

    >>> import numpy as np
    >>> smooth_hinge(np.array([2.0, 0.0, -9.0]))
    array([0. , 0.1, 7.5])
    """
    xp = array_namespace(z)
    gap = hinge(z, margin)
    return xp.where(gap <= width, gap**2 / (2 * width), gap - width / 2)


def exponential(z: Array) -> Array:
    """exp(-z), any shape: boosting's loss.

    >>> import numpy as np
    >>> exponential(np.array([0.0]))
    array([1.])
    """
    return array_namespace(z).exp(-z)


def savage(z: Array) -> Array:
    """sigmoid(-z)^2, any shape: not convex, flat on both sides. Masnadi-Shirazi and Vasconcelos 2008.

    >>> import numpy as np
    >>> savage(np.array([0.0]))
    array([0.25])
    """
    return sigmoid(-z) ** 2


def box_cox(z: Array, q: Array | float) -> Array:
    """(1 - sigmoid(z)^q) / q with 0 < q <= 1, broadcasting: logistic as q -> 0, 1 - sigmoid(z) at q = 1.

    Zhang and Sabuncu 2018, generalised cross-entropy. Its slope is the logistic one times sigmoid(z)^q, so pairs that
    look mislabelled pull less.

    >>> import numpy as np
    >>> box_cox(np.array([0.0]), 1.0)
    array([0.5])
    """
    return -array_namespace(z).expm1(-q * logistic(z)) / q


def rao_kupper(z: Array, tie: Array | float, threshold: Array | float) -> Array:
    """Negative log-likelihood of a win (tie = 0) or a tie (tie = 1) at margin `z`, broadcasting; threshold > 0.

    P(win) = sigmoid(z - threshold); a tie is what is left of both. Rao and Kupper 1967, theta = exp(threshold).

    >>> import numpy as np
    >>> chance = lambda z, tie: np.exp(-rao_kupper(np.array(z), np.array(tie), 0.5))
    >>> (chance(0.3, 0.0) + chance(0.3, 1.0) + chance(-0.3, 0.0)).round(12), chance(0.0, 1.0).round(6)
    (np.float64(1.0), np.float64(0.244919))
    """
    wide = threshold + array_namespace(z).zeros_like(z)
    # log(exp(2 threshold) - 1), which neither overflows nor cancels.
    return logistic(z - wide) + tie * (logistic(-z - wide) - 2 * wide - log1mexp(-2 * wide))


def grounded_rao_kupper(left: Array, right: Array, log_excess: Array | float) -> Array:
    """Negative log-likelihoods of left, a tie, right, and that both are bad, at scores left and right; [..., 4].

    With worths x = exp(score) and theta = 1 + exp(log_excess): P(left) = x_l / (x_l + theta x_r + 1), right alike, both
    bad 1 / (1 + x_l + x_r), and a tie is what is left. Scores so have a zero: sigmoid(score) is the chance that a
    response alone is better than nothing. Frick et al. 2025 (prompt-to-leaderboard).

    >>> import numpy as np
    >>> np.exp(-grounded_rao_kupper(np.array(1.0), np.array(0.0), np.log(0.5))).round(6)
    array([0.520915, 0.1026  , 0.164543, 0.211942])
    """
    xp = array_namespace(left)
    excess, zero = log_excess + xp.zeros_like(left), xp.zeros_like(left)
    wide = xp.logaddexp(zero, excess)
    of_left = xp.logaddexp(xp.logaddexp(left, wide + right), zero)
    of_right = xp.logaddexp(xp.logaddexp(right, wide + left), zero)
    of_none = xp.logaddexp(xp.logaddexp(left, right), zero)
    # The tie is (theta - 1) x_l x_r / (1 + x_l + x_r) times 1 over each of the first two, summed: nothing cancels.
    tie = of_none - excess - left - right - xp.logaddexp(-of_left, -of_right)
    return xp.stack([of_left - left, tie, of_right - right, of_none], axis=-1)


def davidson(z: Array, tie: Array, log_nu: Array | float) -> Array:
    """Negative log-likelihood of a win (tie = 0) or a tie (tie = 1) at margin `z`, broadcasting.

    P(win) : P(loss) : P(tie) = exp(z / 2) : exp(-z / 2) : nu. Davidson 1970.

    >>> import numpy as np
    >>> chance = lambda z, tie: np.exp(-davidson(np.array(z), np.array(tie), np.log(0.5)))
    >>> (chance(0.3, 0.0) + chance(0.3, 1.0) + chance(-0.3, 0.0)).round(12), chance(0.0, 1.0).round(12)
    (np.float64(1.0), np.float64(0.2))
    """
    xp = array_namespace(z)
    total = xp.logaddexp(xp.logaddexp(z / 2, -z / 2), log_nu + xp.zeros_like(z))
    return total - (1 - tie) * z / 2 - tie * log_nu
