"""Weights of pairs from what their texts are like: closeness to the prompt, deviation from peers, gain in creativity.

An `embed` function turns texts into vectors, [n, D]. `words` is the one that needs no model; give that of a sentence
encoder, or `pluralign.policy.embed.embedder`, for meaning instead of wording.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from pluralign.errors import FeedbackError
from pluralign.feedback.convert import prompt_key
from pluralign.feedback.recipes._rows import Array, strict_pair, weighted
from pluralign.feedback.record import plain

if TYPE_CHECKING:
    from pluralign.feedback.feedback import Feedback

Embed = Callable[[Sequence[str]], Array]
"""Texts [n] -> vectors [n, D]."""
Signal = Callable[[str, str], float]
"""(prompt, response) -> how creative, novel, surprising or good it is."""


def words(texts: Sequence[str], size: int = 512) -> Array:
    """Counts of lower-case words, hashed into `size` columns; [n, size].

    >>> words(["a b a"], 8).sum()
    np.float64(3.0)
    """
    counts = np.zeros((len(texts), size))
    for row, text in zip(counts, texts, strict=True):
        for word in re.findall(r"\w+", text.lower()):
            row[zlib.crc32(word.encode()) % size] += 1
    return counts


def sem_dpo(feedback: Feedback, *, alpha: float = 1.0, embed: Embed = words) -> Feedback:
    """W = exp(-alpha * (1 - cosine(e(x), e(y_w)))): pairs whose preferred response strays from the prompt count less.

    alpha 0 leaves the weights as they are; the paper's value is not known.

    Use it for rewriting, of prompts for instance, where the rewrite should keep its meaning.
    Source: Mohamed et al. 2025, Sem-DPO: Mitigating Semantic Inconsistency in Preference Optimization (arXiv
    2507.20133).

    >>> import pluralign
    >>> rows = pluralign.read([{"prompt": "a cat", "chosen": "a cat", "rejected": "dog"}])
    >>> sem_dpo(rows).table["weight"].to_numpy().round(6)
    array([1.])
    """
    if alpha < 0:
        raise FeedbackError(f"alpha is {alpha}; a negative one would favour pairs that stray")
    found = np.ones(len(feedback))
    for i, j in enumerate(feedback):
        if pair := strict_pair(j):
            found[i] = np.exp(-alpha * _distances(embed([plain(j.prompt), plain(pair[0].messages)]))[0, 1])
    return weighted(feedback, found, "sem_dpo", {"alpha": alpha})


def ddpo(feedback: Feedback, *, embeds: Sequence[Embed] = (words,)) -> Feedback:
    """delta_w = (1 + s) * N / (N + sum of s): a pair counts as its preferred response differs from its prompt's others.

    s: mean distance to the N - 1 other responses of the prompt, scaled to [-1, 1] within the prompt; several kinds of
    embedding (meaning, style) are combined by their geometric mean on [0, 1]. Weights of a prompt's responses average
    to 1; where all deviate alike each is 1. On `orpo` the same weights make DORPO, where in its sum the authors put
    them being recalled, not read.

    Use it for creative writing: several responses a prompt, of which rare good ones should teach most.
    Source: Chung et al. 2025, Modifying Large Language Model Post-Training for Diverse Creative Writing (arXiv
    2503.17126).
    """
    groups: dict[str, dict[str, float]] = defaultdict(dict)
    for j in feedback:
        for response in j.responses:
            groups[prompt_key(j)].setdefault(plain(response.messages), 1.0)
    for group in groups.values():
        group.update(zip(group, deviation_weights([embed(list(group)) for embed in embeds]), strict=True))
    found = np.ones(len(feedback))
    for i, j in enumerate(feedback):
        if pair := strict_pair(j):
            found[i] = groups[prompt_key(j)][plain(pair[0].messages)]
    return weighted(feedback, found, "ddpo", {"embeddings": len(embeds)})


def deviation_weights(embeddings: Sequence[Array]) -> Array:
    """Weights [N] of one prompt's responses from their embeddings of each kind [N, D]; their mean is 1.

    >>> deviation_weights([np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])]).round(2)
    array([0., 0., 3.])
    """
    n = len(embeddings[0])
    if n < 2:
        return np.ones(n)
    kinds = []
    for vectors in embeddings:
        mean = _distances(vectors).sum(1) / (n - 1)
        span = mean.max() - mean.min()
        kinds.append((mean - mean.min()) / span if span > 1e-12 else np.full(n, 0.5))
    s = 2 * np.prod(kinds, axis=0) ** (1 / len(kinds)) - 1
    total = n + s.sum()
    return np.ones(n) if total <= 1e-12 else (1 + s) * n / total


def crpo(
    feedback: Feedback,
    signals: Mapping[str, Signal],
    *,
    weights: Mapping[str, float] | None = None,
    combine: Literal["add", "multiply"] = "add",
) -> Feedback:
    """W = sum (or product) over signals k of lambda_k * max(0, c_k(y_w) - c_k(y_l)): what the chosen one adds.

    signals: diversity, novelty, surprise, quality, or what else should count, each scaled to [0, 1] over the data.
    weights: their lambdas, 1 unless given; a signal of weight 0 is inactive, and without any active one W is 1. A pair
    whose preferred response is ahead in nothing has weight 0.

    Use it to make a model more creative without giving up what judges like.
    Source: Ismayilzada et al. 2025, Creative Preference Optimization (arXiv 2505.14442); lambdas as recalled.
    """
    if combine not in ("add", "multiply"):
        raise FeedbackError(f"combine is '{combine}', which is not add or multiply")
    lambdas = dict.fromkeys(signals, 1.0) | dict(weights or {})
    if unknown := set(lambdas) - set(signals):
        raise FeedbackError(f"there is a weight for {', '.join(sorted(unknown))}, and no such signal")
    terms = []
    for name, signal in signals.items():
        if lambdas[name] == 0:
            continue
        scored = np.full((len(feedback), 2), np.nan)
        for i, j in enumerate(feedback):
            if pair := strict_pair(j):
                scored[i] = [signal(plain(j.prompt), plain(r.messages)) for r in pair]
        span = np.nanmax(scored) - np.nanmin(scored) if np.isfinite(scored).any() else 0.0
        gain = np.clip(scored[:, 0] - scored[:, 1], 0, None) / (span if span > 0 else 1.0)
        # A row that is no pair has nothing to gain and keeps its weight.
        terms.append(lambdas[name] * gain)
    found = np.ones(len(feedback))
    if terms:
        found = np.nan_to_num(np.sum(terms, axis=0) if combine == "add" else np.prod(terms, axis=0), nan=1.0)
    return weighted(feedback, found, "crpo", {"weights": lambdas, "combine": combine})


def bco_match(feedback: Feedback, *, embed: Embed = words, lowest: float = 0.5, highest: float = 10.0) -> Feedback:
    """w = p(good | x) / p(bad | x) for responses labelled bad, held between two bounds; 1 for good ones.

    Makes the prompts of bad responses count as if they came from those of good ones, for bco on thumbs. p is a
    logistic classifier on embeddings of the prompts.

    Use it where people thumb down other kinds of prompt than they thumb up.
    Source: Jung et al. 2024, Binary Classifier Optimization for Large Language Model Alignment (arXiv 2404.04656).
    """
    rows = list(feedback)
    labelled = np.array([j.thumb is not None for j in rows])
    good = np.array([bool(j.thumb) for j in rows])
    if not (good & labelled).any() or not (~good & labelled).any():
        raise FeedbackError("bco_match weighs bad responses against good ones; give thumbs of both kinds")
    vectors = embed([plain(j.prompt) for j in rows])
    odds = _odds(vectors[labelled], good[labelled])
    # The classifier's odds carry the classes' sizes, which are no property of a prompt.
    odds = odds * (~good[labelled]).sum() / good[labelled].sum()
    found = np.ones(len(rows))
    found[labelled] = np.where(good[labelled], 1.0, np.clip(odds, lowest, highest))
    return weighted(feedback, found, "bco_match", {"lowest": lowest, "highest": highest})


def _odds(vectors: Array, good: np.ndarray, ridge: float = 1.0, steps: int = 25) -> Array:
    """exp of the logit of a ridge logistic regression, [n]; Newton's method on standardised columns."""
    spread = vectors.std(0)
    kept = spread > 0
    x = np.column_stack([np.ones(len(vectors)), (vectors[:, kept] - vectors[:, kept].mean(0)) / spread[kept]])
    penalty = ridge * np.eye(x.shape[1])
    penalty[0, 0] = 1e-9
    theta = np.zeros(x.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ theta, -30, 30)))
        slope = x.T @ (p - good) + penalty @ theta
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + penalty, slope)
        theta -= step
        if np.abs(step).max() < 1e-8:
            break
    return np.asarray(np.exp(np.clip(x @ theta, -30, 30)))


def _distances(vectors: Array) -> Array:
    """1 - cosine between all rows, [n, n]; a zero vector is like nothing."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norms > 0, norms, 1.0)
    return np.asarray(np.clip(1 - unit @ unit.T, 0, None))
