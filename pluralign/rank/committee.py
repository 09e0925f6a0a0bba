"""Choosing several items from rankings, with so many of each group at least."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.errors import OptionError
from pluralign.rank.rankings import Rankings

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Committee:
    """members: names, in the order they were chosen. score: by the rule. exact: whether none scores more."""

    members: list[str]
    score: float
    exact: bool


def committee(
    data: Any,
    size: int,
    rule: Literal["borda", "sntv", "bloc", "chamberlin-courant"] = "borda",
    *,
    groups: Mapping[str, str] | None = None,
    least: Mapping[str, int] | Literal["proportional"] = "proportional",
) -> Committee:
    """The `size` items that rankings give the most points together.

    rule: what a ranking gives: "borda", every member as many points as it has items below it, half of those level;
    "sntv" a point to its first; "bloc" a point to each of its first `size`; "chamberlin-courant" the Borda points of
    its best member alone, so that many voters have somebody they like. groups: of every item; where rankings under-rate
    a group, holding its number up recovers the better set (Boehmer, Celis, Huang, Mehrotra and Vishnoi 2023). least:
    members of each group at least; "proportional" is its share of the items times size, rounded down.

    Points of single members are added up exactly: no set within the bounds has more. Chamberlin-Courant is chosen
    member by member, which reaches at least 1 - 1/e of the best without groups, half of it with them. data: anything
    `Rankings.of` takes. Raises `OptionError` for sizes and bounds that cannot be met.

    >>> committee([["a", "b", "c", "d"]] * 3 + [["d", "c", "b", "a"]] * 2, 2).members
    ['a', 'b']
    >>> committee([["a", "b", "c", "d"]] * 3 + [["d", "c", "b", "a"]] * 2, 2, "chamberlin-courant").members
    ['a', 'd']
    """
    rankings = Rankings.of(data)
    if not 0 < size <= rankings.n:
        raise OptionError(f"a committee of {size:,} cannot be chosen from {rankings.n:,} items")
    if rule not in ("borda", "sntv", "bloc", "chamberlin-courant"):
        raise OptionError(f"there is no rule '{rule}'; take borda, sntv, bloc or chamberlin-courant")
    group, needed = _bounds(rankings, size, groups, least)
    points = _points(rankings, rule, size)
    weight = rankings.weights
    liked = np.zeros(len(rankings))
    alone = weight @ _points(rankings, "borda", size)
    free = np.ones(rankings.n, dtype=bool)
    members: list[int] = []
    score = 0.0
    while len(members) < size:
        # A member is possible if the seats after it still hold what every group lacks.
        spare = size - len(members) - int(needed.sum())
        possible = free & ((needed[group] > 0) | (spare > 0))
        gain = weight @ np.maximum(points - liked[:, None], 0) if rule == "chamberlin-courant" else weight @ points
        gain = np.where(possible, gain, -np.inf)
        best = np.flatnonzero(gain >= gain.max() - 1e-9 * max(1.0, abs(gain.max())))
        # Equal gains go by Borda points, then by the order of items.
        chosen = int(best[alone[best].argmax()])
        score += float(gain[chosen])
        members.append(chosen)
        free[chosen] = False
        needed[group[chosen]] = max(0, needed[group[chosen]] - 1)
        liked = np.maximum(liked, points[:, chosen])
    return Committee([str(rankings.items[i]) for i in members], score, rule != "chamberlin-courant" or size == 1)


def _bounds(
    rankings: Rankings, size: int, groups: Mapping[str, str] | None, least: Mapping[str, int] | str
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """[n] number of each item's group and how many of each group there must be."""
    if groups is None:
        return np.zeros(rankings.n, dtype=np.intp), np.zeros(1, dtype=np.int64)
    missing = [item for item in rankings.items if item not in groups]
    if missing:
        raise OptionError(f"groups: '{missing[0]}' is in none; give every item its group")
    count = Counter(groups[item] for item in rankings.items)
    names = sorted(count)
    wanted = {name: size * count[name] // rankings.n for name in names} if isinstance(least, str) else dict(least)
    for name, number in wanted.items():
        if not 0 <= number <= count[name]:
            raise OptionError(f"least: {number} of group '{name}' are asked for, which has {count[name]} items")
    if sum(wanted.values()) > size:
        raise OptionError(f"least: {sum(wanted.values())} members are asked for by groups, more than {size}")
    place = {name: i for i, name in enumerate(names)}
    return (
        np.array([place[groups[item]] for item in rankings.items], dtype=np.intp),
        np.array([wanted.get(name, 0) for name in names], dtype=np.int64),
    )


def _points(rankings: Rankings, rule: str, size: int) -> Array:
    """[R, n] what each ranking gives each item; nothing to items it does not hold."""
    starts, ends = rankings.blocks()
    owner = rankings.owner[starts]
    level = ends - starts
    below = rankings.offsets[1:][owner] - ends
    before = starts - rankings.offsets[:-1][owner]
    if rule == "sntv":
        each = np.where(before == 0, 1 / level, 0.0)
    elif rule == "bloc":
        each = np.clip((size - before) / level, 0, 1)
    else:
        # Candidates left below are in no order, so they are not level with each other either.
        unranked = rankings.unranked_below[owner] & (below == 0)
        each = below + np.where(unranked, 0.0, (level - 1) / 2)
    points = np.zeros((len(rankings), rankings.n))
    points[rankings.owner, rankings.flat] = np.repeat(each, level)
    return points


def biased_rankings(
    quality: ArrayLike, under_rated: ArrayLike, bias: float, voters: int, *, noise: float = 0.2, seed: int = 0
) -> Rankings:
    """Rankings by voters who see the quality of some items as less than it is.

    quality: [n] positive. under_rated: [n] whether an item's quality is multiplied by `bias` before it is ranked.
    Each voter sees every quality times a log-normal factor with this spread of its logarithm (0.2: about 20%).
    Items are named by their numbers.

    >>> biased_rankings([1.0, 2.0, 4.0], [False, False, True], 0.1, 1, noise=0.0).names(0)
    [['1'], ['0'], ['2']]
    """
    true, seen = np.asarray(quality, dtype=np.float64), np.asarray(under_rated, dtype=bool)
    if not (true > 0).all() or not bias > 0 or voters < 1:
        raise OptionError("qualities and bias are positive, and there is at least one voter")
    rng = np.random.default_rng(seed)
    utility = true * np.where(seen, bias, 1.0) * np.exp(noise * rng.normal(size=(voters, len(true))))
    n = len(true)
    return Rankings(
        [str(i) for i in range(n)],
        np.argsort(-utility, axis=1, kind="stable").astype(np.int32).ravel(),
        np.tile(np.arange(n, dtype=np.int32), voters),
        np.arange(voters + 1, dtype=np.int64) * n,
        np.zeros(voters, dtype=bool),
    )
