"""An ordinary reward: one number for a response, for one taste."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pluralign.errors import OptionError
from pluralign.models.features import Features
from pluralign.models.scores import Score


@dataclass(frozen=True)
class Reward:
    """A score at fixed weights [K]: what best-of-n, filters and aligners expect.

    Differences of rewards are the model's margins for somebody of these weights.
    """

    scorer: Score
    weights: Tensor
    features: Features | None = None

    @torch.no_grad()
    def of(self, items: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Rewards [n] of vectors [n, D] (prompts [n, P])."""
        out: Tensor = self.scorer(items, self.weights.expand(len(items), -1), prompts)
        return out

    def __call__(self, prompt: str, responses: Sequence[str]) -> NDArray[np.float64]:
        """Rewards [n] of responses to a prompt. Raises `OptionError` where the model reads no texts."""
        if self.features is None:
            raise OptionError("this model was fitted to vectors; give vectors to reward.of")
        items = torch.as_tensor(self.features.of(prompt, responses), dtype=torch.float32)
        asked = None
        if self.features.apart:
            asked = torch.as_tensor(self.features.vectors([prompt]), dtype=torch.float32).expand(len(items), -1)
        return np.asarray(self.of(items, asked).double().numpy())
