"""Every objective of the catalogue as a learner of judged draws: fed what it asks for, or refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from one_word import PROMPT, model
from plain_sampler import PlainSampler

from pluralign.errors import OptionError
from pluralign.lab import bandit, play
from pluralign.lab.tiny import build
from pluralign.objectives import PolicyBatch, catalogue, find
from pluralign.online import SampleBatch, direct, run
from pluralign.online.fitting import Fit
from pluralign.online.groups import Group
from pluralign.online.judges import Scored
from pluralign.online.student import Steps, Student
from pluralign.policy.encode import Encoded
from pluralign.policy.load import save

REFUSED = {
    "c3po": "learns from pairs and demonstrations, which draws are not",
    "dove": "responses that stand under prompts of their own",
    "fpo": "hidden states of policy and reference",
    "modpo": "further frozen models",
    "rationale": "texts that explain the judgements",
    "rationale_dpo": "texts that explain the judgements",
    "sparse_po": "weights of tokens",
    "spo_selfsup": "an extra task on the same network",
    "spo_seq": "further frozen models",
    "tree_tpo": "steps that are weighed by hidden states",
    "wpo": "whole next-token distributions",
}
LOGP = np.log([[0.5, 0.3], [0.2, 0.6]])
REFERENCE = np.log([[0.4, 0.4], [0.3, 0.3]])


def group(seed: int, draws: int = 3) -> Group:
    """Responses of one to three words that a judge compared, and rated alike."""
    rng = np.random.default_rng(seed)
    ids = tuple(rng.integers(0, 9, int(n)).tolist() for n in rng.integers(1, 4, draws))
    reward = rng.normal(size=draws).astype(np.float32)
    chance = 1 / (1 + np.exp(reward[None] - reward[:, None]))
    return Group(Encoded(PROMPT, ids, tuple([True] * len(own) for own in ids)), None, reward, chance.astype(np.float32))


@pytest.mark.parametrize("name", catalogue())
def test_every_objective_learns_from_draws_or_says_why_not(name: str) -> None:
    if name in REFUSED:
        with pytest.raises(OptionError, match=REFUSED[name]) as error:
            direct(name)
        assert str(error.value).startswith(name)
        return
    first, before = model(1, 9), model(2, 9)
    goal, steps = direct(name), Steps(minibatch=None, micro_batch=2, learning_rate=1e-3)
    student = Student.of(first, goal, goal.checked({}), steps)
    begin = [p.clone() for p in first.parameters()]
    lines: list[dict[str, Any]] = []
    third = [1 / 3] * 3
    groups = [group(seed) for seed in range(3)]
    Fit(goal, groups, third, third, {"reference": before, "previous": before}, "previous", steps, 0).run(
        student, log=lines.append
    )
    assert np.isfinite(lines[0]["loss"])
    assert lines[0]["grad_norm"] > 0
    assert any(not torch.equal(a, b) for a, b in zip(begin, first.parameters(), strict=True))


def two_draws(**rest: Any) -> SampleBatch:
    hard = np.array([[[0.5, 1.0], [0.0, 0.5]], [[0.5, 0.0], [1.0, 0.5]]])
    return SampleBatch(LOGP, snapshots={"reference": REFERENCE}, preference=hard, length=np.ones((2, 2)), **rest)


PAIR = PolicyBatch.from_pairs(
    np.array([LOGP[0, 0], LOGP[1, 1]]), np.array([LOGP[0, 1], LOGP[1, 0]]),
    np.array([REFERENCE[0, 0], REFERENCE[1, 1]]), np.array([REFERENCE[0, 1], REFERENCE[1, 0]]),
    np.ones(2), np.ones(2),
)  # fmt: skip


@pytest.mark.parametrize("name", ["pl_dpo", "lipo", "pro", "rrhf", "dpo", "aot", "ipo"])
def test_two_sure_draws_are_a_pair(name: str) -> None:
    goal = find(name)
    assert np.mean(direct(name)(two_draws())) == pytest.approx(np.mean(goal(PAIR)))


def test_single_responses_are_good_or_bad_as_the_judge_says() -> None:
    kto, drift = find("kto"), np.mean(LOGP - REFERENCE)
    unpaired = PolicyBatch.from_unpaired(
        LOGP.ravel(), np.array([True, False, False, True]), REFERENCE.ravel(), mismatched_log_ratio=np.array([drift])
    )
    losses = direct("kto")(two_draws(), beta=0.5)
    assert losses == pytest.approx(kto(unpaired, beta=0.5).reshape(2, 2).mean(1))
    # By their rewards: the same, where these say the same.
    rewards = two_draws(reward=np.array([[2.0, 0.5], [0.0, 1.0]]))
    assert direct("kto")(rewards, beta=0.5, threshold=1.0) == pytest.approx(losses)
    assert direct("kto").needs(threshold=1.0) == {"reward"}
    # A judge that is not sure calls a response both, as often as it would.
    even = SampleBatch(LOGP, snapshots={"reference": REFERENCE}, preference=np.full((2, 2, 2), 0.5))
    good, bad = (
        kto(
            PolicyBatch.from_unpaired(
                LOGP.ravel(), np.full(4, said), REFERENCE.ravel(), mismatched_log_ratio=np.array([drift])
            )
        )
        for said in (True, False)
    )
    assert direct("kto")(even) == pytest.approx(((good + bad) / 2).reshape(2, 2).mean(1))


def test_rewards_are_centred_on_those_of_the_step() -> None:
    """BCO's shift is the mean of both classes, as it would be after one step of training."""
    unpaired = PolicyBatch.from_unpaired(LOGP.ravel(), np.array([True, False, False, True]), REFERENCE.ravel())
    goal = find("bco")
    reward = 2.0 * (LOGP - REFERENCE).ravel()
    shifted = goal.centred(unpaired, beta=2.0)
    assert shifted.reward_shift == pytest.approx((reward[[0, 3]].mean() + reward[[1, 2]].mean()) / 2)
    assert np.mean(direct("bco")(two_draws(), beta=2.0)) == pytest.approx(np.mean(goal(shifted, beta=2.0)))


