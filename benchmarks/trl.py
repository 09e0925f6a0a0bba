"""Our losses and gradients beside TRL's own code on the same log-probs.

    python -m benchmarks.trl

A bigram model stands in for the network: TRL's methods run on it unchanged, and so does a plain sum over response
tokens for ours. Gradients are compared on the model's table. Rewrites docs/trl-agreement.md.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
import trl
from trl import DPOTrainer, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer
from trl.experimental.tpo import TPOTrainer

from pluralign.objectives import PolicyBatch, Tokens, find

PAGE = Path(__file__).resolve().parents[1] / "docs" / "trl-agreement.md"
VOCABULARY, PAD = 7, 0
# Prompts and responses of unequal lengths: prompt, chosen, rejected, gold.
ROWS = [
    ([1, 2], [3, 4, 5], [6], [2, 2]),
    ([2], [1], [5, 5, 2, 6], [3]),
    ([6, 5, 4], [3, 3], [1, 2], [4, 1, 5]),
    ([3, 1], [2, 6, 4, 4, 1], [4, 1, 6], [6]),
]


def table(seed: int, *, grad: bool = False) -> torch.Tensor:
    """Logits of the next token after each token, float64."""
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
        target, log_p = labels[:, 1:], torch.log_softmax(logits[:, :-1], -1)
        logp = log_p.gather(-1, target.clamp(min=0)[..., None])[..., 0]
        logp = torch.where(target == -100, 0.0, logp)
        zero = torch.zeros_like(logp)
        return SimpleNamespace(
            log_probs=logp,
            entropy=zero,
            mean_logits=zero,
            is_top1=zero.bool(),
            log_sum_sq_probs=torch.logsumexp(2 * log_p, -1),
        )


def token_logp(table: torch.Tensor, before: list[int], tokens: list[int]) -> torch.Tensor:
    """Log-probs of the tokens one by one, written out."""
    log_table = torch.log_softmax(table, -1)
    steps = zip([*before, *tokens][len(before) - 1 :], tokens, strict=False)
    return torch.stack([log_table[last, token] for last, token in steps])


def logp(table: torch.Tensor, before: list[int], tokens: list[int]) -> torch.Tensor:
    """Their sum; 0 for no tokens."""
    return token_logp(table, before, tokens).sum() if tokens else torch.zeros((), dtype=table.dtype)


def padded(sequences: list[list[int]], value: int) -> torch.Tensor:
    """Sequences of unequal lengths as one tensor."""
    longest = max(map(len, sequences))
    return torch.tensor([s + [value] * (longest - len(s)) for s in sequences])


def sequences(pairs: list[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    """Prompts and responses as TRL's collators give them."""
    return {
        "input_ids": padded([p + r for p, r in pairs], PAD),
        "attention_mask": padded([[1] * len(p + r) for p, r in pairs], 0),
        "completion_mask": padded([[0] * len(p) + [1] * len(r) for p, r in pairs], 0),
    }


