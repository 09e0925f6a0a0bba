"""A sampler without a model: throws of a loaded die whose faces are texts."""

from __future__ import annotations

import numpy as np

from pluralign.feedback.record import text
from pluralign.online.drawn import Drawn, Law, Sample, hashed

REFERENCE = (0.4, 0.3, 0.2, 0.1)


class Die:
    """`count` throws of a die with these chances, faces "0", "1", ...; says how many throws there were."""

    def __init__(self, count, chances=REFERENCE, name="reference"):
        self.laws, self.edges, self.throws = (Law.of(name),) * count, np.cumsum(chances), 0

    def sample(self, prompts, seeds):
        for place, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            faces = np.searchsorted(
                self.edges[:-1], np.random.Generator(np.random.Philox(key=hashed(seed))).random(len(self.laws)), "right"
            )
            self.throws += len(faces)
            samples = [
                Sample(str(f), (int(f),), (0.0,), "eos", seed, law) for f, law in zip(faces, self.laws, strict=True)
            ]
            yield place, Drawn(prompt, (9,), tuple(samples))


def prompts(n):
    return [text(f"prompt {i}") for i in range(n)]
