"""Two processes, each accumulating its micro-batches, give the loss and the gradient of one batch: every objective."""

from __future__ import annotations

from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from batches import as_torch, coupled, leaves, random_batches_for, with_leaves
from torch.distributed import FileStore

from pluralign.objectives import Need, Objective, PolicyBatch, Totals, catalogue
from pluralign.objectives.step import moved, two_pass

SEED, ROWS = 5, 6
CUTS = {0: [[0], [3, 4]], 1: [[1], [2, 5]]}
"""Rows of each process's micro-batches."""


def scored(numbers: PolicyBatch, theta: torch.Tensor) -> PolicyBatch:
    """The batch as a policy with these parameters sees it: each of its numbers is bent by them."""
    named = leaves(as_torch(numbers))
    return with_leaves(
        as_torch(numbers),
        {
            name: value * (1 + theta[i] + 0.1 * torch.sin(value + theta[i]))
            for i, (name, value) in enumerate(named.items())
        },
    )


def whole_step(objective: Objective, numbers: PolicyBatch) -> tuple[float, torch.Tensor]:
    theta = torch.zeros(12, dtype=torch.float64, requires_grad=True)
    batch = scored(numbers, theta)
    loss = batch.mean(objective(batch))
    (slope,) = torch.autograd.grad(loss, theta)
    return loss.item(), slope


def in_parts(objective: Objective, numbers: PolicyBatch, rank: int) -> tuple[float, torch.Tensor]:
    """As the trainer does it: sums of the step over processes first, then loss and gradient part by part."""
    theta = torch.zeros(12, dtype=torch.float64, requires_grad=True)
    cuts = [torch.tensor(rows) for rows in CUTS[rank]]

    def parts(totals: Totals | None) -> list[PolicyBatch]:
        return [scored(numbers, theta).rows(rows, totals) for rows in cuts]

    own = reduce(add, (part.own_totals for part in parts(None)))
    sums = torch.stack([getattr(own, name) for name in Totals.__dataclass_fields__]).detach()
    dist.all_reduce(sums)
    totals = Totals(*sums)
    if coupled(objective):
        with torch.no_grad():
            mine = [moved(part, "cpu") for part in parts(totals)]
        everyone: list[Any] = [None, None]
        dist.all_gather_object(everyone, mine)
        flat = [part for theirs in everyone for part in theirs]
        loss, surrogates = two_pass(objective, flat)
        first = 0 if rank == 0 else len(everyone[0])
        for surrogate, part in zip(surrogates[first:], parts(totals), strict=False):
            surrogate(part).backward()
        total = loss.item()
    else:
        each = [part.mean(objective(part)) for part in parts(totals)]
        for value in each:
            value.backward(retain_graph=True)
        summed = torch.stack(each).sum().detach()
        dist.all_reduce(summed)
        total = summed.item()
    assert theta.grad is not None
    slope = theta.grad.clone()
    dist.all_reduce(slope)
    return total, slope


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    found = {}
    for name, objective in catalogue().items():
        found[name] = [in_parts(objective, numbers, rank) for numbers in random_batches_for(objective, SEED)]
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[float, torch.Tensor]]]:
    folder = tmp_path_factory.mktemp("gloo")
    mp.spawn(worker, args=(str(folder),), nprocs=2, join=True)
    return torch.load(Path(folder) / "found.pt", weights_only=True)


@pytest.mark.parametrize("name", list(catalogue()))
def test_two_processes_with_accumulation_are_one_batch(name: str, of_two: dict[str, Any]) -> None:
    objective = catalogue()[name]
    for numbers, (loss, slope) in zip(random_batches_for(objective, SEED), of_two[name], strict=True):
        wanted_loss, wanted_slope = whole_step(objective, numbers)
        assert loss == pytest.approx(wanted_loss, abs=1e-9, rel=1e-9)
        assert torch.allclose(slope, wanted_slope, atol=1e-9, rtol=1e-7)
        assert (slope != 0).any()


def test_batch_coupled_objectives_are_among_them() -> None:
    found = {n for n, o in catalogue().items() if o.needs() & {Need.WHOLE_STEP, Need.MISMATCHED, Need.RUNNING_REWARD}}
    assert found >= {"aot", "aot_unpaired", "rpo_relative", "beta_dpo", "alpha_dpo", "napo", "kto", "bco", "mpo_mixed"}
