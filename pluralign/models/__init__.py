"""Score = a network over text or features; population = whose preference. Everything here imports torch."""

from pluralign.models.adapter import Adapter
from pluralign.models.answers import Answers
from pluralign.models.attribute_attention import AttributeAttention, attribute_effects, attributes
from pluralign.models.compositional import Compositional
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
from pluralign.models.few_shot import FewShot, InContext
from pluralign.models.fitting import Plurality, fit
from pluralign.models.heads import Conditioned, Head, extrapolated
from pluralign.models.hierarchical import Hierarchical, OwnReward
from pluralign.models.judged import Judged, rewards_batch
from pluralign.models.localise import Localised, dirichlet, localise
from pluralign.models.losses import find_loss, losses
from pluralign.models.meta import ContrastiveHead, MetaRewardModel, ahead, codes, contrast, spread, swapped
from pluralign.models.mixture import MixedRewards, MixtureModel
from pluralign.models.multi_source import MultiSource, min_norm
from pluralign.models.pairs import Categorical, GeneralPreference, MeanVariance, PairScore, Pairwise
from pluralign.models.peers import PeerReview
from pluralign.models.population import Population
from pluralign.models.preference_model import PreferenceModel
from pluralign.models.prompt_boards import aggregated, board, route
from pluralign.models.questions import Question, gains
from pluralign.models.reliability import ReliableModel
from pluralign.models.reward import Reward
from pluralign.models.reward_model import RewardModel
from pluralign.models.routed import RoutedMixture, RoutedRewards, hedge
from pluralign.models.saving import load
from pluralign.models.scores import IdealPoint, LowRank, Score, TwoTower
from pluralign.models.strength import Strength, ensemble
from pluralign.models.ties import Ties
from pluralign.models.variational import LatentReward, Variational

__all__ = [
    "Adapter",
    "Answers",
    "AttributeAttention",
    "Categorical",
    "Compositional",
    "Conditioned",
    "ContrastiveHead",
    "Features",
    "FewShot",
    "GeneralPreference",
    "Head",
    "Hierarchical",
    "IdealPoint",
    "InContext",
    "Judged",
    "LatentReward",
    "Localised",
    "LowRank",
    "MaxMin",
    "MeanVariance",
    "MetaRewardModel",
    "MixedRewards",
    "MixtureModel",
    "MultiSource",
    "OwnReward",
    "PairScore",
    "Pairwise",
    "PeerReview",
    "Plurality",
    "Population",
    "PreferenceModel",
    "Question",
    "ReliableModel",
    "Reward",
    "RewardModel",
    "RoutedMixture",
    "RoutedRewards",
    "Score",
    "Strength",
    "Ties",
    "TwoTower",
    "Variational",
    "aggregated",
    "ahead",
    "attribute_effects",
    "attributes",
    "board",
    "codes",
    "conjunction",
    "contrast",
    "dirichlet",
    "ensemble",
    "extrapolated",
    "find_loss",
    "fit",
    "gains",
    "hedge",
    "level",
    "load",
    "localise",
    "log_good",
    "losses",
    "lottery",
    "lower_bound",
    "maxmin",
    "min_norm",
    "pessimistic",
    "rewards_batch",
    "route",
    "spread",
    "standing",
    "swapped",
    "verdicts",
    "welfare",
]
