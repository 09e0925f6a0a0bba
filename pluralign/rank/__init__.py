"""Score = a table entry: leaderboards from votes, ratings over time, social choice. numpy and scipy, no torch."""

from pluralign.rank.bradley_terry import BradleyTerry
from pluralign.rank.newton import NotConverged
from pluralign.rank.votes import BOTH_BAD, LEFT, RIGHT, TIE, Counts, Votes

__all__ = ["BOTH_BAD", "LEFT", "RIGHT", "TIE", "BradleyTerry", "Counts", "NotConverged", "Votes"]
