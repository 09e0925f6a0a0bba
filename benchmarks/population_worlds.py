"""Simulated people whose tastes are known: one world for each idea of what makes people differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pluralign.models import Answers

Array = NDArray[np.float64]
MOST, TEST, POOL = 20, 40, 100
"""Answers of a new person that may be used, those foretold after them, and questions that may be asked of them."""


@dataclass(frozen=True)
class People:
    """answers, test: of the same people. group: [N], by which the worst group is found."""

    answers: Answers
    test: Answers
    group: NDArray[np.int64]

    def few(self, m: int) -> Answers:
        """Everybody's first m answers."""
        person = self.answers.person.numpy()
        place = np.arange(len(person)) - np.searchsorted(person, person)
        return self.answers.take(np.flatnonzero(place < m))


@dataclass(frozen=True)
class World:
    """seen: people to fit on. new: others, with 20 answers each. groups: how many tastes there are, or directions.

    pool: what the new ones would answer to 100 other questions each.
    """

    groups: int
    seen: People
    new: People
    pool: Answers
    attributes: int = 0


Utility = Callable[[NDArray[np.int64], Array, NDArray[np.int64]], Array]
"""Person [n], features [n, D] and kind of prompt [n] -> [n] utilities."""


def draw(
    random: np.random.Generator,
    groups: int,
    seen: NDArray[np.int64],
    new: NDArray[np.int64],
    size: int,
    utility: Utility,
    *,
    each: int = 40,
    noise: bool = True,
    prompts: bool = False,
    attributes: int = 0,
) -> World:
    """People seen answer `each` questions. seen, new: [N], groups of people, who are numbered through."""

    def told(first: int, people: int, often: int) -> Answers:
        person = np.repeat(np.arange(people), often)
        left, right = random.normal(size=(2, len(person), size))
        kind = random.integers(0, 2, len(person))
        z = utility(first + person, left, kind) - utility(first + person, right, kind)
        won = random.random(len(z)) < 1 / (1 + np.exp(-z)) if noise else z > 0
        names = [f"p{first + i:03d}" for i in person]
        asked = np.eye(2)[kind] if prompts else None
        return Answers.of(left, right, won.astype(float), names, prompt=asked)

    n = len(seen)
    return World(
        groups,
        People(told(0, n, each), told(0, n, TEST), seen),
        People(told(n, len(new), MOST), told(n, len(new), TEST), new),
        told(n, len(new), POOL),
        attributes,
    )


def ideal(seed: int) -> World:
    """PAL-A: three ideal points in an unknown plane of 4 dimensions out of 8; no noise."""
    random = np.random.default_rng([1, seed])
    place, points = random.normal(size=(8, 4)) / 8**0.5, random.normal(size=(3, 4))
    group = np.arange(80) % 3
    return draw(
        random, 3, group[:40], group[40:], 8, lambda p, x, _: -((x @ place - points[group[p]]) ** 2).sum(1), noise=False
    )


def length(seed: int) -> World:
    """PAL's TL;DR study: length is all there is; 7 people like it and 3 do not; of 35 new ones 22 do."""
    random = np.random.default_rng([2, seed])
    seen = np.isin(np.arange(10), (3, 4, 5)).astype(int)
    new = (np.arange(35) >= 22).astype(int)
    group = np.r_[seen, new]
    return draw(random, 2, seen, new, 1, lambda p, x, _: x[:, 0] * (1 - 2 * group[p]), each=60, noise=False)


def prompt(seed: int) -> World:
    """PAL-B: one group likes long answers when asked to explain, the other when asked for a list; else short ones."""
    random = np.random.default_rng([3, seed])
    group = np.arange(60) % 2
    return draw(
        random,
        2,
        group[:30],
        group[30:],
        3,
        lambda p, x, kind: x[:, 0] * np.where(kind == group[p], 1, -1),
        each=60,
        noise=False,
        prompts=True,
    )


def bimodal(seed: int) -> World:
    """VPL: two types of people want to be at two opposite goals of a plane; two further features are idle."""
    random = np.random.default_rng([4, seed])
    group = np.arange(100) % 2
    angle = random.uniform(0, 2 * np.pi)
    goals = 1.5 * np.array([[np.cos(angle), np.sin(angle)], [-np.cos(angle), -np.sin(angle)]])
    return draw(
        random, 2, group[:60], group[60:], 4, lambda p, x, _: -3 * np.linalg.norm(x[:, :2] - goals[group[p]], axis=1)
    )


