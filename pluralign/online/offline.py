"""Pairs that were judged before a run began, for learners that learn from them beside their samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pluralign.feedback import Feedback, read
from pluralign.objectives import PolicyBatch, dpo
from pluralign.online.drawn import walk
from pluralign.policy.batch import TokenBatch, collate
from pluralign.policy.encode import Encoder
from pluralign.train.data import Row, prepare


@dataclass(frozen=True)
class Pairs:
    """Pairs ready to learn from, the preferred response first. size: how many go with a step; its prompts' number if 0.

    counts: what was read, used and left out, for data.json. fingerprint: of the feedback.
    """

    rows: Sequence[Row]
    counts: dict[str, Any]
    fingerprint: str
    size: int = 0
    seed: int = 0

    @classmethod
    def of(cls, source: Any, encoder: Encoder, *, size: int = 0, seed: int = 0) -> Pairs:
        """Of `Feedback` or anything `pluralign.read` takes. Raises `FeedbackError` where no row is a pair of texts."""
        feedback = source if isinstance(source, Feedback) else read(source)
        prepared = prepare(feedback, dpo, encoder)
        return cls(prepared.rows, prepared.as_dict(), feedback.fingerprint, size, seed)

    def of_step(self, taken: int, prompts: int) -> list[Row]:
        """Those of a step of so many prompts, after `taken` others: the next of an endless walk through all."""
        size = self.size or prompts
        return [self.rows[i] for i in walk(len(self.rows), taken * size, size, self.seed)]


def tokens(rows: Sequence[Row], pad_id: int, device: Any) -> TokenBatch:
    """Pairs as a batch of tokens, [n, 2]."""
    return collate([row.encoded for row in rows], pad_id=pad_id).to(device)


def batch(rows: Sequence[Row], logp: torch.Tensor, ref_logp: torch.Tensor) -> PolicyBatch:
    """Pairs with the log-probs of their sides, [n, 2], as an objective takes them."""

    def column(name: str, default: float) -> torch.Tensor:
        values = [getattr(row, name) for row in rows]
        return torch.tensor([default if v is None else v for v in values], dtype=logp.dtype, device=logp.device)

    return PolicyBatch(
        logp=logp,
        ref_logp=ref_logp,
        length=torch.tensor([[sum(side) for side in row.encoded.scored] for row in rows]).to(logp),
        sign=torch.tensor([[1.0, -1.0]], dtype=logp.dtype, device=logp.device).expand_as(logp),
        weight=column("weight", 1.0),
        probability=column("probability", 1.0) if any(row.probability is not None for row in rows) else None,
        margin=column("margin", 0.0),
    )
