"""Sums of objectives, label models, divergences, weights: what they equal, how they are written, what is refused."""

import math

import numpy as np
import pytest
import torch
from batches import as_torch, pair, random_batch, tensor
from numpy.testing import assert_allclose

from pluralign.errors import OptionError
from pluralign.objectives import (
    Need,
    Rows,
    alphapo,
    bco,
    cdpo,
    cpo,
    debiased,
    diverging,
    dpo,
    f_dpo,
    find,
    ipo,
    mpo_mixed,
    nll_augmented,
    on_policy,
    rdpo,
    sft,
    simpo,
    smoothed,
    ties,
    todo,
    wpo,
)  # fmt: skip

BATCH = random_batch(0, weight=np.linspace(0.2, 2, 6))


@pytest.mark.parametrize(
    ("written", "options", "single", "its"),
    [
        ("dpo", {"beta": 0.3}, dpo, {"beta": 0.3}),
        ("1*dpo(beta=0.3)", {}, dpo, {"beta": 0.3}),
        ("0.8*dpo + 0.2*bco + sft", {"beta": 0.1}, mpo_mixed, {}),
        ("dpo + 0.5*sft", {"beta": 0.3}, nll_augmented, {"beta": 0.3, "alpha": 0.5}),
        ("smoothed(dpo)", {"flip_rate": 0.2}, cdpo, {"label_smoothing": 0.2}),
        ("smoothed(dpo, flip_rate=0.2)", {}, cdpo, {"label_smoothing": 0.2}),
        ("debiased(dpo)", {"flip_rate": 0.2}, rdpo, {"label_smoothing": 0.2}),
        ("diverging(dpo)", {"divergence": "alpha"}, f_dpo, {"divergence": "alpha"}),
        ("diverging(ipo, divergence='reverse_kl')", {}, ipo, {}),
        ("on_policy(dpo)", {"beta": 0.01}, wpo, {}),
        ("ties(dpo)", {"beta": 0.3, "threshold": 0.7}, todo, {"beta": 0.3, "alpha": 0.7}),
    ],
)
def test_an_expression_equals_the_objective_it_spells_out(written, options, single, its) -> None:
    combined = find(written)
    assert_allclose(combined(BATCH, **options), single(BATCH, **its), rtol=1e-9)
    assert combined.needs(**options) == single.needs(**its)
    assert find(combined.name).name == combined.name


def test_a_tie_under_any_logistic_objective() -> None:
    tied = random_batch(3, tie=np.array([0.0, 1, 0, 1, 1, 0]))
    assert_allclose(ties(dpo)(tied, beta=0.3), todo(tied, beta=0.3), rtol=1e-9)
    # A pair of equals with a target margin: a tie is as likely from either side.
    both = [ties(simpo)(pair(*p, tie=tensor(1.0))).item() for p in [(-2.0, -1.0), (-1.0, -2.0)]]
    assert_allclose(*both, rtol=1e-12)


@pytest.mark.parametrize("h", [-900.0, -30.0, 0.0, 3.0, 30.0])
def test_ties_stay_exact_far_out(h: float) -> None:
    batch = as_torch(pair(h, 0.0, tie=tensor(0.0)), grad=True)
    loss = ties(dpo)(batch, beta=1.0, threshold=0.5)
    assert_allclose(loss.item(), np.logaddexp(0, 0.5 - h), rtol=1e-10)
    assert torch.isfinite(torch.autograd.grad(loss.sum(), batch.logp)[0]).all()


@pytest.mark.parametrize("objective", [simpo, ipo, alphapo, sft], ids=lambda o: o.name)
def test_a_noise_robust_anything(objective) -> None:
    """Over labels flipped at the rate, the de-biased loss is the clean one; the smoothed one is a soft label."""
    batch = random_batch(4)
    right, wrong = debiased(objective)(batch, flip_rate=0.3), debiased(objective)(batch.flipped(), flip_rate=0.3)
    assert_allclose(0.7 * right + 0.3 * wrong, objective(batch), rtol=1e-9)
    soft = random_batch(4, probability=np.full(6, 0.7), totals=batch.own_totals)
    assert_allclose(smoothed(objective)(batch, flip_rate=0.3), objective(soft), rtol=1e-12)


