"""Scores in, what people say out: pure functions of arrays, no state, no I/O.

Written against the array API, so one function serves numpy arrays and torch tensors (with autograd) alike. A loss is
a negative log-likelihood, or what a paper puts in its place, of a margin `z` = score of the preferred response minus
score of the other.
"""

from pluralign.likelihoods.labels import debiased, expected
from pluralign.likelihoods.numerics import log1mexp, log_odds, sigmoid
from pluralign.likelihoods.pairwise import hinge, logistic, squared

__all__ = ["debiased", "expected", "hinge", "log1mexp", "log_odds", "logistic", "sigmoid", "squared"]
