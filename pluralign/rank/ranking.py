"""`rank`: votes in, a leaderboard out that says what it knows and what it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri

from pluralign.errors import OptionError
from pluralign.rank.bootstrap import bootstrap
from pluralign.rank.bradley_terry import BradleyTerry
from pluralign.rank.estimator import Estimator
from pluralign.rank.graph import Graph, graph
from pluralign.rank.leaderboard import ELO, Leaderboard
from pluralign.rank.over_time import MODELS, Followed, over_time
from pluralign.rank.people import OF_PEOPLE, OF_RANKINGS, Fitted, of_people, of_rankings
from pluralign.rank.scan import scan
from pluralign.rank.uncertainty import LARGEST
from pluralign.rank.vote_sources import RANKING
from pluralign.rank.votes import TIE, Votes, encoded

Array = NDArray[np.float64]


def rank(
    data: Any,
    model: Literal[
        "bradley-terry",
        "thurstone",
        "plackett-luce",
        "mallows",
        "mixture",
        "crowd-bt",
        "temperature",
        "elo",
        "glicko-2",
        "trueskill",
        "whole-history",
    ] = "bradley-terry",
    *,
    ties: Literal["davidson", "rao-kupper", "half", "drop", "orders", "davidson-luce"] | None = None,
    interval: Literal["sandwich", "model", "bootstrap", "none"] | None = None,
    cluster: str | None = "annotator",
    anchor: str | Mapping[str, float] | None = None,
    scale: Literal["elo", "score"] | None = None,
    prior: float | None = None,
    order: bool | float = False,
    covariates: Sequence[str] = (),
    by: str | None = None,
    weights: Literal["votes", "importance", "inverse-pair", "strength"] = "votes",
    both_bad: Literal["tie", "drop"] = "tie",
    columns: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    level: float = 0.95,
    seed: int = 0,
    **options: Any,
) -> Any:
    """A leaderboard of whatever the votes compare.

    data, columns, labels: see `Votes.of`. model, ties, order, covariates, weights, both_bad: see `BradleyTerry`; ties
    are Davidson's by default, half wins for Thurstone. Models of ratings that change are "elo", "glicko-2" and
    "trueskill", which take votes in their order, and "whole-history", which needs times (see `Elo`, `Glicko2`,
    `TrueSkill`, `WholeHistory`; options: theirs); their boards have a `history`. Models of
    rankings are "plackett-luce", "mallows" and "mixture" (of tastes: a dict of boards), of anything `Rankings.of` takes
    (see `PlackettLuce`, `Mallows`, `Mixture`; options: theirs, and `unranked`); models of annotators are "crowd-bt" and
    "temperature" (see `Crowd`). interval: how errors are found;
    "sandwich", the default of models that do not change, stays right where the model is not quite. cluster: votes that
    share an "annotator", a "prompt" or a value of another column are not independent, and intervals are widened for it
    where the votes say who cast them; None takes votes as independent. anchor: an item that gets a rating of 1000, or
    `{item: rating}`; without one ratings average 1000. scale: "elo" (400 points are odds of ten to one) or "score", the
    model's own unit. prior: virtual wins and losses of every item against one of average strength; None only where
    votes leave a score infinite. by: one leaderboard for every value of this column, in a dict. level: of intervals.
    seed: of the bootstrap.

    Returns a `Leaderboard`. Raises `FeedbackError`, `OptionError` and `NotConverged`.

    >>> board = rank({"model_a": ["x", "y", "x"], "model_b": ["y", "x", "y"], "winner": ["model_a"] * 3})
    >>> board.table["item"].to_list()
    ['x', 'y']
    """
    if model in OF_RANKINGS:
        if by is not None or order or covariates or both_bad != "tie":
            raise OptionError(f"{model} is for rankings, which have no sides, columns or verdicts; take bradley-terry")
        source = Votes.of(data, columns, labels) if columns or labels or options.get("of") == "bradley-terry" else data
        boards = {
            name: _board(fitted, anchor, scale, level)
            for name, fitted in of_rankings(
                model,
                source,
                ties=ties,
                interval=interval,
                cluster=cluster,
                weights=weights,
                prior=prior,
                seed=seed,
                options=options,
            ).items()
        }
        return boards if model == "mixture" else boards[""]
    alike = by is None and not order and not covariates and weights == "votes" and model not in (*MODELS, *OF_PEOPLE)
    votes = (scan(data, columns, labels) if alike else None) or Votes.of(data, columns, labels)
    if by is not None:
        return {
            value: rank(
                part,
                model,
                ties=ties,
                interval=interval,
                cluster=cluster,
                anchor=anchor,
                scale=scale,
                prior=prior,
                order=order,
                covariates=covariates,
                weights=weights,
                both_bad=both_bad,
                level=level,
                seed=seed,
                **options,
            )
            for value, part in _parts(votes, by).items()
        }
    if model in MODELS:
        if covariates or weights != "votes":
            raise OptionError(f"{model} takes neither covariates nor other weights; take bradley-terry")
        followed = over_time(
            model,
            votes,
            ties=ties,
            both_bad=both_bad,
            interval=interval,
            order=order,
            prior=prior,
            options=options,
        )
        return _moving(followed, anchor, scale, level)
    if model in OF_PEOPLE:
        if covariates or weights != "votes" or both_bad != "tie" or cluster not in (None, "annotator"):
            raise OptionError(f"{model} takes no covariates, weights, both_bad or clusters; take bradley-terry")
        person = of_people(model, votes, ties=ties, interval=interval, order=order, prior=prior, options=options)
        return _board(person, anchor, scale, level)
    if model not in ("bradley-terry", "thurstone"):
        known = ", ".join((*OF_RANKINGS, *OF_PEOPLE, *MODELS))
        raise OptionError(f"there is no model '{model}'; take bradley-terry, thurstone, {known}")
    if options:
        raise OptionError(f"there is no option '{next(iter(options))}' of rank, nor of {model}")
    if not isinstance(order, bool):
        raise OptionError(f"{model} estimates what being first is worth: order=True")
    if ties in ("orders", "davidson-luce"):
        raise OptionError(f"ties='{ties}' is for rankings: model='plackett-luce'")
    thurstone = model == "thurstone"
    fitted = BradleyTerry(
        link="probit" if thurstone else "logit",
        ties=ties or ("half" if thurstone else "davidson"),  # type: ignore[arg-type]
        both_bad=both_bad,
        order=order,
        covariates=covariates,
        weights=weights,
        virtual=prior,
    ).fit(votes)
    if scale == "elo" and thurstone:
        raise OptionError(
            "the elo scale is made of logits; thurstone's scores are on a scale of their own: scale='score'"
        )
    groups, grouped_by = _clusters(votes, cluster)
    covariance, kind = _covariance(fitted, interval or "sandwich", groups, seed)
    if groups is not None and kind != "none":
        kind += f", votes clustered by {grouped_by}"
    unit, origin = _unit(not thurstone, scale)
    freedom = None if groups is None else len(np.unique(groups)) - 1
    held = _anchored(fitted, fitted.graph_, anchor, origin)
    remarks = []
    if votes.column(RANKING) is not None:
        narrow = kind != "none" and groups is None
        remarks.append(
            "The votes are the pairs of rankings, which model='plackett-luce' takes whole"
            + ("; pairs of one ranking are not independent, and these intervals are too narrow." if narrow else ".")
        )
    return Leaderboard(fitted, votes, fitted.graph_, covariance, kind, unit, *held, level, freedom, remarks=remarks)


def _unit(logits: bool, scale: str | None) -> tuple[float, float]:
    """What a unit of score is on the board, and where its average lies."""
    return (ELO, 1000.0) if logits and scale != "score" else (1.0, 0.0)


def _board(fitted: Fitted, anchor: str | Mapping[str, float] | None, scale: str | None, level: float) -> Leaderboard:
    if scale == "elo" and not fitted.logits:
        raise OptionError("the elo scale is made of logits, and these scores are not: scale='score'")
    unit, origin = _unit(fitted.logits, scale)
    return Leaderboard(
        fitted.model,
        fitted.votes,
        fitted.graph,
        fitted.covariance,
        fitted.interval,
        unit,
        *_anchored(fitted.model, fitted.graph, anchor, origin),
        level,
        fitted.freedom,
        remarks=fitted.remarks,
    )


def _moving(
    followed: Followed, anchor: str | Mapping[str, float] | None, scale: str | None, level: float
) -> Leaderboard:
    model, votes = followed.model, followed.votes
    counts = votes.counts()
    won = np.column_stack([counts.won[:, :TIE], counts.won[:, TIE:].sum(1)])
    found = graph(len(votes.items), counts.low, counts.high, won)
    unit, origin = _unit(True, scale)
    origin, held = _anchored(model, found, anchor, origin)
    history = followed.curves
    if history is not None:
        base = followed.base + (0.0 if held is None else model.scores_[held])
        half = unit * float(-ndtri((1 - level) / 2)) * pl.col("deviation")
        rating = origin + unit * (pl.col("logit") - base)
        time = pl.from_epoch((pl.col("time") * 86_400e6).cast(pl.Int64), "us") if votes.dated else pl.col("time")
        history = history.select("item", time, rating=rating, low=rating - half, high=rating + half)
    return Leaderboard(
        model,
        votes,
        found,
        followed.covariance,
        followed.interval,
        unit,
        origin,
        held,
        level,
        None,
        history,
        followed.remarks,
    )


def _parts(votes: Votes, by: str) -> dict[str, Votes]:
    column = votes.column(by)
    values = None if column is None else column.cast(pl.String)
    if by == "annotator" and votes.annotator is not None:
        values = pl.Series([votes.annotators[i] if i >= 0 else None for i in votes.annotator], dtype=pl.String)
    if values is None:
        known = ", ".join([*(votes.extra.columns if votes.extra is not None else []), "annotator"])
        raise OptionError(f"there is no column '{by}' to rank by; there are {known}")
    parts = {}
    for value in sorted(values.drop_nulls().unique().to_list()):
        part = votes.where((values == value).fill_null(False).to_numpy())
        # Only the items that took part, so that those without a vote are not ranked.
        parts[value] = part.renumbered([votes.items[i] for i in np.union1d(part.left, part.right)])
    return parts


def _clusters(votes: Votes, cluster: str | None) -> tuple[NDArray[np.int32] | None, str]:
    """A number for every vote, where the votes know what they share."""
    if cluster is None:
        return None, ""
    if cluster in ("annotator", "prompt"):
        found = votes.annotator if cluster == "annotator" else votes.prompt
        if found is None and cluster == "annotator":
            rankings = votes.column(RANKING)
            # A ranking that stands for many is as many clusters, which its votes do not tell apart.
            if rankings is None or votes.weight is not None:
                return None, ""
            return (rankings.to_numpy().astype(np.int32), "ranking") if rankings.n_unique() > 1 else (None, "")
        if found is None:
            raise OptionError("the votes do not say which prompt they were cast on; name another cluster, or none")
        groups = found
    elif (column := votes.column(cluster)) is not None:
        groups = encoded(column.cast(pl.String))[1]
    else:
        raise OptionError(f"there is no column '{cluster}' to cluster votes by")
    # A vote whose annotator is not known stands for itself.
    groups = np.where(groups < 0, groups.max() + 1 + np.arange(len(groups)), groups).astype(np.int32)
    return (groups, cluster) if len(np.unique(groups)) > 1 else (None, "")


def _covariance(
    fitted: BradleyTerry, interval: str, groups: NDArray[np.int32] | None, seed: int
) -> tuple[Array | None, str]:
    if interval == "none":
        return None, "none"
    if interval == "bootstrap":
        return np.cov(bootstrap(fitted, 1000, seed, groups).T), "bootstrap of 1,000 replicates"
    if interval not in ("sandwich", "model"):
        raise OptionError(f"there is no interval '{interval}'; take sandwich, model, bootstrap or none")
    if len(fitted.items_) > LARGEST:
        return None, "none"
    if interval == "model":
        return fitted.covariance("model"), "by the model's curvature"
    return fitted.covariance("cluster" if groups is not None else "sandwich", groups), "sandwich"


def _anchored(
    fitted: Estimator, graph: Graph, anchor: str | Mapping[str, float] | None, origin: float
) -> tuple[float, int | None]:
    if anchor is None:
        return origin, None
    (name, rating) = (anchor, origin) if isinstance(anchor, str) else next(iter(anchor.items()))
    if len(set(graph.component)) > 1:
        raise OptionError("an anchor holds one scale, and these votes make several groups that cannot be compared")
    return float(rating), int(fitted.index(name))
