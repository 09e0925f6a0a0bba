"""Judges that err: what finds its way all the same, what goes astray, what is loud enough to be heard."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from pluralign import lab
from pluralign.lab.games import divergence
from pluralign.lab.self_play import pull
from pluralign.online import model_judges
from pluralign.online.model_judges import DensityRatio

GAME, TAU, UNIFORM = lab.game(), 0.1, {"draws": np.full(3, 1 / 3)}
GOAL = lab.nash(GAME, TAU)[0]


class Once:
    """Of every pair a single yes or no, anew at each draw."""

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)

    def __call__(self, policy: np.ndarray) -> dict[str, np.ndarray]:
        upper = np.triu(self.draw.random((3, 3)) < GAME.preference[0], 1)
        return {"preference": (upper + np.tril(1 - upper.T, -1) + np.eye(3) / 2)[None]}


def test_egpo_hears_through_single_answers_and_stays_the_nearer_the_smaller_its_step() -> None:
    """Steps of eta tau = .1, .03 and .01 from the equilibrium: the drift of KL is about as large as the step."""
    far = []
    for size in (0.075, 0.0225, 0.0075):
        run = lab.play("egpo", GAME, rounds=70, tau=TAU, learning_rate=size, laws=UNIFORM, start=GOAL, extra=Once(3))
        far.append(divergence(GOAL, run[10:, 0]).mean())
    assert far[0] > 2 * far[1] > 4 * far[2]
    assert far[2] < 0.01


def test_single_answers_are_right_on_average() -> None:
    policy, once = np.array([0.2, 0.5, 0.3]), Once(0)
    options = {"tau": TAU, "laws": UNIFORM}
    heard = np.array([pull("egpo", GAME, policy, extra=once, **options) for _ in range(150)])
    error = heard.std(0) / np.sqrt(150)
    assert (np.abs(heard.mean(0) - pull("egpo", GAME, policy, **options)) < 3 * error).all()


def judged(flip: float) -> lab.World:
    """Twelve pairs a prompt of draws of a reference with three frequent responses and three rare, mostly worse ones.

    The judge is certain, and each answer is turned round with chance `flip`.
    """
    draw, reference = np.random.default_rng(0), np.array([0.32, 0.32, 0.32, 0.01, 0.01, 0.02])
    world = lab.bandit(draw.normal(size=(100, 6)) - np.array([0, 0, 0, 1, 1, 1]), reference=reference)
    said, rows = lab.flipped(lab.certain(world.reward), flip), []
    for prompt in range(100):
        pairs = draw.choice(6, (60, 2), p=reference)
        for i, j in pairs[pairs[:, 0] != pairs[:, 1]][:12]:
            rows.append((prompt, i, j) if draw.random() < said[prompt, i, j] else (prompt, j, i))
    seen = np.array(rows)
    return replace(world, prompt=seen[:, 0], response=seen[:, 1:], weight=np.ones(len(seen)))


def test_flipped_labels_are_overdone_and_right_ones_hide_it() -> None:
    """Dpo without end: a response that won once by mistake outruns the good one that lost once by mistake."""
    found = {}
    for flip in (0.0, 0.25):
        world = judged(flip)
        policies = [lab.train("dpo", world, steps=steps, learning_rate=0.1, beta=0.1) for steps in (10, 30, 300)]
        found[flip] = [world.value(p) for p in policies]
        assert (np.diff([world.kl(p) for p in policies]) > 0.3).all()
    assert (np.diff(found[0.0]) > 0.1).all()
    early, best, late = found[0.25]
    assert best > early + 0.1
    assert late < best - 0.1


class Writer:
    """A language model as a table: the log-prob of each response, r / beta from the reference and noise of its own."""

    def __init__(self, name: str, table: np.ndarray) -> None:
        self.name, self.table = name, table


def accuracy(beta: float, noise: float, monkeypatch: pytest.MonkeyPatch) -> tuple[float, np.ndarray, np.ndarray]:
    """How often a density ratio ranks as the reward does, its ratios and the rewards; [P, 2]."""
    draw = np.random.default_rng(0)
    world = lab.bandit(draw.normal(size=(4000, 2)), reference=draw.dirichlet([1.0, 1.0], 4000))
    tables = [np.log(p) + noise * draw.normal(size=p.shape) for p in (world.tilted(beta), world.reference)]
    monkeypatch.setattr(model_judges, "weights_fingerprint", lambda model: model.name)
    monkeypatch.setattr(model_judges, "Encoder", lambda words: words)
    monkeypatch.setattr(model_judges, "scored", lambda model, rows: (np.array([model.table[r] for r in rows]), 1.0))

    class Words:
        def encode(self, prompt, responses):
            return int(prompt[0].content), int(responses[0][0].content)

    judge = DensityRatio((Writer("strong", tables[0]), Words()), (Writer("weak", tables[1]), Words()))
    every = [str(i) for i in range(4000)]
    ratio = np.stack([judge.reward(every, [y] * 4000) for y in "01"], 1)
    agree = (ratio[:, 0] > ratio[:, 1]) == (world.reward[:, 0] > world.reward[:, 1])
    return float(agree.mean()), ratio, world.reward


def test_a_density_ratio_ranks_the_better_the_further_its_models_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact models rank without a fault at any distance; models with faults of their own need a gap to be heard over.

    Two responses, two models: the faults add up to twice the noise of one, and what is said is the gap over beta.
    """
    found = []
    for beta in (4.0, 1.0, 0.25):
        exact, ratio, reward = accuracy(beta, 0.0, monkeypatch)
        assert exact == 1.0
        gap = reward[:, 0] - reward[:, 1]
        assert ratio[:, 0] - ratio[:, 1] == pytest.approx(gap / beta, abs=1e-9)
        heard = norm.cdf(np.abs(gap) / (2 * beta)).mean()
        found.append(accuracy(beta, 1.0, monkeypatch)[0])
        assert found[-1] == pytest.approx(heard, abs=0.02)
    assert found[0] < 0.6 < found[1] < 0.75 < 0.85 < found[2]
