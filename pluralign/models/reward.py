"""An ordinary reward: one number for a response, for one taste."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write a `transformers` classifier with one label, for any tool that takes reward models.

        Its reward of prompt, blank line and response differs from this one by a constant. The encoder must be a causal
        language model read at its last token (`Features(name, pooling="last")`), and the reward linear in its vectors.
        Raises `OptionError` otherwise.
        """
        from pluralign.policy.rewards import load_reward

        features = self.features
        if features is None or not isinstance(features.encoder, str) or features.pooling != "last" or features.apart:
            raise OptionError(
                "only rewards on the last token of prompt and response make a classifier of transformers; fit with "
                "Features(NAME, pooling='last'), or use this object as it is"
            )
        scale = torch.ones(1) if features.scale is None else torch.as_tensor(features.scale, dtype=torch.float32)
        model, tokenizer = load_reward(features.encoder)
        width = model.score.in_features
        worth = self.of(torch.eye(width)) - self.of(torch.zeros(1, width))
        tried = torch.randn(8, width, generator=torch.Generator().manual_seed(0))
        if not torch.allclose(self.of(tried) - self.of(torch.zeros(1, width)), tried @ worth, rtol=1e-3, atol=1e-3):
            raise OptionError(
                f"the reward of {type(self.scorer).__name__} is not linear in its vectors, so no classifier with one "
                "matrix gives it; fit a low-rank population or a linear head, or use this object as it is"
            )
        model.score.weight.data = (worth / scale)[None].to(model.dtype)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return Path(folder)
