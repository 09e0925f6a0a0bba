"""Score = a network over text or features; population = whose preference. Everything here imports torch."""

from pluralign.models.answers import Answers
from pluralign.models.decisions import (
    MaxMin,
    conjunction,
    level,
    log_good,
    lottery,
    lower_bound,
    maxmin,
    pessimistic,
    standing,
    verdicts,
    welfare,
)
from pluralign.models.features import Features
from pluralign.models.fitting import Plurality, fit
from pluralign.models.localise import Localised, dirichlet, localise
from pluralign.models.mixture import MixedRewards, MixtureModel
from pluralign.models.pairs import GeneralPreference, MeanVariance
from pluralign.models.population import Population
from pluralign.models.preference_model import PreferenceModel
from pluralign.models.questions import Question, gains
from pluralign.models.reward import Reward
from pluralign.models.scores import IdealPoint, LowRank, Score, TwoTower

__all__ = [
    "Answers",
    "Features",
    "GeneralPreference",
    "IdealPoint",
    "Localised",
    "LowRank",
    "MaxMin",
    "MeanVariance",
    "MixedRewards",
    "MixtureModel",
    "Plurality",
    "Population",
    "PreferenceModel",
    "Question",
    "Reward",
    "Score",
    "TwoTower",
    "conjunction",
    "dirichlet",
    "fit",
    "gains",
    "level",
    "localise",
    "log_good",
    "lottery",
    "lower_bound",
    "maxmin",
    "pessimistic",
    "standing",
    "verdicts",
    "welfare",
]
