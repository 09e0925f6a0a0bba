"""Exact where the obvious formula overflows or cancels, in value and in gradient."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from pluralign.likelihoods import hinge, log1mexp, log_odds, logistic, sigmoid, squared

F64 = torch.float64


def value_and_slope(function, x: float, dtype: torch.dtype = F64) -> tuple[float, float]:
    leaf = torch.tensor([x], dtype=dtype, requires_grad=True)
    out = function(leaf)
    return out.item(), torch.autograd.grad(out.sum(), leaf)[0].item()


@pytest.mark.parametrize(
    ("z", "expected", "slope"),
    [
        (0.0, math.log(2), -0.5),
        (1.0, 0.31326168751822286, -0.2689414213699951),
        (-1.0, 1.3132616875182228, -0.7310585786300049),
        (40.0, 4.248354255291589e-18, -4.248354255291589e-18),
        (1e4, 0.0, 0.0),
        (-1e4, 1e4, -1.0),
    ],
)
def test_logistic(z: float, expected: float, slope: float) -> None:
    assert_allclose(value_and_slope(logistic, z), (expected, slope), rtol=1e-14)


@pytest.mark.parametrize(("z", "expected"), [(0.0, 0.5), (2.0, 0.8807970779778823), (-50.0, 1.928749847963918e-22)])
def test_sigmoid(z: float, expected: float) -> None:
    assert_allclose(value_and_slope(sigmoid, z), (expected, expected * (1 - expected)), rtol=1e-14)


@pytest.mark.parametrize("z", [-1e6, -800.0, 800.0, 1e6])
@pytest.mark.parametrize("function", [logistic, sigmoid], ids=["logistic", "sigmoid"])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_no_overflow(function, z: float, dtype: torch.dtype) -> None:
    assert np.isfinite(value_and_slope(function, z, dtype)).all()


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (-math.log(2), -math.log(2)),
        (-1e-10, math.log(1e-10) - 5e-11),
        (-1e-300, -300 * math.log(10)),
        (-1.0, -0.45867514538708193),
        (-50.0, -1.928749847963918e-22),
        (-1e4, 0.0),
    ],
)
def test_log1mexp(x: float, expected: float) -> None:
    found, slope = value_and_slope(log1mexp, x)
    assert_allclose(found, expected, rtol=1e-14)
    assert_allclose(slope, 1 / math.expm1(-x) * -1 if x > -700 else 0.0, rtol=1e-12)


@given(st.floats(-700, -1e-300))
def test_log1mexp_undoes_itself(x: float) -> None:
    """p + (1 - p) = 1."""
    assert_allclose(math.exp(x) + math.exp(log1mexp(np.array([x]))[0]), 1.0, rtol=1e-14)


@pytest.mark.parametrize(
    ("logp", "expected"),
    [(math.log(0.5), 0.0), (math.log(0.9), math.log(9)), (-1e-6, 13.815510057964191), (-50.0, -50.0)],
)
def test_log_odds(logp: float, expected: float) -> None:
    assert_allclose(log_odds(np.array([logp])), [expected], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("logp", [0.0, 1e-9, -1e-30])
def test_log_odds_of_certainty_are_large_and_finite(logp: float, dtype: torch.dtype) -> None:
    found, slope = value_and_slope(log_odds, logp, dtype)
    assert_allclose(found, -math.log(torch.finfo(dtype).eps), rtol=1e-5)
    assert slope == 0


@pytest.mark.parametrize(("z", "loss", "slope"), [(0.25, 0.75, -1), (1.0, 0, 0), (3.0, 0, 0), (-1e30, 1e30, -1)])
def test_hinge(z: float, loss: float, slope: float) -> None:
    assert value_and_slope(hinge, z) == (loss, slope)


def test_hinge_does_not_hide_a_nan() -> None:
    assert np.isnan(hinge(np.array([np.nan]))).all()


def test_squared() -> None:
    assert value_and_slope(lambda z: squared(z, target=2.0), 5.0) == (9.0, 6.0)
