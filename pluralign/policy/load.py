"""Models and tokenizers: from a folder, from the hub, or made on the spot."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from pluralign.errors import OptionError


def load(
    name: str,
    *,
    dtype: str = "float32",
    texts: Iterable[str] = (),
    seed: int = 0,
    steps: int | None = None,
    progress: Callable[[int, int, float], None] = lambda *_: None,
) -> tuple[Any, Any]:
    """A causal LM and its tokenizer, ready to train: dropout off, a padding token set.

    name: a folder, a hub name (`Qwen/Qwen3-0.6B`), or `lab:tiny`, `lab:small`, `lab:base`, which train a tokenizer
    and a small model on `texts` first, under `seed`, for `steps` optimizer steps; progress is told step, steps, loss.
    Raises `OptionError` if it cannot be had.
    """
    if name.startswith("lab:"):
        from pluralign.lab.tiny import build

        model, tokenizer = build(name.removeprefix("lab:"), texts, seed=seed, steps=steps, progress=progress)
    else:
        model, tokenizer = _pretrained(name, dtype)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    without_dropout(model)
    return model, tokenizer


def save(folder: Path, model: Any, tokenizer: Any) -> None:
    """Save under another name and rename, so that a folder of this name is always complete."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    half = folder.with_name(f".{folder.name}")
    model.save_pretrained(half)
    tokenizer.save_pretrained(half)
    if folder.exists():
        shutil.rmtree(folder)
    half.rename(folder)


def without_dropout(model: torch.nn.Module) -> None:
    """Set every dropout rate to zero: policy and reference must agree where their weights do."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", 0.0)  # noqa: B010


def _pretrained(name: str, dtype: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    # Its bars run to the end in no time and hide ours.
    logging.disable_progress_bar()

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=getattr(torch, dtype))
    except (OSError, ValueError) as error:
        where = "this folder" if Path(name).exists() else "the hub (and there is no such folder)"
        reason = str(error).strip().splitlines()[0]
        raise OptionError(
            f"cannot load the model '{name}' from {where}: {reason}; give a folder with a causal LM and its tokenizer, "
            "a hub name, or lab:tiny to make one"
        ) from None
    return model, tokenizer