def goals(seed: int, seen: int = 120) -> World:
    """FSPO: people are diverse, each consistent: everybody has a goal of their own on a circle."""
    random = np.random.default_rng([5, seed])
    wanted, group = around(random, seen + 40)
    return draw(
        random,
        4,
        group[:seen],
        group[seen:],
        4,
        lambda p, x, _: -3 * np.linalg.norm(x[:, :2] - 1.5 * wanted[p], axis=1),
        each=30,
    )


def bends(seed: int, seen: int = 120) -> World:
    """VPL and FSPO: everybody weighs two rewards in their own way, waves of one feature each: no ideal points."""
    random = np.random.default_rng([13, seed])
    weighed, group = around(random, seen + 40)
    return draw(
        random,
        4,
        group[:seen],
        group[seen:],
        4,
        lambda p, x, _: 3 * (weighed[p] * np.sin(2 * x[:, :2])).sum(1),
        each=30,
    )


def around(random: np.random.Generator, people: int) -> tuple[Array, NDArray[np.int64]]:
    """Points [N, 2] anywhere on the unit circle, and the quarter each lies in."""
    angle = random.uniform(0, 2 * np.pi, people)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1), (4 * angle / (2 * np.pi)).astype(int)


def low_rank(seed: int) -> World:
    """LoRe: rewards linear in 50 features, each person's a mixture of five directions with Dirichlet weights."""
    random = np.random.default_rng([6, seed])
    directions, weights = random.normal(size=(5, 50)), random.dirichlet(np.full(5, 0.5), 160)
    group = weights.argmax(1)
    return draw(
        random, 5, group[:120], group[120:], 50, lambda p, x, _: ((weights[p] @ directions) * x).sum(1), noise=False
    )


def minority(seed: int) -> World:
    """MaxMin: nine people in ten share a reward linear in 6 features, the tenth has its opposite."""
    random = np.random.default_rng([7, seed])
    theta, group = random.normal(size=6), (np.arange(100) % 10 == 9).astype(int)
    return draw(random, 2, group[:60], group[60:], 6, lambda p, x, _: (x @ theta) * (1 - 2 * group[p]))


def routed(seed: int) -> World:
    """MiCRo: two rewards; the prompt makes the one or the other four times likelier, and people lean to one too."""
    random = np.random.default_rng([8, seed])
    theta = 3 * np.linalg.qr(random.normal(size=(6, 2)))[0].T
    lean = random.random(60)
    group = (lean > 0.5).astype(int)

    def utility(person: NDArray[np.int64], x: Array, kind: NDArray[np.int64]) -> Array:
        # Which reward decides is drawn for the question, hence the same for both sides of it.
        odds = np.where(kind == 1, 4.0, 0.25) * lean[person] / (1 - lean[person])
        first = np.random.default_rng(len(person) + seed).random(len(person)) < odds / (1 + odds)
        return np.where(first, x @ theta[0], x @ theta[1])

    return draw(random, 2, group[:30], group[30:], 6, utility, each=60, prompts=True)


def communities(seed: int) -> World:
    """PrefPalette: six communities share a taste in content; each likes one of five attributes and dislikes another."""
    random = np.random.default_rng([9, seed])
    theta = np.zeros((12, 8))
    theta[:, :3] = random.normal(size=3)
    for own in theta:
        likes, dislikes = 3 + random.choice(5, 2, replace=False)
        own[likes], own[dislikes] = 2.0, -2.0
    group = np.arange(12)
    return draw(random, 6, group[:6], group[6:], 8, lambda p, x, _: (x * theta[p]).sum(1), each=300, attributes=5)


def crowd(seed: int) -> World:
    """Hierarchical: everybody is the crowd, in 10 features, and a normal deviation of a person's own, half as large."""
    random = np.random.default_rng([10, seed])
    theta = random.normal(size=10) + 0.5 * random.normal(size=(120, 10))
    group = np.zeros(120, dtype=int)
    return draw(random, 3, group[:80], group[80:], 10, lambda p, x, _: (x * theta[p]).sum(1))


def one_taste(seed: int) -> World:
    """Nobody differs: a reward linear in 6 features, the same for all. What can be gained is nothing."""
    random = np.random.default_rng([11, seed])
    theta, group = random.normal(size=6), np.zeros(60, dtype=int)
    return draw(random, 2, group[:40], group[40:], 6, lambda p, x, _: x @ theta)


WORLDS: dict[str, Callable[[int], World]] = {
    "ideal": ideal,
    "length": length,
    "prompt": prompt,
    "bimodal": bimodal,
    "goals": goals,
    "bends": bends,
    "low-rank": low_rank,
    "minority": minority,
    "routed": routed,
    "communities": communities,
    "crowd": crowd,
    "one-taste": one_taste,
}
