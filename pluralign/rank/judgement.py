"""Likelihood of single votes given who cast them, with first and second derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]

GAP, SHARPNESS, SIDE, TIE, TRUST = range(5)
"""What the likelihood of a vote depends on: the gap of scores s, log temperature's negative a, the side's bonus b, log
tie propensity t, and h, the log-odds of voting as the gap says rather than the other way round."""


@dataclass(frozen=True)
class Terms:
    """log: [N] log-likelihoods in nats; first: [N, 5] derivatives; second: [N, 5, 5]."""

    log: Array
    first: Array
    second: Array


def terms(z: Array, sign: Array, outcome: NDArray[np.int8], ties: bool, flips: bool) -> Terms:
    """Log-likelihood of votes from z [N, 5], by place as above.

    With d = exp(a) s + sign b, the votes left, right and tie have chances proportional to exp(d/2), exp(-d/2) and, with
    `ties`, exp(t) (Davidson 1970); with `flips` they have these with probability sigmoid(h) and otherwise those of -s
    (Chen, Bennett, Collins-Thompson and Horvitz 2013). sign: [N] +1 where the left item has the side's bonus, -1 where
    the right one has it. outcome: 0 left, 1 right, 2 tie.
    """
    right = _one(z, sign, outcome, ties, 1.0)
    if not flips:
        return right
    wrong = _one(z, sign, outcome, ties, -1.0)
    trust = expit(z[:, TRUST])
    # Log of sigmoid(h) and sigmoid(-h), that lose no digits where h is large.
    parts = np.stack([right.log - np.logaddexp(0, -z[:, TRUST]), wrong.log - np.logaddexp(0, z[:, TRUST])], 1)
    log = np.logaddexp(parts[:, 0], parts[:, 1])
    share = np.exp(parts - log[:, None])
    right.first[:, TRUST], wrong.first[:, TRUST] = 1 - trust, -trust
    first = np.zeros_like(z)
    second = np.zeros((*z.shape, z.shape[1]))
    for part, r in ((right, share[:, 0]), (wrong, share[:, 1])):
        part.second[:, TRUST, TRUST] = -trust * (1 - trust)
        first += r[:, None] * part.first
        second += r[:, None, None] * (part.second + part.first[:, :, None] * part.first[:, None])
    return Terms(log, first, second - first[:, :, None] * first[:, None])


def _one(z: Array, sign: Array, outcome: NDArray[np.int8], ties: bool, way: float) -> Terms:
    """Terms where the gap counts as it is (way 1) or turned round (way -1)."""
    steep = way * np.exp(z[:, SHARPNESS])
    own = steep * z[:, GAP]
    d = own + sign * z[:, SIDE]
    log_total = np.logaddexp(d / 2, -d / 2)
    tie = np.zeros(len(z))
    if ties:
        log_total = np.logaddexp(log_total, z[:, TIE])
        tie = np.exp(z[:, TIE] - log_total)
    left, right = np.exp(d / 2 - log_total), np.exp(-d / 2 - log_total)
    half = (left - right) / 2
    side = np.select([outcome == 0, outcome == 1], [0.5, -0.5], 0.0)
    tied = (outcome == 2).astype(np.float64)
    log = side * d + np.where(tied > 0, z[:, TIE], 0.0) - log_total
    # Derivatives by d and t of the logarithm, then of d by what makes it.
    by_d, by_t = side - half, np.where(ties, tied - tie, 0.0)
    dd, dt, tt = -((left + right) / 4 - half**2), tie * half, -tie * (1 - tie)
    pull = np.zeros_like(z)
    pull[:, GAP], pull[:, SHARPNESS], pull[:, SIDE] = steep, own, sign
    first = by_d[:, None] * pull
    first[:, TIE] = by_t
    second = dd[:, None, None] * pull[:, :, None] * pull[:, None]
    second[:, GAP, SHARPNESS] += by_d * steep
    second[:, SHARPNESS, GAP] += by_d * steep
    second[:, SHARPNESS, SHARPNESS] += by_d * own
    second[:, TIE, :] += dt[:, None] * pull
    second[:, :, TIE] += dt[:, None] * pull
    second[:, TIE, TIE] = tt
    return Terms(log, first, second)
