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
from pluralign.policy.batch import budgeted, collate
from pluralign.policy.encode import Encoded
from pluralign.policy.logprobs import logprobs

ENTRY = np.dtype([("key", "S16"), ("logp", "<f4")])


class ReferenceCache:
    """A folder with one file for each frozen model: the log-prob of every response ever scored under it.

    A file is named by a hash of weights and precision; a response is found by a hash of its token ids, its prompt's,
    and which of them count. Tokenizer, template, truncation and text enter through the token ids they give: change any
    of them and the ids, and so the key, change. What other runs, splits or objectives have asked for is found again.
    hits, misses: responses found and computed so far.
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
        """Sums of response log-probs, float32 [N, K]. Adapters are switched off while computing.

        batch_size: rows of the greatest length that are scored at once; of shorter ones more are. progress is told the
        number of rows done so far.
        """
        path = self.folder / f"{weights_fingerprint(model)[:32]}.npy"
        known = _opened(path)
        keys = np.array([_keys(row) for row in rows], dtype="S16")
        places = np.searchsorted(known["key"], keys).clip(max=max(len(known) - 1, 0))
        found = known["key"][places] == keys if len(known) else np.zeros(keys.shape, dtype=bool)
        values = np.zeros(keys.shape, dtype=np.float32)
        values[found] = known["logp"][places[found]]
        missing = np.flatnonzero(~found.all(1)).tolist()
        self.hits, self.misses = self.hits + int(found.sum()), self.misses + int((~found).sum())
        if missing:
            values[missing] = _score(model, [rows[i] for i in missing], batch_size, progress)
            fresh = np.empty(int((~found).sum()), dtype=ENTRY)
            fresh["key"], fresh["logp"] = keys[~found], values[~found]
            # Another run may have written meanwhile.
            both = np.concatenate([_opened(path), fresh])
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, both[np.unique(both["key"], return_index=True)[1]])
        return values


def _opened(path: Path) -> NDArray[Any]:
    """The entries of a file, in order of their keys, memory-mapped."""
    entries: NDArray[Any] = np.load(path, mmap_mode="r") if path.exists() else np.empty(0, dtype=ENTRY)
    return entries


def _keys(row: Encoded) -> list[bytes]:
    """A hash of each response with its prompt, 128 bits."""
    prompt = hashlib.blake2b(np.asarray(row.prompt_ids, dtype=np.int32).tobytes() + b"|", digest_size=16)
    keys = []
    for ids, keep in zip(row.response_ids, row.scored, strict=True):
        whole = prompt.copy()
        whole.update(np.asarray(ids, dtype=np.int32).tobytes() + b";" + np.asarray(keep, dtype=bool).tobytes())
        # Arrays of bytes drop zeros at the end.
        keys.append(whole.digest()[:-1] + b"k")
    return keys


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
    # Rows of like length together waste least padding, where there is any; results keep their order.
    order = sorted(range(len(rows)), key=lambda i: rows[i].length)
    done = 0
    with model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext():
        for chunk in budgeted(order, [row.length for row in rows], batch_size * rows[order[-1]].length):
            tokens = collate([rows[i] for i in chunk], pad_id=0).to(model.device)
            values[chunk] = logprobs(model, tokens).logp.float().cpu().numpy()
            done += len(chunk)
            progress(done)
    model.train(training)
    return values
