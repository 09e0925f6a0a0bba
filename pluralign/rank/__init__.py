"""Score = a table entry: leaderboards from votes, ratings over time, social choice. numpy and scipy, no torch."""

from pluralign._callable import make_callable
from pluralign.rank.bradley_terry import BradleyTerry
from pluralign.rank.committee import Committee, biased_rankings, committee
from pluralign.rank.crowd import Crowd
from pluralign.rank.cyclicity import CyclicityTest, cyclicity_test
from pluralign.rank.dawid_skene import DawidSkene
from pluralign.rank.elo import Elo
from pluralign.rank.glicko2 import Glicko2
from pluralign.rank.grounded import GroundedRaoKupper
from pluralign.rank.hodge import HodgeRank
from pluralign.rank.leaderboard import Leaderboard
from pluralign.rank.linear_copeland import LinearRanking, leximax_copeland
from pluralign.rank.lottery import maximal_lottery
from pluralign.rank.mallows import Mallows
from pluralign.rank.measurements import rank_measurements
from pluralign.rank.mixture import Mixture
from pluralign.rank.newton import NotConverged
from pluralign.rank.next_pairs import next_pairs
from pluralign.rank.pairwise import Pairwise
from pluralign.rank.plackett_luce import PlackettLuce
from pluralign.rank.ranking import rank
from pluralign.rank.rankings import Rankings
from pluralign.rank.relative_confidence import matchups, relative_confidence, selective_auc
from pluralign.rank.robust_pca import RobustPCA
from pluralign.rank.social_choice import SocialChoice, social_choice
from pluralign.rank.trueskill import TrueSkill
from pluralign.rank.uniform_phantom import uniform_phantom
from pluralign.rank.votes import BOTH_BAD, LEFT, RIGHT, TIE, Counts, Votes
from pluralign.rank.whole_history import WholeHistory
from pluralign.rank.winrates import win_rates

__all__ = [
    "BOTH_BAD",
    "LEFT",
    "RIGHT",
    "TIE",
    "BradleyTerry",
    "Committee",
    "Counts",
    "Crowd",
    "CyclicityTest",
    "DawidSkene",
    "Elo",
    "Glicko2",
    "GroundedRaoKupper",
    "HodgeRank",
    "Leaderboard",
    "LinearRanking",
    "Mallows",
    "Mixture",
    "NotConverged",
    "Pairwise",
    "PlackettLuce",
    "Rankings",
    "RobustPCA",
    "SocialChoice",
    "TrueSkill",
    "Votes",
    "WholeHistory",
    "biased_rankings",
    "committee",
    "cyclicity_test",
    "leximax_copeland",
    "matchups",
    "maximal_lottery",
    "next_pairs",
    "rank",
    "rank_measurements",
    "relative_confidence",
    "selective_auc",
    "social_choice",
    "uniform_phantom",
    "win_rates",
]

make_callable(__name__)
