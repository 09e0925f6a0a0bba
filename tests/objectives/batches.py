"""Batches to try an objective on."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pluralign.objectives import Objective, PolicyBatch, Totals
from pluralign.objectives.objective import Rows

F64 = torch.float64


def tensor(*values: float, grad: bool = False) -> torch.Tensor:
    return torch.tensor(values, dtype=F64, requires_grad=grad)


def pair(chosen: float, rejected: float, *, length: tuple[float, float] = (1, 1), **rest: Any) -> PolicyBatch:
    """One pair whose log-ratios to the reference are the two numbers given (the reference is zero)."""
    zero = tensor(0.0)
    lengths = tensor(length[0]), tensor(length[1])
    return PolicyBatch.from_pairs(tensor(chosen), tensor(rejected), zero, zero, *lengths, **rest)


def random_batch(seed: int, rows: int = 6, *, responses: int = 2, **rest: Any) -> PolicyBatch:
    """Everything an objective can ask for, in numpy float64."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 9, (rows, responses)).astype(float)
    sign = np.where(np.arange(responses) == 0, 1.0, -1.0) * np.ones((rows, 1))
    if responses == 1:
        sign[1::2] = -1.0
    fields = {
        "logp": -length * rng.uniform(0.1, 2.0, length.shape),
        "ref_logp": -length * rng.uniform(0.1, 2.0, length.shape),
        "length": length,
        "sign": sign,
        "prompt_logp": -rng.uniform(1, 9, rows),
        "prompt_length": rng.integers(1, 9, rows).astype(float),
        "mismatched_log_ratio": rng.normal(0.3, 1, 5),
        "reward_shift": 0.07,
    }
    return PolicyBatch(**{**fields, **rest})


def random_batches_for(objective: Objective, seed: int) -> list[PolicyBatch]:
    """A batch of each kind of row the objective accepts, with weights and soft labels where they apply."""
    rng = np.random.default_rng(seed + 1000)
    found = []
    if Rows.PAIRS in objective.rows:
        row = {"weight": rng.uniform(0.1, 3, 6), "probability": rng.uniform(0, 1, 6)}
        if "margin" in objective.uses:
            row["margin"] = rng.normal(0, 1, 6)
        if "beta" in objective.options.model_fields:
            row["beta"] = rng.uniform(0.05, 1, 6)
        found += [random_batch(seed), random_batch(seed, **row)]
    if Rows.UNPAIRED in objective.rows or Rows.DEMONSTRATIONS in objective.rows:
        found += [random_batch(seed, responses=1), random_batch(seed, responses=1, weight=rng.uniform(0.1, 3, 6))]
    return found


def as_torch(batch: PolicyBatch, *, grad: bool = False) -> PolicyBatch:
    values = {name: torch.tensor(v) for name, v in vars(batch).items() if isinstance(v, np.ndarray)}
    if grad:
        for name in {"logp", "prompt_logp"} & set(values):
            values[name].requires_grad_()
    return replace(batch, **values)


def micro_batch(batch: PolicyBatch, rows: slice, totals: Totals | None) -> PolicyBatch:
    """Some rows of a batch that belong to a step with these totals."""
    whole_step = {"mismatched_log_ratio", "totals"}
    parts = {
        name: value[rows]
        for name, value in vars(batch).items()
        if hasattr(value, "dtype") and value.ndim > 0 and name not in whole_step
    }
    return replace(batch, **parts, totals=totals)
