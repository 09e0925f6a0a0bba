"""Judges who may say that neither response is better: how readily they do so is learnt with the rewards."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.likelihoods import davidson, expected, grounded_rao_kupper, rao_kupper
from pluralign.models.judged import Judged

Kind = Literal["davidson", "rao-kupper", "grounded"]


class Ties(nn.Module):
    """A loss of reward models with outcomes of its own for ties, and one number that says how likely they are.

    kind: "davidson", P(left) : P(right) : P(tie) = exp(z / 2) : exp(-z / 2) : nu; "rao-kupper", P(left) =
    sigmoid(z - ln theta), a tie is what is left of both; "grounded", Rao and Kupper's model in which "both are bad" is
    an outcome too, so that rewards have a zero: sigmoid of one is the chance of being better than nothing. Elsewhere
    "both are bad" is a tie. prompt_features: P, where the number depends on the prompt by a linear map, the tie head of
    prompt-to-leaderboard; None for one number.

    Davidson 1970; Rao and Kupper 1967; Frick et al. 2025 (prompt-to-leaderboard). Raises `OptionError`.

    >>> ties = Ties("rao-kupper")
    >>> [round(p, 4) for p in (-ties.losses(torch.zeros(2))).exp().tolist()], round(ties.tie().item(), 4)
    ([0.3333, 0.3333, 0.3333], 0.6931)
    """

    def __init__(self, kind: Kind, *, prompt_features: int | None = None) -> None:
        super().__init__()
        if kind not in ("davidson", "rao-kupper", "grounded"):
            raise OptionError(f"kind {kind!r} is not one of davidson, rao-kupper, grounded")
        self.settings = {"kind": kind, "prompt_features": prompt_features}
        self.kind = kind
        self.head = None if prompt_features is None else nn.Linear(prompt_features, 1, bias=False)
        self.level = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin again: nu = 1, theta = 2, whatever the prompt."""
        nn.init.zeros_(self.level)
        if self.head is not None:
            nn.init.zeros_(self.head.weight)

    def _log(self, prompts: Tensor | None) -> Tensor:
        """ln nu, or ln(theta - 1): [...] of prompts [..., P]."""
        if self.head is None:
            return self.level
        if prompts is None:
            raise OptionError("how likely a tie is depends on the prompt here; give the features of each prompt")
        found: Tensor = self.head(prompts)[..., 0] + self.level
        return found

    def tie(self, prompts: Tensor | None = None) -> Tensor:
        """nu, or ln theta, of prompts [..., P]: what leaderboards call `tie_`."""
        log = self._log(prompts)
        return log.exp() if self.kind == "davidson" else nn.functional.softplus(log)

    def losses(self, rewards: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Rewards [..., 2] of left and right -> negative log-likelihoods [..., 3] of left, a tie and right.

        Where grounded [..., 4], with "both are bad" last.
        """
        left, right = rewards[..., 0], rewards[..., 1]
        log, z = self._log(prompts), left - right
        if self.kind == "grounded":
            four: Tensor = grounded_rao_kupper(left, right, log)
            return four
        of, number = (davidson, log) if self.kind == "davidson" else (rao_kupper, nn.functional.softplus(log))
        return torch.stack([of(z, 0.0, number), of(z, 1.0, number), of(-z, 0.0, number)], -1)

    def forward(self, rewards: Tensor, judged: Judged) -> Tensor:
        """Losses [n] of pairs, the preferred response first, of rewards [n, 2]."""
        if rewards.shape[1] != 2:
            raise OptionError(f"ties are of two responses, and these lists have {rewards.shape[1]}; give pairs")
        if "margin" in judged.labels:
            raise OptionError("a model of ties has no place for margins, and these rows carry some; leave them out")
        each = self.losses(rewards, judged.prompt_features)
        found: Tensor = expected(each[:, 0], each[:, 2], judged.labels.get("probability", torch.ones(len(judged))))
        if "tie" in judged.labels:
            found = torch.where(judged.labels["tie"] > 0, each[:, 1], found)
        return torch.where(judged.both_bad, each[:, 3], found) if self.kind == "grounded" else found
