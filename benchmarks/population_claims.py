"""What the papers claim of single parts of their methods, each measured by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from benchmarks.population_worlds import WORLDS, World, bends, crowd, goals, routed
from pluralign.evaluate.figures import _ece
from pluralign.models import Answers, FewShot, Hierarchical, MultiSource, Population, RoutedMixture
from pluralign.models.kinds import build
from pluralign.models.ridge_logistic import ridge_logistic

Rows = list[dict[str, Any]]
ASKED = 8
"""Questions asked of a new person."""
FEW, MANY = 120, 480
"""People seen, where their number matters."""
READ = (("goals", FEW), ("goals", MANY), ("bends", FEW))
"""Where reading people is held against a fixed form."""
PROTOTYPES = {"epochs": 20, "batch": 128, "lr": 0.05, "restarts": 2}
"""Options of scores over prototypes, in every world."""
READERS = {"steps": 600, "people": 64, "lr": 1e-2, "hidden": 32}
"""Options of networks that read people, in every world."""


ASKED_OF: dict[str, tuple[str, int, dict[str, Any]]] = {
    "ideal": ("ideal-point", 3, PROTOTYPES),
    "low-rank": ("low-rank", 5, PROTOTYPES),
    "bimodal": ("variational", 3, READERS),
    "goals": ("variational", 5, READERS),
    "bends": ("variational", 5, READERS),
}
"""Of a world, the model that asks there, its groups and options."""


def asking(seed: int, name: str, people: int = 20) -> Rows:
    """Accuracy after 1 to 8 questions, of 100 there are: those that tell most against the first ones."""
    kind, groups, options = ASKED_OF[name]
    world = WORLDS[name](seed)
    model = build(world.seen.answers, kind, groups, {**options, "seed": seed}).fit(world.seen.answers)
    reached = np.zeros((2, ASKED, people))
    for person in range(people):
        own = np.flatnonzero(world.pool.person.numpy() == person)
        held, asked = world.new.test.take(world.new.test.person == person), list[int]()
        for m in range(ASKED):
            left = np.setdiff1d(own, asked)
            so_far = world.pool.take(np.array(asked)) if asked else None
            asked.append(int(left[model.next_question(so_far, world.pool.take(left)).row]))
            for how, taken in enumerate((np.array(asked), own[: m + 1])):
                reached[how, m, person] = model.accuracy(held, model.localise(world.pool.take(taken)).weights)
    return [
        {"world": name, "model": kind, "seed": seed, "answers": m, "asked": picked, "random": drawn}
        for m, (picked, drawn) in enumerate(reached.mean(2).T.tolist(), 1)
    ]


def reading(seed: int, name: str, people: int) -> Rows:
    """FSPO against PAL-A, with more steps and with IPO where people are few, and against who knows the world."""
    world = {"goals": goals, "bends": bends}[name](seed, people)
    models: dict[str, Population] = {
        "few-shot": FewShot(4, seed=seed, **READERS),
        "ideal-point": build(world.seen.answers, "ideal-point", 4, {**PROTOTYPES, "seed": seed}),
    }
    if people == FEW:
        models["few-shot, three times the steps"] = FewShot(4, seed=seed, **{**READERS, "steps": 1800})
        models["few-shot, IPO"] = FewShot(4, seed=seed, loss="ipo", **READERS)
    row, rows = {"world": name, "people": people, "seed": seed}, Rows()
    for called, model in models.items():
        rows.append({**row, "model": called, **of_new_people(model.fit(world.seen.answers), world)})
    return [*rows, {**row, "model": "who knows the world", **{f"new {m}": bayes(world, name, m) for m in (1, 5, 20)}}]


def of_new_people(model: Population, world: World) -> dict[str, float]:
    """Accuracy after 1, 5 and 20 answers."""
    reached = {}
    for m in (1, 5, 20):
        weights = model.localise(world.new.few(m)).weights
        reached[f"new {m}"] = model.accuracy(world.new.test, weights)
    return reached


def bayes(world: World, name: str, m: int) -> float:
    """Accuracy of foretelling by the exact posterior of where on the circle a person is, after m answers."""
    angle = np.linspace(0, 2 * np.pi, 361)[:-1]
    circle = np.stack([np.cos(angle), np.sin(angle)])

    def margins(answers: Answers) -> np.ndarray:
        sides = [side[:, :2].double().numpy() for side in answers.features]
        if name == "bends":
            left, right = (3 * np.sin(2 * side) @ circle for side in sides)
        else:
            left, right = (-3 * np.linalg.norm(side[:, :, None] - 1.5 * circle, axis=1) for side in sides)
        return np.asarray(left - right)

    few, test = world.new.few(m), world.new.test
    z, log = margins(few), np.zeros((len(few.people), len(angle)))
    np.add.at(log, few.person.numpy(), -np.logaddexp(0, np.where(few.probability.numpy()[:, None] > 0.5, -z, z)))
    chance = np.exp(log - log.max(1, keepdims=True))
    left = (chance[test.person.numpy()] / (1 + np.exp(-margins(test)))).sum(1) / chance.sum(1)[test.person.numpy()]
    return float(np.mean((left > 0.5) == (test.probability.numpy() > 0.5)))


def routing(seed: int) -> Rows:
    """MiCRo with less and more of the pull to equal shares; the paper's is 0.5."""
    world, rows = routed(seed), Rows()
    for alpha in (0.0, 0.03, 0.1, 0.25, 0.5):
        options: dict[str, Any] = {"epochs": 40, "batch": 128, "lr": 0.05, "hidden": 32, "restarts": 2, "seed": seed}
        model = RoutedMixture(2, alpha=alpha, **options).fit(world.seen.answers)
        test, weights = world.new.test, model.localise(world.new.answers).weights
        row = {"alpha": alpha, "seed": seed, "accuracy": model.accuracy(world.seen.test)}
        row |= {"nats": model.log_loss(world.seen.test), "new": model.accuracy(test, weights)}
        rows.append({**row, "new nats": model.log_loss(test, weights)})
    return rows


