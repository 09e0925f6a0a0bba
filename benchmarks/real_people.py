"""Whose preference, in six public data sets of people who answered under a name.

    python -m benchmarks.real_people --data FOLDER

FOLDER holds the folders preflib, coffee, llmfao, polis, rankme and lamp. For each: the gain of several tastes over one
on answers held out, with its interval and what chance gives; then people not seen, placed by their first answers,
against one model for all and a model of their own. Some minutes of one core for each. Figures stay in
benchmarks/results/real-people.json, from which docs/real-people.md and its picture are written; data sets (and
conversations of polis) that are there are not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import pluralign
from benchmarks.real_people_page import draw, page
from pluralign.evaluate.people import by_answers, each, right
from pluralign.feedback.storage import whole_file
from pluralign.models import Answers, Localised

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "benchmarks" / "results" / "real-people.json"
NULL, SEED = 19, 0
COUNTS = (0, 1, 2, 5, 20)
Array = NDArray[np.float64]


class Alone:
    """A model of one person: a ridge logistic regression on their answers alone, of the worth of every item.

    It has the face of a population, so that it is measured on the same answers. ridge: half of it times the squared
    coefficients.
    """

    def __init__(self, size: int, ridge: float = 1.0) -> None:
        self.ridge, self.weights_ = ridge, np.zeros((1, size))

    def localise(self, answers: Answers) -> Localised:
        """Coefficients [U, D], everybody at once: Newton's method."""
        people, size = len(answers.people), self.weights_.shape[1]
        left, right_side = answers.features
        x, y = (left - right_side).double().numpy(), answers.probability.double().numpy()
        person, b = answers.person.numpy(), np.zeros((people, size))
        for _ in range(12):
            p = 1 / (1 + np.exp(-(x * b[person]).sum(1)))
            slope, bend = self.ridge * b, np.tile(self.ridge * np.eye(size), (people, 1, 1))
            np.add.at(slope, person, x * (p - y)[:, None])
            np.add.at(bend, person, (p * (1 - p))[:, None, None] * x[:, :, None] * x[:, None, :])
            b = b - np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
        return Localised(b, np.zeros((people, size, size)), np.zeros(people))

    def margins(self, answers: Answers, weights: Any) -> Array:
        """[n], for coefficients [U, D] or [D]."""
        table = np.broadcast_to(np.asarray(weights, dtype=np.float64), (len(answers.people), self.weights_.shape[1]))
        left, right_side = answers.features
        return np.asarray(((left - right_side).double().numpy() * table[answers.person.numpy()]).sum(1))


def answers_of(pairs: Sequence[tuple[str, int, int, float]], items: int) -> Answers:
    """From (person, left, right, chance of left), the right side -1 where a vote is about one item alone."""
    who, left, other, chance = zip(*pairs, strict=True)
    # The last row is nothing, against which a single item is judged.
    table = np.vstack([np.eye(items), np.zeros(items)])
    return Answers.indexed(table, left, [items if i < 0 else i for i in other], chance, who)


def answers_of_kinds(pairs: Sequence[tuple[str, int, int, float]], kinds: int) -> Answers:
    """As `answers_of`, for items that are a new text of some kind each time: the same two kinds are no repetition."""
    who, left, other, chance = zip(*pairs, strict=True)
    return Answers.of(np.eye(kinds)[list(left)], np.eye(kinds)[list(other)], chance, who)


def split(answers: Answers, share: float, least: int = 0) -> tuple[Answers, Answers]:
    """People to fit and people not seen, of whom those with more than `least` answers are taken first."""
    random = np.random.default_rng(SEED)
    able = np.flatnonzero(answers.sizes.numpy() > least)
    new = random.permutation(able)[: round(share * len(answers.people))]
    return tuple(_people(answers, chosen) for chosen in (np.setdiff1d(np.arange(len(answers.people)), new), new))


def _people(answers: Answers, chosen: Array) -> Answers:
    rows = answers.take(np.flatnonzero(np.isin(answers.person.numpy(), chosen)))
    names = [answers.people[int(i)] for i in rows.person]
    return Answers.indexed(rows.items, rows.left, rows.right, rows.probability, names, weight=rows.weight)


