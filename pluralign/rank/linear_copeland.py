"""Linear social choice: a ranking by weights on features that majorities and unanimous voters can accept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import OptionError
from pluralign.rank.least_norm import least_norm
from pluralign.rank.pairwise import Pairwise
from pluralign.rank.voting import copeland, win_share

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LinearRanking:
    """A ranking that one vector of weights makes.

    order: names, best first. weights: [d] such that scores, features times weights, fall by at least one from each
    item of the order to the next; the smallest such weights. copeland: [m] majorities won, in the order of the table.
    """

    order: list[str]
    weights: Array
    copeland: Array


def leximax_copeland(data: Any, features: Mapping[str, Sequence[float]], *, pareto: bool = True) -> LinearRanking:
    """The linear ranking that puts winners of many majorities on top, and never an item above one all prefer to it.

    Place by place, the item with the highest Copeland score that some weights can put there, given the places above
    and the pairs on which all voters agree. Fitting weights by any convex loss on votes, Bradley-Terry's among them,
    can go against a majority that is itself linear, or against everybody; this rule does not (Ge, Halpern, Micha,
    Procaccia, Shapira, Vorobeychik and Wu 2024).

    data: anything `Pairwise.of` takes, votes of many voters on all pairs. features: by item, numbers, as many for
    each. pareto: hold to the pairs on which all agree. Equal Copeland scores go by share of votes won, then by the
    order of items. Raises `OptionError` for items without features or with equal ones, and where no weights agree with
    unanimous voters, which cannot be if each voter's own ranking is linear.

    >>> features = {"a": [2.0, 1.0], "b": [1.0, 1.0], "c": [0.0, 0.0]}
    >>> leximax_copeland([["a", "b", "c"]] * 2 + [["c", "b", "a"]], features).order
    ['a', 'b', 'c']
    """
    table = Pairwise.of(data)
    x = _matrix(table.items, features)
    scores = copeland(table)
    order = np.lexsort((-np.nan_to_num(win_share(table)), -scores))
    agreed = (table.wins > 0) & (table.wins.T == 0) & (table.ties == 0) & pareto
    upper, lower = np.nonzero(agreed)
    fixed = x[upper] - x[lower]
    weights = least_norm(fixed, np.ones(len(fixed))) if len(fixed) else np.zeros(x.shape[1])
    if weights is None:
        raise OptionError(
            "no weights on these features agree with the pairs on which all voters agree; give more features, or "
            "pareto=False"
        )
    placed: list[int] = []
    left = [int(i) for i in order]
    while left:
        chosen, weights, fixed = _next(x, left, placed, weights, fixed)
        placed.append(chosen)
        left.remove(chosen)
    return LinearRanking([str(table.items[i]) for i in placed], weights, scores)


def _next(x: Array, left: list[int], placed: list[int], weights: Array, fixed: Array) -> tuple[int, Array, Array]:
    """The first of those left that weights can put next, such weights, and the differences they must keep."""
    above = np.vstack([fixed, x[placed[-1]] - x[left]]) if placed else fixed
    for item in left:
        others = [other for other in left if other != item]
        rows = np.vstack([above, x[item] - x[others]])
        reached = rows @ weights
        # Weights at hand often do; they only need to be as large as asked in the end.
        found = weights if len(others) and reached.min() >= 1 else least_norm(rows, np.ones(len(rows)))
        if found is not None:
            kept = np.vstack([fixed, x[placed[-1]] - x[item]]) if placed else fixed
            return item, found, kept
    raise OptionError(
        "no weights order the items that are left; two of them have features that differ by rounding only"
    )


def _matrix(items: Sequence[str], features: Mapping[str, Sequence[float]]) -> Array:
    missing = [item for item in items if item not in features]
    if missing:
        raise OptionError(f"features: there are none of '{missing[0]}'; give the same number for every item ranked")
    lengths = {len(features[item]) for item in items}
    if len(lengths) > 1:
        raise OptionError(f"features: items have {min(lengths)} to {max(lengths)} numbers; give each as many")
    x = np.array([[float(value) for value in features[item]] for item in items])
    if not np.isfinite(x).all():
        raise OptionError(f"features of '{items[int((~np.isfinite(x)).any(1).argmax())]}' are not all finite numbers")
    _, first, group = np.unique(x, axis=0, return_index=True, return_inverse=True)
    twin = np.flatnonzero(first[group.ravel()] != np.arange(len(x)))
    if len(twin):
        other = items[int(first[group.ravel()[twin[0]]])]
        raise OptionError(
            f"features of '{other}' and '{items[int(twin[0])]}' are equal, so no weights rank one above the other; "
            "rank one of them"
        )
    return x
