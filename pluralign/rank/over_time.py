"""Models of ratings that change, as leaderboards want them: fitted, with what they know and a history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pluralign.errors import OptionError
from pluralign.rank.elo import Elo
from pluralign.rank.estimator import Estimator
from pluralign.rank.glicko2 import Glicko2
from pluralign.rank.stream import VALUE, Stream, log_loss, timed
from pluralign.rank.trueskill import TrueSkill
from pluralign.rank.uncertainty import LARGEST
from pluralign.rank.votes import BOTH_BAD, TIE, Votes
from pluralign.rank.whole_history import WholeHistory

Array = NDArray[np.float64]

STREAMS: dict[str, type[Stream]] = {"elo": Elo, "glicko-2": Glicko2, "trueskill": TrueSkill}
MODELS = (*STREAMS, "whole-history")

MOMENTS = 200
"""Moments of a history, evenly over the time of the votes."""


@dataclass(frozen=True)
class Followed:
    """model: fitted. covariance: of its scores, with mean zero, and coefficients, or None. interval: what it is.
    curves: `item`, `time` (days), `logit`, `deviation` (null where unknown), or None where votes have no time."""

    model: Estimator
    votes: Votes
    covariance: Array | None
    interval: str
    curves: pl.DataFrame | None
    base: float
    remarks: list[str]


def over_time(
    name: str,
    votes: Votes,
    *,
    ties: str | None,
    both_bad: str,
    interval: str | None,
    order: bool | float,
    prior: float | None,
    options: Mapping[str, Any],
) -> Followed:
    """Fit one of `MODELS`. options: of the model itself. Raises `OptionError` for what it does not know."""
    if interval not in (None, "model", "none"):
        raise OptionError(f"{name} has a belief of its own about each rating: interval is 'model' or 'none'")
    followed = (
        _whole_history(votes, ties or "davidson", both_bad, order, prior, options)
        if name == "whole-history"
        else _stream(name, votes, ties, both_bad, order, prior, options)
    )
    return replace(followed, covariance=None, interval="none") if interval == "none" else followed


def built(kind: type[Any], options: Mapping[str, Any]) -> Any:
    """A model with these options. Raises `OptionError` for one that it does not have."""
    known = list(signature(kind).parameters)
    for option in options:
        if option not in known:
            raise OptionError(f"{kind.__name__} has no option '{option}'; it has {', '.join(known)}")
    return kind(**options)


def _stream(
    name: str,
    votes: Votes,
    ties: str | None,
    both_bad: str,
    order: bool | float,
    prior: float | None,
    options: Mapping[str, Any],
) -> Followed:
    if order is True:
        raise OptionError(f"{name} does not estimate the worth of being first: give it (order=60) or use whole-history")
    if prior is not None:
        raise OptionError(f"{name} has no prior of virtual wins; where items start is an option of the model")
    if ties not in ((None, "drop") if name == "trueskill" else (None, "half", "drop")):
        raise OptionError(f"{name} has its own way with ties; leave them to it, or drop them: ties='drop'")
    keep = np.ones(len(votes), dtype=bool)
    if ties == "drop":
        keep &= votes.outcome < TIE
    if both_bad == "drop":
        keep &= votes.outcome != BOTH_BAD
    votes = votes if keep.all() else votes.where(keep)
    options = {**options, "order": float(order)} if order else options
    if name == "trueskill" and "draws" not in options:
        options = {**options, "draws": min(float((votes.outcome >= TIE).mean()), 0.9)}
    model = built(STREAMS[name], options)
    curves, expected = _followed(model, votes)
    loss = log_loss(expected, VALUE[votes.outcome], votes.weight)
    remarks = [
        f"Every vote was predicted before it was seen, at a log-loss of {loss:.4f} nats a vote, a tie being half a win "
        f"each ({np.log(2):.4f} is guessing)."
    ]
    if curves is None:
        remarks.append("The votes have no time and were taken in the order of the table, on which the ratings depend.")
    covariance, interval = None, f"none, for {name} does not say how sure it is"
    deviations = model.logit_deviations_
    if deviations is not None and len(deviations) <= LARGEST:
        covariance, interval = _centred(np.diag(deviations**2)), "by the model's own belief, items independent"
    return Followed(model, votes, covariance, interval, curves, float(model.logits_.mean()), remarks)


def _followed(model: Stream, votes: Votes) -> tuple[pl.DataFrame | None, Array]:
    """Ratings at `MOMENTS` times, of items that had votes by then, and what was expected before each vote [N]."""
    if votes.days is None:
        return None, model.fit(votes).expected_
    # What the models do not look at would only be copied around.
    bare = replace(votes, extra=None, annotator=None, prompt=None)
    days = timed(votes)
    edges = np.linspace(days.min(), days.max(), MOMENTS)
    span = np.searchsorted(edges, days)
    expected = np.empty(len(votes))
    seen = np.zeros(len(votes.items), dtype=bool)
    who, when, logits, deviations = [], [], [], []
    for number in np.unique(span):
        inside = span == number
        part = bare.where(inside)
        model.update(part)
        expected[inside] = model.expected_
        seen[part.left] = seen[part.right] = True
        here, spread = np.flatnonzero(seen), model.logit_deviations_
        who.append(here)
        when.append(np.full(len(here), edges[number]))
        logits.append(model.logits_[here])
        deviations.append(np.full(len(here), np.nan) if spread is None else spread[here])
    curves = {
        "item": np.array(model.items_, dtype=object)[np.concatenate(who)],
        "time": np.concatenate(when),
        "logit": np.concatenate(logits),
        "deviation": np.concatenate(deviations),
    }
    return pl.DataFrame(curves, schema_overrides={"item": pl.String}).with_columns(
        pl.col("deviation").fill_nan(None)
    ), expected


def _whole_history(
    votes: Votes, ties: str, both_bad: str, order: bool | float, prior: float | None, options: Mapping[str, Any]
) -> Followed:
    own = {"ties": ties, "both_bad": both_bad, "order": bool(order), "virtual": 1.0 if prior is None else prior}
    model: WholeHistory = built(WholeHistory, {**own, **options}).fit(votes)
    assert votes.days is not None
    edges = np.linspace(votes.days.min(), votes.days.max(), MOMENTS)
    born = np.full(len(votes.items), np.inf)
    for side in (votes.left, votes.right):
        np.minimum.at(born, side, votes.days)
    curves = pl.concat(
        model.curve(item, edges[edges >= start]).select(
            pl.lit(item).alias("item"), "time", logit="rating", deviation="deviation"
        )
        for item, start in zip(votes.items, born, strict=True)
        if np.isfinite(start)
    )
    covariance, interval = None, "none"
    if len(votes.items) <= LARGEST:
        covariance, interval = _centred(model.last_covariance(), len(votes.items)), "by the curvature of the posterior"
        if not model.joint_:
            interval += ", differences taken as independent, which can only widen them"
    return Followed(model, votes, covariance, interval, curves, float(model.logits_.mean()), [])


def _centred(covariance: Array, n: int | None = None) -> Array:
    """Of scores less their mean; n: how many of the rows are scores."""
    n = len(covariance) if n is None else n
    made = covariance.copy()
    made[:n] -= made[:n].mean(0)
    made[:, :n] -= made[:, :n].mean(1, keepdims=True)
    return made
