"""Comparison functions: what a margin between two scores costs."""

from __future__ import annotations

from math import expm1, log

from array_api_compat import array_namespace

from pluralign.likelihoods.numerics import Array, sigmoid


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


def rao_kupper(z: Array, tie: Array, threshold: float) -> Array:
    """Negative log-likelihood of a win (tie = 0) or a tie (tie = 1) at margin `z`, broadcasting; threshold > 0.

    P(win) = sigmoid(z - threshold); a tie is what is left of both. Rao and Kupper 1967, theta = exp(threshold).

    >>> import numpy as np
    >>> chance = lambda z, tie: np.exp(-rao_kupper(np.array(z), np.array(tie), 0.5))
    >>> (chance(0.3, 0.0) + chance(0.3, 1.0) + chance(-0.3, 0.0)).round(12), chance(0.0, 1.0).round(6)
    (np.float64(1.0), np.float64(0.244919))
    """
    win = logistic(z - threshold)
    return win + tie * (logistic(-z - threshold) - log(expm1(2 * threshold)))


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
