"""Losses and gradients agree with TRL's own code on the same log-probs.

A bigram model stands in for the network: TRL's methods run on it unchanged, and so does a plain sum over response
tokens for ours. Gradients are compared on the model's table, in float64 (TRL casts ORPO's log-probs to float32).
"""

import os
from collections import defaultdict
from functools import partial
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import pytest
import torch
from numpy.testing import assert_allclose
from trl import DPOTrainer, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

from pluralign.errors import OptionError
from pluralign.objectives import (
    PolicyBatch,
    bco,
    cdpo,
    cpo,
    dpo,
    hinge_norm,
    ipo,
    kto,
    nll_augmented,
    orpo,
    rdpo,
    sft,
    simpo,
)

VOCABULARY, PAD = 7, 0
# Prompts and responses of unequal lengths: prompt, chosen, rejected.
ROWS = [
    ([1, 2], [3, 4, 5], [6]),
    ([2], [1], [5, 5, 2, 6]),
    ([6, 5, 4], [3, 3], [1, 2]),
    ([3, 1], [2, 6, 4, 4, 1], [4, 1, 6]),
]


def table(seed: int, *, grad: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(VOCABULARY, VOCABULARY, dtype=torch.float64, generator=generator).requires_grad_(grad)


class Bigram:
    """A language model that looks one token back, behind the two call signatures TRL uses."""

    training = True

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table

    def __call__(self, input_ids: torch.Tensor, labels: torch.Tensor | None = None, **_: Any) -> SimpleNamespace:
        logits = self.table[input_ids]
        if labels is None:
            return SimpleNamespace(logits=logits)
        target = labels[:, 1:]
        logp = torch.log_softmax(logits[:, :-1], -1).gather(-1, target.clamp(min=0)[..., None])[..., 0]
        logp = torch.where(target == -100, 0.0, logp)
        zero = torch.zeros_like(logp)
        return SimpleNamespace(log_probs=logp, entropy=zero, mean_logits=zero, is_top1=zero.bool())


def logp(table: torch.Tensor, before: list[int], tokens: list[int]) -> torch.Tensor:
    """Sum of log-probs of the tokens, written out."""
    log_table, total = torch.log_softmax(table, -1), torch.zeros((), dtype=table.dtype)
    for last, token in zip([*before, *tokens][len(before) - 1 :], tokens, strict=False):
        total = total + log_table[last, token]
    return total


def padded(sequences: list[list[int]], value: int) -> torch.Tensor:
    longest = max(map(len, sequences))
    return torch.tensor([s + [value] * (longest - len(s)) for s in sequences])


def sequences(pairs: list[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    return {
        "input_ids": padded([p + r for p, r in pairs], PAD),
        "attention_mask": padded([[1] * len(p + r) for p, r in pairs], 0),
        "completion_mask": padded([[0] * len(p) + [1] * len(r) for p, r in pairs], 0),
    }


def ours(policy: torch.Tensor, reference: torch.Tensor, rows: list[Any] = ROWS) -> PolicyBatch:
    def column(weights: torch.Tensor, side: int) -> torch.Tensor:
        return torch.stack([logp(weights, row[0], row[side]) for row in rows])

    return PolicyBatch.from_pairs(
        column(policy, 1),
        column(policy, 2),
        column(reference, 1),
        column(reference, 2),
        *(torch.tensor([float(len(row[side])) for row in rows], dtype=torch.float64) for side in (1, 2)),
        prompt_logp=torch.stack([logp(policy, row[0][:1], row[0][1:]) for row in rows]),
        # The first token of a sequence is predicted by nothing.
        prompt_length=torch.tensor([len(row[0]) - 1.0 for row in rows], dtype=torch.float64),
    )


def trainer(**settings: Any) -> SimpleNamespace:
    """What TRL's loss methods read of `self`."""

    def same(values: torch.Tensor) -> torch.Tensor:
        return values

    return SimpleNamespace(
        **{
            "accelerator": SimpleNamespace(device=torch.device("cpu"), gather=same, gather_for_metrics=same),
            "model": SimpleNamespace(training=True),
            "_metrics": {"train": defaultdict(list)},
            "_total_train_tokens": 0,
            "_tp_size": 1,
            "aux_loss_enabled": False,
            "precompute_ref_logps": True,
            "label_smoothing": 0.0,
            **settings,
        }
    )


def trl_dpo(policy: torch.Tensor, batch: PolicyBatch, *loss_type: str, rows: list[Any] = ROWS, **settings: Any) -> Any:
    this = trainer(
        **{
            "beta": 0.1,
            "loss_types": loss_type,
            "loss_weights": [1.0] * len(loss_type),
            "ld_alpha": None,
            "f_divergence_type": "reverse_kl",
            "use_weighting": False,
            **settings,
        }
    )
    pairs = [(row[0], row[side]) for side in (1, 2) for row in rows]
    reference = {"ref_chosen_logps": batch.ref_logp[:, 0], "ref_rejected_logps": batch.ref_logp[:, 1]}
    return DPOTrainer._compute_loss(this, Bigram(policy), {**sequences(pairs), **reference}, return_outputs=False)


def assert_same(policy: torch.Tensor, mine: torch.Tensor, theirs: torch.Tensor) -> None:
    assert_allclose(mine.item(), theirs.item(), atol=1e-6)
    slopes = (torch.autograd.grad(loss, policy, retain_graph=True)[0] for loss in (mine, theirs))
    assert_allclose(*slopes, atol=1e-6)


@pytest.mark.parametrize(
    ("objective", "options", "loss_type", "settings"),
    [
        (dpo, {}, ["sigmoid"], {}),
        (dpo, {"beta": 0.7}, ["sigmoid"], {"beta": 0.7}),
        (hinge_norm, {"beta": 0.4}, ["hinge"], {"beta": 0.4}),
        (ipo, {"beta": 0.3}, ["ipo"], {"beta": 0.3}),
        (rdpo, {"label_smoothing": 0.2}, ["robust"], {"label_smoothing": 0.2}),
        (bco, {"beta": 0.3}, ["bco_pair"], {"beta": 0.3}),
        (sft, {}, ["sft"], {}),
        (nll_augmented, {"alpha": 0.4}, ["sigmoid", "sft"], {"loss_weights": [1.0, 0.4]}),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.parametrize("seed", range(3))
def test_dpo_family(objective: Any, options: dict[str, float], loss_type: list[str], settings: Any, seed: int) -> None:
    """`bco_pair` leaves the reward shift out, so ours is given none; TRL's IPO is ours per token."""
    policy, reference = table(seed, grad=True), table(seed + 100)
    batch = ours(policy, reference)
    assert_same(policy, batch.mean(objective(batch, **options)), trl_dpo(policy, batch, *loss_type, **settings))


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_cdpo(row: int) -> None:
    """TRL's `aot` on a single pair sorts nothing and is DPO with label smoothing."""
    policy, reference = table(row, grad=True), table(row + 100)
    batch = ours(policy, reference, ROWS[row : row + 1])
    theirs = trl_dpo(policy, batch, "aot", rows=ROWS[row : row + 1], label_smoothing=0.2)
    assert_same(policy, batch.mean(cdpo(batch, label_smoothing=0.2)), theirs)


def test_dpo_and_label_smoothing_differ() -> None:
    """TRL 1.16 takes `label_smoothing` with `loss_type="sigmoid"` and ignores it; earlier versions applied it.

    Ours refuses: an option that changes nothing is a mistake its user should hear of. cdpo is the loss that has it.
    """
    policy, reference = table(0, grad=True), table(100)
    batch = ours(policy, reference)
    assert_same(policy, batch.mean(dpo(batch)), trl_dpo(policy, batch, "sigmoid", label_smoothing=0.3))
    with pytest.raises(OptionError, match="no option 'label_smoothing'"):
        dpo(batch, label_smoothing=0.3)


@pytest.mark.parametrize("labels", [[True, False, False, True], [True] * 4, [False] * 4], ids=["both", "good", "bad"])
@pytest.mark.parametrize("seed", range(3))
def test_kto(labels: list[bool], seed: int) -> None:
    """The reference point of both is the mean over responses moved to the next row's prompt."""
    policy, reference = table(seed, grad=True), table(seed + 100)
    pairs = [(prompt, chosen) for prompt, chosen, _ in ROWS]
    moved = [(prompt, pairs[i - 1][1]) for i, (prompt, _) in enumerate(pairs)]

    def column(weights: torch.Tensor, rows: list[tuple[list[int], list[int]]]) -> torch.Tensor:
        return torch.stack([logp(weights, *row) for row in rows])

    batch = PolicyBatch.from_unpaired(
        column(policy, pairs),
        torch.tensor(labels),
        column(reference, pairs),
        mismatched_log_ratio=column(policy, moved) - column(reference, moved),
    )
    weights = {"desirable_weight": 1.3, "undesirable_weight": 0.8}
    this = trainer(beta=0.4, loss_type="kto", calculate_KL=True, **weights)
    this._compute_kl_logps = partial(KTOTrainer._compute_kl_logps, this)
    inputs = {
        **sequences(pairs),
        **{f"KL_{name}": value for name, value in sequences(moved).items()},
        "label": torch.tensor(labels),
        "ref_logps": column(reference, pairs),
        "ref_KL_logps": column(reference, moved),
    }
    theirs = KTOTrainer._compute_loss(this, Bigram(policy), inputs, return_outputs=False)
    assert_same(policy, batch.mean(kto(batch, beta=0.4, **weights)), theirs)


def trl_reference_free(trainer_class: Any, policy: torch.Tensor, **settings: Any) -> torch.Tensor:
    this = trainer(is_encoder_decoder=False, padding_value=PAD, pad_token_id=PAD, **settings)
    this.concatenated_inputs, this.get_batch_logps = trainer_class.concatenated_inputs, trainer_class.get_batch_logps
    for method in {"concatenated_forward", "cpo_loss", "odds_ratio_loss"} & set(dir(trainer_class)):
        setattr(this, method, partial(getattr(trainer_class, method), this))
    batch = {}
    for side, name in ((1, "chosen"), (2, "rejected")):
        made = sequences([(row[0], row[side]) for row in ROWS])
        batch[f"{name}_input_ids"], batch[f"{name}_attention_mask"] = made["input_ids"], made["attention_mask"]
        batch[f"{name}_labels"] = made["input_ids"].masked_fill(made["completion_mask"] == 0, -100)
    return trainer_class.get_batch_loss_metrics(this, Bigram(policy), batch)[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("beta", "alpha"), [(0.1, 1.0), (0.5, 0.3), (0.2, 0.0)])
def test_cpo(beta: float, alpha: float, seed: int) -> None:
    policy = table(seed, grad=True)
    batch = ours(policy, table(seed + 100))
    theirs = trl_reference_free(CPOTrainer, policy, loss_type="sigmoid", beta=beta, cpo_alpha=alpha, alpha=0.0)
    assert_same(policy, batch.mean(cpo(batch, beta=beta, alpha=alpha)), theirs)


def trl_simpo(policy: torch.Tensor, **settings: Any) -> torch.Tensor:
    return trl_reference_free(CPOTrainer, policy, loss_type="simpo", cpo_alpha=0.0, alpha=0.0, **settings)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("beta", "gamma"), [(2.0, 1.0), (10.0, 3.0), (2.5, 0.0)])
def test_simpo(beta: float, gamma: float, seed: int) -> None:
    policy = table(seed, grad=True)
    batch = ours(policy, table(seed + 100))
    assert_same(
        policy, batch.mean(simpo(batch, beta=beta, gamma=gamma)), trl_simpo(policy, beta=beta, simpo_gamma=gamma)
    )


def test_simpo_under_doubtful_labels_differs() -> None:
    """With eps = 0.2, TRL weighs -log sigmoid(-(u - gamma)) for the flipped label; ours -log sigmoid(-u - gamma).

    Ours is the loss of the pair with its two responses exchanged, which is what a flipped label means: whichever
    response is preferred should lead by gamma. TRL's lets the other response trail by gamma. Without gamma they agree.
    """
    policy = table(0, grad=True)
    batch = ours(policy, table(100))
    soft = PolicyBatch(**{**vars(batch), "probability": torch.full((4,), 0.8, dtype=torch.float64)})

    def both(gamma: float) -> tuple[torch.Tensor, torch.Tensor]:
        theirs = trl_simpo(policy, beta=2.0, simpo_gamma=gamma, label_smoothing=0.2)
        return soft.mean(simpo(soft, beta=2.0, gamma=gamma)), theirs

    assert_same(policy, *both(0.0))
    mine, theirs = both(1.0)
    exchanged = simpo(PolicyBatch(**{name: v.flip(1) for name, v in vars(batch).items() if name in {"logp", "length"}},
                                  sign=batch.sign), beta=2.0, gamma=1.0)  # fmt: skip
    assert_allclose(mine.item(), (0.8 * simpo(batch, beta=2.0, gamma=1.0) + 0.2 * exchanged).mean().item(), rtol=1e-12)
    assert abs(mine.item() - theirs.item()) > 0.01


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beta", [0.1, 0.8])
def test_orpo(beta: float, seed: int) -> None:
    """TRL's NLL runs over prompt and response, as the authors' code; ours does so on request."""
    policy = table(seed, grad=True)
    batch = ours(policy, table(seed + 100))
    mine = batch.mean(orpo(batch, beta=beta, nll_over="prompt and response"))
    assert_same(policy, mine, trl_reference_free(ORPOTrainer, policy, beta=beta))
