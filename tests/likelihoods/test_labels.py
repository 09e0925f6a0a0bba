"""What was recorded and what was meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluralign.likelihoods import debiased, expected

losses = st.floats(-1e3, 1e3)


@given(losses, losses, st.floats(0, 0.45))
def test_the_debiased_loss_has_the_clean_loss_as_its_mean(clean: float, other: float, eps: float) -> None:
    seen = expected(debiased(clean, other, eps), debiased(other, clean, eps), 1 - eps)
    assert seen == pytest.approx(clean, abs=1e-8)


@given(losses, losses)
def test_a_sure_label_is_the_loss_itself(loss: float, other: float) -> None:
    assert expected(loss, other, 1.0) == loss
    assert expected(loss, other, 0.0) == other
    assert debiased(loss, other, 0.0) == loss


@given(losses, losses, st.floats(0, 1))
def test_the_expectation_lies_between(loss: float, other: float, probability: float) -> None:
    low, high = sorted((loss, other))
    assert low - 1e-9 <= expected(loss, other, probability) <= high + 1e-9
