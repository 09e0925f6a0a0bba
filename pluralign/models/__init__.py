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
from pluralign.models.heads import Conditioned, Head, extrapolated
from pluralign.models.judged import Judged, rewards_batch
from pluralign.models.localise import Localised, dirichlet, localise
from pluralign.models.losses import find_loss, losses
from pluralign.models.mixture import MixedRewards, MixtureModel
from pluralign.models.pairs import Categorical, GeneralPreference, MeanVariance, PairScore, Pairwise
from pluralign.models.population import Population
from pluralign.models.preference_model import PreferenceModel
from pluralign.models.prompt_boards import aggregated, route
from pluralign.models.questions import Question, gains
from pluralign.models.reward import Reward
from pluralign.models.reward_model import RewardModel
from pluralign.models.scores import IdealPoint, LowRank, Score, TwoTower

__all__ = [
    "Answers",
    "Categorical",
    "Conditioned",
    "Features",
    "GeneralPreference",
    "Head",
    "IdealPoint",
    "Judged",
    "Localised",
    "LowRank",
    "MaxMin",
    "MeanVariance",
    "MixedRewards",
    "MixtureModel",
    "PairScore",
    "Pairwise",
    "Plurality",
    "Population",
    "PreferenceModel",
    "Question",
    "Reward",
    "RewardModel",
    "Score",
    "TwoTower",
    "aggregated",
    "conjunction",
    "dirichlet",
    "extrapolated",
    "find_loss",
    "fit",
    "gains",
    "level",
    "localise",
    "log_good",
    "losses",
    "lottery",
    "lower_bound",
    "maxmin",
    "pessimistic",
    "rewards_batch",
    "route",
    "standing",
    "verdicts",
    "welfare",
]
