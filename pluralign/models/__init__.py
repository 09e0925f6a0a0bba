"""Score = a network over text or features; population = whose preference. Everything here imports torch."""

from pluralign.models.answers import Answers
from pluralign.models.localise import Localised, dirichlet, localise
from pluralign.models.preference_model import PreferenceModel
from pluralign.models.scores import IdealPoint, LowRank, Score, TwoTower

__all__ = [
    "Answers",
    "IdealPoint",
    "Localised",
    "LowRank",
    "PreferenceModel",
    "Score",
    "TwoTower",
    "dirichlet",
    "localise",
]
