"""Comparison functions: what a margin between two scores costs."""

from __future__ import annotations

from array_api_compat import array_namespace

from pluralign.likelihoods.numerics import Array


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