def ours(
    policy: torch.Tensor, reference: torch.Tensor, rows: list[Any] = ROWS, *, sides: tuple[int, ...] = (1, 2)
) -> PolicyBatch:
    """The rows as our batch. sides: which responses, the preferred one first."""
    longest = max(len(row[side]) for row in rows for side in sides)

    def spread(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(values, (0, longest - len(values)))

    def each(value: Any) -> torch.Tensor:
        return torch.stack([torch.stack([spread(value(row, side)) for side in sides]) for row in rows])

    collision = torch.logsumexp(2 * torch.log_softmax(policy, -1), -1)
    tokens = Tokens(
        mask=each(lambda row, side: torch.ones(len(row[side]), dtype=torch.float64)),
        logp=each(lambda row, side: token_logp(policy, row[0], row[side])),
        ref_logp=each(lambda row, side: token_logp(reference, row[0], row[side])),
        log_collision=each(lambda row, side: collision[[row[0][-1], *row[side][:-1]]]),
    )
    logps, ref_logps, length = (
        torch.stack([torch.stack([value(row, side) for side in sides]) for row in rows])
        for value in (
            lambda row, side: logp(policy, row[0], row[side]),
            lambda row, side: logp(reference, row[0], row[side]),
            lambda row, side: torch.tensor(float(len(row[side])), dtype=torch.float64),
        )
    )
    sign = torch.where(torch.arange(len(sides)) == 0, 1.0, -1.0).double().expand_as(logps)
    return PolicyBatch(
        logps,
        length,
        sign,
        ref_logps,
        prompt_logp=torch.stack([logp(policy, row[0][:1], row[0][1:]) for row in rows]),
        # The first token of a sequence is predicted by nothing.
        prompt_length=torch.tensor([len(row[0]) - 1.0 for row in rows], dtype=torch.float64),
        tokens=tokens,
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
    """DPOTrainer's loss."""
    this = trainer(
        **{
            "beta": 0.1,
            "loss_types": loss_type,
            "loss_weights": [1.0] * len(loss_type),
            "ld_alpha": None,
            "f_divergence_type": "reverse_kl",
            "use_weighting": False,
            "args": SimpleNamespace(discopop_tau=0.05),
            **settings,
        }
    )
    pairs = [(row[0], row[side]) for side in (1, 2) for row in rows]
    seen = batch
    if this.ld_alpha is not None:  # cached reference log-probs carry the weights too
        shared = seen.tokens.length.min(1).values[:, None, None]
        weight = torch.where(seen.tokens.position <= shared, 1.0, this.ld_alpha)
        seen = PolicyBatch(**{**vars(seen), "ref_logp": seen.tokens.total(weight * seen.tokens.ref_logp)})
    reference = {"ref_chosen_logps": seen.ref_logp[:, 0], "ref_rejected_logps": seen.ref_logp[:, 1]}
    return DPOTrainer._compute_loss(this, Bigram(policy), {**sequences(pairs), **reference}, return_outputs=False)


def trl_reference_free(trainer_class: Any, policy: torch.Tensor, **settings: Any) -> torch.Tensor:
    """CPOTrainer's or ORPOTrainer's loss."""
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


def trl_tpo(policy: torch.Tensor, loss_type: str, **settings: Any) -> torch.Tensor:
    """TPOTrainer's loss; its gold response is TRL's `reference` column."""
    this = trainer(**{"loss_type": loss_type, "beta": 0.1, "tpo_alpha": 1.0, "tpo_l_gamma": 0.5, **settings})
    pairs = [(row[0], row[side]) for side in (1, 2, 3) for row in ROWS]
    return TPOTrainer._compute_loss(this, Bigram(policy), sequences(pairs), return_outputs=False)


def trl_kto(policy: torch.Tensor, reference: torch.Tensor, labels: list[bool], **settings: Any) -> torch.Tensor:
    """KTOTrainer's loss on the chosen responses under these labels."""
    pairs = [(row[0], row[1]) for row in ROWS]
    swapped = moved()
    weights = {"desirable_weight": 1.3, "undesirable_weight": 0.8}
    this = trainer(**{"beta": 0.4, "loss_type": "kto", "calculate_KL": True, **weights, **settings})
    this._compute_kl_logps = partial(KTOTrainer._compute_kl_logps, this)
    inputs = {
        **sequences(pairs),
        **{f"KL_{name}": value for name, value in sequences(swapped).items()},
        "label": torch.tensor(labels),
        "ref_logps": torch.stack([logp(reference, *pair) for pair in pairs]),
        "ref_KL_logps": torch.stack([logp(reference, *pair) for pair in swapped]),
    }
    return KTOTrainer._compute_loss(this, Bigram(policy), inputs, return_outputs=False)


def moved() -> list[tuple[list[int], list[int]]]:
    """Each response under the next row's prompt."""
    return [(row[0], ROWS[i - 1][1]) for i, row in enumerate(ROWS)]


def ours_unpaired(policy: torch.Tensor, reference: torch.Tensor, labels: list[bool]) -> PolicyBatch:
    """The chosen responses as rows labelled good or bad."""

    def column(weights: torch.Tensor, pairs: Any) -> torch.Tensor:
        return torch.stack([logp(weights, *pair) for pair in pairs])

    pairs = [(row[0], row[1]) for row in ROWS]
    drift = column(policy, moved()) - column(reference, moved())
    return PolicyBatch.from_unpaired(
        column(policy, pairs), torch.tensor(labels), column(reference, pairs), mismatched_log_ratio=drift
    )


@dataclass
class Case:
    """One loss of TRL's and ours for it. objective: an expression; settings: TRL's, beyond its defaults."""

    trl: str
    objective: str
    loss_type: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float64

    def losses(self, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The table, our loss and TRL's."""
        policy, reference = (table(s).to(self.dtype) for s in (seed, seed + 100))
        policy.requires_grad_()
        labels, batch = [True, False, False, True], ours(policy, reference)
        settings = dict(self.settings)
        if self.trl == "DPO":
            theirs = trl_dpo(policy, batch, *self.loss_type, **settings)
        elif self.trl == "KTO":
            theirs, batch = trl_kto(policy, reference, labels, **settings), ours_unpaired(policy, reference, labels)
        elif self.trl == "TPO":
            theirs = trl_tpo(policy, *self.loss_type, **settings)
            batch = ours(policy, reference, sides=(3, 1, 2))
        elif self.trl == "ORPO":
            theirs = trl_reference_free(ORPOTrainer, policy, **settings)
        else:
            (kind,) = self.loss_type
            given = {"loss_type": kind, "alpha": 0.0, "cpo_alpha": 0.0, "simpo_gamma": 0.5, **settings}
            theirs = trl_reference_free(CPOTrainer, policy, **given)
            # A reference that says 0 is no reference.
            batch = PolicyBatch(**{**vars(batch), "ref_logp": 0 * batch.ref_logp})
        objective = find(self.objective)
        return policy, batch.mean(objective(batch)), theirs

    def differences(self, seeds: int = 5) -> tuple[float, float]:
        """The largest difference of losses and of gradients."""
        worst = [0.0, 0.0]
        for seed in range(seeds):
            policy, mine, theirs = self.losses(seed)
            slopes = [torch.autograd.grad(loss, policy, retain_graph=True)[0] for loss in (mine, theirs)]
            found = (abs(mine - theirs).item(), (slopes[0] - slopes[1]).abs().max().item())
            worst = [max(pair) for pair in zip(worst, found, strict=True)]
        return worst[0], worst[1]


CASES = [
    Case("DPO", "dpo(beta=0.7)", ("sigmoid",), {"beta": 0.7}),
    Case("DPO", "hinge_norm(beta=0.4)", ("hinge",), {"beta": 0.4}),
    Case("DPO", "ipo(beta=0.3)", ("ipo",), {"beta": 0.3}),
    Case("DPO", "exo(beta=0.3, label_smoothing=0.01)", ("exo_pair",), {"beta": 0.3, "label_smoothing": 0.01}),
    Case("DPO", "nca(beta=0.3)", ("nca_pair",), {"beta": 0.3}),
    Case("DPO", "rdpo(beta=0.1, label_smoothing=0.2)", ("robust",), {"label_smoothing": 0.2}),
    Case("DPO", "bco(beta=0.3)", ("bco_pair",), {"beta": 0.3}),
    Case("DPO", "sppo_hard(beta=0.3)", ("sppo_hard",), {"beta": 0.3}),
    Case("DPO", "aot(beta=0.3, label_smoothing=0.2)", ("aot",), {"beta": 0.3, "label_smoothing": 0.2}),
    Case("DPO", "aot_unpaired(beta=0.3)", ("aot_unpaired",), {"beta": 0.3}),
    Case("DPO", "apo_zero(beta=0.3)", ("apo_zero",), {"beta": 0.3}),
    Case("DPO", "apo_down(beta=0.3)", ("apo_down",), {"beta": 0.3}),
    Case("DPO", "discopop(beta=0.3)", ("discopop",), {"beta": 0.3}),
    Case("DPO", "sft", ("sft",)),
    Case("DPO", "ln_dpo(beta=3.0)", ("sigmoid_norm",), {"beta": 3.0}),
    Case("DPO", "nll_augmented(alpha=0.4)", ("sigmoid", "sft"), {"loss_weights": [1.0, 0.4]}),
    Case("DPO", "mpo_mixed", ("sigmoid", "bco_pair", "sft"), {"loss_weights": [0.8, 0.2, 1.0]}),
    Case("DPO", "ld_dpo(ld_alpha=0.3)", ("sigmoid",), {"ld_alpha": 0.3}),
    Case("DPO", "on_policy(ipo)", ("ipo",), {"use_weighting": True}),
    Case("DPO", "wpo(beta=0.1)", ("sigmoid",), {"use_weighting": True}),
    Case("DPO", "f_dpo(divergence='forward_kl')", ("sigmoid",), {"f_divergence_type": "forward_kl"}),
    Case("DPO", "f_dpo(divergence='jensen_shannon')", ("sigmoid",), {"f_divergence_type": "js_divergence"}),
    Case("DPO", "diverging(hinge_norm)", ("hinge",), {"f_divergence_type": "js_divergence"}),
    Case("DPO", "diverging(discopop(beta=0.3))", ("discopop",), {"f_divergence_type": "js_divergence", "beta": 0.3}),
    Case("KTO", "kto(beta=0.4, desirable_weight=1.3, undesirable_weight=0.8)", ("kto",)),
    Case(
        "KTO", "apo_zero(beta=0.4)", ("apo_zero_unpaired",),
        {"loss_type": "apo_zero_unpaired", "calculate_KL": False, "desirable_weight": 1.0, "undesirable_weight": 1.0},
    ),
    Case("CPO", "cpo(beta=0.5, alpha=0.3)", ("sigmoid",), {"beta": 0.5, "cpo_alpha": 0.3}),
    Case("CPO", "hinge_norm(beta=0.4) + 0.3*sft", ("hinge",), {"beta": 0.4, "cpo_alpha": 0.3}),
    Case("CPO", "ipo(beta=0.3)", ("ipo",), {"beta": 0.3}),
    Case("CPO", "simpo(beta=2.0, gamma=0.5)", ("simpo",), {"beta": 2.0}),
    Case("CPO", "cpo_simpo(beta=2.0, gamma=0.5, alpha=0.7)", ("simpo",), {"beta": 2.0, "cpo_alpha": 0.7}),
    Case("CPO", "alphapo(beta=2.5, gamma=0.5, alpha=0.25)", ("simpo",), {"beta": 2.5, "alpha": 0.25}),
    Case("CPO", "alphapo(beta=2.5, gamma=0.5, alpha=-0.3)", ("simpo",), {"beta": 2.5, "alpha": -0.3}),
    Case("ORPO", "orpo(beta=0.8, nll_over='prompt and response')", (), {"beta": 0.8}),
    Case("TPO", "tpo(beta=0.1)", ("sigmoid",)),
    Case("TPO", "tpo(beta=2.0, gamma=0.5, per='token')", ("tpo-l",), {"beta": 2.0}),
    Case(
        "DPO", "f_dpo(divergence='alpha', alpha=0.3)", ("sigmoid",),
        {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.7}, torch.float32,
    ),
]  # fmt: skip

WORDS = """
## What agrees in another parametrisation

- **alpha divergence**: TRL's coefficient is 1 minus ours; the card's alpha runs from reverse KL (0) to forward
  KL (1).
- **`bco_pair`** leaves the reward shift out; ours is given none here. In training ours is the running mean of
  rewards.
- **`ipo`** and **`sigmoid_norm`** are per token, as ours by default.
- **CPO's `hinge` and `ipo`** are our objectives on log-ratios, given a reference that says 0.

## Where they differ, and who is right

- **`sigmoid` with `label_smoothing`**: TRL takes the option and ignores it, ours refuses it. Ours: an option
  that changes nothing is a mistake its user should hear of. `cdpo` is the loss that has it.
- **`exo_pair` with the default `label_smoothing` of 0**: infinite in TRL, log 0; ours must be above 0 and is
  0.001 by default. Ours, as the paper says.
- **`simpo` with `label_smoothing`**: under the flipped label TRL lets the other response trail by gamma, ours
  asks it to lead by gamma. Ours: a flipped label exchanges the responses. Without gamma they agree.
- **ORPO's NLL**: over prompt and response in TRL, over the response in ours unless `nll_over` says otherwise.
  Both: TRL follows the authors' code, ours the paper's equation. The difference in the table is TRL's float32.
- **NLL under gradient accumulation**: TRL takes the mean of each micro-batch's own mean over tokens, ours the
  mean over the tokens of the step. Ours: the mean of means depends on how rows fall into micro-batches.
- **`aot` under gradient accumulation or on several devices**: TRL sorts each micro-batch by itself, ours the
  whole step. Ours: the loss compares distributions; in a micro-batch of one pair it is plain DPO.
- **KTO's reference point**: TRL's is the mean over the micro-batch, averaged over devices, ours over the step.
  Ours, for the same reason.
- **Alpha divergence in float64**: TRL stops with an error, ours keeps the type. The row above is float32, and
  its differences are rounding.
"""


def page() -> str:
    """The page of the docs, measured now."""
    lines = [
        "# Agreement with TRL",
        "",
        f"Written by `python -m benchmarks.trl`: the loss methods of TRL {trl.__version__} and ours on the same",
        "log-probs of a small model, four rows of unequal lengths, five seeds, float64 (alpha divergence: float32).",
        "Gradients are those of the model's table.",
        "",
        "| TRL | loss type | other settings | ours | largest difference of losses | of gradients |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for case in CASES:
        loss, slope = case.differences()
        kind = " + ".join(case.loss_type)
        told = ", ".join(f"{name}={value}" for name, value in case.settings.items() if name != "loss_type")
        lines.append(
            f"| {case.trl} | {f'`{kind}`' if kind else ''} | {told} | `{case.objective}` | {loss:.0e} | {slope:.0e} |"
        )
    return "\n".join([*lines, WORDS])


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
