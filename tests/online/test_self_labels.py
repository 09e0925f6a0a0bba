"""Card spa_selfie: a few labels spread over many prompts by the policy's own opinion: where that gains."""

from functools import cache

import numpy as np
import pytest
import torch

from pluralign import lab
from pluralign.lab.table import Table
from pluralign.online import SampleBatch, find
from pluralign.online.learners import own_labels, self_training

PROMPTS, SIZE, BETA, STEPS = 300, 60, 0.1, 40


class Linear:
    """A policy reference * exp(features . theta) over the two responses of each prompt, and who is the better.

    apart: how far the features of good responses lie from those of bad ones, in standard deviations. 0: responses are
    of one kind, and the better has more of one direction.
    """

    def __init__(self, seed: int, apart: float) -> None:
        rng = np.random.default_rng(seed)
        way = rng.normal(size=SIZE)
        way /= np.linalg.norm(way)

        def responses(count: int) -> tuple[torch.Tensor, np.ndarray]:
            side = np.array([1.0, -1.0])
            x = apart / 2 * side[:, None] * way + rng.normal(size=(count, 2, SIZE)) / np.sqrt(2)
            return torch.tensor(x), x @ way * 2 if apart == 0 else np.broadcast_to(side, (count, 2))

        self.x, reward = responses(PROMPTS)
        self.unseen, self.better = responses(2000)
        self.first = torch.zeros(SIZE, dtype=torch.float64)
        # One prompt in 33 has been asked about; people choose by Bradley-Terry.
        self.asked = int(0.03 * PROMPTS)
        won = rng.random(self.asked) < 1 / (1 + np.exp(reward[: self.asked, 1] - reward[: self.asked, 0]))
        said = torch.tensor(np.where(won, 1.0, 0.0))
        one_half = torch.full_like(said, 0.5)
        self.said = torch.stack((one_half, said, 1 - said, one_half), 1).view(-1, 2, 2)

    def logp(self, theta: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(self.x @ theta, 1)

    def accuracy(self, theta: torch.Tensor) -> float:
        """Of which response is the better, on prompts not seen."""
        score = (self.unseen @ theta).numpy()
        return float(((score[:, 0] > score[:, 1]) == (self.better[:, 0] > self.better[:, 1])).mean())

    def fit(
        self, name: str, begin: torch.Tensor, rows: int, preference: torch.Tensor | None, **options
    ) -> torch.Tensor:
        theta = begin.clone().requires_grad_()
        frozen = {"reference": self.logp(self.first)[:rows], "previous": self.logp(begin)[:rows]}
        adam = torch.optim.Adam([theta], lr=0.01)
        for _ in range(STEPS):
            batch = SampleBatch(self.logp(theta)[:rows], snapshots=frozen, preference=preference)
            adam.zero_grad()
            batch.mean(find(name)(batch, beta=BETA, **options)).backward()
            adam.step()
        return theta.detach()


@cache
def seeded(seed: int, apart: float) -> tuple[Linear, torch.Tensor]:
    """A world and the policy that learnt from its few labels."""
    world = Linear(seed, apart)
    return world, world.fit("dpo", world.first, world.asked, world.said)


def spread(seed: int, apart: float, rounds: int = 2, **options: float) -> float:
    """What rounds on the policy's own labels add to its accuracy."""
    world, theta = seeded(seed, apart)
    before = world.accuracy(theta)
    for _ in range(rounds):
        theta = world.fit("spa", theta, PROMPTS, None, **options)
    return world.accuracy(theta) - before


def test_own_labels_gain_where_good_and_bad_are_of_two_kinds_and_nothing_where_they_are_not() -> None:
    """The card's claim holds where prompts without labels say something, which is where the kinds stand apart."""
    gains = [spread(seed, 3.0) for seed in (1, 2, 3)]
    assert min(gains) > 0.01
    assert np.mean(gains) > 0.03
    assert np.mean([spread(seed, 0.0) for seed in (1, 2, 3)]) < 0.005


def test_smoothing_what_is_least_sure_loses_less_to_wrong_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tenth of its labels that the labelling policy is least sure of are turned round."""

    def turned(batch: SampleBatch, beta: float, *, hard: bool = False) -> torch.Tensor:
        labels = own_labels(batch, beta, hard=hard)
        sure = (own_labels(batch, beta)[:, 0, 1] - 0.5).abs()
        wrong = sure <= sure.quantile(0.1)
        return torch.where(wrong[:, None, None], 1 - labels, labels)

    monkeypatch.setattr(self_training, "own_labels", turned)
    smoothed, plain = ([spread(seed, 3.0, 3, alpha=alpha) for seed in (1, 2, 3)] for alpha in (0.1, 0.0))
    assert np.mean(smoothed) > np.mean(plain) + 0.02


def smoothed_where(world: lab.World, policy: np.ndarray, before: np.ndarray, **options: float) -> float:
    """The loss of spa for a policy that has moved since it labelled."""
    table = Table(world, {}, extrapolate=options.get("extrapolate", 0.0))
    kept = {"reference": table.reference, "previous": table.logits(before)}
    law = torch.tensor(before)
    batch = table.batch(table.logits(policy), kept, [(law, law)], {})
    return float(batch.mean(find("spa")(batch, beta=1.0, alpha=0.3, **options)))


def test_an_extrapolated_policy_doubts_other_pairs_in_a_language_and_the_same_in_a_bandit() -> None:
    """Token by token it is renormalised after each beginning; of one token alone that is the same for all responses."""
    flat = lab.bandit([0.3, -0.2, 0.9, 0.1], reference=[0.4, 0.3, 0.2, 0.1])
    spoken = lab.sequences(lambda text: float(sum(text)) - 0.3 * len(text), vocabulary=2, most=2, seed=3)
    for world, differs in ((flat, False), (spoken, True)):
        draw = np.random.default_rng(0)
        before, now = (world.tilted(1.0, draw.normal(size=world.reward.shape)) for _ in range(2))
        losses = [
            [smoothed_where(world, now, before, share=share, extrapolate=far) for far in (0.0, 0.5, 3.0)]
            for share in (0.1, 0.2, 0.3, 0.4)
        ]
        assert (np.ptp(losses, axis=1).max() > 1e-3) == differs
        whole = [smoothed_where(world, now, before, share=1.0, extrapolate=far) for far in (0.0, 3.0)]
        assert whole[0] == pytest.approx(whole[1], abs=1e-12)  # all are smoothed


def test_the_surplus_of_a_table_is_what_makes_the_extrapolated_policy_one() -> None:
    world = lab.sequences(lambda text: float(sum(text)), vocabulary=2, most=2, seed=3)
    table, far = Table(world, {}, extrapolate=0.5), 0.5
    now, before = world.tilted(1.0), world.tilted(3.0)
    law = torch.tensor(before)
    batch = table.batch(
        table.logits(now), {"reference": table.reference, "previous": table.logits(before)}, [(law, law)], {}
    )
    beyond = (1 + far) * np.log(now) - far * np.log(before) - batch.tokens.total(batch.tokens.surplus).numpy()
    assert np.exp(beyond).sum() == pytest.approx(1.0, abs=1e-12)