def studied(
    answers: Answers,
    population: str,
    groups: Sequence[int],
    counts: Sequence[int] = COUNTS,
    share: float = 0.3,
    null: int = NULL,
    **options: Any,
) -> dict[str, Any]:
    """Plurality on all people, then people not seen under models of the others: tables by number of answers."""
    everybody = pluralign.fit(answers, population, groups, null=null, **options)
    assert everybody.plurality_ is not None
    found: dict[str, Any] = {"people": len(answers.people), "answers": len(answers), "population": population}
    found["plurality"] = asdict(everybody.plurality_)
    seen, new = split(answers, share, max(counts))
    best = max(everybody.plurality_.chosen, everybody.plurality_.against or 1)
    plural = pluralign.fit(seen, population, best, null=0, **options)
    models = {"several tastes": plural, "one for all": pluralign.fit(seen, population, 1, null=0, **options)}
    tables = {name: by_answers(model, new, counts, seed=SEED) for name, model in models.items()}
    tables["their own"] = by_answers(Alone(answers.items.shape[1]), new, counts, seed=SEED)
    found |= {"tastes": best, "new": {name: table.to_dicts() for name, table in tables.items()}}
    return found


def sushi(folder: Path) -> dict[str, Any]:
    """Full rankings of ten kinds."""
    rows = np.loadtxt(folder / "preflib" / "sushi_rankings.csv", delimiter=",", skiprows=1, dtype=int)
    names = (folder / "preflib" / "sushi_rankings.csv").read_text().splitlines()[0].replace('"', "").split(",")
    random = np.random.default_rng(SEED)
    rows = rows[random.permutation(len(rows))[:1500]]
    every = np.array([(i, j) for i in range(10) for j in range(i)])

    def pairs(some: NDArray[np.int64], each_: int, first: int) -> list[tuple[str, int, int, float]]:
        made = []
        for person, ranks in enumerate(some):
            for i, j in every[random.permutation(len(every))[:each_]]:
                made.append((f"p{first + person:04d}", int(i), int(j), float(ranks[i] < ranks[j])))
        return made

    options: dict[str, Any] = {"batch": 2048, "epochs": 25, "lr": 0.05}
    found = studied(answers_of(pairs(rows, 30, 0), 10), "low-rank", (1, 2, 3, 5, 8), null=9, **options)
    seen, new = answers_of(pairs(rows[:1000], 45, 0), 10), rows[1000:]
    models = {"several tastes": pluralign.fit(seen, "low-rank", found["tastes"], null=0, **options)}
    models |= {"one for all": pluralign.fit(seen, "low-rank", 1, null=0, **options), "their own": Alone(10)}  # type: ignore[dict-item]
    items = torch.eye(10)
    found["top"], favourite = {}, new.argmin(1)
    for count in COUNTS[1:]:
        said = answers_of(pairs(new, count, 0), 10)
        for name, model in models.items():
            weights = model.localise(said).weights
            # Everything against one kind: who is highest is the favourite.
            against = Answers.of(
                items.repeat(len(new), 1), items[:1].repeat(10 * len(new), 1), np.ones(10 * len(new)),
                [f"p{i:04d}" for i in range(len(new)) for _ in range(10)],
            )  # fmt: skip
            top = model.margins(against, weights).reshape(len(new), 10).argmax(1)
            hits = (top == favourite).astype(float)
            found["top"].setdefault(name, []).append({"answers": count, **_share(hits)})
    found["items"] = names
    found["like"] = _likes(models["several tastes"], names)
    return found


def coffee(folder: Path) -> dict[str, Any]:
    """Four coffees rated by each person, and whether habits and demographics tell tastes."""
    import polars as pl

    path = folder / "coffee" / "coffee_survey.csv.gz"
    table = pl.read_csv(path, null_values="NA", infer_schema_length=None).with_row_index("person")
    names = [f"coffee_{c}_personal_preference" for c in "abcd"]
    rated = table.drop_nulls(names)
    pairs = []
    for person, *ratings in rated.select("person", *names).iter_rows():
        for i in range(4):
            for j in range(i):
                if ratings[i] != ratings[j]:
                    pairs.append((f"p{person:04d}", i, j, float(ratings[i] > ratings[j])))
    answers = answers_of(pairs, 4)
    found = studied(answers, "mixture", range(1, 6), counts=(0, 1, 2, 3), restarts=3)
    found["routed"] = routed(answers, rated, found["tastes"])
    model = pluralign.fit(answers, "mixture", found["tastes"], null=0, restarts=3)
    found["like"] = _likes(model, [f"coffee {c}" for c in "ABCD"])
    return found


