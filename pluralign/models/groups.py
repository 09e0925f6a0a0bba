"""Who the groups of a population are and what they like: shares, people, what sets them apart, in tables and words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pluralign.intervals import bootstrap, critical, score_intervals

if TYPE_CHECKING:
    from pathlib import Path

    from pluralign.models.answers import Answers
    from pluralign.models.population import Population

Array = NDArray[np.float64]
LEAST = 20
"""Answers, or people, on which a line of a table rests at least, inside the group and outside."""
RATE = ("value", "low", "high", "others", "gap", "gap_low", "gap_high")


@dataclass(frozen=True)
class Groups:
    """Who the groups are (`table`, `who`) and what they like (`likes`, `pairs`); `str` says it in words.

    table: group, share (mean weight) with low and high, people (whom it describes best), typical, and, where feedback
    was given, alike: the share of its people whom half of their answers puts there again. weights: [N, K].

    likes: a row a group and a thing: value, how often it was preferred by people of the group where the other side was
    another thing, or had less of it; low, high; others, the same among everybody else; gap between the two, with
    gap_low and gap_high, which hold for all rows at once; answers; people. who: the same for what is known of people:
    the share of the group of whom it is true. pairs: what the group prefers by its chance, where the others do least.
    All three None where no feedback was given, who also where nothing is known of people.
    """

    table: pl.DataFrame
    weights: Array
    likes: pl.DataFrame | None = None
    who: pl.DataFrame | None = None
    pairs: pl.DataFrame | None = None
    things: str = "items"
    """What a thing is: "items", or "marks" that a text has more of or less."""

    def apart(self, group: int, part: pl.DataFrame | None) -> pl.DataFrame:
        """Rows of `likes` or `who` in which a group differs from everybody else, surest first."""
        if part is None or not len(part) or part["gap"].null_count() == len(part):
            return pl.DataFrame(schema={"group": pl.Int64, "gap": pl.Float64})
        own = part.filter(pl.col("group") == group)
        own = own.filter((pl.col("gap_low") > 0) | (pl.col("gap_high") < 0))
        return own.sort(pl.col("gap").abs(), descending=True)

    def words(self) -> list[str]:
        """A paragraph for each group."""
        from pluralign.models.groups_words import paragraph

        return [paragraph(self, row) for row in self.table.iter_rows(named=True)]

    def __str__(self) -> str:
        return "\n\n".join(self.words())

    def plot(self) -> Any:
        """A picture: where people are, and what each group likes, in their own colours; who they are, if known."""
        from pluralign.models.groups_plot import picture

        return picture(self)

    def write(self, path: str | Path, title: str = "Groups") -> Path:
        """One self-contained HTML page with words, picture and tables. Raises `OptionError` for another ending."""
        from pluralign.models.groups_words import page

        return page(self, path, title)


def describe(model: Population, feedback: Any = None, people: Mapping[str, Mapping[str, Any]] | None = None) -> Groups:
    """Who the groups of a fitted population are, and, with feedback, what they like.

    feedback: what it was fitted to, or other answers of the same people. people: what is known of them, by name; what
    the feedback knows where left out. What a group likes is counted in one half of everybody's answers and who belongs
    to it told by the other half, so that nobody is put into a group by the answers that are then counted; pairs of one
    ranking follow from each other in part, and what follows is counted still. Who said one pair only is not counted.
    """
    table, weights = _table(model)
    if feedback is None:
        return Groups(table, weights)
    from pluralign.models.groups_things import known, telling, texts, things

    answers = model.read(feedback)
    judged = texts(model, feedback)
    signs, names, kind = things(model, answers, judged)
    group, place = _halves(model, answers)
    said = answers.probability.numpy()
    decided = (group >= 0) & (said != 0.5)
    sign = csr_array(signs.multiply(np.sign(said - 0.5)[:, None]))
    person = answers.person.numpy()
    likes = _likes(sign, person, np.where(decided, group, -1), weights.shape[1], names)
    alike = [
        float(np.mean(place[place[:, 0] == k, 1] == k)) if (place[:, 0] == k).any() else None for k in table["group"]
    ]
    table = table.with_columns(alike=pl.Series(alike, dtype=pl.Float64))
    attributes = known(feedback) if people is None else people
    best = dict(zip(model.people_, weights.argmax(1).tolist(), strict=True))
    who = _who(attributes, best, weights.shape[1]) if weights.shape[1] > 1 else None
    return Groups(table, weights, likes, who, telling(model, answers, judged), kind)


def _table(model: Population) -> tuple[pl.DataFrame, Array]:
    """A row a group, and everybody's weights; one row and weights of one where people do not belong to groups."""
    weights = model.weights_ if model.simplex else np.ones((len(model.people_), 1))
    middle = model._mean().double().numpy()
    near = weights if model.simplex else -((model.weights_ - middle) ** 2).sum(1, keepdims=True)
    best = near.argmax(1)
    rows = []
    for k in range(weights.shape[1]):
        nearest = np.argsort(-near[:, k], kind="stable")[:5]
        low, high = bootstrap(np.mean, weights[:, k])
        rows.append(
            {
                "group": k,
                "share": float(weights[:, k].mean()),
                "low": low,
                "high": high,
                "people": int((best == k).sum()),
                "typical": [model.people_[i] for i in nearest if best[i] == k],
            }
        )
    return pl.DataFrame(rows, schema_overrides={"typical": pl.List(pl.String)}), weights


