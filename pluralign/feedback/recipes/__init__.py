"""Methods that work on the data: feedback in, feedback out, named like their papers' methods; never a trainer.

Each says in its history what it did and how many rows it left out. None imports torch.
"""

from pluralign.feedback.recipes.conditional import ra_dpo
from pluralign.feedback.recipes.constrained import Constraint, mapl
from pluralign.feedback.recipes.curriculum import curry_dpo
from pluralign.feedback.recipes.edits import rise, wrong_number
from pluralign.feedback.recipes.explanation import rationale
from pluralign.feedback.recipes.phrases import degraded, key_phrases
from pluralign.feedback.recipes.selection import selective_dpo
from pluralign.feedback.recipes.steering import name_groups, relabel, weigh_people
from pluralign.feedback.recipes.weights import bco_match, crpo, ddpo, deviation_weights, sem_dpo, words

__all__ = [
    "Constraint",
    "bco_match",
    "crpo",
    "curry_dpo",
    "ddpo",
    "degraded",
    "deviation_weights",
    "key_phrases",
    "mapl",
    "name_groups",
    "ra_dpo",
    "rationale",
    "relabel",
    "rise",
    "selective_dpo",
    "sem_dpo",
    "weigh_people",
    "words",
    "wrong_number",
]
