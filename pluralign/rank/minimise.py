"""Newton's method for a convex function of many scores, with a certificate that it has arrived."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pluralign.rank.newton import STEP, STEPS, Certificate, NotConverged

Array = NDArray[np.float64]
Objective = Callable[[Array], tuple[float, Array, Callable[[], Array]]]

LONGEST = 5.0
"""The furthest that any score is moved in one step, in logits."""


def minimise(objective: Objective, x: Array, steps: int = STEPS, tolerance: float = STEP) -> tuple[Array, Certificate]:
    """The optimum from a start x [p]. Raises `NotConverged` where it is not reached.

    objective: x -> value, gradient [p], and a function that gives the step to subtract, computed only where needed.
    """
    value, gradient, towards = objective(x)
    size = np.inf
    for taken in range(1, steps + 1):
        step = towards()
        # Far from the optimum curvature may be close to nothing and the step sheer: what it lands on is flatter still.
        length = min(1.0, LONGEST / max(float(np.abs(step).max(initial=0.0)), LONGEST))
        while True:
            new = x - length * step
            with np.errstate(all="ignore"):
                # A step too long may overflow; it is then halved like any other that does not help.
                found, slope, ahead = objective(new)
            # Rounding in a sum of many terms is no ascent.
            if found <= value + 1e-12 * abs(value) + 1e-9:
                break
            length /= 2
            if length < 1e-8:
                raise NotConverged(
                    "no step along Newton's direction improves the likelihood; some scores may be infinite"
                )
        x, value, gradient, towards = new, found, slope, ahead
        size = length * float(np.abs(step).max(initial=0.0))
        if size <= tolerance and length == 1:
            return x, Certificate(size, float(np.abs(gradient).max(initial=0.0)), taken)
    raise NotConverged(f"after {steps} steps the estimates still move by {size:.3g}")