@torch.no_grad()
def _halves(model: Population, answers: Answers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[n]: the group of whoever answered, by the other half of their answers, -1 where there is none; and [m, 2]: the
    group by all answers and by a half, of everybody by either half."""
    person, people = answers.person.numpy(), len(answers.people)
    if not model.simplex or model.weights_.shape[1] == 1:
        return np.zeros(len(answers), dtype=np.int64), np.zeros((people, 2), dtype=np.int64)
    ends = np.sort(np.stack([answers.left.numpy(), answers.right.numpy()]), 0)
    _, pair = np.unique(np.stack([person, *ends]), axis=1, return_inverse=True)
    _, first = np.unique(pair.ravel(), return_index=True)
    # Every other one of each person's pairs, in an order that is drawn.
    order = np.lexsort([np.random.default_rng(0).random(len(first)), person[first]])
    start = np.concatenate([[0], np.cumsum(np.bincount(person[first], minlength=people))[:-1]])
    half = np.empty(len(first), dtype=np.int64)
    half[order] = (np.arange(len(first)) - start[person[first][order]]) % 2
    half = half[pair.ravel()]
    corners = np.eye(model.weights_.shape[1])
    prior = np.log(np.maximum(model.weights_.mean(0), 1e-12))
    whole = model._posterior(answers, corners, prior).argmax(1)
    group, place = np.full(len(answers), -1), []
    for side in (0, 1):
        rows = np.flatnonzero(half == side)
        told = np.bincount(person[rows], minlength=people) > 0
        own = model._posterior(answers.take(rows), corners, prior).argmax(1)
        other = half != side
        group[other] = np.where(told, own, -1)[person[other]]
        both = told & (np.bincount(person[other], minlength=people) > 0)
        place.append(np.stack([whole, own], 1)[both])
    return group, np.concatenate(place)


def _likes(sign: Any, person: NDArray[Any], group: NDArray[Any], k: int, names: list[str]) -> pl.DataFrame:
    """How often each thing was on the preferred side, by group and among everybody else, with people as the units."""
    people = int(person.max()) + 1

    def rates(rows: NDArray[Any]) -> tuple[Array, ...]:
        at = np.flatnonzero(rows)
        whose = csr_array((np.ones(len(at)), (person[at], np.arange(len(at)))), shape=(people, len(at)))
        some = sign[at]
        wins, count = csr_array(whose @ (some > 0).astype(float)), csr_array(whose @ abs(some))
        return _ratio(wins, count)

    rows = []
    inside = [rates(group == j) for j in range(k)]
    rest = [rates((group >= 0) & (group != j)) if k > 1 else None for j in range(k)]
    enough = [
        i[2] >= LEAST if o is None else (i[2] >= LEAST) & (o[2] >= LEAST) for i, o in zip(inside, rest, strict=True)
    ]
    tried = max(1, int(sum(e.sum() for e in enough)))
    for j, (mine, theirs) in enumerate(zip(inside, rest, strict=True)):
        for at in np.flatnonzero(enough[j]):
            one = [part[at] for part in mine]
            row = {"group": j, "thing": names[at]} | _compared(
                one, None if theirs is None else [p[at] for p in theirs], tried
            )
            rows.append(row | {"answers": int(one[2]), "people": int(one[3])})
    kinds = {"group": pl.Int64, "thing": pl.String} | dict.fromkeys(RATE, pl.Float64)
    return pl.DataFrame(rows, schema=kinds | {"answers": pl.Int64, "people": pl.Int64})


def _ratio(wins: Any, count: Any) -> tuple[Array, ...]:
    """Rates [J] of wins over counts [N, J], sizes they are worth as independent ones, answers and people behind them.

    The size is divided by the design effect (linearised ratio estimator, as `intervals.clustered_wilson`); where every
    answer is alike it is that of the people.
    """
    n, who = np.asarray(count.sum(0)), np.asarray((count > 0).sum(0)).astype(float)
    p = np.asarray(wins.sum(0)) / np.maximum(n, 1)
    squares = [np.asarray(a.multiply(b).sum(0)) for a, b in ((wins, wins), (wins, count), (count, count))]
    left = squares[0] - 2 * p * squares[1] + p**2 * squares[2]
    variance = who / np.maximum(who - 1, 1) * left / np.maximum(n, 1) ** 2
    alone = p * (1 - p) / np.maximum(n, 1)
    effect = np.where(alone > 0, np.maximum(1, variance / np.maximum(alone, 1e-300)), n / np.maximum(who, 1))
    return p, n / np.maximum(effect, 1e-12), n, who


def _compared(one: Any, other: Any, tried: int) -> dict[str, float | None]:
    """A rate with its interval, and its gap to another's, whose interval holds for all that were tried at once.

    The gap's ends are Newcombe's (1998): those of the two rates, squared and added.
    """
    z, every = critical(0.95), critical(1 - 0.05 / tried)
    low, high = score_intervals(one[0] * one[1], one[1], z)
    row = dict.fromkeys(RATE, None) | {"value": float(one[0]), "low": float(low), "high": float(high)}
    if other is None:
        return row
    (a, b), (c, d) = (score_intervals(rate[0] * rate[1], rate[1], every) for rate in (one, other))
    gap = float(one[0] - other[0])
    down, up = np.hypot(one[0] - a, d - other[0]), np.hypot(b - one[0], other[0] - c)
    return row | {"others": float(other[0]), "gap": gap, "gap_low": gap - float(down), "gap_high": gap + float(up)}


def _who(attributes: Mapping[str, Mapping[str, Any]], best: Mapping[str, int], k: int) -> pl.DataFrame | None:
    """What is true of more, or fewer, of a group's people than of everybody else, where it is known."""
    from pluralign.models.groups_things import answered

    def sizes(names: set[str]) -> NDArray[np.int64]:
        return np.bincount([best[name] for name in names], minlength=k)

    lines = []
    for (attribute, value), (have, asked) in answered({n: attributes[n] for n in best if n in attributes}).items():
        true, of = sizes(have), sizes(asked)
        if true.sum() >= LEAST:
            enough = np.flatnonzero(np.minimum(of, of.sum() - of) >= LEAST)
            lines += [(int(j), attribute, value, true, of) for j in enough]
    rows = []
    for j, attribute, value, true, of in lines:
        counts = (true[j], of[j]), (true.sum() - true[j], of.sum() - of[j])
        one, other = ((x / n, float(n)) for x, n in counts)
        row = {"group": j, "attribute": attribute, "is": value} | _compared(one, other, len(lines))
        rows.append(row | {"people": int(of[j])})
    kinds = {"group": pl.Int64, "attribute": pl.String, "is": pl.String} | dict.fromkeys(RATE, pl.Float64)
    return pl.DataFrame(rows, schema=kinds | {"people": pl.Int64}) if rows else None
