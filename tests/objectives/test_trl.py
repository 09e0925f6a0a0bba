"""Losses and gradients agree with TRL's own code on the same log-probs; where they differ, the difference is pinned.

The comparison itself is `benchmarks/trl.py`, which also writes the page of the docs.
"""

import re

import pytest
import torch
from numpy.testing import assert_allclose
from trl.trainer.dpo_config import DPOConfig

from benchmarks.trl import CASES, PAGE, ROWS, Case, ours, ours_unpaired, table, trl_dpo, trl_kto, trl_reference_free
from pluralign.errors import OptionError
from pluralign.objectives import PolicyBatch, aot, cdpo, dpo, exo, kto, simpo


def name(case: Case) -> str:
    return f"{case.trl}-{'+'.join(case.loss_type)}-{case.objective}".replace(" ", "")


@pytest.mark.parametrize("case", CASES, ids=name)
def test_losses_and_gradients_are_those_of_trl(case: Case) -> None:
    loss, slope = case.differences()
    assert loss < 1e-6
    assert slope < 1e-6


def test_every_loss_type_of_trl_is_compared() -> None:
    words = DPOConfig.__dataclass_fields__["loss_type"].metadata["help"]
    there = set(re.findall(r"'(\w+)'", words.split("Possible values are")[1].split(".")[0]))
    assert there == {kind for case in CASES if case.trl == "DPO" for kind in case.loss_type}


def test_the_page_holds_every_comparison() -> None:
    page = PAGE.read_text()
    for case in CASES:
        assert f"| `{case.objective}` |" in page


@pytest.mark.parametrize("labels", [[True, False, False, True], [True] * 4, [False] * 4], ids=["both", "good", "bad"])
def test_kto_of_one_class_or_two(labels: list[bool]) -> None:
    policy, reference = table(0, grad=True), table(100)
    batch = ours_unpaired(policy, reference, labels)
    mine = batch.mean(kto(batch, beta=0.4, desirable_weight=1.3, undesirable_weight=0.8))
    assert_allclose(mine.item(), trl_kto(policy, reference, labels).item(), atol=1e-6)


def test_cdpo_is_aot_of_one_pair_and_dpo_refuses_label_smoothing() -> None:
    """TRL 1.16 takes `label_smoothing` with `loss_type="sigmoid"` and ignores it; earlier versions applied it."""
    policy, reference = table(0, grad=True), table(100)
    batch = ours(policy, reference)
    theirs = trl_dpo(policy, batch, "sigmoid", label_smoothing=0.3)
    assert_allclose(batch.mean(dpo(batch)).item(), theirs.item(), atol=1e-12)
    with pytest.raises(OptionError, match="no option 'label_smoothing'"):
        dpo(batch, label_smoothing=0.3)
    one = ours(policy, reference, ROWS[:1])
    theirs = trl_dpo(policy, one, "aot", rows=ROWS[:1], label_smoothing=0.2)
    assert_allclose(one.mean(cdpo(one, label_smoothing=0.2)).item(), theirs.item(), atol=1e-12)


def test_exo_with_their_default_smoothing_is_infinite() -> None:
    policy, reference = table(0), table(100)
    batch = ours(policy, reference)
    assert not torch.isfinite(trl_dpo(policy, batch, "exo_pair"))
    with pytest.raises(OptionError, match="greater than 0"):
        exo(batch, label_smoothing=0.0)


def test_aot_of_micro_batches_differs() -> None:
    """Sorted one pair at a time, as under TRL's accumulation, AOT is DPO; of the whole step it is not."""
    policy, reference = table(0), table(100)
    batch = ours(policy, reference)
    by_one = torch.stack([trl_dpo(policy, ours(policy, reference, [row]), "aot", rows=[row], beta=2.0) for row in ROWS])
    assert_allclose(by_one.mean(), dpo(batch, beta=2.0).mean(), atol=1e-12)
    assert abs(by_one.mean() - aot(batch, beta=2.0).mean()) > 0.01


def test_simpo_under_doubtful_labels_differs() -> None:
    """With eps = 0.2, TRL weighs -log sigmoid(-(u - gamma)) for the flipped label; ours -log sigmoid(-u - gamma).

    Ours is the loss of the pair with its two responses exchanged, which is what a flipped label means: whichever
    response is preferred should lead by gamma. TRL's lets the other response trail by gamma. Without gamma they agree.
    """
    from trl.experimental.cpo import CPOTrainer

    policy = table(0)
    batch = ours(policy, table(100))
    soft = PolicyBatch(**{**vars(batch), "probability": torch.full((4,), 0.8, dtype=torch.float64)})

    def both(gamma: float) -> tuple[float, float]:
        settings = {"loss_type": "simpo", "cpo_alpha": 0.0, "alpha": 0.0, "beta": 2.0, "simpo_gamma": gamma}
        theirs = trl_reference_free(CPOTrainer, policy, label_smoothing=0.2, **settings)
        return soft.mean(simpo(soft, beta=2.0, gamma=gamma)).item(), theirs.item()

    assert_allclose(*both(0.0), atol=1e-12)
    mine, theirs = both(1.0)
    exchanged = simpo(batch.flipped(), beta=2.0, gamma=1.0)
    assert_allclose(mine, (0.8 * simpo(batch, beta=2.0, gamma=1.0) + 0.2 * exchanged).mean(), rtol=1e-12)
    assert abs(mine - theirs) > 0.01
