"""The arguments of transformers' trainer, with our defaults, refused in one sentence where they cannot work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.integrations import integration_utils

from pluralign.errors import OptionError
from pluralign.objectives import Objective, Rows
from pluralign.train.options import AlignOptions
from pluralign.train.order import ORDERS

BY_ROWS = ("per_device_train_batch_size", "auto_find_batch_size", "dataloader_drop_last")
"""Arguments about batches of a number of rows."""


def training_arguments(
    folder: Path, settings: AlignOptions, goal: Objective, training: Mapping[str, Any], *, evaluates: bool
) -> TrainingArguments:
    """`training` over our defaults: no tracker, bf16 where there is hardware for it, evaluation after each epoch.

    evaluates: whether there are held-out rows. Raises `OptionError` before anything is loaded.
    """
    defaults: dict[str, Any] = {
        "learning_rate": usual_learning_rate(settings, goal),
        "num_train_epochs": 1,
        "logging_steps": 10,
        "eval_strategy": "epoch" if evaluates else "no",
        "save_steps": 100,
        "report_to": "none",
        "bf16": torch.cuda.is_available() and torch.cuda.is_bf16_supported() and settings.dtype == "float32",
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
        # A loss that is not a number is to be seen, not to be replaced by the mean of those before.
        "logging_nan_inf_filter": False,
    }
    try:
        made = TrainingArguments(
            **{**defaults, **training},
            output_dir=str(folder),
            seed=settings.seed,
            data_seed=settings.seed,
            remove_unused_columns=False,
        )
    except (TypeError, ValueError) as error:
        raise OptionError(f"a training argument does not fit: {' '.join(str(error).split())}") from None
    if made.train_sampling_strategy not in ORDERS:
        raise OptionError(f"train_sampling_strategy {made.train_sampling_strategy} is not one of {', '.join(ORDERS)}")
    if made.fp16 and made.device.type == "cpu":
        raise OptionError("fp16 needs an accelerator; on a CPU give use_cpu with bf16, or neither")
    if made.eval_strategy != "no" and not evaluates:
        raise OptionError(f"eval_strategy {made.eval_strategy} needs held-out rows; give eval_data a share or a source")
    for name in BY_ROWS:
        if settings.max_tokens_per_batch is not None and name in training:
            raise OptionError(f"max_tokens_per_batch says what fits into a batch, and so does {name}; give one of them")
    _check_trackers(made)
    return made


def _check_trackers(arguments: TrainingArguments) -> None:
    known = integration_utils.INTEGRATION_TO_CALLBACK
    for name in arguments.report_to:
        if name not in known:
            raise OptionError(f"report_to {name}: there is no such tracker; there are {', '.join(sorted(known))}")
        try:
            known[name]()
        except (ImportError, RuntimeError) as error:
            raise OptionError(f"report_to {name}: {' '.join(str(error).split())}") from None


def usual_learning_rate(settings: AlignOptions, goal: Objective) -> float:
    """The learning rate where none is given."""
    if settings.model.startswith("lab:"):
        return 2e-4
    if goal.rows[0] is Rows.DEMONSTRATIONS:
        return 2e-4 if settings.lora else 2e-5
    return 1e-5 if settings.lora else 1e-6