ASKED = (
    "age", "cups", "where_drink", "favorite", "additions", "style", "strength", "roast_level", "caffeine", "gender",
    "education_level", "employment_status", "number_children", "political_affiliation", "expertise", "why_drink",
)  # fmt: skip
HABITS = ("cups", "where_drink", "favorite", "additions", "style", "strength", "roast_level", "caffeine", "expertise")


def routed(answers: Answers, table: Any, tastes: int) -> dict[str, Any]:
    """Weights foretold from columns of the table by ridge regression, five folds of people, against the mean's."""
    import polars as pl

    random = np.random.default_rng(SEED)
    fold = random.permutation(len(answers.people)) % 5
    rows = {f"p{person:04d}": i for i, person in enumerate(table["person"])}
    at = np.array([rows[name] for name in answers.people])
    found: dict[str, Any] = {}
    columns = {"habits and demographics": ASKED, "habits": HABITS, "demographics": tuple(set(ASKED) - set(HABITS))}
    gains: dict[str, list[Array]] = {name: [] for name in columns}
    for f in range(5):
        seen, new = (_people(answers, np.flatnonzero(side)) for side in (fold != f, fold == f))
        model = pluralign.fit(seen, "mixture", tastes, null=0, restarts=2)
        weights, mean_ = model.weights_, model.weights_.mean(0)
        base = each(*right(model, new, mean_))
        for name, wanted in columns.items():
            there = [c for c in wanted if c in table.columns]
            x = table.select(there).with_columns(pl.all().cast(pl.String).fill_null("none")).to_dummies()
            design = x.to_numpy().astype(float)[at]
            design = np.hstack([design[:, design.mean(0) > 0.01], np.ones((len(design), 1))])
            a, b = design[fold != f], design[fold == f]
            coefficients = np.linalg.solve(a.T @ a + 30 * np.eye(a.shape[1]), a.T @ (weights - mean_))
            guess = np.clip(mean_ + b @ coefficients, 1e-6, None)
            gains[name].append(each(*right(model, new, guess / guess.sum(1, keepdims=True))) - base)
    for name, parts in gains.items():
        found[name] = _mean(np.concatenate(parts))
    return found


def llmfao(folder: Path) -> dict[str, Any]:
    """Workers who compare answers of language models, ties and all."""
    from pluralign.models import Features

    answers = Features("items").answers(pluralign.read(folder / "llmfao" / "crowd-comparisons.csv"))
    found = studied(answers, "low-rank", (1, 2, 3), weight_decay=0.02, epochs=30)
    votes = pluralign.read(folder / "llmfao" / "crowd-comparisons.csv")
    from pluralign.evaluate.rewards import ceiling

    return {**found, "ceiling": ceiling(votes)}


CONVERSATIONS = ("scoop-hivemind.biodiversity", "canadian-electoral-reform", "vtaiwan.uberx")


