"""Ties in reward models: every outcome has its chance, and how likely a tie is can be learnt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.errors import FeedbackError, OptionError
from pluralign.likelihoods import davidson, grounded_rao_kupper, rao_kupper
from pluralign.models import (
    Answers,
    Conditioned,
    Features,
    GeneralPreference,
    Head,
    Judged,
    MetaRewardModel,
    PeerReview,
    RewardModel,
    Ties,
    board,
)
from pluralign.rank import GroundedRaoKupper
from pluralign.rank.grounded import _terms
from tests.models.test_reward_losses import TIES, WINS

F64 = torch.float64
KINDS: Any = ["davidson", "rao-kupper", "grounded"]
TIED: Any = [Ties("davidson"), Ties("rao-kupper"), "davidson(nu=0.6)", "ties(bradley_terry, threshold=0.4)"]


def drawn(seed: int, kind: Any, level: float) -> tuple[Ties, torch.Tensor, torch.Tensor]:
    """A model of ties that depends on the prompt, rewards of pairs, and prompts."""
    draw = torch.Generator().manual_seed(seed)
    ties = Ties(kind, prompt_features=2).double()
    ties.level.data.fill_(level)
    ties.head.weight.data = torch.randn(1, 2, generator=draw, dtype=F64)  # type: ignore[union-attr]
    return ties, 3 * torch.randn(6, 2, generator=draw, dtype=F64), torch.randn(6, 2, generator=draw, dtype=F64)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(KINDS), level=st.floats(-12, 12))
def test_chances_of_all_outcomes_sum_to_one_and_exchange_with_the_sides(seed: int, kind: Any, level: float) -> None:
    ties, rewards, prompts = drawn(seed, kind, level)
    each = ties.losses(rewards, prompts)
    assert each.shape == (6, 4 if kind == "grounded" else 3)
    assert torch.allclose((-each).exp().sum(-1), torch.ones(6, dtype=F64), atol=1e-12)
    turned = ties.losses(rewards.flip(1), prompts)
    order = [2, 1, 0, 3][: each.shape[1]]
    assert torch.allclose(turned[:, order], each, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(KINDS), shift=st.floats(0.5, 5))
def test_a_constant_added_to_both_rewards_is_seen_only_where_they_have_a_zero(
    seed: int, kind: Any, shift: float
) -> None:
    ties, rewards, prompts = drawn(seed, kind, 0.3)
    before, after = ties.losses(rewards, prompts), ties.losses(rewards + shift, prompts)
    if kind != "grounded":
        assert torch.allclose(before, after, atol=1e-12)
    else:
        assert (before[:, 3] < after[:, 3]).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
@pytest.mark.parametrize("kind", KINDS)
def test_slopes_by_rewards_and_by_the_tie_head(kind: Any, seed: int) -> None:
    ties, rewards, prompts = drawn(seed, kind, 0.1)
    names = [name for name, _ in ties.named_parameters()]

    def each(r: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        judged = Judged.of(Answers.of([[0.0]] * 6, [[1.0]] * 6, [1, 0.5, 0.5, 1, 1, 0.7], prompt=prompts.numpy()))
        judged = judged.with_labels(tie=[0, 1, 1, 0, 0, 0])
        known = dict(zip(names, values, strict=True))
        return torch.func.functional_call(ties, known, (r, _exact(judged, prompts)))

    assert torch.autograd.gradcheck(each, (rewards.requires_grad_(True), *ties.parameters()))


def _exact(judged: Judged, prompts: torch.Tensor) -> Judged:
    labels = {name: value.double() for name, value in judged.labels.items()}
    return Judged(judged.items, judged.place, judged.sign, labels, prompts, torch.arange(len(prompts)))


def test_a_threshold_may_differ_from_pair_to_pair_and_is_exact_at_both_ends() -> None:
    z, wide = np.array([0.3, -0.2, 0.0]), np.array([0.5, 1e-9, 700.0])
    for one, t in zip(z, wide, strict=True):
        alone = rao_kupper(np.array(one), 1.0, t)
        assert alone == rao_kupper(z, 1.0, wide)[np.flatnonzero(z == one)[0]]
    assert np.exp(-rao_kupper(np.array(0.0), 1.0, 0.5)) == pytest.approx((np.exp(0.5) - 1) / (np.exp(0.5) + 1))
    assert np.exp(-davidson(np.array(0.0), 1.0, np.log(0.5))) == pytest.approx(0.5 / 2.5)
    # A narrow threshold: half of the slope of the logistic curve on either side.
    assert rao_kupper(np.array(0.0), 1.0, 1e-9) == pytest.approx(-np.log(2e-9 / 4), abs=1e-6)
    assert rao_kupper(np.array(0.0), 1.0, 700.0) == pytest.approx(0, abs=1e-12)


def test_grounded_chances_are_those_of_the_card_and_of_leaderboards() -> None:
    found = np.exp(-grounded_rao_kupper(np.array(1.0), np.array(0.0), np.log(0.5)))
    assert found == pytest.approx([0.520915, 0.102600, 0.164543, 0.211942], abs=1e-6)
    a, b = np.random.default_rng(0).normal(size=(2, 50)) * 4
    log, _ = _terms(a, b, 0.7)
    assert -grounded_rao_kupper(a, b, 0.7)[:, [0, 2, 1, 3]] == pytest.approx(log, abs=1e-12)
    # theta = 1: no ties, and a choice among left, right and nothing.
    three = np.exp(-grounded_rao_kupper(a, b, -800.0))
    assert three[:, 1] == pytest.approx(0, abs=1e-12)
    assert three[:, 3] == pytest.approx(1 / (1 + np.exp(a) + np.exp(b)))


def g2() -> Answers:
    rows = [(i, j, 1.0) for i in range(4) for j in range(4) for _ in range(WINS[i, j])]
    rows += [(i, j, 0.5) for (i, j), n in TIES.items() for _ in range(n)]
    i, j, said = (np.array(column) for column in zip(*rows, strict=True))
    return Answers.indexed(np.eye(4), i, j, said, ["everybody"] * len(i))


@pytest.mark.parametrize(
    ("kind", "theta", "tie", "nll"),
    [
        ("davidson", [0.995196, 0.164397, -0.282063, -0.877530], 0.669651, 34.497504),
        ("rao-kupper", [0.821653, 0.169398, -0.226337, -0.764714], 0.543065, 34.271701),
    ],
)
def test_rewards_and_ties_learnt_together_are_golden_set_g2(kind: Any, theta: Any, tie: float, nll: float) -> None:
    answers = g2()
    model = RewardModel(Head(4), Ties(kind), epochs=200, lr=0.07).fit(answers)
    scores = model.export().of(torch.eye(4)).double().numpy()
    assert scores - scores.mean() == pytest.approx(theta, abs=2e-3)
    assert isinstance(model.loss, Ties)
    assert model.loss.tie().item() == pytest.approx(tie, abs=2e-3)
    assert model.loss_ * len(answers) == pytest.approx(nll, abs=1e-4)
    assert model.log_loss(answers) == pytest.approx(model.loss_, abs=1e-6)
    three = model.predict_proba(answers, outcomes=True)
    assert three.sum(1) == pytest.approx(1)
    assert (three[:, 1] > 0.1).all()
    both = PeerReview(Head(4), noise=0.0, loss=Ties(kind), epochs=5, lr=0.05).fit(answers)
    one, two = (each.predict_proba(answers, outcomes=True) for each in both.models)
    assert both.predict_proba(answers, outcomes=True) == pytest.approx((one + two) / 2)
    assert model.predict_proba(answers) == pytest.approx(three[:, 0])


@pytest.mark.parametrize("loss", [*TIED, "davidson(nu=0.6) + 0.01*centring"], ids=str)
def test_every_loss_that_knows_ties_tells_their_chance(loss: Any) -> None:
    answers = g2()
    model = RewardModel(Head(4), loss, epochs=20, lr=0.05).fit(answers)
    three = model.predict_proba(answers, outcomes=True)
    assert three.sum(1) == pytest.approx(1)
    assert (three > 0.01).all()
    if not isinstance(loss, str) or "centring" not in loss:
        assert model.log_loss(answers) == pytest.approx(model.loss_, abs=1e-6)
    turned = Answers.indexed(answers.items, answers.right, answers.left, 1 - answers.probability, ["x"] * len(answers))
    assert model.predict_proba(turned, outcomes=True) == pytest.approx(three[:, ::-1], abs=1e-12)
    assert model.log_loss(turned) == pytest.approx(model.log_loss(answers), abs=1e-6)
    plain = RewardModel(Head(4), epochs=20, lr=0.05).fit(answers)
    chance = plain.predict_proba(answers, outcomes=True)
    assert (chance[:, 1] == 0).all()
    assert chance[:, 0] == pytest.approx(1 / (1 + np.exp(-plain.margins(answers))), abs=1e-6)


def test_ties_go_with_every_head_and_every_remedy() -> None:
    answers = g2()
    for score in (Head(4, hidden=4), GeneralPreference(4, size=4)):
        model = RewardModel(score, Ties("rao-kupper"), epochs=10, lr=0.05).fit(answers)
        assert model.predict_proba(answers, outcomes=True).sum(1) == pytest.approx(1)
    peers = PeerReview(Head(4), noise=0.0, loss=Ties("davidson"), epochs=5, batch=100, lr=0.05).fit(answers)
    for model, seed in zip(peers.models, (0, 1), strict=True):
        alone = RewardModel(Head(4), Ties("davidson"), epochs=5, batch=100, lr=0.05, seed=seed).fit(answers)
        assert isinstance(model.loss, Ties)
        assert isinstance(alone.loss, Ties)
        assert model.loss.tie().item() == pytest.approx(alone.loss.tie().item(), abs=1e-5)
    meta = MetaRewardModel(Head(4), Ties("davidson"), epochs=5, lr=0.05).fit(answers, torch.randn(3, 2, 4))
    assert isinstance(meta.loss, Ties)
    assert meta.loss.tie().item() != 1.0


BOARDS = np.array([[1.5, 0.0, -1.5], [-1.5, 0.0, 1.5]])


def votes(n: int, seed: int, boards: np.ndarray[Any, Any], log_excess: Any) -> tuple[Any, ...]:
    """Four kinds of vote between three models on two kinds of prompt, by grounded Rao and Kupper."""
    draw = np.random.default_rng(seed)
    kind, a = draw.integers(0, 2, n), draw.integers(0, 3, n)
    b = (a + draw.integers(1, 3, n)) % 3
    chance = np.exp(-grounded_rao_kupper(boards[kind, a], boards[kind, b], np.asarray(log_excess)[kind]))
    outcome = (draw.random(n)[:, None] > chance.cumsum(1)).sum(1).clip(max=3)
    said = np.array([1.0, 0.5, 0.0, 0.5])[outcome]
    answers = Answers.indexed(np.eye(3), a, b, said, ["x"] * n, prompts=np.eye(2), prompt=kind)
    return answers, outcome, a, b


def test_a_leaderboard_for_each_prompt_knows_how_likely_ties_are_there() -> None:
    answers, outcome, *_ = votes(6000, 0, BOARDS + 0.5, [-1.5, 1.5])
    judged = Judged.of(answers, ties=True, both_bad=outcome == 3)
    test, train = judged.take(np.arange(2000)), judged.take(np.arange(2000, 6000))
    options: dict[str, Any] = {"epochs": 25, "batch": 500, "lr": 0.05}
    asked = RewardModel(Conditioned(3, prompt_features=2), Ties("grounded", prompt_features=2), **options).fit(train)
    assert isinstance(asked.scorer, Conditioned)
    assert isinstance(asked.loss, Ties)
    # Not up to a constant: nothing at all has score zero.
    assert asked.scorer.board(torch.eye(2)).numpy() == pytest.approx(BOARDS + 0.5, abs=0.25)
    assert asked.loss.tie(torch.eye(2)).tolist() == pytest.approx(np.log1p(np.exp([-1.5, 1.5])).tolist(), abs=0.15)
    best = -np.log(np.exp(-grounded_losses(answers, [-1.5, 1.5]))[np.arange(6000), outcome][:2000]).mean()
    assert asked.log_loss(test) == pytest.approx(best, abs=0.02)
    alike = RewardModel(Conditioned(3, prompt_features=2), Ties("grounded"), **options).fit(train)
    pooled = RewardModel(Head(3), Ties("grounded"), **options).fit(train)
    assert asked.log_loss(test) + 0.05 < alike.log_loss(test) < pooled.log_loss(test) - 0.05
    four = asked.predict_proba(answers, outcomes=True)
    assert four.shape == (6000, 4)
    assert four.sum(1) == pytest.approx(1)
    assert [(outcome == k).mean() for k in range(4)] == pytest.approx(four.mean(0), abs=0.03)


def grounded_losses(answers: Answers, log_excess: list[float]) -> Any:
    kind = np.asarray(answers.prompt)
    boards, left, right = BOARDS + 0.5, np.asarray(answers.left), np.asarray(answers.right)
    return grounded_rao_kupper(boards[kind, left], boards[kind, right], np.asarray(log_excess)[kind])


def test_without_prompts_it_is_the_grounded_leaderboard() -> None:
    answers, outcome, a, b = votes(600, 1, np.array([[1.0, 0.0, -0.5]] * 2), [0.0, 0.0])
    judged = Judged.of(answers, ties=True, both_bad=outcome == 3)
    model = RewardModel(Head(3), Ties("grounded"), epochs=200, batch=600, lr=0.05).fit(judged)
    names = np.array(["model_a", "tie", "model_b", "tie (bothbad)"])[outcome]
    board = GroundedRaoKupper().fit(
        {"model_a": [f"m{i}" for i in a], "model_b": [f"m{i}" for i in b], "winner": names.tolist()}
    )
    mine = model.export().of(torch.eye(3)).double().numpy()
    assert mine[board.index(["m0", "m1", "m2"])] == pytest.approx(board.scores_, abs=5e-3)
    assert isinstance(model.loss, Ties)
    assert model.loss.tie().item() == pytest.approx(board.tie_, abs=5e-3)
    assert model.loss_ * 600 == pytest.approx(board.nll_, abs=0.01)


def test_what_ties_cannot_do_is_said() -> None:
    answers = g2()
    with pytest.raises(OptionError, match="not one of davidson"):
        Ties("thurstone")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="has no option 'nu'"):
        RewardModel(Head(4), Ties("davidson"), nu=1.0)
    with pytest.raises(OptionError, match="depends on the prompt"):
        RewardModel(Head(4), Ties("davidson", prompt_features=2), epochs=1).fit(answers)
    with pytest.raises(OptionError, match="no place for margins"):
        RewardModel(Head(4), Ties("davidson"), epochs=1).fit(Judged.of(answers, margin=np.ones(len(answers))))
    with pytest.raises(OptionError, match="these lists have 3"):
        RewardModel(Head(3), Ties("davidson"), epochs=1).fit(Judged.lists(np.eye(3), [[0, 1, 2]]))
    with pytest.raises(OptionError, match="no rewards of single responses"):
        RewardModel(GeneralPreference(4), Ties("grounded"), epochs=1).fit(answers)
    with pytest.raises(FeedbackError, match="neither is preferred"):
        Judged.of(answers, both_bad=np.ones(len(answers), dtype=bool))


def test_votes_as_they_are_collected_become_a_leaderboard_for_each_prompt(tmp_path: Path) -> None:
    _, outcome, a, b = votes(400, 2, BOARDS + 0.5, [0.0, 0.0])
    said = np.array(["model_a", "tie", "model_b", "tie (bothbad)"])[outcome]
    asked = np.random.default_rng(2).integers(0, 2, 400)
    rows = [
        {
            "prompt": ["sum", "poem"][k],
            "response_a": "One.",
            "response_b": "Two.",
            "model_a": f"m{i}",
            "model_b": f"m{j}",
            "winner": str(w),
        }
        for k, i, j, w in zip(asked, a, b, said, strict=True)
    ]

    def kinds(texts: Sequence[str]) -> list[list[float]]:
        return [[float(t == "sum"), float(t == "poem")] for t in texts]

    model = RewardModel(Conditioned(3, prompt_features=2), Ties("grounded"), epochs=30, batch=100, lr=0.1)
    model.features = Features("items", prompts=kinds)
    model.fit(rows)
    for kind in ("sum", "poem"):
        own = [row for row in rows if row["prompt"] == kind]
        theirs = GroundedRaoKupper().fit(own)
        table = board(model, kind)
        order = [f"m{i}" for i in np.argsort(-theirs.scores_[theirs.index(["m0", "m1", "m2"])])]
        assert table["model"].to_list() == order
        assert table["good"].to_numpy() == pytest.approx(1 / (1 + np.exp(-table["score"].to_numpy())))
    again = RewardModel.load(model.save(tmp_path), kinds)
    assert board(again, "sum").equals(board(model, "sum"))
    assert again.log_loss(rows) == model.log_loss(rows)
    with pytest.raises(OptionError, match="named models"):
        board(RewardModel(Head(4), epochs=1).fit(g2()), "sum")
