"""Scores in, what people say out: pure functions of arrays, no state, no I/O.

Written against the array API, so one function serves numpy arrays and torch tensors (with autograd) alike. A loss is
a negative log-likelihood, or what a paper puts in its place, of a margin `z` = score of the preferred response minus
score of the other.
"""

from pluralign.likelihoods.labels import debiased, expected, mislabelled
from pluralign.likelihoods.lists import (
    choice,
    lambda_weights,
    log_softmax,
    outside_option,
    pair_sum,
    plackett_luce,
    rank_list,
)
from pluralign.likelihoods.numerics import log1mexp, log_odds, logsumexp, sigmoid
from pluralign.likelihoods.pairwise import (
    box_cox,
    davidson,
    exponential,
    grounded_rao_kupper,
    hinge,
    logistic,
    rao_kupper,
    savage,
    smooth_hinge,
    squared,
    squared_hinge,
)

__all__ = [
    "box_cox",
    "choice",
    "davidson",
    "debiased",
    "expected",
    "exponential",
    "grounded_rao_kupper",
    "hinge",
    "lambda_weights",
    "log1mexp",
    "log_odds",
    "log_softmax",
    "logistic",
    "logsumexp",
    "mislabelled",
    "outside_option",
    "pair_sum",
    "plackett_luce",
    "rank_list",
    "rao_kupper",
    "savage",
    "sigmoid",
    "smooth_hinge",
    "squared",
    "squared_hinge",
]
