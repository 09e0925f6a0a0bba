"""Which of a group of samples are learnt from: new laws over the same draws."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from pluralign.likelihoods.numerics import Array
from pluralign.online.samples import SampleBatch


def best(batch: SampleBatch) -> Array:
    """The law that has only the draws of each prompt with the highest reward, ties sharing, [B, K].

    >>> import numpy as np
    >>> best(SampleBatch(np.zeros((1, 3)), reward=np.array([[1.0, 2.0, 2.0]]))).tolist()
    [[0.0, 0.5, 0.5]]
    """
    xp = array_namespace(batch.logp)
    reward = batch.known("reward")
    seen = xp.where(batch.law > 0, reward, xp.full_like(reward, -xp.inf))
    return _restricted(batch, seen == xp.max(seen, axis=1, keepdims=True))


def above(batch: SampleBatch, threshold: float) -> Array:
    """The law of the draws with a reward of at least `threshold`, [B, K]; zeros for a prompt that has none.

    >>> import numpy as np
    >>> above(SampleBatch(np.zeros((1, 3)), reward=np.array([[1.0, 2.0, 3.0]])), 2.0).tolist()
    [[0.0, 0.5, 0.5]]
    """
    return _restricted(batch, batch.known("reward") >= threshold)


def spread(batch: SampleBatch) -> Array:
    """1 for prompts whose draws differ in reward, 0 where all agree and nothing can be learnt, [B] (Yu et al. 2025).

    >>> import numpy as np
    >>> spread(SampleBatch(np.zeros((2, 2)), reward=np.array([[1.0, 1.0], [0.0, 1.0]]))).tolist()
    [0.0, 1.0]
    """
    xp = array_namespace(batch.logp)
    mean = batch.expect(batch.known("reward"))[:, None]
    return xp.astype(batch.expect((batch.known("reward") - mean) ** 2) > 0, batch.logp.dtype)


def best_and_worst(values: Array) -> tuple[Array, Array, Array]:
    """Places of the best and the worst of each prompt, [B] each, and 1 where they differ in value; values: [B, K].

    The pair of iterative dpo, self-rewarding models and sppo; pairs of equal value are to be left out.

    >>> import numpy as np
    >>> [found.tolist() for found in best_and_worst(np.array([[1.0, 3.0, 2.0], [1.0, 1.0, 1.0]]))]
    [[1, 0], [0, 0], [1.0, 0.0]]
    """
    xp = array_namespace(values)
    apart = xp.max(values, axis=1) > xp.min(values, axis=1)
    return xp.argmax(values, axis=1), xp.argmin(values, axis=1), xp.astype(apart, values.dtype)


def ranked_pairs(strength: Array, *, apart: int = 1) -> list[tuple[int, int, float]]:
    """Pairs (better, worse, strength) of K draws, from chances [K, K] that i is preferred to j, for soft labels.

    Draws are ranked by their mean chance, ties by place, and paired where ranks differ by at least `apart`: every pair
    once, and no two that contradict each other. Zhai et al. 2024 (which ranks they pair is not known).

    >>> ranked_pairs([[0.5, 0.9, 0.4], [0.1, 0.5, 0.2], [0.6, 0.8, 0.5]], apart=2)
    [(2, 1, 0.8)]
    """
    table = np.asarray(strength, dtype=np.float64)
    order = np.argsort(-table.mean(axis=1), kind="stable").tolist()
    return [(i, j, float(table[i, j])) for a, i in enumerate(order) for j in order[a + apart :]]


def _restricted(batch: SampleBatch, kept: Array) -> Array:
    xp = array_namespace(batch.logp)
    chances = batch.law * xp.astype(kept, batch.law.dtype)
    total = xp.sum(chances, axis=1, keepdims=True)
    return chances / xp.where(total == 0, xp.ones_like(total), total)
