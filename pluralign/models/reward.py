"""An ordinary reward: one number for a response, for one taste."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

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

    Differences of rewards are the model's margins for somebody of these weights, bit for bit on the same rows, where
    margins are differences of scores at all: mixtures mix chances, and distributions compare themselves.
    """

    scorer: Score
    weights: Tensor
    features: Features | None = None

    @torch.no_grad()
    def of(self, items: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Rewards [n] of vectors [n, D] (prompts [n, P]), in the precision of the weights."""
        dtype = self.weights.dtype
        asked = None if prompts is None else prompts.to(dtype)
        out: Tensor = self.scorer(items.to(dtype), self.weights.expand(len(items), -1), asked)
        return out

    def __call__(self, prompt: str, responses: Sequence[str]) -> NDArray[np.float64]:
        """Rewards [n] of responses to a prompt. Raises `OptionError` where the model reads no texts."""
        if self.features is None:
            raise OptionError("this model was fitted to vectors; give vectors to reward.of")
        items = torch.as_tensor(self.features.of(prompt, responses), dtype=torch.float32)
        asked = None
        if self.features.apart:
            asked = torch.as_tensor(self.features.asked([prompt]), dtype=torch.float32).expand(len(items), -1)
        return np.asarray(self.of(items, asked).double().numpy())

    def classifier(self, dtype: Literal["float32", "float64"] = "float32") -> tuple[Any, Any]:
        """A `transformers` classifier with one label, and its tokenizer, for any tool that takes reward models.

        Its reward of prompt, blank line and response differs from this one by a constant. The encoder must be a causal
        language model read at its last token (`Features(name, pooling="last")`), and the reward linear in its vectors.
        Its matrix, in which the scales of the features are folded, is computed in double precision and rounded once to
        dtype, so that its margins are the model's but for the rounding of sums. Raises `OptionError` otherwise.
        """
        from pluralign.policy.rewards import load_reward

        features = self.features
        if features is None or not isinstance(features.encoder, str) or features.pooling != "last" or features.apart:
            raise OptionError(
                "only rewards on the last token of prompt and response make a classifier of transformers; fit with "
                "Features(NAME, pooling='last'), or use this object as it is"
            )
        model, tokenizer = load_reward(features.encoder, dtype=dtype)
        width = model.score.in_features
        exact = replace(self, scorer=copy.deepcopy(self.scorer).double(), weights=self.weights.double())
        nothing = exact.of(torch.zeros(1, width))
        worth = exact.of(torch.eye(width)) - nothing
        tried = torch.randn(8, width, generator=torch.Generator().manual_seed(0)).double()
        if not torch.allclose(exact.of(tried) - nothing, tried @ worth, rtol=1e-9, atol=1e-9):
            raise OptionError(
                f"the reward of {type(self.scorer).__name__} is not linear in its vectors, so no classifier with one "
                "matrix gives it; fit a low-rank population or a linear head, or use this object as it is"
            )
        scale = torch.ones(1) if features.scale is None else torch.as_tensor(features.scale)
        model.score.weight.data = (worth / scale)[None].to(model.dtype)
        return model, tokenizer

    def save_pretrained(self, folder: str | Path, dtype: Literal["float32", "float64"] = "float32") -> Path:
        """Write the `classifier` to a folder that `AutoModelForSequenceClassification.from_pretrained` reads."""
        model, tokenizer = self.classifier(dtype)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return Path(folder)
