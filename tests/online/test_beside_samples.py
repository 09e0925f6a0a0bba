"""What lies beside a learner's samples, on networks: multipliers of several rewards, and pairs judged before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from one_word import PROMPT, law, learnt, model
from plain_sampler import PlainSampler

from pluralign.errors import OptionError
from pluralign.feedback import Feedback, Judgement, Response
from pluralign.feedback.record import Message
from pluralign.lab import bandit, play
from pluralign.lab.tiny import build
from pluralign.online import OnlineRun, run
from pluralign.online.judges import Scored
from pluralign.online.offline import Pairs
from pluralign.policy.encode import Encoded
from pluralign.policy.load import save
from pluralign.policy.logprobs import logprobs
from pluralign.policy.reference import weights_fingerprint
from pluralign.train.data import Row

WORDS = 5
NATURAL = {"learning_rate": 0.5, "natural": True}


def test_a_network_holds_its_threshold_where_the_table_does() -> None:
    first, reward = model(1, WORDS), np.arange(float(WORDS))[:, None]
    options: dict[str, Any] = {"thresholds": [3.0], "rate": 0.3}
    world = bandit(reward[:, 0], reference=law(first))
    table = play("constrained", world, rounds=120, extra=lambda _: {"components": reward[None]}, **NATURAL, **options)
    assert table[-1, 0] @ reward[:, 0] == pytest.approx(3.0, abs=1e-3)
    network, student = learnt("constrained", first, {"components": reward}, fits=50, **options)
    assert network @ reward[:, 0] == pytest.approx(3.0, abs=0.15)
    assert network == pytest.approx(table[-1, 0], abs=0.04)
    assert student.multipliers is not None
    assert law(first) @ reward[:, 0] < 2.5


@pytest.mark.slow
def test_a_network_serves_the_worst_group_as_the_table_does() -> None:
    groups = np.array([[1.0, 0.0], [0.0, 0.8], [0.6, 0.5], [0.2, 0.2], [0.1, 0.9]])
    first = model(2, WORDS)
    options: dict[str, Any] = {"beta": 0.2, "step": 0.2, "standardise": False}
    world = bandit(np.zeros(WORDS), reference=law(first))
    table = play("maxmin", world, rounds=250, extra=lambda _: {"components": groups[None]}, **NATURAL, **options)[-1, 0]
    network, student = learnt("maxmin", first, {"components": groups}, fits=60, **options)
    assert (network @ groups).min() == pytest.approx((table @ groups).min(), abs=0.03)
    assert (network @ groups).min() > (law(first) @ groups).min() + 0.1
    assert student.multipliers is not None
    assert student.multipliers.values.sum() == pytest.approx(1)


def test_rewards_are_brought_to_one_scale_on_the_first_samples() -> None:
    """A group whose numbers are a thousand times smaller rules no less and no more."""
    groups = np.array([[1.0, 0.0], [0.0, 0.8], [0.6, 0.5], [0.2, 0.2], [0.1, 0.9]])
    plain, first = learnt("maxmin", model(2, WORDS), {"components": groups}, fits=4)
    other, second = learnt("maxmin", model(2, WORDS), {"components": groups * [1, 1e-3] + [0, 7]}, fits=4)
    assert other == pytest.approx(plain, abs=1e-3)
    assert first.multipliers is not None
    assert second.multipliers is not None
    assert second.multipliers.values == pytest.approx(first.multipliers.values, abs=1e-3)
    assert second.multipliers.scale == pytest.approx(first.multipliers.scale * [1, 1e-3], rel=1e-3)


def pairs(wins: dict[tuple[int, int], float]) -> Pairs:
    """Pairs of words, the first preferred, each with its weight."""
    rows = [
        Row(Encoded(PROMPT, ([a], [b]), ([True],) * 2), (1, -1), i, "", w) for i, ((a, b), w) in enumerate(wins.items())
    ]
    return Pairs(rows, {}, "", size=len(rows))


def judged(reference: np.ndarray, wins: dict[tuple[int, int], float]) -> Any:
    """The same as a world."""
    whole = np.array(list(wins))
    return replace(
        bandit(np.zeros(len(reference)), reference=reference),
        prompt=np.zeros(len(whole), dtype=np.int64), response=whole, weight=np.array([*wins.values()]),
    )  # fmt: skip


SEEN = {(0, 1): 0.9, (1, 0): 0.1, (0, 2): 0.7, (2, 0): 0.3}


@pytest.mark.slow
def test_pairs_judged_before_and_the_price_of_drift_lead_where_the_table_goes() -> None:
    first = model(3, WORDS)
    options: dict[str, Any] = {"beta": 0.5, "weight": 0.5}
    table = play("hypo", judged(law(first), SEEN), rounds=150, **NATURAL, **options)[-1, 0]
    network, _ = learnt("hypo", first, {}, fits=40, offline=pairs(SEEN), **options)
    assert network == pytest.approx(table, abs=0.04)
    assert np.abs(table - law(first)).max() > 0.1


@pytest.mark.slow
def test_offline_pessimism_leads_where_the_table_goes() -> None:
    first = model(3, WORDS)
    options: dict[str, Any] = {"beta": 1.0, "alpha": 0.2, "side": "offline"}
    table = play("vpo", judged(law(first), SEEN), rounds=1, start=None, **options)[-1, 0]
    network, _ = learnt("vpo", first, {}, fits=60, offline=pairs(SEEN), reference_draws=True, **options)
    odds = [np.log(each[[0, 1, 2]] / law(first)[[0, 1, 2]]) for each in (table, network)]
    # Only the odds of what was compared are said anything of.
    assert odds[1] - odds[1].mean() == pytest.approx(odds[0] - odds[0].mean(), abs=0.1)


PROMPTS = [f"Say {word}: " for word in ("red", "blue", "green", "grey", "pink", "gold")]
SMALL: dict[str, Any] = {"rounds": 2, "max_new_tokens": 3, "sampler": PlainSampler, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "start"
    save(folder, *build("tiny", PROMPTS, steps=2))
    return str(folder)


def preferred(count: int = 8) -> Feedback:
    return Feedback.from_judgements(
        [
            Judgement((Message(PROMPTS[i % 6]),), tuple(Response((Message(t),)) for t in ("yes", "no")), ranks=(1, 2))
            for i in range(count)
        ]
    )


def test_a_run_learns_from_pairs_beside_its_samples_and_asks_nobody(start: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {**SMALL, "monitor_prompts": 2, "beta": 0.5, "offline_minibatch": 3, "rounds": 4}
    found = run(None, start, "hypo", offline=preferred(), output_dir=tmp_path / "run", **options)
    assert found.data["offline"]["used"] == 8
    assert "judge/asked" not in found.metrics[-1]
    assert found.metrics[-1]["loss"] < found.metrics[0]["loss"]
    # The preferred side has gained on the other.
    model_, tokenizer = found.load_model()
    before = found.load_reference()
    from pluralign.online.offline import tokens
    from pluralign.policy.encode import Encoder

    rows = Pairs.of(preferred(6), Encoder(tokenizer)).rows
    gain = (logprobs(model_, tokens(rows, 0, "cpu")).logp - logprobs(before, tokens(rows, 0, "cpu")).logp).detach()
    assert (gain[:, 0] > gain[:, 1]).all()
    with pytest.raises(OptionError, match="the offline pairs are not those the run began with"):
        run(resume=True, output_dir=found.path, prompts=preferred(), offline=preferred(7), sampler=PlainSampler)


def test_offline_vpo_runs(start: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {**SMALL, "monitor_prompts": 0, "rounds": 1, "side": "offline", "calibration": "chosen"}
    found = run(PROMPTS, start, "vpo", offline=preferred(), output_dir=tmp_path / "run", **options)
    assert weights_fingerprint(found.load_model()[0]) != found.reference["fingerprint"]
    assert {r.model for row in found.feedback(1) for r in row.responses} == {"reference"}


def vowels(prompt: str, response: str) -> float:
    return float(sum(letter in "aeiou" for letter in response))


JUDGES = {"vowels": Scored(vowels, name="vowels"), "brief": Scored(lambda p, r: -float(len(r)), name="brief")}


def test_several_judges_leave_their_answers_and_what_they_came_to(start: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {**SMALL, "monitor_prompts": 2, "samples": 3}
    found = run(PROMPTS, start, "maxmin", judge=JUDGES, output_dir=tmp_path / "run", budget=500, **options)
    line = found.metrics[-1]
    assert line["multiplier/vowels"] + line["multiplier/brief"] == pytest.approx(1)
    assert line["judge/asked"] == 2 * 4 * 3 * 2 - repeated(found)
    assert {row.annotator for row in found.feedback(1)} == {"vowels, scale 1", "brief, scale 1"}
    assert line["worst_group"] in JUDGES
    assert 0 <= line["proxy/win_rate"] <= 1


def repeated(found: OnlineRun) -> int:
    """Questions that were not asked, for the same text had been answered for the prompt."""
    asked = [
        (row.annotator, row.prompt, r.messages) for n in (1, 2) for row in found.feedback(n) for r in row.responses
    ]
    return len(asked) - len({repr(one) for one in asked})


def test_what_is_missing_beside_the_samples_is_said_first(start: str, tmp_path: Path) -> None:
    one = JUDGES["vowels"]
    for options, said in (
        ({"learner": "hypo"}, "hypo learns from pairs that were judged before.*--offline FILE"),
        ({"learner": "dpo", "judge": one, "offline": preferred()}, "dpo has no use for offline pairs"),
        ({"learner": "dpo", "judge": JUDGES}, "dpo asks one judge, and there are 2"),
        ({"learner": "constrained", "judge": JUDGES}, "the judge gives 2 and thresholds are none"),
        ({"learner": "constrained", "judge": JUDGES, "thresholds": [1.0]}, "gives 2 and thresholds are 1"),
        ({"learner": "maxmin"}, "maxmin learns from what a judge says"),
        ({"learner": "maxmin", "judge": {"a/b": one}}, "give 'a/b' a plain one"),
    ):
        with pytest.raises(OptionError, match=said):
            run(PROMPTS, start, output_dir=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
