"""Functions of log-probabilities that stay exact where the obvious formula overflows or cancels."""

from __future__ import annotations

from math import log
from typing import Any

from array_api_compat import array_namespace

Array = Any
"""A numpy array or a torch tensor."""


def stop_gradient(x: Array) -> Array:
    """The same numbers with no gradient through them (numpy arrays have none to stop).

    >>> import numpy as np
    >>> stop_gradient(np.array([1.0]))
    array([1.])
    """
    return x.detach() if hasattr(x, "detach") else x


def full_precision(x: Array) -> Array:
    """Half-precision numbers as float32, all others as they are: log(1 - p) and long sums need the digits.

    >>> import numpy as np
    >>> full_precision(np.ones(2, dtype=np.float16)).dtype
    dtype('float32')
    """
    xp = array_namespace(x)
    floating = xp.isdtype(x.dtype, "real floating")
    return xp.astype(x, xp.float32) if floating and xp.finfo(x.dtype).bits < 32 else x


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)), elementwise, with a finite gradient everywhere.

    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    xp = array_namespace(z)
    return xp.exp(-xp.logaddexp(xp.zeros_like(z), -z))


def log1mexp(x: Array) -> Array:
    """log(1 - exp(x)) for x <= 0, elementwise; -inf at 0.

    Two formulas meet at -log 2 so that neither cancels (Maechler 2012). Each branch sees only arguments it is good
    for, so that the gradient of the other cannot turn into NaN.

    >>> import numpy as np
    >>> log1mexp(np.array([-1e-6, -50.0])).round(6)
    array([-13.815511,  -0.      ])
    """
    xp = array_namespace(x)
    near_zero = x > -log(2.0)
    inner = xp.where(near_zero, x, xp.full_like(x, -1.0))
    outer = xp.where(near_zero, xp.full_like(x, -1.0), x)
    return xp.where(near_zero, xp.log(-xp.expm1(inner)), xp.log1p(-xp.exp(outer)))


def log_odds(logp: Array) -> Array:
    """log(p / (1 - p)) from log p <= 0, elementwise. p = 1 to machine precision is read as the largest p below 1.

    >>> import numpy as np
    >>> log_odds(np.log(np.array([0.5, 0.75]))).round(4)
    array([0.    , 1.0986])
    """
    xp = array_namespace(logp)
    logp = xp.clip(logp, max=-float(xp.finfo(logp.dtype).eps))
    return logp - log1mexp(logp)


def logsumexp(x: Array, mask: Array | None = None) -> Array:
    """log of the sum of exp(x) over the last axis, where `mask` is true; -inf where it is nowhere true.

    >>> import numpy as np
    >>> logsumexp(np.array([0.0, 0.0, 1000.0]), np.array([True, True, False])).round(4)
    np.float64(0.6931)
    """
    xp = array_namespace(x)
    if mask is None:
        mask = xp.ones_like(x) > 0
    # Two wheres: what is masked must not reach exp, where it could overflow and turn a zero gradient into NaN.
    top = stop_gradient(xp.max(xp.where(mask, x, xp.full_like(x, -xp.inf)), axis=-1, keepdims=True))
    top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    parts = xp.where(mask, xp.exp(xp.where(mask, x - top, xp.zeros_like(x))), xp.zeros_like(x))
    return xp.log(xp.sum(parts, axis=-1)) + top[..., 0]