def test_gradients_add_as_the_weights_say() -> None:
    def gradient(objective, **options) -> torch.Tensor:
        batch = as_torch(BATCH, grad=True)
        return torch.autograd.grad(batch.mean(objective(batch, **options)), batch.logp)[0]

    parts = 0.8 * gradient(dpo, beta=0.1) + 0.2 * gradient(bco, beta=0.5) + gradient(sft)
    assert_allclose(gradient(find("0.8*dpo + 0.2*bco(beta=0.5) + sft")), parts, rtol=1e-12)


def test_options_of_several_terms() -> None:
    both = find("dpo + bco")
    assert both.options.model_fields["beta"].default is None  # 0.1 and 0.01: each keeps its own
    assert_allclose(both(BATCH), dpo(BATCH, beta=0.1) + bco(BATCH, beta=0.01), rtol=1e-12)
    assert_allclose(both(BATCH, beta=0.3), dpo(BATCH, beta=0.3) + bco(BATCH, beta=0.3), rtol=1e-12)
    with pytest.raises(OptionError, match="'beta' = -1"):
        both(BATCH, beta=-1)


def test_row_fields_reach_the_terms_that_have_a_use_for_them() -> None:
    batch = random_batch(1, margin=np.ones(6), beta=np.full(6, 0.4), probability=np.linspace(0, 1, 6))
    plain = random_batch(1, beta=np.full(6, 0.4), probability=np.linspace(0, 1, 6))
    bounded = random_batch(1, margin=np.ones(6), probability=np.linspace(0, 1, 6))
    assert_allclose(find("2*dpo + bco")(batch), 2 * dpo(batch) + bco(plain), rtol=1e-12)
    imitation = sft(random_batch(1, probability=np.linspace(0, 1, 6)))
    assert_allclose(find("2*dpo(beta=0.4) + sft")(bounded), 2 * dpo(batch) + imitation, rtol=1e-12)


def test_needs_and_rows_are_those_of_all_terms() -> None:
    combined = find("orpo(nll_over='prompt and response') + kto")
    assert combined.needs() == {Need.PROMPT, Need.REFERENCE, Need.MISMATCHED}
    assert combined.rows == (Rows.PAIRS,)
    assert find("kto + bco").rows == (Rows.UNPAIRED, Rows.PAIRS)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("dop", "no objective 'dop' \\(did you mean dpo"),
        ("0.5*dop + sft", "'dop' is no objective"),
        ("dpo - sft", "'dpo - sft' is no objective"),
        ("dpo +", "neither an objective nor a sum"),
        ("dpo(gamma=1)", "dpo has no option 'gamma'"),
        ("dpo(beta=b)", "plain number"),
        ("__import__('os')", "is no objective"),
        ("smoothed(aot)", "smoothed\\(aot\\) cannot be: its statistics"),
        ("debiased(c3po)", "exchanges the two responses"),
        ("on_policy(aot)", "belong to no single row"),
        ("diverging(simpo)", "simpo has none"),
        ("diverging(nca)", "not blind to constants"),
        ("ties(ipo)", "not -log sigmoid"),
        ("tpo + kto", "no kind of row serves all its terms: tpo learns from rankings; kto"),
        ("bco + mpo_mixed", "each keep a running statistic"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(written: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        find(written)


def test_a_divergence_bends_the_log_ratio() -> None:
    u_w, u_l = math.exp(0.7), math.exp(-0.4)
    g = [math.log(2 * u / (1 + u)) for u in (u_w, u_l)]
    expected = math.log1p(math.exp(-0.5 * (g[0] - g[1])))
    assert_allclose(diverging(dpo)(pair(0.7, -0.4), beta=0.5), expected, rtol=1e-12)
    assert_allclose(cpo(pair(0.7, -0.4), alpha=0.0), dpo(pair(0.7, -0.4)), rtol=1e-12)
    assert on_policy(simpo).needs() == {Need.TOKENS, Need.COLLISION}
