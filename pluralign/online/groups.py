"""A prompt with its samples as a learner is to see them, and numbers at the tokens of many such."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pluralign.policy.batch import TokenBatch, collate
from pluralign.policy.encode import Encoded

Array = NDArray[np.float32]
Each = Sequence[Sequence[Array]]
"""Numbers at response tokens: of each prompt, of each response, one a token."""


@dataclass(frozen=True)
class Group:
    """One prompt and its K samples, as a learner is to see them.

    logp: log-prob of each token under the law it was drawn from, where that is no plain snapshot. reward [K];
    preference [K, K], one half where nothing was asked; greedy_reward: that of the most probable response; components
    [K, M]: a reward of each of several judges.
    """

    encoded: Encoded
    logp: tuple[Array, ...] | None = None
    reward: Array | None = None
    preference: Array | None = None
    greedy_reward: float | None = None
    components: Array | None = None

    @property
    def ends(self) -> list[tuple[int, int]]:
        """Where each response begins and ends in its sequence."""
        head = len(self.encoded.prompt_ids)
        return [(head, head + len(ids)) for ids in self.encoded.response_ids]


def tokens_of(groups: Sequence[Group], pad_id: int, device: Any) -> TokenBatch:
    """Groups as a batch of tokens, [B, K]."""
    return collate([group.encoded for group in groups], pad_id=pad_id).to(device)


@torch.no_grad()
def scored(
    model: Any, groups: Sequence[Group], size: int, pad_id: int, of: Callable[[TokenBatch], torch.Tensor]
) -> Iterator[tuple[Array, ...]]:
    """What `of` says at the response tokens of every group, `size` groups at a time: always the same ones together."""
    model.eval()
    for start in range(0, len(groups), size):
        some = groups[start : start + size]
        found = of(tokens_of(some, pad_id, model.device)).float().cpu().numpy()
        for row, group in zip(found, some, strict=True):
            yield tuple(row[k, begin:end] for k, (begin, end) in enumerate(group.ends))


def by_model(snapshots: Mapping[str, Any], score: Callable[[Any], Each]) -> dict[str, Each]:
    """Each model scored once, whatever names it goes by."""
    done: dict[int, Each] = {}
    for model in snapshots.values():
        if id(model) not in done:
            done[id(model)] = score(model)
    return {name: done[id(model)] for name, model in snapshots.items()}


def spread(values: Each, groups: Sequence[Group], tokens: TokenBatch) -> torch.Tensor:
    """Numbers at response tokens in their places, [B, K, T], zero elsewhere."""
    whole = np.zeros((*tokens.shape, tokens.input_ids.shape[1]), dtype=np.float32)
    for i, (row, group) in enumerate(zip(values, groups, strict=True)):
        for k, ((begin, end), each) in enumerate(zip(group.ends, row, strict=True)):
            whole[i, k, begin:end] = each
    mask = tokens.response_mask.view(*tokens.shape, -1).cpu()
    return torch.from_numpy(whole) * mask


def column(groups: Sequence[Group], name: str, device: Any) -> torch.Tensor | None:
    """What every group has under this name, stacked; None where one has nothing."""
    rows = [getattr(group, name) for group in groups]
    if any(row is None for row in rows):
        return None
    return torch.tensor(np.stack([np.asarray(row, dtype=np.float32) for row in rows]), device=device)
