"""Weight, soft label, margin and temperature of a row; what a batch and an option refuse, in one sentence."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import columns, pair, random_batch, random_batches_for, tensor
from numpy.testing import assert_allclose

from pluralign.errors import MissingInput, OptionError
from pluralign.objectives import Objective, PolicyBatch, Totals, catalogue, cdpo, dpo, ipo, kto, orpo, sft, simpo
from pluralign.objectives.objective import _FIELDS, Need, Rows

PAIRED = [o for o in catalogue().values() if Rows.PAIRS in o.rows]
EVERY_PAIRED = pytest.mark.parametrize("objective", PAIRED, ids=[o.name for o in PAIRED])


PLAIN = [o for o in PAIRED if not o.refuses]
EVERY_PLAIN = pytest.mark.parametrize("objective", PLAIN, ids=[o.name for o in PLAIN])


@EVERY_PLAIN
def test_a_soft_label_averages_over_both_directions(objective: Objective) -> None:
    sure, unsure = random_batch(1, weight=np.ones(6)), random_batch(1, probability=np.linspace(0, 1, 6))
    there, back = (objective.function(b, **objective.checked({})) for b in (unsure, unsure.flipped()))
    assert_allclose(objective(unsure), unsure.probability * there + (1 - unsure.probability) * back, rtol=1e-12)
    # NLL counts the tokens of the step
    if objective.name not in {"sft", "cpo", "orpo", "nll_augmented", "cpo_simpo", "mpo_mixed"}:
        assert_allclose(objective(unsure)[-1], objective(sure)[-1], rtol=1e-12)


def test_a_soft_label_of_one_minus_eps_is_label_smoothing() -> None:
    batch = random_batch(2)
    assert_allclose(dpo(random_batch(2, probability=np.full(6, 0.8))), cdpo(batch, label_smoothing=0.2), rtol=1e-12)


def test_soft_labels_of_sft_imitate_both_responses_and_stay_a_mean_over_tokens() -> None:
    batch = PolicyBatch.from_pairs(
        tensor(-6, -1), tensor(-2, -8), chosen_length=tensor(3, 1), rejected_length=tensor(2, 4),
        probability=tensor(0.75, 0.5),
    )  # fmt: skip
    expected = (0.75 * 6 + 0.25 * 2 + 0.5 * 1 + 0.5 * 8) / (0.75 * 3 + 0.25 * 2 + 0.5 * 1 + 0.5 * 4)
    assert_allclose(batch.mean(sft(batch)), expected, rtol=1e-12)


@EVERY_PAIRED
def test_a_row_of_weight_two_is_two_rows(objective: Objective) -> None:
    once = random_batch(3, weight=np.array([1.0, 2, 1, 1, 0, 1]), uniform=None)
    if "weight" in objective.refuses:
        with pytest.raises(OptionError, match=f"{objective.name} takes no weight"):
            objective(once)
        return
    twice = replace(once.rows([0, 1, 1, 2, 3, 5]), weight=None)
    assert_allclose(once.mean(objective(once)), twice.mean(objective(twice)), rtol=1e-12)


@pytest.mark.parametrize("name", [n for n, o in catalogue().items() if o.refuses])
def test_what_cannot_be_combined_is_refused_with_the_reason(name: str) -> None:
    objective = catalogue()[name]
    for field, reason in objective.refuses.items():
        with pytest.raises(OptionError, match=reason):
            objective(random_batch(0, **{field: np.linspace(0.1, 1, 6)}))


MARGIN_IN_SCORES = ["cdpo", "cpo", "dpo", "hinge_norm", "ln_dpo", "nll_augmented", "r_dpo", "rdpo", "simpo", "slic"]


@pytest.mark.parametrize("name", MARGIN_IN_SCORES)
def test_a_margin_moves_the_scores_apart(name: str) -> None:
    """Row's margin m: the loss is that of a chosen response whose score were m less."""
    options = {key: 0.0 for key in ("alpha", "sft_weight") if key in catalogue()[name].options.model_fields}
    if "beta" in catalogue()[name].options.model_fields:
        options["beta"] = 1.0
    with_margin, lowered = pair(1.5, 0.2, margin=tensor(0.4)), pair(1.1, 0.2)
    assert_allclose(catalogue()[name](with_margin, **options), catalogue()[name](lowered, **options), rtol=1e-12)


@pytest.mark.parametrize("name", [n for n, o in catalogue().items() if "margin" in o.uses])
def test_a_margin_asks_for_more(name: str) -> None:
    objective = catalogue()[name]
    for k in columns(objective):
        plain = replace(random_batch(2, responses=k), logp=random_batch(2, responses=k).ref_logp)
        assert (objective(replace(plain, margin=np.full(6, 0.3))) != objective(plain)).any()


def test_a_margin_moves_log_odds_apart() -> None:
    losses = orpo(pair(np.log(0.5), np.log(0.5), margin=tensor(0.4)), beta=1.0)
    assert_allclose(losses, np.log(2) + np.log1p(np.exp(0.4)), rtol=1e-12)


@pytest.mark.parametrize("name", [n for n, o in catalogue().items() if "margin" not in o.uses])
def test_a_margin_without_use_is_an_error(name: str) -> None:
    with pytest.raises(OptionError, match="drop the column 'margin'"):
        catalogue()[name](random_batch(0, margin=np.ones(6)))


