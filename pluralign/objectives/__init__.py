"""Policy objectives: one equation, one short function, over log-probabilities from anywhere.

>>> import numpy as np
>>> from pluralign.objectives import PolicyBatch, dpo
>>> chosen, rejected = np.array([-9.0, -20.0]), np.array([-12.0, -18.0])
>>> ref_chosen, ref_rejected = np.array([-10.0, -20.0]), np.array([-10.0, -20.0])
>>> dpo(PolicyBatch.from_pairs(chosen, rejected, ref_chosen, ref_rejected), beta=0.1).round(4)
array([0.5544, 0.7981])
"""

from pluralign.objectives.batch import PolicyBatch, Scores, Totals
from pluralign.objectives.mixtures import nll_augmented
from pluralign.objectives.noise import cdpo, rdpo
from pluralign.objectives.objective import FlipRate, Need, NonNegative, Objective, Positive, Rows, objective
from pluralign.objectives.reference import dpo, hinge_norm, ipo
from pluralign.objectives.reference_free import cpo, orpo, sft, simpo, slic
from pluralign.objectives.unpaired import bco, kto

__all__ = [
    "FlipRate",
    "Need",
    "NonNegative",
    "Objective",
    "PolicyBatch",
    "Positive",
    "Rows",
    "Scores",
    "Totals",
    "bco",
    "catalogue",
    "cdpo",
    "cpo",
    "dpo",
    "hinge_norm",
    "ipo",
    "kto",
    "nll_augmented",
    "objective",
    "orpo",
    "rdpo",
    "sft",
    "simpo",
    "slic",
]


def catalogue() -> dict[str, Objective]:
    """Every objective of the package by name, in the order of their names."""
    return {name: value for name, value in sorted(globals().items()) if isinstance(value, Objective)}
