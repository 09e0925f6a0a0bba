"""A reference that follows the policy (trust-region DPO, Gorbatovski et al. 2024)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from pluralign.errors import OptionError
from pluralign.objectives import Need, Objective
from pluralign.train.options import AlignOptions

FILE = "reference.safetensors"
CACHED = {Need.MISMATCHED: "its reference point", Need.JOINT: "log-probs of its prompts"}


class MovingReference(TrainerCallback):
    """Every `steps` optimizer steps, reference = share * policy + (1 - share) * reference.

    The moved weights are part of every checkpoint.
    """

    def __init__(self, reference: torch.nn.Module, steps: int, share: float) -> None:
        self.reference, self.steps, self.share = reference, steps, share

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Move, if it is time."""
        if state.global_step % self.steps == 0:
            move(self.reference, getattr(model, "module", model), self.share)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep the reference beside the checkpoint."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            save_file({name: p.detach().contiguous() for name, p in self.reference.named_parameters()}, folder / FILE)

    def load(self, checkpoint: Path) -> None:
        """Take up the reference of a checkpoint."""
        saved = load_file(checkpoint / FILE)
        with torch.no_grad():
            for name, parameter in self.reference.named_parameters():
                parameter.copy_(saved[name])


@torch.no_grad()
def move(reference: torch.nn.Module, policy: torch.nn.Module, share: float) -> None:
    """Move the reference's weights towards the policy's in place; share 1 copies them.

    >>> reference, policy = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    >>> _ = reference.weight.data.fill_(0.0), policy.weight.data.fill_(1.0)
    >>> move(reference, policy, 0.25)
    >>> reference.weight.item()
    0.25
    """
    for old, new in zip(reference.parameters(), policy.parameters(), strict=True):
        old.lerp_(new.to(old.dtype), share)


def check(settings: AlignOptions, goal: Objective, options: dict[str, Any]) -> None:
    """Refuse what a moving reference does not go with."""
    if not settings.sync_ref_model:
        return
    needs = goal.needs(**options)
    if Need.REFERENCE not in needs:
        raise OptionError(f"--sync-ref-model moves a reference, and {goal.name} has none")
    if settings.lora is not None:
        raise OptionError("--sync-ref-model moves whole weights, and with --lora the reference is the frozen base")
    for need, what in CACHED.items():
        if need in needs:
            raise OptionError(
                f"--sync-ref-model does not go with {goal.name}: {what} under the reference are computed once"
            )
