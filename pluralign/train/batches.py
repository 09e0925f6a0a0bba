"""Rows as what the trainer moves to the device: padded tokens and one tensor a field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from pluralign.objectives import PolicyBatch
from pluralign.policy.batch import TokenBatch, collate
from pluralign.policy.encode import Encoded
from pluralign.policy.logprobs import LogProbs
from pluralign.train.data import Row


@dataclass
class Examples(Dataset[Any]):
    """Rows with what was computed for them once.

    Reference log-probs [N, K], also of prompt and response together; mismatched responses and theirs [N, 1]; log-probs
    under further frozen models [N, K, M].
    """

    rows: list[Row]
    ref_logp: NDArray[np.float32] | None = None
    mismatched: list[Encoded] | None = None
    ref_mismatched: NDArray[np.float32] | None = None
    ref_joint_logp: NDArray[np.float32] | None = None
    frozen_logp: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Examples, int]:
        # The collator looks the rest up, so that samplers and workers pass small things around.
        return self, index

    @cached_property
    def explained(self) -> bool:
        """Whether some row has a rationale."""
        return any(row.rationale is not None for row in self.rows)

    @cached_property
    def degraded(self) -> bool:
        """Whether some row has a degraded response."""
        return any(row.degraded is not None for row in self.rows)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row, all its responses together."""
        return [row.encoded.length for row in self.rows]


def batch_of(items: Sequence[tuple[Examples, int]], *, pad_id: int) -> dict[str, Any]:
    """Collate rows. A field that no row of the batch carries is left out; a missing value is the neutral one.

    The row -1 fills a batch up: it has the shape of a row and no weight.
    """
    examples, places = items[0][0], [index for _, index in items]
    rows = [examples.rows[i] for i in places]
    batch: dict[str, Any] = {
        "tokens": collate([row.encoded for row in rows], pad_id=pad_id),
        "sign": torch.tensor([row.sign for row in rows], dtype=torch.float32),
        "weight": torch.tensor([row.weight if i >= 0 else 0.0 for row, i in zip(rows, places, strict=True)]),
    }
    for name, neutral in (("probability", 1.0), ("margin", 0.0), ("beta", float("nan"))):
        values = [getattr(row, name) for row in rows]
        if any(value is not None for value in values):
            batch[name] = torch.tensor([neutral if value is None else value for value in values])
    batch["index"] = torch.tensor(places)
    if 0 in batch["sign"]:
        batch["mask"] = batch["sign"] != 0
    if rows[0].rating is not None:
        batch["rating"] = torch.tensor([row.rating for row in rows])
    if rows[0].tie is not None:
        batch["tie"] = torch.tensor([float(bool(row.tie)) for row in rows])
    if examples.explained:
        texts = [row.rationale or Encoded(row.encoded.prompt_ids[:1], ([pad_id],), ([False],)) for row in rows]
        batch["rationale"] = collate(texts, pad_id=pad_id)
    if examples.degraded:
        nothing = Encoded(rows[0].encoded.prompt_ids[:1], ([pad_id],), ([False],))
        batch["degraded"] = collate([row.degraded or nothing for row in rows], pad_id=pad_id)
        batch["degree"] = torch.tensor([-1 if row.degree is None else row.degree for row in rows])
    for name in ("ref_logp", "ref_joint_logp", "frozen_logp"):
        if (values := getattr(examples, name)) is not None:
            batch[name] = torch.from_numpy(np.array(values[places]))
    if examples.mismatched is not None and examples.ref_mismatched is not None:
        batch["mismatched"] = collate([examples.mismatched[i] for i in places], pad_id=pad_id)
        batch["ref_mismatched"] = torch.from_numpy(np.array(examples.ref_mismatched[places]))
    return batch


FIELDS = ("ref_logp", "probability", "margin", "mask", "rating", "tie", "ref_joint_logp", "frozen_logp")
"""Fields of a policy batch that are collated as they are."""


def policy_batch(inputs: dict[str, Any], scored: LogProbs, beta: float | None, **step: Any) -> PolicyBatch:
    """The objective's view of collated rows and their log-probs. beta: for rows of the batch that carry none."""
    rest: dict[str, Any] = {name: inputs[name] for name in FIELDS if name in inputs}
    if "beta" in inputs and beta is not None:
        rest["beta"] = torch.where(torch.isnan(inputs["beta"]), beta, inputs["beta"])
    return PolicyBatch(
        logp=scored.logp,
        length=scored.length,
        sign=inputs["sign"],
        weight=inputs["weight"],
        prompt_logp=scored.prompt_logp,
        prompt_length=scored.prompt_length,
        **rest,
        **step,
    )


def unscored(inputs: dict[str, Any]) -> LogProbs:
    """Zero log-probs with the true lengths: enough for the sums of a step, before any forward pass."""
    tokens: TokenBatch = inputs["tokens"]
    zeros = torch.zeros(tokens.shape, device=tokens.input_ids.device)
    first = tokens.prompt_mask.view(*tokens.shape, -1)[:, 0]
    return LogProbs(zeros, tokens.length, zeros[..., None], zeros[:, 0], first.sum(-1))
