"""Batches to try an objective on."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch

from pluralign.objectives import Need, Objective, PolicyBatch, Tokens, Totals
from pluralign.objectives.objective import Rows
from pluralign.objectives.values import mapped

F64 = torch.float64
COLUMNS = {
    Rows.PAIRS: 2,
    Rows.UNPAIRED: 1,
    Rows.DEMONSTRATIONS: 1,
    Rows.RANKINGS: 4,
    Rows.MIXED: 2,
}


def tensor(*values: float, grad: bool = False) -> torch.Tensor:
    return torch.tensor(values, dtype=F64, requires_grad=grad)


def pair(chosen: float, rejected: float, *, length: tuple[float, float] = (1, 1), **rest: Any) -> PolicyBatch:
    """One pair whose log-ratios to the reference are the two numbers given (the reference is zero)."""
    zero = tensor(0.0)
    lengths = tensor(length[0]), tensor(length[1])
    return PolicyBatch.from_pairs(tensor(chosen), tensor(rejected), zero, zero, *lengths, **rest)


def ranking(*h: float, **rest: Any) -> PolicyBatch:
    """One row of K responses, best first, with these log-ratios (the reference is zero) and one token each."""
    logp = torch.tensor([h], dtype=F64)
    sign = torch.where(torch.arange(len(h)) == 0, 1.0, -1.0).double()[None]
    rest = {name: torch.tensor([v], dtype=F64) if isinstance(v, (list, tuple)) else v for name, v in rest.items()}
    return PolicyBatch(**{"logp": logp, "length": 0 * logp + 1, "sign": sign, "ref_logp": 0 * logp, **rest})


def random_batch(seed: int, rows: int = 6, *, responses: int = 2, **rest: Any) -> PolicyBatch:
    """Everything an objective can ask for, in numpy float64. Sums over tokens are those of the tokens."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 5, (rows, responses)).astype(float)
    shape = (rows, responses)
    sign = np.where(np.arange(responses) == 0, 1.0, -1.0) * np.ones((rows, 1))
    if responses == 1:
        sign[1::2] = -1.0
    first = rng.integers(0, 3, shape)  # where the response starts: prompts differ in length
    at = np.arange(7) - first[..., None]
    mask = ((at >= 0) & (at < length[..., None])).astype(float)
    tokens = Tokens(
        mask=mask,
        logp=-rng.uniform(0.1, 2.0, mask.shape) * mask,
        ref_logp=-rng.uniform(0.1, 2.0, mask.shape) * mask,
        kl=rng.uniform(0, 0.5, mask.shape) * mask,
        log_collision=-rng.uniform(0.5, 2.0, mask.shape) * mask,
        turn=np.clip(at // 2, 0, None).astype(float),
        reward_weight=rng.uniform(0.2, 1.5, mask.shape),
        kl_weight=rng.uniform(0.2, 1.5, mask.shape),
        uniform=rng.uniform(size=mask.shape),
    )
    values = {
        "logp": tokens.logp.sum(-1),
        "ref_logp": tokens.ref_logp.sum(-1),
        "length": length,
        "sign": sign,
        "prompt_logp": -rng.uniform(1, 9, rows),
        "prompt_length": rng.integers(1, 9, rows).astype(float),
        "mismatched_log_ratio": rng.normal(0.3, 1, 5),
        "reward_shift": 0.07,
        "rating": -np.sort(-rng.uniform(0, 1, shape), axis=1),
        "tokens": tokens,
        "joint_logp": -rng.uniform(1, 9, shape),
        "ref_joint_logp": -rng.uniform(1, 9, shape),
        "frozen_logp": -rng.uniform(1, 9, (*shape, 2)),
        "features": rng.normal(size=(*shape, 5)),
        "ref_features": rng.normal(size=(*shape, 5)),
        "prompt_embedding": rng.normal(size=(rows, 3)),
        "rationale_logp": -rng.uniform(0, 9, rows),
        "rationale_length": rng.integers(0, 5, rows).astype(float),
        "auxiliary": rng.uniform(0, 2, rows),
        "uniform": rng.uniform(size=rows),
    }
    return PolicyBatch(**{**values, **rest})


def columns(objective: Objective) -> list[int]:
    """Numbers of responses a row it takes."""
    if objective.name == "tpo":
        return [3]
    return list(dict.fromkeys(COLUMNS[kind] for kind in objective.rows))


def random_batches_for(objective: Objective, seed: int) -> list[PolicyBatch]:
    """A batch of each kind of row the objective accepts, with weights and soft labels where they apply."""
    rng = np.random.default_rng(seed + 1000)
    found = []
    for k in columns(objective):
        row = {"weight": rng.uniform(0.1, 3, 6)}
        if k == 2:
            row["probability"] = rng.uniform(0, 1, 6)
        if "margin" in objective.uses:
            row["margin"] = rng.normal(0, 1, 6)
        if "beta" in objective.options.model_fields:
            row["beta"] = rng.uniform(0.05, 1, 6)
        if "tie" in objective.uses:
            row["tie"] = (rng.uniform(size=6) < 0.5).astype(float)
        row = {name: value for name, value in row.items() if name not in objective.refuses}
        always = {}
        if Rows.MIXED in objective.rows:
            always["mask"] = np.array([[True, i % 2 == 0] for i in range(6)])
            row.pop("probability")
        if k > 2 and objective.name not in ("tpo", "mapl"):
            always["mask"] = np.arange(k) < rng.integers(2, k + 1, 6)[:, None]
        made = random_batch(seed, responses=k, **always)
        if "mask" in always:  # a place without a response holds nothing
            made = replace(made, length=made.length * made.mask)
        found += [made, replace(made, **row)]
    return found


def as_torch(batch: PolicyBatch, *, grad: bool = False) -> PolicyBatch:
    """The same numbers as tensors; those that come from the policy are leaves."""

    def change(value: Any, field: Any) -> torch.Tensor:
        made = value.detach().clone() if isinstance(value, torch.Tensor) else torch.tensor(value)
        return made.requires_grad_() if grad and field.metadata["gradient"] else made

    tokens = batch.tokens and replace(batch.tokens, **mapped(batch.tokens, change))
    return replace(batch, tokens=tokens, **mapped(batch, change))


def leaves(batch: PolicyBatch) -> dict[str, torch.Tensor]:
    """The numbers that come from the policy, by name; those of tokens as tokens.NAME."""
    own = {f.name: getattr(batch, f.name) for f in fields(batch) if f.metadata["gradient"]}
    if batch.tokens is not None:
        own |= {f"tokens.{f.name}": getattr(batch.tokens, f.name) for f in fields(Tokens) if f.metadata["gradient"]}
    return {name: value for name, value in own.items() if value is not None}


def with_leaves(batch: PolicyBatch, values: dict[str, torch.Tensor]) -> PolicyBatch:
    parts = {name.removeprefix("tokens."): v for name, v in values.items() if name.startswith("tokens.")}
    tokens = batch.tokens and replace(batch.tokens, **parts)
    own = {name: v for name, v in values.items() if not name.startswith("tokens.")}
    return replace(batch, tokens=tokens, **own)


def micro_batch(batch: PolicyBatch, rows: slice, totals: Totals | None) -> PolicyBatch:
    """Some rows of a batch that belong to a step with these totals."""
    return batch.rows(rows, totals)


def coupled(objective: Objective, **options: Any) -> bool:
    return Need.WHOLE_STEP in objective.needs(**options)
