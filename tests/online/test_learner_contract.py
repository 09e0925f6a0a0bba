"""What a learner is: samples with laws, snapshots and judgements in, losses out, and a plan of what a round does."""

import numpy as np
import pytest

from pluralign.errors import MissingInput, OptionError
from pluralign.objectives import PolicyBatch, dpo
from pluralign.online import (
    Judge,
    Plan,
    SampleBatch,
    SampleTokens,
    Stage,
    catalogue,
    direct,
    find,
    learner,
    preferences,
)

LOGP = np.log([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]])
SAID = np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]])


def samples(**rest: object) -> SampleBatch:
    return SampleBatch(LOGP, snapshots={"reference": np.log(np.full((2, 3), 1 / 3))}, **rest)


def test_draws_are_compared_with_others_never_with_themselves() -> None:
    batch = samples(preference=np.stack([SAID, SAID]))
    assert np.allclose(batch.pairs, (1 - np.eye(3)) / 6)
    assert np.allclose(batch.win_rate[0], [(0.9 + 0.2) / 2, (0.1 + 0.8) / 2, (0.8 + 0.2) / 2])
    assert np.allclose(batch.others(np.array([[1.0, 2.0, 6.0]] * 2))[0], [4.0, 3.5, 1.5])


def test_in_an_exact_law_two_draws_may_agree() -> None:
    law = np.exp(LOGP)
    batch = samples(preference=np.stack([SAID, SAID]), law=law, exact=True)
    assert np.allclose(batch.pairs, law[:, :, None] * law[:, None, :])
    assert np.allclose(batch.win_rate, law @ SAID.T)
    # Two draws of one policy win half the time, whatever people prefer.
    assert np.allclose(batch.expect(batch.win_rate), 0.5)


def test_a_policy_draw_against_a_reference_draw() -> None:
    law, opponent = np.array([[1.0, 0.0, 0.0]] * 2), np.array([[0.0, 0.5, 0.5]] * 2)
    batch = samples(preference=np.stack([SAID, SAID]), law=law, opponent=opponent)
    assert np.allclose(batch.against[0], [[0, 0.5, 0.5], [0, 0, 0], [0, 0, 0]])
    assert np.allclose(batch.win_rate[0, 0], 0.55)


def test_anchors_are_weighted_snapshots() -> None:
    batch = SampleBatch(LOGP, snapshots={"reference": 0 * LOGP - 1, "previous": LOGP})
    assert np.allclose(batch.log_ratio({"reference": 0.25, "previous": 0.75}), LOGP - 0.75 * LOGP + 0.25)
    with pytest.raises(MissingInput, match="'auxiliary', and the batch has reference, previous"):
        batch.anchor({"auxiliary": 1.0})


def test_shapes_are_checked() -> None:
    with pytest.raises(OptionError, match=r"preference has shape \(3, 3\)"):
        samples(preference=SAID)
    with pytest.raises(OptionError, match=r"snapshots\['previous'\] has shape"):
        SampleBatch(LOGP, snapshots={"previous": LOGP[:1]})
    with pytest.raises(OptionError, match=r"one row a prompt"):
        SampleBatch(LOGP[0])
    with pytest.raises(OptionError, match=r"tokens.snapshots\['reference'\]"):
        SampleBatch(LOGP, tokens=SampleTokens(np.ones((2, 3, 4)), snapshots={"reference": LOGP}))


def test_any_objective_is_a_learner_of_judged_draws() -> None:
    hard = preferences(np.array([[3.0, 1.0, 2.0]] * 2), hard=True)
    found = direct("dpo")(samples(preference=hard), beta=0.5)
    order = [(0, 1), (0, 2), (2, 1)]
    by_hand = [
        np.mean(
            [
                dpo(PolicyBatch.from_pairs(*(np.array([v]) for v in (row[i], row[j], 0.0, 0.0))), beta=0.5)
                for i, j in order
            ]
        )
        for row in LOGP
    ]
    assert np.allclose(found, by_hand)


def test_a_pair_without_an_answer_has_no_share() -> None:
    said = np.array([[[0.0, 0.0], [0.0, 0.0]], [[0.5, 1.0], [0.0, 0.5]]])
    batch = SampleBatch(LOGP[:, :2], snapshots={"reference": 0 * LOGP[:, :2]}, preference=said)
    losses = direct("ipo")(batch, beta=1.0, per="sequence")
    assert losses[0] == 0
    assert losses[1] > 0


def test_objectives_that_need_more_than_samples_say_so() -> None:
    with pytest.raises(OptionError, match="there is no learner 'no_such_thing'; there are brain"):
        find("no_such_thing")


def test_a_learner_is_refused_what_it_lacks() -> None:
    @learner(paper="ours", judge=Judge.REWARD, needs=lambda *, baseline: {"greedy_reward"} if baseline else set())
    def mine(batch: SampleBatch, *, baseline: bool = False) -> np.ndarray:
        "-E r log pi"
        return -batch.expect(batch.reward * batch.logp)

    with pytest.raises(MissingInput, match="mine needs reward"):
        mine(samples())
    with pytest.raises(MissingInput, match="mine needs greedy_reward"):
        mine(samples(reward=LOGP), baseline=True)
    with pytest.raises(OptionError, match="mine has no option 'base'; its options are: baseline"):
        mine(samples(reward=LOGP), base=True)
    assert mine.plan() == Plan((Stage(),))


def test_names_are_those_of_the_functions() -> None:
    assert all(name == found.name for name, found in catalogue().items())


def test_the_exact_divergence_is_asked_for_wherever_it_is_an_option() -> None:
    found = []
    for each in catalogue().values():
        if "kl" not in each.options.model_fields or "kl_in" not in each.options.model_fields:
            continue
        for place in ("reward", "loss"):
            needs = each.needs(kl="exact", kl_in=place, beta=0.1) - each.needs(kl="k1", kl_in=place, beta=0.1)
            found.append((each.name, place, *needs))
            with pytest.raises(MissingInput, match="needs"):
                each(samples(reward=LOGP), kl="exact", kl_in=place, beta=0.1)
    assert {what for _, _, what in found} == {"kl", "tokens.kl"}
    assert ("grpo", "loss", "tokens.kl") in found
