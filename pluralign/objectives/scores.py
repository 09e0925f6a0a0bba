"""The score of a policy objective: the reward it gives a response, reported as `rewards/*`."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from pluralign.likelihoods.numerics import Array
from pluralign.likelihoods.numerics import log_odds as _log_odds
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.values import Scores


def log_ratio(batch: PolicyBatch, *, beta: Array | float = 1.0, **_: Any) -> Scores:
    """Beta * sum over tokens of log pi / pi_ref (DPO's implicit reward)."""
    return beta * batch.log_ratio


def mean_log_ratio(batch: PolicyBatch, *, beta: Array | float = 1.0, **_: Any) -> Scores:
    """Beta * mean over tokens of log pi / pi_ref."""
    return beta * batch.mean_log_ratio


def total_logp(batch: PolicyBatch, *, beta: Array | float = 1.0, **_: Any) -> Scores:
    """Beta * sum over tokens of log pi."""
    return beta * batch.total_logp


def mean_logp(batch: PolicyBatch, *, beta: Array | float = 1.0, **_: Any) -> Scores:
    """Beta * mean over tokens of log pi."""
    return beta * batch.mean_logp


def log_odds(batch: PolicyBatch, **_: Any) -> Scores:
    """Log-odds of the per-token geometric-mean probability (ORPO); no temperature."""
    return Scores(_log_odds(batch.mean_logp.values))


def inverse_perplexity(batch: PolicyBatch, **_: Any) -> Scores:
    """Per-token geometric-mean probability (SimPER); no temperature."""
    return Scores(array_namespace(batch.logp).exp(batch.mean_logp.values))


def joint_log_ratio(batch: PolicyBatch, *, beta: Array | float = 1.0, **_: Any) -> Scores:
    """Beta * sum over tokens of prompt and response of log pi / pi_ref (DOVE)."""
    return beta * Scores(batch.known("joint_logp") - batch.known("ref_joint_logp"))
