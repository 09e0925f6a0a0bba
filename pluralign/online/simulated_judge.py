"""A judge with known faults, to try methods on: personas, length and position bias, flips, single noisy answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import expit, logit

from pluralign.errors import OptionError
from pluralign.online.drawn import hashed, words
from pluralign.online.judges import Array, Asked, Judge


class SimulatedOracle:
    """Annotators who differ, prefer what is long or stands first, and slip.

    personas: judges (of utilities, say, or a `Matrix`), of whom one, drawn by `shares` [M], answers each question.
    length_bias: logits for each hundred characters that a response is longer. position_bias: logits for what is shown
    first; shuffle: the order shown is random, else the first is shown first. flip: chance that an answer is turned
    round. hard: single answers, 0 or 1, drawn anew each time a question is asked, under `seed`; else exact chances.
    Equal responses come out at 1/2. `asked` counts questions.

    Dubois et al. 2023 (AlpacaFarm: 13 personas, a quarter of labels flipped; both figures as recalled).

    >>> from pluralign.online.judges import Matrix
    >>> oracle = SimulatedOracle([Matrix([[0.5, 1.0], [0.0, 0.5]])], flip=0.25)
    >>> oracle.prob(["x"], ["0"], ["1"]).tolist(), oracle.asked
    ([0.75], 1)
    """

    def __init__(
        self,
        personas: Sequence[Judge],
        shares: Sequence[float] | None = None,
        *,
        length_bias: float = 0.0,
        position_bias: float = 0.0,
        shuffle: bool = True,
        flip: float = 0.0,
        hard: bool = False,
        seed: int = 0,
    ) -> None:
        if not personas:
            raise OptionError("an oracle needs at least one persona")
        found = np.full(len(personas), 1 / len(personas)) if shares is None else np.asarray(shares, dtype=np.float64)
        if found.shape != (len(personas),) or (found < 0).any() or not np.isclose(found.sum(), 1):
            raise OptionError(f"shares are one a persona, not below 0, and sum to 1; got {found.tolist()}")
        if not 0 <= flip <= 1:
            raise OptionError(f"a flip rate is a chance, from 0 to 1; got {flip}")
        self.personas, self.shares = list(personas), found
        self.length_bias, self.position_bias, self.shuffle, self.flip = length_bias, position_bias, shuffle, flip
        self.hard, self.seed, self.asked = hard, seed, 0
        self._times: Counter[Any] = Counter()

    @property
    def name(self) -> str:
        """The personas with all faults."""
        crowd = ", ".join(f"{p.name} {s:g}" for p, s in zip(self.personas, self.shares, strict=True))
        faults = f"length {self.length_bias:g}, position {self.position_bias:g}, shuffled {self.shuffle}"
        return f"simulated [{crowd}], {faults}, flip {self.flip:g}, hard {self.hard}, seed {self.seed}"

    def prob(self, prompts: Asked, first: Sequence[str], second: Sequence[str]) -> Array:
        """Chances [n] that first is preferred, or with hard=True single answers."""
        self.asked += len(prompts)
        longer = np.array([len(a) - len(b) for a, b in zip(first, second, strict=True)]) / 100
        total = np.zeros(len(prompts))
        for persona, share in zip(self.personas, self.shares, strict=True):
            lead = logit(np.asarray(persona.prob(prompts, first, second))) + self.length_bias * longer
            ways = (self.position_bias, -self.position_bias) if self.shuffle else (self.position_bias,)
            total += share * sum(expit(lead + bias) for bias in ways) / len(ways)
        chances = (1 - self.flip) * total + self.flip * (1 - total)
        if not self.hard:
            return np.asarray(chances)
        questions = [(words(x), a, b) for x, a, b in zip(prompts, first, second, strict=True)]
        return np.array([self._answer(q, p) for q, p in zip(questions, chances, strict=True)])

    def _answer(self, question: tuple[str, str, str], chance: float) -> float:
        self._times[question] += 1
        return float(hashed(self.seed, self._times[question], *question) < chance * 2**63)
