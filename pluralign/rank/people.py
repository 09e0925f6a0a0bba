"""Models of rankings and of people, as leaderboards want them: fitted, with what they know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import OptionError
from pluralign.rank.crowd import Crowd
from pluralign.rank.estimator import Estimator
from pluralign.rank.graph import Graph
from pluralign.rank.mallows import Mallows
from pluralign.rank.mixture import Mixture
from pluralign.rank.over_time import built
from pluralign.rank.plackett_luce import PlackettLuce, above_graph
from pluralign.rank.rankings import Rankings
from pluralign.rank.uncertainty import LARGEST
from pluralign.rank.votes import Votes

Array = NDArray[np.float64]

OF_RANKINGS = ("plackett-luce", "mallows", "mixture")
OF_PEOPLE = ("crowd-bt", "temperature")
REPLICATES = 200


@dataclass(frozen=True)
class Fitted:
    """model: fitted. votes: what the board counts. graph: who can be compared. covariance: of scores, or None.
    interval: what it is. freedom: degrees of freedom of intervals, None for the normal ones. remarks: on this fit.
    logits: whether scores are differences of log-odds."""

    model: Estimator
    votes: Votes
    graph: Graph
    covariance: Array | None
    interval: str
    freedom: int | None
    remarks: list[str]
    logits: bool = True


def of_rankings(
    name: str,
    data: Any,
    *,
    ties: str | None,
    interval: str | None,
    cluster: str | None,
    weights: str,
    prior: float | None,
    seed: int,
    options: Mapping[str, Any],
) -> dict[str, Fitted]:
    """Fit one of `OF_RANKINGS` to anything `Rankings.of` takes; by taste for a mixture, else under an empty name.

    options: of the model itself, and `unranked` of `Rankings.of`. Raises `OptionError` for what it does not know.
    """
    options = dict(options)
    rankings = data if options.get("of") == "bradley-terry" else Rankings.of(data, options.pop("unranked", "recorded"))
    if cluster not in (None, "annotator"):
        raise OptionError(f"rankings are clustered by annotator or not at all, not by '{cluster}'")
    if name == "mixture":
        if ties is not None or prior is not None or weights != "votes":
            raise OptionError("a mixture takes no ties, prior or weights; its own options are k, of, most, ridge ...")
        return _mixture(rankings, interval, built(Mixture, {"seed": seed, **options}))
    people = None if cluster is None else rankings.annotator
    # Somebody who ranked once is a ranking; so is one whose author is not known.
    people = None if people is None or len(np.unique(people)) in (1, len(people)) else _alone(people)
    if name == "mallows":
        if ties is not None or prior is not None or weights != "votes":
            raise OptionError("mallows takes no ties, prior or weights: it sums over the orders of tied items")
        return {"": _mallows(rankings, interval, built(Mallows, {"seed": seed, **options}))}
    own = {"weights": weights, "virtual": prior} | ({} if ties is None else {"ties": ties})
    return {"": _plackett_luce(rankings, interval, people, built(PlackettLuce, {**own, **options}), seed)}


def of_people(
    name: str,
    votes: Votes,
    *,
    ties: str | None,
    interval: str | None,
    order: bool | float,
    prior: float | None,
    options: Mapping[str, Any],
) -> Fitted:
    """Fit one of `OF_PEOPLE`. options: of `Crowd`. Raises `OptionError` for what it does not know."""
    kind = _known(name, interval, "sandwich", "model", "none")
    own: dict[str, Any] = {
        "noise": "reliability" if name == "crowd-bt" else "temperature",
        "ties": ties or "davidson",
        "side": bool(order),
    }
    own |= {} if prior is None else {"virtual": prior}
    model: Crowd = built(Crowd, {**own, **options}).fit(votes)
    covariance = None if kind == "none" else model.covariance(kind)  # type: ignore[arg-type]
    said = {"none": "none", "model": "by the model's curvature", "sandwich": "sandwich, whole annotators as units"}[
        kind
    ]
    freedom = len(model.people_) - 1 if kind == "sandwich" and len(model.people_) > 1 else None
    return Fitted(model, votes, model.graph_, covariance, said, freedom, _remarks(model))


def _remarks(model: Crowd) -> list[str]:
    remarks = []
    if model.reliability_ is not None:
        low, middle, high = np.quantile(model.reliability_, [0, 0.5, 1])
        against = int((model.reliability_ < 0.5).sum())
        remarks.append(
            f"Of {len(model.people_):,} annotators, reliability from {low:.2f} to {high:.2f}, {middle:.2f} in the "
            f"middle; {against:,} say the opposite more often than not."
        )
    for trait, spread in model.spread_.items():
        remarks.append(f"Annotators' {trait} spreads by {spread:.2f} logits around {model.typical_[trait]:.2f}.")
    return remarks


def _known(name: str, interval: str | None, *kinds: str) -> str:
    """The interval asked for; the first that the model has where none is. Raises `OptionError` for another."""
    if interval is not None and interval not in kinds:
        raise OptionError(f"{name} has the intervals {', '.join(kinds)}, not '{interval}'")
    return interval or kinds[0]


def _alone(people: NDArray[np.int32]) -> NDArray[np.int32]:
    """Numbers of who ranked; everybody unknown is somebody else."""
    return np.where(people < 0, people.max() + 1 + np.arange(len(people)), people).astype(np.int32)


def _plackett_luce(
    rankings: Rankings, interval: str | None, people: NDArray[np.int32] | None, model: PlackettLuce, seed: int
) -> Fitted:
    model.fit(rankings)
    kind = _known("plackett-luce", interval, "sandwich", "model", "bootstrap", "none")
    freedom, covariance = None, None
    said = {"none": "none", "model": "by the model's curvature", "sandwich": "sandwich, rankings as units"}.get(
        kind, ""
    )
    if len(model.items_) > LARGEST:
        said = "none"
    elif kind == "bootstrap":
        covariance, said = _redrawn(model, rankings, people, seed)
    elif kind == "sandwich" and people is not None:
        freedom, said = len(np.unique(people)) - 1, "sandwich, rankings clustered by annotator"
        covariance = model.covariance("cluster", people)
    elif kind != "none":
        covariance = model.covariance(kind)
    remarks = _counted(rankings)
    units = len(rankings) if people is None else len(np.unique(people))
    if kind == "sandwich" and units < 2 * rankings.n:
        remarks.append(
            f"{units:,} units are few for a sandwich over {rankings.n:,} items, which is then too narrow; "
            "interval='model' is the safer one."
        )
    return Fitted(model, as_votes(rankings), model.graph_, covariance, said, freedom, remarks)


def _mallows(rankings: Rankings, interval: str | None, model: Mallows) -> Fitted:
    _known("mallows", interval, "none")
    model.fit(rankings)
    best = model.kemeny_
    remarks = _counted(rankings)
    remarks.append(
        f"The central order contradicts {best.cost:,.0f} of these votes"
        + (", and no order fewer." if best.exact else f"; no order fewer than {best.bound:,.0f}.")
    )
    remarks.append("Scores are places above the middle one. Pairs far apart in the order are the surer ones.")
    said = "none, for a central order has no standard errors"
    return Fitted(model, as_votes(rankings), above_graph(rankings), None, said, None, remarks, logits=False)


def _redrawn(model: PlackettLuce, rankings: Rankings, people: NDArray[np.int32] | None, seed: int) -> tuple[Array, str]:
    """Covariance of the scores of rankings drawn with replacement, people whole."""
    rng = np.random.default_rng(seed)
    drawn = np.empty((REPLICATES, rankings.n))
    again = PlackettLuce(
        ties=model.ties, solver=model.solver, weights=model.weights, virtual=model.virtual, ridge=model.ridge
    )
    weights = rankings.weights
    owner = None if people is None else np.unique(people, return_inverse=True)[1]
    for r in range(REPLICATES):
        if owner is None:
            weight = rng.multinomial(round(weights.sum()), weights / weights.sum()).astype(np.float64)
        else:
            groups = int(owner.max()) + 1
            weight = rng.multinomial(groups, np.full(groups, 1 / groups))[owner] * weights
        kept = weight > 0
        drawn[r] = again.fit(replace(rankings.where(kept), weight=weight[kept])).scores_
    unit = "rankings" if owner is None else "annotators, whole"
    return np.cov(drawn.T), f"bootstrap of {REPLICATES} replicates of {unit}"


def _mixture(data: Any, interval: str | None, model: Mixture) -> dict[str, Fitted]:
    kind = _known("mixture", interval, "sandwich", "model", "none")
    model.fit(data)
    said = model.data_.said
    votes = as_votes(said) if isinstance(said, Rankings) else said
    n, k = len(model.items_), len(model.shares_)
    covariance = None if kind == "none" or n * k > LARGEST else model.covariance(kind)  # type: ignore[arg-type]
    words = {"none": "none", "model": "by the observed information", "sandwich": "sandwich, people as units"}[kind]
    boards = {}
    for c, taste in enumerate(model.tastes_):
        block = None if covariance is None else covariance[c * n : (c + 1) * n, c * n : (c + 1) * n]
        remarks = [
            f"Votes are counted over all {len(model.people_):,} people, whichever taste they have.",
            *_chosen(model),
            *model.warnings_,
        ]
        name = f"taste {c + 1} ({model.shares_[c]:.0%})"
        boards[name] = Fitted(
            taste, votes, _whole(n), block, words if covariance is not None else "none", None, remarks
        )
    return boards


def _chosen(model: Mixture) -> list[str]:
    if model.held_out_ is None:
        return []
    tried = ", ".join(f"{row['k']}: {row['loss']:.4f}" for row in model.held_out_.iter_rows(named=True))
    return [
        f"{len(model.shares_)} is the fewest tastes whose log-loss on people left out is within one standard error of "
        f"the lowest (nats a person, by number of tastes: {tried})."
    ]


def _whole(n: int) -> Graph:
    """All items on one scale, as the ridge of each taste holds them."""
    zeros, no = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=bool)
    return Graph(zeros, zeros, no, no)


def _counted(rankings: Rankings) -> list[str]:
    total = rankings.weights.sum()
    return [f"{total:,.0f} rankings of {rankings.lengths.mean():.1f} items each; their pairs are counted as votes."]


def as_votes(rankings: Rankings) -> Votes:
    """Every pair of a ranking as a vote by somebody who is that ranking; candidates left below make no pair."""
    upper, lower, owner = rankings.above()
    a, b, ranking = rankings.ties()
    outcome = np.concatenate([np.zeros(len(upper)), np.full(len(a), 2)]).astype(np.int8)
    who = np.concatenate([owner, ranking]).astype(np.int32)
    return Votes(
        rankings.items,
        np.concatenate([upper, a]).astype(np.int32),
        np.concatenate([lower, b]).astype(np.int32),
        outcome,
        weight=None if rankings.weight is None else rankings.weights[who],
        annotator=who,
        annotators=[str(r + 1) for r in range(len(rankings))],
        dropped=rankings.dropped,
    )
