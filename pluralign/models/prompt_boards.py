"""What leaderboards that depend on the prompt are for: one for many prompts, and which model to ask."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog
from scipy.special import expit

from pluralign.errors import OptionError
from pluralign.models.reward_model import RewardModel
from pluralign.models.ties import Ties

Array = NDArray[np.float64]


def board(model: RewardModel, prompt: str) -> pl.DataFrame:
    """The leaderboard for a prompt: a row a model, the best first, with its score.

    model: fitted to votes between named models, `Features("items", prompts=ENCODER)` reading them. Where votes could
    say "both are bad" (`Ties("grounded")`), scores have a zero, and `good` is each model's chance of being better than
    nothing; else only their differences mean something.

    Frick et al. 2025 (P2L). Raises `OptionError` for a model that reads no votes between names.

    >>> from pluralign.models import Conditioned, Features
    >>> said = {"model_a": "x", "response_a": "One.", "model_b": "y", "response_b": "Two."}
    >>> votes = [said | {"prompt": "sum", "winner": "model_a"}, said | {"prompt": "poem", "winner": "model_b"}] * 9
    >>> asked = RewardModel(Conditioned(2, prompt_features=2), epochs=50, lr=0.1)
    >>> asked.features = Features("items", prompts=lambda texts: [[t == "sum", t == "poem"] for t in texts])
    >>> [board(asked.fit(votes), prompt)["model"][0] for prompt in ("sum", "poem")]
    ['x', 'y']
    """
    names = None if model.features is None else model.features.names
    if names is None:
        raise OptionError("this model reads no votes between named models; fit with Features('items', prompts=ENCODER)")
    scores = model.export()(prompt, names)
    table = pl.DataFrame({"model": names, "score": scores})
    if isinstance(model.loss, Ties) and model.loss.kind == "grounded":
        table = table.with_columns(good=expit(scores))
    return table.sort("score", descending=True)


def aggregated(boards: ArrayLike) -> Array:
    """Mean win rate [M] of each model against a random other one, over the leaderboards [N, M] of N prompts.

    Frick et al. 2025 (P2L), which simulates what is computed here.

    >>> aggregated([[1.0, 0.0], [0.0, 1.0]])
    array([0.5, 0.5])
    """
    theta = np.asarray(boards, dtype=np.float64)
    wins = expit(theta[:, :, None] - theta[:, None, :]).mean(0)
    m = theta.shape[1]
    return np.asarray((wins.sum(1) - 0.5) / (m - 1))


def route(scores: ArrayLike, *, costs: ArrayLike, budget: float) -> Array:
    """How often to ask each of M models, [M], for the highest mean score within a mean cost.

    A linear programme whose optimum mixes two models at most. scores: of the models for this prompt, win rates against
    what they compete with, say. Raises `OptionError` where no model is cheap enough.

    Frick et al. 2025 (P2L).

    >>> route([0.5, 0.9], costs=[1, 3], budget=2).round(3)
    array([0.5, 0.5])
    """
    worth, price = np.asarray(scores, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    if worth.shape != price.shape or worth.ndim != 1:
        raise OptionError(f"there are {worth.size} scores and {price.size} costs; give one of each for every model")
    if price.min() > budget:
        raise OptionError(f"the cheapest model costs {price.min():g}, more than the budget of {budget:g}")
    found = linprog(-worth, A_ub=price[None], b_ub=[budget], A_eq=np.ones((1, len(worth))), b_eq=[1], method="highs-ds")
    return np.asarray(found.x)
