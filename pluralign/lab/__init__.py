"""Small worlds with known answers: bandits, tiny languages, simulated people and tiny models.

>>> from pluralign import lab
>>> world = lab.bandit([1.0, 0.2, -0.5], reference=[0.2, 0.3, 0.5])
>>> lab.optimum("ipo", world, beta=0.5).round(3)
array([[0.299, 0.315, 0.386]])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pluralign.lab.annotators import bradley_terry, certain, flipped, plural, with_ties
from pluralign.lab.games import duality_gap, game, nash
from pluralign.lab.worlds import World, bandit, confounded, sequences

if TYPE_CHECKING:
    from pluralign.lab.reward_against_kl import frontier, plot
    from pluralign.lab.self_play import play
    from pluralign.lab.solve import NoOptimum, optimum
    from pluralign.lab.training import train

__all__ = [
    "NoOptimum",
    "World",
    "bandit",
    "bradley_terry",
    "certain",
    "confounded",
    "duality_gap",
    "flipped",
    "frontier",
    "game",
    "nash",
    "optimum",
    "play",
    "plot",
    "plural",
    "sequences",
    "train",
    "with_ties",
]

_TORCH = {
    "NoOptimum": "solve",
    "optimum": "solve",
    "play": "self_play",
    "train": "training",
    "frontier": "reward_against_kl",
    "plot": "reward_against_kl",
}


def __getattr__(name: str) -> Any:
    # A world alone must not cost an import of torch.
    if name in _TORCH:
        found = getattr(importlib.import_module(f"pluralign.lab.{_TORCH[name]}"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'pluralign.lab' has no attribute '{name}'")
