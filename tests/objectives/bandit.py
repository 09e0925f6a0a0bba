"""One prompt, K one-token responses, known rewards: what an objective makes of it, to machine precision."""

import itertools
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

from pluralign.objectives import Objective, PolicyBatch


def optimum(
    objective: Objective,
    reward: np.ndarray,
    reference: np.ndarray,
    *,
    flip_rate: float = 0.0,
    margin: np.ndarray | None = None,
    start: np.ndarray | None = None,
    **options: Any,
) -> np.ndarray:
    """The softmax policy, shape [K], that minimises the population loss.

    The population holds every ordered pair (i, j), weighted by how often i is said to beat j: Bradley-Terry on the
    rewards, each answer flipped at `flip_rate`. `margin` has shape [K, K].
    """
    pairs = list(itertools.permutations(range(len(reward)), 2))
    chosen, rejected = torch.tensor(pairs).T
    r, log_ref = torch.tensor(reward), torch.tensor(reference).log()
    meant = torch.sigmoid(r[chosen] - r[rejected])
    said = (1 - flip_rate) * meant + flip_rate * (1 - meant)
    ones = torch.ones(len(pairs), dtype=torch.float64)

    def loss_and_gradient(logits: np.ndarray) -> tuple[float, np.ndarray]:
        theta = torch.tensor(logits, requires_grad=True)
        logp = torch.log_softmax(theta, 0)
        batch = PolicyBatch.from_pairs(
            logp[chosen],
            logp[rejected],
            log_ref[chosen],
            log_ref[rejected],
            ones,
            ones,
            weight=said,
            margin=0.0 if margin is None else torch.tensor(margin)[chosen, rejected],
        )
        loss = batch.mean(objective(batch, **options))
        (gradient,) = torch.autograd.grad(loss, theta)
        return loss.item(), gradient.numpy()

    theta = np.zeros(len(reward)) if start is None else start
    for _ in range(3):  # BFGS stops when its estimate of the curvature goes stale; a fresh start resumes from there.
        theta = minimize(loss_and_gradient, theta, jac=True, method="BFGS", options={"gtol": 1e-13}).x
    return torch.softmax(torch.tensor(theta), 0).numpy()


def tilted(reward: np.ndarray, reference: np.ndarray, beta: float) -> np.ndarray:
    """The closed form pi_ref * exp(r / beta) / Z."""
    policy = reference * np.exp(reward / beta)
    return policy / policy.sum()