TEMPERED = [n for n, o in catalogue().items() if "beta" in o.options.model_fields and not o.refuses]


@pytest.mark.parametrize("name", TEMPERED)
def test_each_row_has_its_own_beta(name: str) -> None:
    beta = np.linspace(0.1, 0.9, 6)
    k = columns(catalogue()[name])[0]
    together = catalogue()[name](random_batch(4, responses=k, beta=beta))
    one_by_one = [catalogue()[name](random_batch(4, responses=k), beta=b)[i] for i, b in enumerate(beta)]
    assert_allclose(together, one_by_one, rtol=1e-12)


@pytest.mark.parametrize("name", ["sft", "slic"])
def test_a_beta_without_use_is_an_error(name: str) -> None:
    with pytest.raises(OptionError, match="drop the column 'beta'"):
        catalogue()[name](random_batch(0, beta=np.ones(6)))


def test_soft_labels_are_for_pairs() -> None:
    with pytest.raises(OptionError, match="soft labels"):
        kto(random_batch(0, responses=1, probability=np.ones(6)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0.0}, "option 'beta' = 0.0"),
        ({"beta": float("nan")}, "option 'beta'"),
        ({"beta": float("inf")}, "option 'beta'"),
        ({"label_smoothing": 0.5}, "option 'label_smoothing' = 0.5"),
        ({"gamma": 1.0}, "has no option 'gamma'; its options are: beta, label_smoothing"),
    ],
)
def test_an_option_that_does_not_apply_is_an_error(options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        cdpo(random_batch(0), **options)


@pytest.mark.parametrize("name", list(catalogue()))
def test_what_it_needs_and_lacks_it_asks_for(name: str) -> None:
    objective = catalogue()[name]
    for need in objective.needs():
        for field in _FIELDS.get(need, ()):
            batch = random_batches_for(objective, 0)[0]
            if field.startswith("tokens."):
                lacking = replace(batch, tokens=replace(batch.tokens, **{field.removeprefix("tokens."): None}))
            else:
                lacking = replace(batch, **{field: None})
            with pytest.raises(MissingInput, match=field):
                objective(lacking)


@pytest.mark.parametrize("name", [n for n, o in catalogue().items() if "tie" not in o.uses])
def test_ties_without_a_model_of_them_are_refused(name: str) -> None:
    batch = random_batches_for(catalogue()[name], 0)[0]
    with pytest.raises(OptionError, match="no place for ties"):
        catalogue()[name](replace(batch, tie=np.ones(6)))


def test_orpo_over_prompts_asks_for_prompts() -> None:
    assert orpo.needs() == set()
    assert orpo.needs(nll_over="prompt and response") == {Need.PROMPT}
    with pytest.raises(MissingInput, match="prompt_logp"):
        orpo(random_batch(0, prompt_logp=None), nll_over="prompt and response")


@pytest.mark.parametrize("objective", [simpo, sft, ipo, orpo], ids=lambda o: o.name)
def test_lengths_are_not_guessed(objective: Objective) -> None:
    batch = PolicyBatch.from_pairs(*(np.array([-2.0]) for _ in range(4)))
    with pytest.raises(MissingInput, match="pass the lengths"):
        objective(batch)
    assert np.isfinite(dpo(batch)).all()


@pytest.mark.parametrize("responses", [1, 3])
def test_a_pairwise_objective_wants_two_responses(responses: int) -> None:
    with pytest.raises(MissingInput, match=f"the batch has {responses}; give it pairs"):
        dpo(random_batch(0, responses=responses))


@pytest.mark.parametrize("field", ["weight", "margin", "probability", "beta", "prompt_logp"])
def test_a_column_where_a_row_is_meant_is_refused(field: str) -> None:
    """[B, 1] would broadcast against [B] to B x B losses."""
    with pytest.raises(OptionError, match=rf"{field} has shape \(6, 1\).*give {field} the shape \(6,\)"):
        random_batch(0, **{field: np.ones((6, 1))})


def test_log_probs_come_as_rows_by_responses() -> None:
    with pytest.raises(OptionError, match=r"\[B, K\]"):
        PolicyBatch(logp=np.ones(3), length=None, sign=np.ones(3))


def test_a_reference_for_one_side_only_is_refused() -> None:
    with pytest.raises(MissingInput, match="ref_logp was given for the chosen responses only"):
        PolicyBatch.from_pairs(np.ones(1), np.ones(1), ref_chosen_logp=np.ones(1))


def test_totals_add() -> None:
    batch = random_batch(0)
    total = batch.own_totals + batch.own_totals
    assert isinstance(total, Totals)
    assert_allclose(total.chosen_tokens, 2 * batch.length[:, 0].sum())


def test_an_array_times_scores_is_scores() -> None:
    batch, beta = random_batch(0), np.linspace(0.1, 1, 6)
    assert_allclose((beta * batch.log_ratio).values, beta[:, None] * (batch.logp - batch.ref_logp))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_float32(dtype: torch.dtype) -> None:
    logp = torch.tensor([[-1e-2, -30.0]], dtype=dtype, requires_grad=True)
    batch = PolicyBatch(logp=logp, length=torch.ones(1, 2), sign=torch.tensor([[1.0, -1.0]]))
    losses = orpo(batch)
    assert losses.dtype == torch.float32
    (slope,) = torch.autograd.grad(losses.sum(), logp)
    assert slope.dtype == dtype
    assert torch.isfinite(slope).all()
