"""How hard each pair is for a model: the loss of models that were trained on other pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from pluralign.errors import FeedbackError
from pluralign.evaluate.figures import Array
from pluralign.feedback import Feedback
from pluralign.feedback.convert import prompt_key
from pluralign.train import align
from pluralign.train.run import Run


@dataclass(frozen=True)
class Difficulty:
    """Of N pairs. values: mean over repeats [N], not a number where a row is no usable pair. each: [N, repeats].

    agreement: mean rank correlation between repeats; None of a single one. runs: two a repeat.
    """

    values: Array
    each: Array
    agreement: float | None
    runs: list[Run]


def difficulty(
    feedback: Feedback,
    model: str,
    *,
    output_dir: str | Path,
    objective: str = "dpo",
    repeats: int = 3,
    seed: int = 0,
    **options: Any,
) -> Difficulty:
    """The held-out loss -log sigmoid(reward margin) of every pair under models that did not train on its prompt.

    In each repeat the prompts are cut into two halves under a seed; a model trained on either scores the other. Six
    trainings with three repeats, options as in `align`. Give the values to
    `pluralign.feedback.recipes.selective_dpo`: pairs too hard for the model, mislabelled ones among them, come last.
    model: a folder or hub name; a `lab:` model would be made anew from each half's texts.

    Source: Gao et al. 2025, Principled Data Selection for Alignment (arXiv 2502.09650).
    """
    from pluralign.evaluate.scoring import score_rows

    if repeats < 1:
        raise FeedbackError(f"repeats is {repeats}; every pair is scored at least once")
    keys = [prompt_key(j) for j in feedback]
    each, runs = np.full((len(feedback), repeats), np.nan), []
    for r in range(repeats):
        first = first_half(keys, seed + r)
        for side, inside in (("a", first), ("b", ~first)):
            folder = Path(output_dir) / f"repeat-{r + 1}{side}"
            run = align(feedback.where(inside), model, objective, output_dir=folder, seed=seed, eval_data=0, **options)
            outside = np.flatnonzero(~inside)
            policy, tokenizer = run.load_model()
            scores = score_rows(run, feedback.where(~inside), policy, run.load_reference(), tokenizer)
            margin = scores.reward[:, 0] - scores.reward[:, 1]
            each[outside[scores.index.astype(int)], r] = np.logaddexp(0, -margin)
            runs.append(run)
    known = np.isfinite(each).all(1)
    pairs = [(a, b) for a in range(repeats) for b in range(a)]
    agreement = [float(spearmanr(each[known, a], each[known, b]).statistic) for a, b in pairs]
    return Difficulty(each.mean(1), each, float(np.mean(agreement)) if agreement else None, runs)


def first_half(keys: list[str], seed: int) -> np.ndarray:
    """Which rows are of the prompts drawn for one half, [N]; rows of one prompt stay together.

    >>> half = first_half(["a", "b", "a", "c"], 0)
    >>> half[0] == half[2], 0 < half.sum() < 4
    (np.True_, np.True_)
    """
    prompts = sorted(set(keys))
    if len(prompts) < 2:
        raise FeedbackError("all rows have one prompt, so no half could be left out of training; give more prompts")
    drawn = np.random.default_rng(seed).permutation(len(prompts))[: len(prompts) // 2]
    chosen = {prompts[i] for i in drawn}
    return np.array([key in chosen for key in keys])