def test_three_draws_are_ranked_by_how_often_they_win() -> None:
    logp, reference = np.log([[0.2, 0.5, 0.3]]), np.log([[0.3, 0.3, 0.4]])
    said = np.array([[[0.5, 0.4, 0.1], [0.6, 0.5, 0.2], [0.9, 0.8, 0.5]]])
    found = direct("pl_dpo")(SampleBatch(logp, snapshots={"reference": reference}, preference=said), beta=1.0)
    h = (logp - reference)[0, [2, 1, 0]]
    assert found == pytest.approx([np.log(np.exp(h).sum()) - h[0] + np.log(np.exp(h[1:]).sum()) - h[1]])
    with pytest.raises(OptionError, match="group="):
        play(direct("pl_dpo"), bandit([0.0, 1.0]), rounds=1)


def test_thumbs_find_what_is_good_on_a_table() -> None:
    world = bandit([0.0, 1.0, 3.0], reference=[0.6, 0.3, 0.1])
    moved = play(direct("bco"), world, rounds=1, beta=0.5)[-1, 0]
    assert moved[2] > 0.3
    assert moved[0] < 0.4


def test_nothing_preferred_is_nothing_learnt() -> None:
    even = SampleBatch(LOGP, snapshots={"reference": REFERENCE}, preference=np.full((2, 2, 2), 0.5))
    assert direct("aot")(even).tolist() == [0.0, 0.0]


PROMPTS = [f"Say {word}: " for word in ("red", "blue", "green", "grey")]


@pytest.mark.parametrize(
    ("learner", "options", "questions"), [("kto", {"threshold": 1.0}, 3 * 3), ("tpo", {}, 3 * 3), ("odpo", {}, 3 * 3)]
)
def test_a_run_asks_for_what_the_objective_reads(
    tmp_path: Path, start: str, learner: str, options: dict[str, Any], questions: int
) -> None:
    judge = Scored(lambda prompt, response: float(sum(letter in "aeiou" for letter in response)), name="vowels")
    found = run(
        PROMPTS, start, learner, judge=judge, output_dir=tmp_path / "run", rounds=1, samples=3, max_new_tokens=6,
        monitor_prompts=1, sampler=PlainSampler, learning_rate=1e-3, **options,
    )  # fmt: skip
    assert found.metrics[0]["judge/asked"] <= questions
    assert {row.annotator for row in found.feedback(1)} == {judge.name}
    rated = {bool(r.ratings) for row in found.feedback(1) for r in row.responses}
    assert rated == {"kto": {True}, "tpo": {False}, "odpo": {True}}[learner]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "start"
    save(folder, *build("tiny", PROMPTS, steps=2))
    return str(folder)
