"""Log-probs under the reference model, computed once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pluralign.feedback.storage import whole_file
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoded
from pluralign.policy.logprobs import logprobs


class ReferenceCache:
    """A folder of arrays, one for each (weights, precision, token ids) ever scored.

    The key is a hash of everything the numbers depend on. Tokenizer, template, truncation and text enter through the
    token ids they give: change any of them and the ids, and so the key, change.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.hits, self.misses = 0, 0

    def get(
        self,
        model: Any,
        rows: Sequence[Encoded],
        *,
        batch_size: int = 8,
        progress: Callable[[int], None] = lambda _: None,
    ) -> NDArray[np.float32]:
        """Sums of response log-probs, float32 [N, K], memory-mapped. Adapters are switched off while computing.

        progress is told the number of rows done so far.
        """
        path = self.folder / f"{self.key(model, rows)}.npy"
        if path.exists():
            self.hits += 1
        else:
            self.misses += 1
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, _score(model, rows, batch_size, progress))
        values: NDArray[np.float32] = np.load(path, mmap_mode="r")
        return values

    def key(self, model: Any, rows: Sequence[Encoded]) -> str:
        """A hash of the reference weights, the precision and the rows' tokens."""
        whole = hashlib.sha256(weights_fingerprint(model).encode())
        for row in rows:
            for ids in (row.prompt_ids, *row.response_ids):
                whole.update(np.asarray(ids, dtype=np.int32).tobytes() + b"|")
            for keep in row.scored:
                whole.update(np.asarray(keep, dtype=bool).tobytes() + b";")
        return whole.hexdigest()[:32]


def weights_fingerprint(model: Any) -> str:
    """A hash of the names, types and values of a model's weights, those of adapters left out."""
    whole = hashlib.sha256()
    for name, tensor in sorted(_base(model).state_dict().items()):
        if "lora_" in name:
            continue
        # The name inside an adapter-wrapped layer differs; the weights do not.
        whole.update(f"{name.replace('.base_layer', '')}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        whole.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return whole.hexdigest()


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@torch.no_grad()
def _score(
    model: Any, rows: Sequence[Encoded], batch_size: int, progress: Callable[[int], None]
) -> NDArray[np.float32]:
    values = np.empty((len(rows), len(rows[0].response_ids)), dtype=np.float32)
    training = model.training
    model.eval()
    # Rows of like length together waste least padding; the order of results does not depend on it.
    order = sorted(range(len(rows)), key=lambda i: rows[i].length)
    with model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext():
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            tokens = collate([rows[i] for i in chunk], pad_id=0).to(model.device)
            values[chunk] = logprobs(model, tokens).logp.float().cpu().numpy()
            progress(min(start + batch_size, len(rows)))
    model.train(training)
    return values
