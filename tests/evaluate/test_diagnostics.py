"""Diagnostics: what they say of training before, during and after it. Test names begin with the card's key."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from tiny_models import TEXTS, tiny, tokenizer

from pluralign.evaluate.ches import ches, ches_scores, response_states
from pluralign.evaluate.diagnostics import distinguishability, gradient_ratio, locality, mass_moved, peak_overlap
from pluralign.evaluate.figures import idealised, preferred
from pluralign.evaluate.measures import POLICY, REWARD, Pairs
from pluralign.feedback import Feedback, Judgement, Response, text
from pluralign.objectives import PolicyBatch, dpo, dpo_shift, flex_dpo
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoded
from pluralign.train.metrics import NAMES, Tally, add_metrics, add_slopes

# --- ranking_accuracy ---


@pytest.mark.parametrize("over", [-1e-6, 1e-6])
def test_ranking_accuracy_threshold_is_the_loss_at_the_difficulty(over: float) -> None:
    """A pair is ranked right iff its dpo loss is at most softplus(-beta * c), c its difficulty."""
    beta, c = 0.1, 2.0
    ref = torch.tensor([[0.0, c]], dtype=torch.float64)  # c = log pi_ref(y_l) - log pi_ref(y_w)
    logp = torch.tensor([[over, 0.0]], dtype=torch.float64)  # log pi just apart
    batch = PolicyBatch.from_pairs(logp[:, 0], logp[:, 1], ref[:, 0], ref[:, 1])
    within = dpo(batch, beta=beta).item() <= math.log1p(math.exp(-beta * c))
    assert within is (over > 0)


def test_ranking_accuracy_ideal_of_even_and_of_certain_labels() -> None:
    gap = np.random.default_rng(0).normal(0, 20, 50)
    assert (preferred(idealised(gap, 0.5, 0.1)) == preferred(gap)).all()
    assert preferred(idealised(gap, 1.0, 0.1)).all()


def test_ranking_accuracy_can_be_nothing_where_implicit_accuracy_is_all() -> None:
    ref = np.array([[-30.0, -10.0]] * 5)
    logp = ref + np.array([1.0, -1.0])
    ones = np.ones((5, 2))
    pairs = Pairs(logp - ref, logp, ref, ones, ones, np.zeros(5), np.arange(5))
    found = pairs.measure()
    assert found["accuracy"][REWARD]["value"] == 1
    assert found["accuracy"][POLICY]["value"] == 0
    assert found["difficulty"]["nats"]["value"] == 20
    assert found["longer"] == {}


def test_ranking_accuracy_and_reliance_on_length_as_metrics_of_training() -> None:
    logp = torch.tensor([[-5.0, -4.0], [-9.0, -12.0], [-3.0, -3.0]], dtype=torch.float64)
    ref = torch.tensor([[-6.0, -3.0], [-9.0, -9.0], [-3.0, -2.0]], dtype=torch.float64)
    length = torch.tensor([[10.0, 2.0], [3.0, 6.0], [4.0, 4.0]], dtype=torch.float64)
    batch = PolicyBatch(logp, length, torch.tensor([[1.0, -1.0]] * 3), ref)
    tally = Tally()
    add_metrics(tally, batch, dpo.score(batch))
    found = tally.means(lambda sums: sums, NAMES)
    assert found["ranking/accuracies"] == pytest.approx(1.5 / 3)
    assert found["ranking/accuracies_per_token"] == pytest.approx(1.5 / 3)  # -.5 over -2; -3 under -2; equal
    assert found["ranking/difficulty"] == pytest.approx((3 + 0 + 1) / 3)
    # Rewards 1 and -1, 0 and -3, 0 and -1: the longer first, then the shorter; the third are of one length.
    assert found["rewards/longer"] == pytest.approx(0.5)


# --- flex_dpo: 3D-properties ---


def test_flex_dpo_slopes_as_metrics_of_training() -> None:
    p_w, p_l = 0.3, 0.05
    logp = torch.tensor([[p_w, p_l]], dtype=torch.float64).log().requires_grad_()
    batch = PolicyBatch(logp, None, torch.tensor([[1.0, -1.0]]), torch.zeros(1, 2, dtype=torch.float64))
    for objective, options, pull in (
        (dpo, {}, 1.0),
        (dpo_shift, {"rejected_share": 0.75}, 0.75),
        (flex_dpo, {"beta": 0.1, "rejected_beta": 0.04}, 0.4),
    ):
        tally = Tally()
        add_slopes(tally, batch, batch.mean(objective(batch, **options)))
        found = tally.means(lambda sums: sums, NAMES)
        assert found["gradients/rejected"] / found["gradients/chosen"] == pytest.approx(pull)
        expected = gradient_ratio(logp.detach().numpy(), rejected_pull=pull)[0]
        assert found["gradients/log_ratio"] == pytest.approx(expected)
    assert math.exp(gradient_ratio(np.log([[p_w, p_l]]))[0]) == pytest.approx(6)


def test_slopes_are_those_of_rows_however_the_step_is_weighted() -> None:
    rng = np.random.default_rng(1)
    logp = torch.tensor(-rng.uniform(1, 9, (4, 2)), requires_grad=True)
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0], dtype=torch.float64)
    batch = PolicyBatch(
        logp, None, torch.tensor([[1.0, -1.0]] * 4), torch.zeros(4, 2, dtype=torch.float64), weight=weight
    )
    tally = Tally()
    add_slopes(tally, batch, batch.mean(dpo(batch, beta=0.5)))
    margin = 0.5 * (logp[:, 0] - logp[:, 1]).detach()
    expected = (weight * 0.5 * torch.sigmoid(-margin)).sum() / weight.sum()
    assert tally.means(lambda sums: sums, NAMES)["gradients/chosen"] == pytest.approx(float(expected))


# --- ches ---


def test_ches_of_equals_of_orthogonals_and_of_single_tokens() -> None:
    rng = np.random.default_rng(0)
    chosen, rejected = rng.normal(size=(2, 5, 7))
    assert ches_scores(chosen, chosen) == pytest.approx(np.zeros(5))
    rejected -= (chosen * rejected).sum(1, keepdims=True) / (chosen**2).sum(1, keepdims=True) * chosen
    assert ches_scores(chosen, rejected) == pytest.approx(-(chosen**2).sum(1))


def test_ches_reads_the_states_that_predict_the_response() -> None:
    model = tiny("llama").double().eval()
    rows = [
        Encoded([1, 5, 6], ([7, 8, 9], [10, 2]), ([True] * 3, [True] * 2)),
        Encoded([1, 4], ([3], [11]), ([True], [True])),  # one token each: the same state predicts both
    ]
    tokens = collate(rows, pad_id=0)
    found = response_states(model, tokens)
    ids = torch.tensor([[1, 5, 6, 7, 8, 9]])
    hidden = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
    assert torch.allclose(found[0, 0], hidden[2:5].sum(0), atol=1e-10)
    chosen, rejected = found.detach().numpy().transpose(1, 0, 2)
    assert ches_scores(chosen, rejected)[1] == pytest.approx(0, abs=1e-9)


def test_ches_of_feedback_leaves_no_number_where_there_is_no_pair() -> None:
    responses = Response(text(" a")), Response(text(" not that"))
    rows = [Judgement(text(TEXTS[0]), responses, ranks=ranks) for ranks in ((1, 2), (1, 1))]
    for per_token in (False, True):
        found = ches(Feedback.from_judgements(rows), tiny("gpt2"), tokenizer(), per_token=per_token)
        assert np.isfinite(found[0])
        assert np.isnan(found[1])


def test_ches_foretells_how_fast_the_preferred_response_falls() -> None:
    """Softmax over trainable features: the higher the score, the lower d log pi(y_w) / dt under dpo."""
    rng = np.random.default_rng(0)
    scores, rates = [], []
    for _ in range(120):
        unembedding = torch.tensor(rng.normal(size=(12, 8)) * 0.3, requires_grad=True)
        start, lean = rng.normal(size=8), rng.normal(size=8) * rng.uniform(0, 2)
        slopes, sums = [], []
        for sign in (1, rng.choice([-1, 1])):
            states = np.stack([start, *(sign * lean + rng.normal(size=(3, 8)))])
            features = torch.tensor(states, requires_grad=True)
            logp = torch.log_softmax(features @ unembedding.T, -1)[range(4), rng.integers(12, size=4)].sum()
            slopes.append(torch.autograd.grad(logp, [unembedding, features]))
            sums.append(states.sum(0)[None])
        (w, f), (other_w, other_f) = slopes
        # Both responses share their parameters but for the features behind their own tokens.
        rates.append(float((w * w).sum() + (f * f).sum() - (w * other_w).sum() - (f[0] * other_f[0]).sum()))
        scores.append(ches_scores(*sums)[0])
    assert spearmanr(scores, rates).statistic < -0.25


# --- learning_dynamics ---


def test_learning_dynamics_the_more_distinguishable_behaviour_is_learnt_first() -> None:
    """Two behaviours along axes of their own, both wrong at the start; weights can turn the order round."""
    rng = np.random.default_rng(0)
    n, apart = 200, {"clear": 3.0, "faint": 1.0}
    sides = {g: rng.normal(0, 0.2, (2, n, 2)) for g in apart}
    for axis, (g, gap) in enumerate(apart.items()):
        sides[g][0][:, axis] += gap
    chosen, rejected = (np.concatenate([sides[g][s] for g in apart]) for s in (0, 1))
    groups = np.repeat(list(apart), n)
    found = distinguishability(chosen, rejected, list(groups))
    assert found["clear"] > 2 * found["faint"] > 0

    def crossings(weight: dict[str, float]) -> dict[str, int]:
        theta, first = np.array([-1.0, -1.0]), {}
        rows = np.array([weight[g] for g in groups])
        for step in range(20_000):
            margin = (chosen - rejected) @ theta
            for g in apart:
                if g not in first and (margin[groups == g] > 0).mean() > 0.9:
                    first[g] = step
            if len(first) == 2:
                break
            theta += 0.01 * ((rows / (1 + np.exp(margin)))[:, None] * (chosen - rejected)).mean(0)
        return first

    even, balanced = crossings({"clear": 1, "faint": 1}), crossings({"clear": 0.05, "faint": 4})
    assert even["clear"] < even["faint"]
    assert balanced["faint"] < balanced["clear"]


# --- mode_seeking ---


def steps_to(peak: int, mass: float, how: str, most: int = 3000) -> int:
    """Steps until a policy over 20 bins, with three smooth features, has this mass at the peak of the reward."""
    bins = np.arange(20)
    x = (bins - 9.5) / 9.5
    features = np.stack([x, x**2, x**3], 1)
    ref = np.exp(-0.5 * ((bins - 9.5) / 3.0) ** 2)
    ref /= ref.sum()
    reward = -np.abs(bins - peak).astype(float)
    better = (reward[:, None] > reward[None, :]).astype(float)
    best_of_8, below = np.zeros(20), 0.0
    for value in np.unique(reward):
        share = ref[reward == value].sum()
        best_of_8[reward == value] = ((below + share) ** 8 - below**8) * ref[reward == value] / share
        below += share
    theta, beta = np.zeros(3), 0.1
    for step in range(most):
        h = features @ theta
        policy = ref * np.exp(h - h.max())
        policy /= policy.sum()
        if policy[peak] >= mass:
            return step
        if how == "imitation":
            slope = best_of_8 - policy
        else:
            drawn = policy if how == "on-policy" else ref
            pull = drawn[:, None] * drawn[None, :] * better / (1 + np.exp(beta * (h[:, None] - h[None, :])))
            slope = pull.sum(1) - pull.sum(0)
        theta += features.T @ slope
    return most


def test_mode_seeking_pays_where_the_reference_has_little_mass() -> None:
    logits = -0.5 * ((np.arange(20) - 9.5) / 3.0) ** 2
    ref = (logits - np.logaddexp.reduce(logits))[None]
    reward = -np.abs(np.arange(20) - np.array([[19], [9]])).astype(float)
    tail, inside = peak_overlap(reward, np.repeat(ref, 2, 0))
    assert np.exp(ref[0, 19]) < 1e-3
    assert tail < -4 < inside == 0
    on, off, imitation = (steps_to(19, 0.5, how) for how in ("on-policy", "offline", "imitation"))
    assert on < off < imitation
    found = [steps_to(9, 0.3, how) for how in ("on-policy", "offline", "imitation")]
    assert max(found) < 3 * min(found) + 100


def test_mode_seeking_measures_the_mass_that_moved() -> None:
    ref = np.log([[0.7, 0.2, 0.1]])
    assert mass_moved(ref, ref)[0] == pytest.approx(0)
    assert mass_moved(np.log([[0.1, 0.2, 0.7]]), ref)[0] == pytest.approx(0.6)
    assert mass_moved(ref - 5, ref)[0] == pytest.approx(0)  # shares, not probabilities


def test_c3po_locality() -> None:
    assert locality(0.8, 0.3) == pytest.approx(0.75)