def pulling(seed: int) -> Rows:
    """LoRe's pull: 20 people of 5 or 30 answers, and the reward of a crowd of 60 others to be pulled to."""
    world, rows = crowd(seed), Rows()
    person = world.seen.answers.person
    before, few = world.seen.answers.take(person >= 20), world.seen.few(30)
    reference = Hierarchical(0.0).fit(before)
    test = world.seen.test.take(world.seen.test.person < 20)
    for answers in (5, 30):
        some = world.seen.few(answers) if answers < 30 else few
        train = only(some.take(some.person < 20), 20)
        held = only(test, 20)
        models: dict[str, Population] = {
            f"pull {pull:g}": build(
                train,
                "low-rank",
                3,
                {**PROTOTYPES, "epochs": 60, "pull": pull, "reference": reference.mean_, "seed": seed},
            )
            for pull in (0.0, 0.003, 0.03, 0.3)
        }
        models["no reference"] = build(train, "low-rank", 3, {**PROTOTYPES, "epochs": 60, "seed": seed})
        models["one crowd of these"] = Hierarchical(0.0)
        for name, model in models.items():
            model.fit(train)
            row = {"answers": answers, "model": name, "seed": seed, "accuracy": model.accuracy(held)}
            rows.append({**row, "nats": model.log_loss(held)})
        row = {"answers": answers, "model": "the reference alone", "seed": seed}
        rows.append({**row, "accuracy": reference.accuracy(test), "nats": reference.log_loss(held)})
    return rows


def only(answers: Answers, people: int) -> Answers:
    """The first people alone, whose answers these are."""
    left, right = answers.features
    names = [answers.people[i] for i in answers.person]
    return Answers.of(left, right, answers.probability, names, people=answers.people[:people])


def sharing(seed: int) -> Rows:
    """MORE: four sources, of whom all like one feature, three a second one and the fourth its opposite."""
    rows: Rows = []
    for answers in (60, 240):
        random = np.random.default_rng([12, seed])
        theta = np.tile([1.0, 3.0, 0, 0, 0, 0, 0, 0], (4, 1))
        theta[3, 1] = -3.0
        person = np.repeat(np.arange(4), answers)
        left, right = random.normal(size=(2, len(person), 8))
        won = random.random(len(person)) < 1 / (1 + np.exp(-((left - right) * theta[person]).sum(1)))
        train = Answers.of(left, right, won.astype(float), person.astype(str).tolist())
        x = random.normal(size=(24000, 8))
        shared = (random.random(len(x)) < expit(x[:, 0])).astype(float)
        test, fits = Answers.of(x, 0 * x, shared), np.arange(len(x)) < 4000
        for name, model in (
            ("MORE", MultiSource(steps=200, seed=seed)),
            ("plain mixing, same steps", MultiSource(plain=True, steps=200, seed=seed)),
            ("one crowd, at the optimum", Hierarchical(0.0)),
        ):
            model.fit(train)
            z = model.margins(test)
            # One over the temperature, from other answers by the shared feature.
            sharper = ridge_logistic(z[fits, None], shared[fits], np.ones(4000), 1e-6)[0]
            row = {"model": name, "answers": answers, "seed": seed, "accuracy": model.accuracy(test)}
            row |= {"nats": model.log_loss(test), "sharper": float(sharper)}
            for called, scale in (("ece", 1.0), ("ece scaled", sharper)):
                row[called] = _ece(expit(scale * z[~fits]), shared[~fits], 10)
            rows.append(row)
    return rows
