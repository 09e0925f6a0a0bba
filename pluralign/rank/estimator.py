"""What a leaderboard needs of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.rank.newton import Certificate


class Estimator(Protocol):
    """A fitted model with one score an item."""

    @property
    def items_(self) -> list[str]:
        """Names, in order."""

    @property
    def coefficients_(self) -> Mapping[str, float]:
        """Effects that were taken out, by name, in logits."""

    @property
    def scores_(self) -> NDArray[np.float64]:
        """[n]"""

    @property
    def certificate_(self) -> Certificate | None:
        """How the fit ended; None for models that follow a stream."""

    @property
    def about_(self) -> str:
        """Which model this is, as part of a sentence."""

    @property
    def held_(self) -> str:
        """What keeps scores finite that votes alone would not, as part of a sentence."""

    def index(self, names: ArrayLike) -> NDArray[np.intp]:
        """Places of items by name, any shape."""

    def predict_proba(self, a: Any, b: Any) -> NDArray[np.float64]:
        """P(a wins), P(b wins), P(tie) for items by name, [..., 3]."""
