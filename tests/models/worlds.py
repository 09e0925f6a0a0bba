"""People with known ideal points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pluralign.models import Answers


class IdealPoints:
    """Noiseless answers of people whose ideal points are one of k opposite or random prototypes of a linear latent."""

    def __init__(self, k: int, seed: int, features: int = 8, latent: int = 4) -> None:
        self.random = np.random.default_rng(seed)
        self.map = self.random.normal(size=(features, latent)) / np.sqrt(features)
        self.points = self.random.normal(size=(k, latent))
        if k == 2:
            self.points[1] = -self.points[0]

    def answers(self, people: NDArray[np.int64], each: int) -> Answers:
        """Person i's taste is i modulo k."""
        who = np.repeat(people, each)
        left, right = self.random.normal(size=(2, len(who), len(self.map)))
        ideal = self.points[who % len(self.points)]
        nearer = ((left @ self.map - ideal) ** 2).sum(1) < ((right @ self.map - ideal) ** 2).sum(1)
        return Answers.of(left, right, nearer.astype(float), [f"p{i:03d}" for i in who])