def polis(folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Agreement with statements in three conversations, and whether the platform's groups come out; known: by name."""
    from benchmarks.rank_polis import conversation

    found = {}
    for name in CONVERSATIONS:
        if name in known:
            found[name] = known[name]
            continue
        votes = conversation(folder / "polis" / name).votes
        votes = votes.filter(votes["vote"] != 0)
        codes = {s: i for i, s in enumerate(votes["statement"].unique().sort())}
        pairs = [
            (voter, codes[statement], -1, float(vote > 0))
            for statement, voter, vote in votes.select("statement", "voter", "vote").iter_rows()
        ]
        answers = answers_of(pairs, len(codes))
        options: dict[str, Any] = {"weight_decay": 0.002, "epochs": 30}
        one = studied(answers, "low-rank", (1, 2, 3, 4), null=9, **options)
        group = dict(votes.select("voter", "group").drop_nulls().iter_rows())
        sizes = max(2, len(set(group.values())))
        model = pluralign.fit(answers, "low-rank", sizes, null=0, **options)
        inside = [i for i, person in enumerate(model.people_) if person in group]
        ours = model.weights_.argmax(1)[inside]
        theirs = np.array([group[model.people_[i]] for i in inside])
        random = np.random.default_rng(SEED)
        chance = [rand_index(ours, random.permutation(theirs)) for _ in range(199)]
        one["groups"] = {
            "n": len(inside),
            "groups": sizes,
            "rand": rand_index(ours, theirs),
            "chance": float(np.max(chance)),
            "ours": np.unique(ours, return_counts=True)[1].tolist(),
            "theirs": np.unique(theirs, return_counts=True)[1].tolist(),
        }
        found[name] = one
    return found


def rankme(folder: Path) -> dict[str, Any]:
    """Three texts side by side, magnitudes of quality: which system's text is better."""
    pairs, systems = [], {}
    for part in ("stp2_rankME_qual.csv", "stp1_rankME.csv"):
        for j in pluralign.read(folder / "rankme" / part):
            rated = [(systems.setdefault(r.model, len(systems)), r.ratings["quality"]) for r in j.responses]
            for i, (a, x) in enumerate(rated):
                pairs += [(str(j.annotator), a, b, float(x > y)) for b, y in rated[:i] if x != y]
    return studied(answers_of_kinds(pairs, len(systems)), "mixture", range(1, 4), counts=(0, 1, 2, 5), restarts=3)


def lamp(folder: Path) -> dict[str, Any]:
    """Writers who put a machine's text and two edits of it in order."""
    pairs, kinds = [], {}
    for j in pluralign.read(folder / "lamp" / "preference_ranking"):
        assert j.ranks is not None
        placed = [(kinds.setdefault(r.model, len(kinds)), rank) for r, rank in zip(j.responses, j.ranks, strict=True)]
        for i, (a, x) in enumerate(placed):
            pairs += [(str(j.annotator), a, b, float(x < y)) for b, y in placed[:i]]  # type: ignore[operator]
    return studied(answers_of_kinds(pairs, len(kinds)), "mixture", range(1, 4), share=0.4, restarts=3)


def rand_index(a: Any, b: Any) -> float:
    """Adjusted Rand index of two partitions [n]: 1 where they are the same, about 0 by chance.

    Hubert and Arabie 1985.
    """
    _, x = np.unique(a, return_inverse=True)
    _, y = np.unique(b, return_inverse=True)
    together = np.zeros((x.max() + 1, y.max() + 1))
    np.add.at(together, (x, y), 1)

    def two(n: Any) -> float:
        return float((n * (n - 1) / 2).sum())

    rows, columns, n = two(together.sum(1)), two(together.sum(0)), len(x)
    expected = rows * columns / (n * (n - 1) / 2)
    return (two(together) - expected) / ((rows + columns) / 2 - expected)


def _likes(model: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Each taste's share and its scores of the items, less their mean."""
    size = len(names)
    items, nothing = np.eye(size), np.zeros((size, size))
    made = Answers.of(items, nothing, np.ones(size))
    rows = []
    for k, share_ in enumerate(model.weights_.mean(0)):
        scores = model.margins(made, np.eye(len(model.weights_[0]))[k])
        rows.append(
            {"share": float(share_), "scores": dict(zip(names, (scores - scores.mean()).tolist(), strict=True))}
        )
    return rows


def _share(values: Array) -> dict[str, Any]:
    from pluralign.evaluate.figures import share

    return share(values, np.arange(len(values))).as_dict()


def _mean(values: Array) -> dict[str, Any]:
    from pluralign.evaluate.figures import mean

    return mean(values, np.arange(len(values))).as_dict()


STUDIES: dict[str, Callable[..., dict[str, Any]]] = {
    "sushi": sushi, "coffee": coffee, "llmfao": llmfao, "polis": polis, "rankme": rankme, "lamp": lamp,
}  # fmt: skip


def main() -> None:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder of the data sets")
    parser.add_argument("--only", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    options = parser.parse_args()
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for name in options.only:
        known = kept.get(name, {})
        if name not in kept or (name == "polis" and set(known) != set(CONVERSATIONS)):
            kept[name] = polis(options.data, known) if name == "polis" else STUDIES[name](options.data)
            with whole_file(KEPT) as temporary:
                temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            print(name, "done")
    if set(kept) == set(STUDIES):
        (ROOT / "docs" / "real-people.md").write_text(page(kept), encoding="utf-8")
        draw(kept, ROOT / "docs" / "real-people.png")


if __name__ == "__main__":
    main()
