"""Adam over the rows of a data set, its step falling to zero along a cosine."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from pluralign.errors import OptionError


def descend(
    loss: Callable[[Tensor, float], Tensor],
    parameters: Iterable[nn.Parameter],
    rows: int,
    *,
    epochs: int,
    batch: int,
    lr: float,
    weight_decay: float = 0.0,
    undecayed: Iterable[nn.Parameter] = (),
    order: Callable[[int], Tensor] | None = None,
) -> None:
    """Make `loss(row numbers, share of the steps taken)` small, a scalar with a gradient, in place.

    weight_decay: of matrices, not of single numbers and vectors. undecayed: parameters besides, without it. order: the
    rows of an epoch, drawn at random where None. Raises `OptionError` for sizes below one.

    >>> x = nn.Parameter(torch.tensor([0.0]))
    >>> descend(lambda at, _: ((x - 3.0) ** 2).sum(), [x], 1, epochs=200, batch=1, lr=0.1)
    >>> round(x.item(), 2)
    3.0
    """
    if epochs < 1 or batch < 1:
        raise OptionError("epochs and batch are at least 1")
    known = list(parameters)
    groups = [
        {"params": [p for p in known if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [*(p for p in known if p.ndim <= 1), *undecayed], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.Adam([group for group in groups if group["params"]], lr=lr, fused=True)
    size = min(batch, rows)
    steps = epochs * -(-rows // size)
    falling, step = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps), 0
    for epoch in range(epochs):
        for at in (torch.randperm(rows) if order is None else order(epoch)).split(size):
            optimizer.zero_grad(set_to_none=True)
            loss(at, step / steps).backward()
            optimizer.step()
            falling.step()
            step += 1
